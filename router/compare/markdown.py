"""A report as Markdown, for a README: tables, findings, doubts, and how to run it again. Values in, text out."""

from __future__ import annotations

import re
from html import escape
from shlex import quote
from typing import TYPE_CHECKING

from router.compare.table import heading, notes, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.compare.report import Report
    from router.compare.run import Run
    from router.report.page import Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")


def markdown(report: Report, made: str) -> str:
    """The whole report; `made` says by what and when."""
    return "\n".join(_lines(report, made)).rstrip() + "\n"


def again(run: Run) -> str:
    """The command that runs the same plan again."""
    return f"nearfar compare {quote(run.suite)} --seed {run.seed}"


def machine_told(run: Run) -> str:
    """Where it ran, and with what."""
    known = [
        f"{name.replace('_', ' ')} {_shown(name, value)}" for name, value in run.machine.items() if value is not None
    ]
    return ", ".join(known) or "unknown"


def _shown(name: str, value: str | float) -> str:
    return f"{float(value) / 2**30:.1f} GiB" if name.endswith("_bytes") else str(value)


def _lines(report: Report, made: str) -> Iterator[str]:
    yield f"### {_plain(report.run.suite)}"
    yield from ("", f"{_plain(heading(report))}.", "")
    for table in tables(report):
        yield from _table(table)
    yield from ("Before it is believed:", "")
    yield from (f"- {_plain(note)}" for note in notes(report))
    yield from (
        "",
        f"Machine: {_plain(machine_told(report.run))}. To run it again: <code>{_plain(again(report.run))}</code>.",
        "",
    )
    yield from (_plain(report.method), "", _plain(made))


def _table(table: Table) -> Iterator[str]:
    yield from (f"**{_plain(table.caption)}**", "", _row(table.columns), _row(["---"] * len(table.columns), raw=True))
    yield from map(_row, table.rows)
    yield ""


def _row(cells: Sequence[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else _plain(cell).replace("\n", "<br>") for cell in cells) + " |"


def _plain(words: str) -> str:
    """Words that Markdown takes as words, on one line but for the breaks within a cell."""
    printed = "".join(c if c.isprintable() or c == "\n" else " " for c in words)
    return _SPECIAL.sub(r"\\\1", escape(printed, quote=False))
