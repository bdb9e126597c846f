"""What an answer takes in memory, counted object by object. Measures values, and knows none of their meaning."""

from __future__ import annotations

import sys
from typing import Any

from msgspec import Struct

SLOT_BYTES = 256
"""An entry's place in the store: its part of an ordered dict (a hash slot and a link, twice as many as are used)."""


def weight(value: Any) -> int:
    """Bytes of a value with all it holds; what several answers may share is counted for each of them."""
    if value is None or isinstance(value, bool):
        return 0  # there is one of each in all
    own = sys.getsizeof(value)
    if isinstance(value, Struct):
        return own + sum(weight(getattr(value, name)) for name in value.__struct_fields__)
    return own + sum(map(weight, value)) if isinstance(value, tuple | list) else own
