"""The command line in this process: what it says and its exit code, without the seconds of an interpreter's start."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from click.testing import CliRunner

from router.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def here(folder: Path, *arguments: str, given: str | bytes | None = None, **environment: str) -> Result:
    """Run a command in a folder. An exception that the command does not turn into an exit code is raised here.

    The environment is as it was afterwards: an offline command sets some of it for libraries, and servers inherit that.
    """
    before = dict(os.environ)
    try:
        with contextlib.chdir(folder):
            done = CliRunner().invoke(main, arguments, input=given, env=environment)
    finally:
        os.environ.clear()
        os.environ.update(before)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done
