"""Tells texts that want none of the intents from those that do: what to compare, and where to cut. Knows no label.

Without examples of such texts the likeness of `classifier` is compared with what 95 % of the known texts reach. With
them, a second regression of known against unknown joins it, with the share that tells them best, and the threshold is
that of best balanced accuracy. It helps where labels are broad: among the built-in intents, coding is unlike itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from backends.local.intents.calibration import auroc, best_cut, best_slope, passed_by
from backends.local.intents.classifier import likenesses
from backends.local.intents.logistic import Weights, logistic_regression, logits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

KNOWN_SHARE = 0.95
FEWEST = 5  # unknown texts from which they are fitted too
STRENGTH = 1.0
SHARES = (0.0, 0.1, 0.2, 0.4)
SLOPE = 2.5  # per standard deviation of the known likenesses: least log loss on CLINC150 with strangers mixed in
LEAST_SPREAD = 0.05


class Fold(NamedTuple):
    """What was fitted without the examples `unseen`."""

    weights: Weights
    centres: Any
    unseen: Any

    def likeness(self, vectors: Any, temperature: float) -> Any:
        """As `classifier` defines it."""
        return likenesses(vectors, self.centres, logits_of(vectors, self.weights), temperature)


class Cut(NamedTuple):
    """Where unknown texts are told from known ones.

    Attributes:
        threshold: The likeness below which a text is unknown.
        slope: How fast doubt becomes certainty on either side of it, in odds per likeness.
        direction: What is added to the likeness: its product with the vector, and its last number; zeros add nothing.
        known_kept: The share of known texts above the threshold, out of fold.
        unknown_recall: The share of unknown texts below it, out of fold; None where there were none.
    """

    threshold: float
    slope: float
    direction: Any
    known_kept: float
    unknown_recall: float | None


class _Unseen(NamedTuple):
    """Texts as folds saw them that were fitted without them."""

    likeness: Any
    known: Any  # the second regression's logit; zeros where there is none


def cut_between(examples: Any, labels: Any, unknown: Any, folds: Sequence[Fold], temperature: float) -> Cut:
    """Choose by what was not seen. `examples` and `unknown` are unit vectors, one row a text."""
    import numpy as np

    own, others = _unseen(examples, unknown, folds, temperature)
    share = max(SHARES, key=lambda share: auroc(_sum(own, share), _sum(others, share))) if len(unknown) else 0.0
    known, strange = _sum(own, share), _sum(others, share)
    slope = SLOPE / max(float(known.std()), LEAST_SPREAD)
    direction = np.zeros(examples.shape[1] + 1, dtype=np.float32)
    if share:
        direction = share * _direction(examples, unknown)
    if len(unknown) < 2:
        weights = 1 / np.bincount(labels)[labels]
        threshold = passed_by(KNOWN_SHARE, known, weights)
        recall = float((strange < threshold).mean()) if len(unknown) else None
        return Cut(threshold, slope, direction, float(np.average(known >= threshold, weights=weights)), recall)
    threshold = best_cut(known, strange)
    kept, found = _shares(known, strange, len(folds))
    return Cut(threshold, best_slope(known, strange, threshold, slope), direction, kept, found)


def _unseen(examples: Any, unknown: Any, folds: Sequence[Fold], temperature: float) -> tuple[_Unseen, _Unseen]:
    """Each example, and each unknown text, by the fold that did not see it."""
    import numpy as np

    own, others = (_Unseen(np.zeros(len(texts)), np.zeros(len(texts))) for texts in (examples, unknown))
    for number, fold in enumerate(folds):
        strangers = np.arange(number, len(unknown), len(folds))
        own.likeness[fold.unseen] = fold.likeness(examples[fold.unseen], temperature)
        others.likeness[strangers] = fold.likeness(unknown[strangers], temperature)
        if len(unknown) >= FEWEST:
            seen = np.delete(np.arange(len(examples)), fold.unseen)
            direction = _direction(examples[seen], np.delete(unknown, strangers, axis=0))
            own.known[fold.unseen] = examples[fold.unseen] @ direction[:-1] + direction[-1]
            others.known[strangers] = unknown[strangers] @ direction[:-1] + direction[-1]
    return own, others


def _sum(texts: _Unseen, share: float) -> Any:
    return texts.likeness + share * texts.known


def _direction(known: Any, unknown: Any) -> Any:
    """A vector and a number: the logit of being known, both kinds weighing the same."""
    import numpy as np

    labels = np.repeat([0, 1], [len(unknown), len(known)])
    weights = logistic_regression(np.concatenate([unknown, known]), labels, np.ones(len(labels)), STRENGTH)
    return np.append(weights.matrix[1] - weights.matrix[0], weights.bias[1] - weights.bias[0])


def _shares(known: Any, strange: Any, parts: int) -> tuple[float, float]:
    """Of known texts kept and strange ones found, each by a threshold that the text did not help to choose."""
    import numpy as np

    kept = found = 0
    for part in range(parts):
        own, other = (np.arange(len(texts)) % parts == part for texts in (known, strange))
        if other.all():
            return float((known >= best_cut(known, strange)).mean()), 0.0
        cut = best_cut(known[~own], strange[~other])
        kept += int((known[own] >= cut).sum())
        found += int((strange[other] < cut).sum())
    return kept / len(known), found / len(strange)
