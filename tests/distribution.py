"""Which tests go to the same process where several test: those of a file, and those of files that share a server.

A session's server is started by each process that has a test for it, and loads its models anew there.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[1]
ONE_SERVER = ("tests/clients/", "tests/faults/", "tests/isolation/", "tests/surface/")
NEAR = "near: Server"  # how a test of `tests/e2e` asks for the server with the built-in catalogue


class ByServer(LoadFileScheduling):
    """As `--dist loadfile`, with files that share a server taken for one."""

    def _split_scope(self, nodeid: str) -> str:
        return server_of(super()._split_scope(nodeid))


@cache
def server_of(file: str) -> str:
    """The folder whose server a file's tests share, or the file itself where it has its own or none."""
    folder = next((folder for folder in ONE_SERVER if file.startswith(folder)), None)
    if folder is None and file.startswith("tests/e2e/") and NEAR in (ROOT / file).read_text(encoding="utf-8"):
        return "tests/e2e/"
    return folder or file
