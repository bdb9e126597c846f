"""A fitted classifier of intents: unit vectors in, probabilities out. Plain numpy; knows no text and no file.

What comes out, for a text whose unit vector is `v`:

    z = W v + b                                   logits of a logistic regression, one a label
    likeness = max_i c_i . v + 0.1 T log sum exp(z / T) + d . v + e
    u = max(z / T) + slope * (threshold - likeness)
    probabilities = softmax([z / T, u])           the labels, then `unknown`; their sum is 1

`T` makes the labels' probabilities calibrated. `c_i` are the centres of the labels' examples; `d` and `e` are 0 unless
there were examples of `unknown` to learn them from. `unknown` competes with the best label and beats it exactly where
the likeness is below the threshold; far above it takes nothing from anybody, and the labels' probabilities keep their
ratios everywhere.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from backends.local.intents.calibration import free_energy, log_softmax
from backends.local.intents.definition import UNKNOWN

ENERGY_SHARE = 0.1
SAME_SPACE = 0.999  # the cosine from which two embedders count as one (see the issue of the runtimes)


class Head(Struct, frozen=True, kw_only=True):
    """A classifier as it is kept. Arrays are little-endian float32.

    Attributes:
        weights, centres: One row a label.
        bias: One number a label.
        direction: What is added to the likeness: `d`, then `e`.
        probe: The vector of `definition.PROBE`: which embedder it was fitted to.
    """

    labels: tuple[str, ...]
    weights: bytes
    bias: bytes
    centres: bytes
    probe: bytes
    temperature: float
    threshold: float
    slope: float
    direction: bytes


class Classifier:
    """Answers for one head."""

    def __init__(self, head: Head) -> None:
        """Unpack the arrays.

        Raises:
            ValueError: They are not of one shape, or hold what is no number.
        """
        self.labels = (*head.labels, UNKNOWN)
        self._probe = unpacked(head.probe, 1)[0]
        self._weights = unpacked(head.weights, len(head.labels))
        self._centres = unpacked(head.centres, len(head.labels))
        self._bias = unpacked(head.bias, 1)[0]
        self._direction = unpacked(head.direction, 1)[0]
        wanted = (len(self._bias), len(self._direction) - 1)
        shapes = {self._weights.shape, self._centres.shape, wanted, (len(self._bias), len(self._probe))}
        if len(shapes) > 1 or not head.temperature > 0:
            raise ValueError("the arrays do not fit together")
        self._temperature, self._threshold, self._slope = head.temperature, head.threshold, head.slope

    def fits(self, probe: Any) -> bool:
        """True when vectors of the embedder that gives `probe` mean the same here."""
        return probe.shape == self._probe.shape and float(probe @ self._probe) >= SAME_SPACE

    def likeness(self, vectors: Any) -> Any:
        """How much each unit vector is like what was seen: below the threshold it is `unknown`."""
        return self._likeness(vectors, self._logits(vectors))

    def probabilities(self, vectors: Any) -> Any:
        """One row a unit vector: a probability for each of `labels`."""
        import numpy as np

        logits = self._logits(vectors)
        calibrated = logits / self._temperature
        doubt = calibrated.max(axis=1) + self._slope * (self._threshold - self._likeness(vectors, logits))
        return np.exp(log_softmax(np.column_stack([calibrated, doubt])))

    def _likeness(self, vectors: Any, logits: Any) -> Any:
        told = vectors @ self._direction[:-1] + self._direction[-1]
        return likenesses(vectors, self._centres, logits, self._temperature) + told

    def _logits(self, vectors: Any) -> Any:
        return vectors @ self._weights.T + self._bias


def likenesses(vectors: Any, centres: Any, logits: Any, temperature: float) -> Any:
    """How much each text is like what was seen: the cosine with the nearest centre, and a share of the free energy.

    Measured on CLINC150 and BANKING77 (benchmarks/README.md): together they tell strangers better than either alone.
    """
    return (vectors @ centres.T).max(axis=1) + ENERGY_SHARE * free_energy(logits, temperature)


def packed(array: Any) -> bytes:
    """An array as little-endian float32."""
    return bytes(array.astype("<f4").tobytes())


def unpacked(body: bytes, rows: int) -> Any:
    """The array of so many rows that `packed` made.

    Raises:
        ValueError: It has no such shape, or holds what is no number.
    """
    import numpy as np

    array = np.frombuffer(body, dtype="<f4").reshape(rows, -1)
    if not (array.size and np.isfinite(array).all()):
        raise ValueError("an array is empty or holds what is no number")
    return array
