"""Cuts token sequences into batches of like length, and pads them. Knows no runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

BUDGET = 2048  # padded tokens of a batch: beyond that, activations leave the processor's caches
RATIO = 1.25  # longest over shortest sequence of a batch: how much of it may be padding


def plan(
    lengths: Sequence[int], budget: int = BUDGET, ratio: float = RATIO, *, padding: bool = True
) -> list[list[int]]:
    """Indices of the sequences of each batch, longest first, so that too long a batch fails at once.

    A batch has at most `budget` tokens, or one sequence, and no sequence `ratio` times as long as another. Without
    `padding` a sequence counts for its own tokens, else for as many as the longest of its batch.
    """
    batches: list[list[int]] = []
    longest = tokens = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        counted = longest if padding else lengths[index]
        if batches and tokens + counted <= budget and longest <= ratio * lengths[index]:
            batches[-1].append(index)
            tokens += counted
        else:
            batches.append([index])
            longest = tokens = lengths[index]
    return batches


def padded(
    sequences: Sequence[Sequence[int]], filler: int = 0, *, left: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids, filled up with `filler`, and the mask that is 1 where there is a token: both (n, longest), int64."""
    import numpy as np

    longest = max(map(len, sequences))
    ids = np.full((len(sequences), longest), filler, np.int64)
    mask = np.zeros((len(sequences), longest), np.int64)
    for row, sequence in enumerate(sequences):
        taken = slice(longest - len(sequence), longest) if left else slice(0, len(sequence))
        ids[row, taken] = sequence
        mask[row, taken] = 1
    return ids, mask


def in_order(rows: Sequence[NDArray[np.float32]], batches: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """The vectors of all batches, each (its size, dimensions), as one array in the order of the sequences."""
    import numpy as np

    gathered = np.concatenate(rows)
    ordered = np.empty_like(gathered)
    ordered[np.concatenate([np.asarray(batch) for batch in batches])] = gathered
    return ordered
