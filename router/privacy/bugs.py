"""A bug for the process's log: what kind it is and where it broke. Its words stay out: they may hold what was sent."""

from __future__ import annotations

import traceback
from pathlib import PurePath

_ROOTS = ("site-packages", "router", "backends", "policies")


def told_without_words(bug: BaseException) -> str:
    """Its class and the places it came through, the innermost last; then those of what it came from, if anything."""
    told: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = bug
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        seen_at = traceback.StackSummary.extract(traceback.walk_tb(cause.__traceback__), lookup_lines=False)
        places = "".join(f'\n  File "{_told(at.filename)}", line {at.lineno}, in {at.name}' for at in seen_at)
        told.append(f"{type(cause).__name__}{places}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\nfrom ".join(told)


def _told(filename: str) -> str:
    """A file by its package: where on this machine it lies is nobody's business."""
    parts = PurePath(filename).parts
    begins = [len(parts) - 1 - parts[::-1].index(root) for root in _ROOTS if root in parts[:-1]]
    return "/".join(parts[max(begins) :] if begins else parts[-1:])
