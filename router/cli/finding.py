"""A line of what `nearfar doctor` tells. Values only."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do about it."""

    what: str
    state: Literal["ok", "warning", "error"]
    detail: str
    hint: str = ""
