"""Far numbers into float32 vectors, checked and scaled. Knows no protocol."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any

from backends.errors import RemoteError
from backends.types import EmbeddingOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import EmbeddingInput

_UNIT_TOLERANCE = 1e-3
"""How far from 1 a length may be and still count as unit: float16 servers round that coarsely."""


def output(rows: Sequence[Any], payload: EmbeddingInput) -> EmbeddingOutput:
    """One vector a text, cut to `dimensions` and scaled to length 1 where that was asked and not done.

    Raises:
        RemoteError: Not one row a text, or rows that are no finite vectors of one length.
    """
    wanted = len(payload.tokens or payload.texts)
    if len(rows) != wanted:
        msg = f"the far side gave {len(rows)} vectors for {wanted} texts"
        raise RemoteError(msg)
    vectors = [_vector(row) for row in rows]
    if len({len(vector) for vector in vectors}) > 1:
        msg = "the far side gave vectors of different lengths"
        raise RemoteError(msg)
    return EmbeddingOutput(tuple(_fit(vector, payload) for vector in vectors))


def _vector(row: Any) -> array[float]:
    try:
        vector = row if isinstance(row, array) else array("f", row)
    except (TypeError, ValueError, OverflowError) as error:
        msg = "the far side gave a vector that is not a list of numbers"
        raise RemoteError(msg) from error
    if not vector or not all(map(math.isfinite, vector)):
        msg = "the far side gave a vector that is empty or holds numbers that are not finite"
        raise RemoteError(msg)
    return vector


def _fit(vector: array[float], payload: EmbeddingInput) -> array[float]:
    if payload.dimensions is not None:
        if len(vector) < payload.dimensions:
            msg = f"the far side gave {len(vector)} dimensions, {payload.dimensions} were asked"
            raise RemoteError(msg)
        vector = vector[: payload.dimensions]
    if not payload.normalize:
        return vector
    length = math.hypot(*vector)
    if length == 0 or abs(length - 1) <= _UNIT_TOLERANCE:
        return vector
    return array("f", [component / length for component in vector])
