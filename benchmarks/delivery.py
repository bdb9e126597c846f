"""Where a benchmark's words go: its report on a terminal, as JSON and beside the others; its progress; its tables."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def deliver(report: dict[str, Any], told: str, *, to: str | None, keep: Path | None) -> None:
    """Print `told`; write the report as JSON `to` a file (`-`: standard output), and to the file to `keep` it in."""
    text = json.dumps(report, indent=1) + "\n"
    print(told, file=sys.stderr if to == "-" else sys.stdout)
    if to == "-":
        sys.stdout.write(text)
    elif to:
        Path(to).write_text(text, encoding="utf-8")
    if keep is not None:
        keep.parent.mkdir(exist_ok=True)
        keep.write_text(text, encoding="utf-8")


def said(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def errors_last() -> Iterator[IO[str]]:
    """A file for what servers say on standard error: shown when all is over, however it ends."""
    with tempfile.TemporaryFile("w+") as errors:
        try:
            yield errors
        finally:
            errors.seek(0)
            sys.stderr.write(errors.read())


def rule(head: str) -> str:
    """The line below a Markdown table's head."""
    return "|---" * (head.count("|") - 1) + "|"
