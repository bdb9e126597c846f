"""A loaded sentence embedder: texts in, float32 vectors out. Knows nothing of labels, requests or HTTP.

Two encoders may serve it, both exact: one for a few tokens at once, one for many, as measured on this machine.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from backends.errors import BackendError
from backends.local.encoders.choice import REFERENCE, EncoderChoice, open_encoder
from backends.local.tokens import Tokens
from backends.local.types import LocalFamily, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backends.local.encoders.base import Encoder
    from backends.local.types import Control, Opening

T = TypeVar("T")
BUDGET = 4096  # tokens of a batch: a second of work for a small model on two cores, which bounds everybody's wait
LANE_BUDGET = 256  # of one that a core computes beside others, while there are few
logger = logging.getLogger("nearfar")


class Embedder:
    """Three tasks share one of these. Used from its worker's threads only, of which one at a time does not compute."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self._tokens = Tokens(opening.directory)
        self._built: dict[str, Any] = {}
        choice = _choice(opening)
        self._small = self._open(choice.small)
        self._large = self._small if choice.large == choice.small else self._open(choice.large)
        self._threshold_tokens = choice.threshold_tokens
        self.device = self._small.device
        self.dtype = self._small.dtype
        self.lanes = min(self._small.lanes, self._large.lanes)
        self.runtime = "+".join(dict.fromkeys((self._small.name, self._large.name)))
        self.max_tokens = self._tokens.limit
        self.dimensions = int(self.encode(self.tokens(["dimensions"], truncate=True)).shape[1])

    def tokens(self, texts: Sequence[str], *, truncate: bool) -> list[list[int]]:
        """Token ids of each text.

        Raises:
            ContextLengthExceeded: A text is longer than the model reads and `truncate` is off.
        """
        return self._tokens.ids(texts, truncate=truncate)

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """What token ids of this model's vocabulary say.

        Raises:
            InvalidInput: They are not all of it.
        """
        return self._tokens.texts(rows)

    def units(self, texts: Sequence[str], *, truncate: bool) -> list[Unit]:
        """The texts as work for the core. Raises as `tokens` does."""
        return [Unit(ids, len(ids)) for ids in self.tokens(texts, truncate=truncate)]

    def encode(self, sequences: Sequence[Sequence[int]]) -> Any:
        """One row a sequence: numpy, float32, (n, dimensions), pooled and scaled as the model's own pipeline ends."""
        many = sum(map(len, sequences)) > self._threshold_tokens
        return (self._large if many else self._small).encode(sequences)

    def unit_vectors(self, texts: Sequence[str]) -> Any:
        """Vectors of length 1 of texts that are cut where they are too long: (n, dimensions), float32."""
        return unit(self.encode(self.tokens(texts, truncate=True)))

    def built(self, name: str, build: Callable[[Embedder], T]) -> T:
        """What `build` makes of this model, made once and kept as long as the model."""
        if name not in self._built:
            self._built[name] = build(self)
        made: T = self._built[name]
        return made

    def _open(self, name: str) -> Encoder:
        """The encoder of this name; the reference where that works no more, and nobody asked for it by name."""
        try:
            return self._opened(name)
        except (BackendError, ImportError) as error:
            if name in {REFERENCE, self.opening.runtime}:
                raise
            logger.warning("runtime '%s' does not serve here any more (%s): calibrate anew", name, error)
            return self._opened(REFERENCE)

    def _opened(self, name: str) -> Encoder:
        opening = self.opening
        where = (opening.directory, opening.device, opening.dtype)
        return open_encoder(name, *where, opening.most_threads, opening.cache_dir)


def unit(vectors: Any) -> Any:
    """Scale every row to length 1; a row of zeros stays."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)


def core(model: Embedder, contents: list[Any], _control: Control) -> list[Any]:
    """Vectors of token sequences, of whatever requests they are."""
    return list(model.encode(contents))


def _choice(opening: Opening) -> EncoderChoice:
    if opening.runtime is not None:
        return EncoderChoice(small=opening.runtime, large=opening.runtime, threshold_tokens=0)
    measured = opening.runtimes
    if opening.device != "cpu" or not measured:
        return EncoderChoice(small=REFERENCE, large=REFERENCE, threshold_tokens=0)
    return EncoderChoice(
        small=str(measured["small"]), large=str(measured["large"]), threshold_tokens=int(measured["threshold_tokens"])
    )


FAMILY = LocalFamily(load=Embedder, core=core, budget=BUDGET, lane_budget=LANE_BUDGET)
