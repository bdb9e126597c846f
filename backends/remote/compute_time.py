"""How long a far side says that it computed, or let a request wait, from its headers: hf-inference bills the former."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEADER = "x-compute-time"

# Text generation inference writes seconds with a decimal point, text embeddings inference whole milliseconds under the
# same name: a value without the point may be a thousand times too large.
_MILLISECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_SECONDS = re.compile(r"[0-9]{1,9}\.[0-9]{1,18}")


def compute_s(answers: Iterable[Mapping[str, str]], wall_s: float) -> float | None:
    """The seconds of all answers together, by their headers; None where one does not say, or cannot be believed.

    Nothing computes for no time at all, nor for longer than the whole exchange took (`wall_s`).
    """
    total_s = 0.0
    for headers in answers:
        said = headers.get(HEADER, "").strip()
        if not _SECONDS.fullmatch(said) or not float(said):
            return None
        total_s += float(said)
    return total_s if 0 < total_s <= wall_s else None


def queue_s(answers: Iterable[Mapping[str, str]], header: str | None, wall_s: float) -> float | None:
    """The seconds that all answers together waited for their turn, by this header in milliseconds; None as above."""
    if header is None:
        return None
    total_s = 0.0
    for headers in answers:
        said = headers.get(header, "").strip()
        if not _MILLISECONDS.fullmatch(said):
            return None
        total_s += float(said) / 1000
    return total_s if total_s < wall_s else None
