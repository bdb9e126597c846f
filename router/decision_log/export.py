"""The log as files for other tools: whole decisions, one a row, with candidates and attempts inside. Reads only.

Opens the database by itself, with leave to write the one file it was asked for and no other: the log that serves
requests has none.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Literal, get_args

import duckdb

from router.decision_log.migrations import connect, first_line
from router.decision_log.questions.base import Asked, whole_in
from router.decision_log.shapes import told
from router.errors import InvalidRequest, LogError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from router.decision_log.migrations import Allow

Format = Literal["parquet", "csv", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)
_OPTIONS: dict[Format, str] = {
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "csv": "FORMAT csv, HEADER",
    "jsonl": "FORMAT json",
}
_POLL_S = 0.2
_BESIDE = ("", ".wal", ".spill", ".rejected.jsonl", ".key")


def export(
    log: Path,
    target: Path,
    kind: Format,
    span: tuple[datetime | None, datetime | None] = (None, None),
    progress: Callable[[float], None] = lambda _: None,
) -> int:
    """Write the decisions of a range to a file and return how many: a row each, nearly in the order of time.

    Columns are those of the view `decisions`, with the lists `slate` (candidates) and `tries` (attempts), JSON in CSV.
    Inputs are not exported. An old file stays until the new one is complete.

    Args:
        log: The decision log; nobody else may have it open.
        target: The file; readable by its owner alone.
        kind: How it is written.
        span: From when (inclusive) until when (exclusive), UTC without a zone.
        progress: Told the share that is done, 0..1.

    Raises:
        InvalidRequest: the file is the log's own.
        LogLocked: another process has the log open.
        LogError: the log cannot be read, or the file cannot be written.
    """
    target = _kept_off(log, target)
    return exported(lambda allow: connect(log.absolute(), allow=allow), target, kind, span, progress)


def exported(
    opened: Callable[[Allow], duckdb.DuckDBPyConnection],
    target: Path,
    kind: Format,
    span: tuple[datetime | None, datetime | None],
    progress: Callable[[float], None],
) -> int:
    """The same of whatever log is `opened`, which has to let the connection write what it is told to allow."""
    target = target.absolute()
    part = target.with_name(f".{target.name}.part")
    with contextlib.closing(opened(lambda con: con.execute("SET allowed_paths = ?", [[str(part)]]))) as con:
        query = _query(con, kind, Asked(sees=None, since=span[0], until=span[1]))
        name = str(part).replace("'", "''")
        try:
            part.unlink(missing_ok=True)  # of an export that was killed
            found = _watched(con, f"COPY ({query}) TO '{name}' ({_OPTIONS[kind]})", progress)
            part.chmod(0o600)
            part.replace(target)
        except (duckdb.Error, OSError) as error:
            why = first_line(error).replace(str(part), target.name).replace(str(target.parent), "its folder")
            raise LogError(f"{target.name} cannot be written: {why}") from error
        finally:
            part.unlink(missing_ok=True)
    return found


def _kept_off(log: Path, target: Path) -> Path:
    file = log.resolve()
    if target.resolve() in {file.with_name(f"{file.name}{end}") for end in _BESIDE}:
        raise InvalidRequest(f"{target.name}: is the decision log's own file; export to another.")
    return target.absolute()


def _query(con: duckdb.DuckDBPyConnection, kind: Format, asked: Asked) -> str:
    lists = "::JSON" if kind == "csv" else ""
    return f"SELECT {told(con)}, candidates{lists} AS slate, attempts{lists} AS tries FROM ({whole_in(asked)})"  # noqa: S608


def _watched(con: duckdb.DuckDBPyConnection, copy: str, progress: Callable[[float], None]) -> int:
    """Run it on a thread of its own, telling how far it is. Returns how many rows were written."""
    con.execute("SET enable_progress_bar = true")
    con.execute("SET enable_progress_bar_print = false")
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(lambda: con.execute(copy).fetchall())
        while not wait([running], timeout=_POLL_S).done:
            progress(max(0.0, con.query_progress()) / 100)
        ((rows,),) = running.result()
    progress(1.0)
    return int(rows)
