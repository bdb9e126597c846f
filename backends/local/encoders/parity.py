"""Whether two encoders compute the same vectors: below the floor, they are two vector spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from backends.local.encoders.base import Encoder

floor: Final = 0.999  # cosine; float32 runtimes agree to 0.99999
_SENTENCE = "The quick brown fox jumps over the lazy dog while seven sleepy sailors watch the harbour lights. "
_LONG = 60  # repetitions, more tokens than small encoders read: the caller cuts it

texts: Final[tuple[str, ...]] = (
    "",
    " ",
    "a",
    "What is the capital of France?",
    "Größe, naïve café — Übermut; Łódź",
    "東京は日本の首都です。 我想订一张去北京的机票",
    "Привет, мир! مرحبا بالعالم 👋🏽🚀",
    "def encode(self, sequences): return [len(sequence) for sequence in sequences]  # 1_000.50 €",
    _SENTENCE * 4,
    _SENTENCE * 11,
    _SENTENCE * _LONG,
)
"""Probes: empty, one token, any script, code, and more than is read."""


def agreement(one: Encoder, other: Encoder, sequences: Sequence[Sequence[int]]) -> float:
    """The smallest cosine between the two encoders' vectors of a sequence, in one batch and alone; NaN stays NaN."""
    import numpy as np

    batch = one.encode(sequences), other.encode(sequences)
    alone = [other.encode([sequence]) for sequence in sequences]
    cosines = [_cosines(*batch), _cosines(batch[0], np.concatenate(alone))]
    return float(np.min(cosines))


def _cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    import numpy as np

    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    both_zero = (lengths == 0) & (np.abs(one).max(axis=1) == np.abs(other).max(axis=1))
    products = np.einsum("ij,ij->i", one, other, dtype=np.float64)
    return np.where(both_zero, 1.0, products / np.where(lengths == 0, 1.0, lengths))
