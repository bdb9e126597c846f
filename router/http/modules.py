"""Which modules a script needs before it can run, so that a page can ask for all of them at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_STATIC = re.compile(r"""^(?:import|export)\b(?:[^"';]*\bfrom)?\s*["'](/ui/[^"']+)["']""", re.MULTILINE)


def needed(web: Path, *scripts: str) -> list[str]:
    """The addresses of these scripts and of all that they import, directly or not; each once, the nearest first.

    What is imported when it is wanted (`import(...)`) is not among them. `web` is the folder that `/ui` shows.
    """
    found = {f"/ui/{script}": None for script in scripts}
    waiting = list(found)
    for address in waiting:
        source = (web / address.removeprefix("/ui/")).read_text(encoding="utf-8")
        new = [each for each in _STATIC.findall(source) if each not in found]
        found.update(dict.fromkeys(new))
        waiting.extend(dict.fromkeys(new))
    return list(found)
