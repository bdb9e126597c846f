"""What an encoder is. Knows no runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Encoder(Protocol):
    """Pooled sentence vectors of token sequences. Used from `lanes` threads at most.

    Attributes:
        name: `torch` (the reference), `packed` or `onnx`.
        device: `cpu`, `cuda:0`, `mps`.
        dtype: What it computes in: `float32`, `bfloat16`, `float16`.
        lanes: Batches that may be computed side by side, each on a core of its own; 1 where one takes all cores.
    """

    name: str
    device: str
    dtype: str
    lanes: int

    def encode(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors as the model's own pipeline ends, in the order of `sequences`, of which there is one at least.

        Returns (n, dimensions), float32.

        Sequences hold their special tokens and are no longer than the model reads. Nothing is scaled to length 1 beyond
        what the model itself does.
        """
        ...
