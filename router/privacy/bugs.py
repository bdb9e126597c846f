"""A bug for the process's log: what kind it is and where it broke. Its words stay out: they may hold what was sent."""

from __future__ import annotations

import traceback


def told_without_words(bug: BaseException) -> str:
    """Its class and the places it came through, the innermost last; then those of what it came from, if anything."""
    told: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = bug
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = traceback.StackSummary.extract(traceback.walk_tb(cause.__traceback__), lookup_lines=False)
        places = "".join(f'\n  File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in frames)
        told.append(f"{type(cause).__name__}{places}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\nfrom ".join(told)
