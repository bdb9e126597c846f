"""The inputs of a suite as values: read from it, or from the file of data that it names. Knows no parameter."""

from __future__ import annotations

import base64
import csv
import itertools
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from backends.types import Task
from router.compare.suite import MOST_INPUTS, InputEntry
from router.decision_log.tables import parquet_rows
from router.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from router.compare.suite import DataEntry, Suite

FILES = frozenset({Task.IMAGE_CLASSIFICATION, Task.AUTOMATIC_SPEECH_RECOGNITION})
"""Tasks whose inputs are files: data name them, beside the file of data."""
MOST_FILE_BYTES = 100_000_000


class Input(Struct, frozen=True):
    """One input as the native API takes it (files in base64), and what a right answer to it is; None: nobody says."""

    value: str | list[Any]
    expected: Any = None


def inputs_of(suite: Suite, folder: Path | None) -> tuple[Input, ...]:
    """The suite's inputs. `folder` is where its files lie; None where it may have none. Blocks.

    Raises:
        InvalidRequest: a file cannot be read, or there is no input in it.
    """
    if folder is None and (suite.data is not None or any(_file(entry) for entry in suite.inputs)):
        raise InvalidRequest("inputs: files are read by the command line alone; send the inputs.", param="inputs")
    if suite.data is not None and folder is not None:
        found = _from_data(suite.data, folder, files=suite.task in FILES)
    else:
        found = [_one(entry, folder) for entry in suite.inputs]
    if not found:
        raise InvalidRequest("data: there is no input in it.", param="data")
    if len(found) > MOST_INPUTS:
        raise InvalidRequest(f"inputs: there are more than {MOST_INPUTS}; set data.limit.", param="inputs")
    for number, one in enumerate(found):
        if one.expected is not None and not _can_be_right(one.expected):
            raise InvalidRequest(
                f"inputs[{number}].expected: must be a text, a list of texts, or vectors.",
                param=f"inputs[{number}].expected",
            )
    chats = suite.task == Task.TEXT_GENERATION
    return tuple(Input(_chat(one.value), one.expected) if chats else one for one in found)


def _can_be_right(value: Any) -> bool:
    """Whether a metric can make sense of it: a text, or a list of texts, of numbers, or of lists of numbers."""
    if isinstance(value, str):
        return True
    if not isinstance(value, list) or not value:
        return False
    rows = value if all(isinstance(row, list) for row in value) else [value]
    return all(isinstance(one, str) for one in value) or all(
        row and all(isinstance(one, int | float) for one in row) for row in rows
    )


def _chat(value: str | list[Any]) -> list[Any]:
    """A prompt is a chat of one message, as on the command line."""
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


def _file(entry: str | InputEntry) -> bool:
    return isinstance(entry, InputEntry) and entry.file is not None


def _one(entry: str | InputEntry, folder: Path | None) -> Input:
    if isinstance(entry, str):
        return Input(entry)
    if entry.file is not None and folder is not None:
        return Input(_encoded(folder / entry.file), entry.expected)
    return Input(entry.input or "", entry.expected)


def _encoded(file: Path) -> str:
    try:
        with file.open("rb") as source:
            content = source.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"{file.name}: cannot be read ({type(error).__name__}).", param="inputs") from error
    if len(content) > MOST_FILE_BYTES:
        raise InvalidRequest(f"{file.name}: larger than {MOST_FILE_BYTES} bytes.", param="inputs")
    return base64.b64encode(content).decode()


def _from_data(data: DataEntry, folder: Path, *, files: bool) -> list[Input]:
    path = folder / data.path
    found = []
    for number, row in enumerate(_rows(data, path), start=1):
        value, expected = row.get(data.input), None if data.expected is None else row.get(data.expected)
        if not isinstance(value, str | list) or not value:
            raise InvalidRequest(f"{path.name}: row {number}: {data.input!r} is neither text nor a list.", param="data")
        if data.expected is not None and expected is None:
            raise InvalidRequest(f"{path.name}: row {number}: there is no {data.expected!r}.", param="data")
        found.append(Input(_encoded(path.parent / value) if files and isinstance(value, str) else value, expected))
    return found


def _rows(data: DataEntry, path: Path) -> Iterable[dict[str, Any]]:
    """The rows, at most as many as are wanted, or one more than there may be."""
    limit = data.limit or MOST_INPUTS + 1
    columns = [data.input, *([data.expected] if data.expected else [])]
    try:
        if data.format == "parquet":
            return parquet_rows(path, columns, limit)
        with path.open(encoding="utf-8", newline="") as source:
            if data.format == "csv":
                return list(itertools.islice(csv.DictReader(source, strict=True), limit))
            lines = (line for line in source if line.strip())
            return [msgspec.json.decode(line, type=dict[str, Any]) for line in itertools.islice(lines, limit)]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path.name}: cannot be read ({type(error).__name__}).", param="data.path") from error
    except (csv.Error, msgspec.MsgspecError) as error:
        raise InvalidRequest(f"{path.name}: not {data.format}: {error}.", param="data.format") from error
