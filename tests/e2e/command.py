"""The command line in this process: what it says and its exit code, without the seconds of an interpreter's start."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from click.testing import CliRunner

from router.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def here(folder: Path, *arguments: str, given: str | bytes | None = None, **environment: str) -> Result:
    """Run a command in a folder. An exception that the command does not turn into an exit code is raised here."""
    with contextlib.chdir(folder):
        done = CliRunner().invoke(main, arguments, input=given, env=environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done
