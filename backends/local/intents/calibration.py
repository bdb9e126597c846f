"""How far a classifier's figures can be trusted: temperature, calibration error, thresholds, intervals. Plain numpy.

Logits and probabilities are arrays of one row a text and one column a label; labels are column numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BINS = 15
TEXTS_A_BIN = 10  # at least: fewer make bins of chance, whose error is not the classifier's
Z95 = 1.959964
_COLDEST, _WARMEST = 0.02, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2


def log_softmax(logits: Any) -> Any:
    """Logarithms of the probabilities that logits stand for."""
    import numpy as np

    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def free_energy(logits: Any, temperature: float) -> Any:
    """`T log sum exp(z / T)` of each row: the negative free energy of Liu et al., 2020 (arXiv 2010.03759)."""
    import numpy as np

    top = logits.max(axis=1)
    return top + temperature * np.log(np.exp((logits - top[:, None]) / temperature).sum(axis=1))


def temperature_of(logits: Any, labels: Any) -> tuple[float, float]:
    """The temperature of least log loss (Guo et al., 2017, arXiv 1706.04599), and that loss in nats.

    The right label counts n + 1 of n + 2, as Platt (1999) proposed: a few texts that all came out right are no proof
    that nothing ever comes out wrong.
    """
    import numpy as np

    doubt = 1 / (len(labels) + 2)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        logs = log_softmax(logits / math.exp(log_temperature))
        return float(-(1 - doubt) * logs[rows, labels].mean() - doubt * logs.mean())

    best = _least(loss, math.log(_COLDEST), math.log(_WARMEST))
    return math.exp(best), loss(best)


def calibration_error(confidence: Any, right: Any) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, over bins of equally many texts.

    15 bins as in Guo et al., 2017; equal mass as in Nixon et al., 2019 (arXiv 1904.01685); fewer for few texts.
    """
    import numpy as np

    bins = max(1, min(BINS, len(confidence) // TEXTS_A_BIN))
    order = np.argsort(confidence, kind="stable")
    gaps = [len(part) * abs(confidence[part].mean() - right[part].mean()) for part in np.array_split(order, bins)]
    return float(sum(gaps) / len(confidence))


def wilson(right: int, texts: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    share, spread = right / texts, Z95**2 / texts
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / texts + spread / texts / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def auroc(known: Any, unknown: Any) -> float:
    """How often a known text scores above an unknown one; equals count half (Mann and Whitney, 1947)."""
    import numpy as np

    values = np.sort(unknown)
    below = np.searchsorted(values, known, side="left") + np.searchsorted(values, known, side="right")
    return float(below.sum() / 2 / len(known) / len(unknown))


def passed_by(share: float, known: Any, weights: Any) -> float:
    """The largest likeness that known texts of so much of the weight reach."""
    import numpy as np

    order = np.argsort(known, kind="stable")
    below = np.cumsum(weights[order]) - weights[order]
    return float(known[order][below <= (1 - share) * weights.sum() + 1e-9][-1])


def best_cut(known: Any, unknown: Any) -> float:
    """The likeness between two texts at which most known ones are above and most unknown ones below.

    "Most" is balanced accuracy, so that it does not matter how many of either were given.
    """
    import numpy as np

    values = np.unique(np.concatenate([known, unknown]))
    cuts = np.concatenate([[values[0]], (values[1:] + values[:-1]) / 2])
    kept = 1 - np.searchsorted(np.sort(known), cuts, side="left") / len(known)
    refused = np.searchsorted(np.sort(unknown), cuts, side="left") / len(unknown)
    best = np.flatnonzero(kept + refused == (kept + refused).max())
    return float(cuts[best[len(best) // 2]])


def best_slope(known: Any, unknown: Any, threshold: float, first: float) -> float:
    """The slope of least log loss with both kinds weighing the same, within a factor 4 of `first`.

    Doubt is kept as in `temperature_of`: a few texts that lie on their right sides do not make the slope a cliff.
    """
    import numpy as np

    doubt = 1 / (min(len(known), len(unknown)) + 2)

    def loss(log_slope: float) -> float:
        slope = math.exp(log_slope)
        sides = (slope * (known - threshold), slope * (threshold - unknown))
        return float(sum((np.logaddexp(0, -side) + doubt * side).mean() for side in sides))

    return math.exp(_least(loss, math.log(first / 4), math.log(first * 4)))


def _least(function: Callable[[float], float], low: float, high: float, steps: int = 32) -> float:
    """Where a function with one valley is least, by golden sections; `high - low` shrinks five million times."""
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [function(inner[0]), function(inner[1])]
    for _ in range(steps):
        if values[0] <= values[1]:
            high = inner[1]
            inner = [high - _GOLDEN * (high - low), inner[0]]
            values = [function(inner[0]), values[0]]
        else:
            low = inner[0]
            inner = [inner[1], low + _GOLDEN * (high - low)]
            values = [values[1], function(inner[1])]
    return (low + high) / 2
