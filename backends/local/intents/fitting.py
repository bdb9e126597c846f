"""Fits a classifier to a set of intents, and measures it on texts it did not see. Knows vectors, no embedder.

The method, with its sources:

* Multinomial logistic regression on frozen sentence vectors of length 1, every label weighing the same: how many
  examples a label has says nothing about how often it will be asked for.
* A label's own words, and its description, are rows of the fit too ("card_arrival" reads "card arrival"), because with
  few examples they say more than most of these: in benchmarks/README.md accuracy with one example a label rises from
  0.65 to 0.79 (CLINC150) and from 0.54 to 0.71 (BANKING77). Whether they help is found out, as labels may be "A", "B".
* Everything is judged out of fold: stratified, seeded cross-validation with as many folds as the rarest label has
  examples, at most five. The strength of regularisation, and the use of labels as texts, are those of least log loss.
* Temperature and calibration error: `calibration`. Which texts are unknown: `strangers`. What comes out: `classifier`.

The accuracy reported is that of the best label, before `unknown` competes. Five settings at most are compared on the
same folds, which flatters; the folds see fewer examples, which does not. In benchmarks/README.md it is up to 0.05 lower
than that of unseen texts with two examples a label, and within 0.03 of it, on either side, with ten or more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from backends.local.intents.calibration import calibration_error, log_softmax, temperature_of, wilson
from backends.local.intents.classifier import Head, packed
from backends.local.intents.definition import PROBE
from backends.local.intents.logistic import Rows, Weights, logistic_regression, logits_of
from backends.local.intents.strangers import Cut, Fold, cut_between

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backends.local.intents.definition import IntentSet

FOLDS = 5
STRENGTHS = (10.0, 1.0, 30.0)  # of scikit-learn's `C`; the first where comparing would take minutes
SEARCHED = 100_000  # examples x labels up to which settings are compared: seconds
CONFUSIONS = 10
DESCRIPTION_WEIGHT = 2.0

Words = Literal["labels", "descriptions", "none"]
"""Which words about labels are rows of the fit: both kinds, descriptions alone, or none."""


class Confusion(Struct, frozen=True):
    """Texts of one label that were taken for another, and their share of that label's texts."""

    label: str
    taken_for: str
    texts: int
    share: float


class Report(Struct, frozen=True, kw_only=True):
    """What a fit measured, out of fold. Shares are in 0..1.

    Attributes:
        ece, ece_uncalibrated: Expected calibration error of the labels' probabilities, with and without temperature.
        known_kept, unknown_recall: At the threshold; the latter None without examples of `unknown`.
        strength: scikit-learn's `C`.
        words: Which words about the labels were rows of the fit: all (`labels`), `descriptions` alone, or `none`.
        fit_s: Seconds it took, embedding the texts not included.
    """

    labels: int
    examples: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    ece: float
    ece_uncalibrated: float
    threshold: float
    known_kept: float
    unknown_recall: float | None
    confusions: tuple[Confusion, ...]
    folds: int
    strength: float
    words: Words
    fit_s: float


class Fitted(Struct, frozen=True):
    """A classifier and what is known of it."""

    head: Head
    report: Report


class _Setting(NamedTuple):
    strength: float
    words: Words


class _Trial(NamedTuple):
    """One setting, judged out of fold: the logits of each example are those of the fold that did not see it."""

    setting: _Setting
    logits: Any
    folds: list[Fold]
    temperature: float
    loss: float


def texts_of(intents: IntentSet) -> list[str]:
    """Every text whose vector `fit` needs, in the order in which it needs them."""
    examples = [text for intent in intents.intents.values() for text in intent.examples]
    return [PROBE, *examples, *_named(intents), *_described(intents).values(), *intents.unknown]


def fit(intents: IntentSet, vectors: Any, seed: int = 0) -> Fitted:
    """Fit and measure. `vectors` are those of `texts_of(intents)`, one row of length 1 a text.

    Deterministic for a seed; takes a second for a hundred examples and most of a minute for 15,000 of 150 labels.
    """
    import numpy as np

    started, vectors = time.perf_counter(), np.asarray(vectors, dtype=np.float32)
    labels, count = intents.labels, len(intents.intents)
    rows, unknown = _rows(intents, vectors)
    folds = _folds(rows.labels, min(FOLDS, *(len(intent.examples) for intent in intents.intents.values())), seed)
    trial = _best(rows, count, folds)
    weights, centres = _fitted(rows, count, trial.setting)
    cut = cut_between(rows.vectors, rows.labels, unknown, trial.folds, trial.temperature)
    head = Head(
        labels=labels,
        weights=packed(weights.matrix),
        bias=packed(weights.bias),
        centres=packed(centres),
        probe=packed(vectors[0]),
        temperature=trial.temperature,
        threshold=cut.threshold,
        slope=cut.slope,
        direction=packed(cut.direction),
    )
    report = _report(labels, rows.labels, trial, cut, len(folds))
    return Fitted(head, msgspec.structs.replace(report, fit_s=time.perf_counter() - started))


def _named(intents: IntentSet) -> list[str]:
    return [" ".join(label.replace("_", " ").replace("-", " ").split()) or label for label in intents.intents]


def _described(intents: IntentSet) -> dict[int, str]:
    """Descriptions as sentences, by the number of their label."""
    given = enumerate(intent.description.strip() for intent in intents.intents.values())
    return {number: f"This request is about {text}." for number, text in given if text}


def _rows(intents: IntentSet, vectors: Any) -> tuple[Rows, Any]:
    """The rows of the fit, and the vectors of `unknown`."""
    import numpy as np

    owners = np.repeat(np.arange(len(intents.intents)), [len(i.examples) for i in intents.intents.values()])
    described = list(_described(intents))
    said = np.array([*range(len(intents.intents)), *described])
    examples, labels, unknown = np.split(vectors[1:], np.cumsum([len(owners), len(said)]))
    worth = np.array([1.0] * len(intents.intents) + [DESCRIPTION_WEIGHT] * len(described))
    return Rows(examples, owners, labels, said, worth), unknown


def _folds(labels: Any, folds: int, seed: int) -> list[tuple[Any, Any]]:
    from sklearn.model_selection import StratifiedKFold

    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels))


def _best(rows: Rows, count: int, folds: list[tuple[Any, Any]]) -> _Trial:
    """The setting of least log loss; first which words about labels help, then the strength."""
    if len(rows.labels) * count > SEARCHED:
        return _tried(rows, count, folds, _Setting(STRENGTHS[0], "labels"))
    kinds: list[Words] = ["labels", "none"] if len(rows.said) == count else ["labels", "descriptions", "none"]
    best = _least(_tried(rows, count, folds, _Setting(STRENGTHS[0], kind)) for kind in kinds)
    others = (_Setting(strength, best.setting.words) for strength in STRENGTHS[1:])
    return _least([best, *(_tried(rows, count, folds, other) for other in others)])


def _least(trials: Iterable[_Trial]) -> _Trial:
    return min(trials, key=lambda trial: trial.loss)


def _tried(rows: Rows, count: int, folds: list[tuple[Any, Any]], setting: _Setting) -> _Trial:
    import numpy as np

    logits, fitted = np.empty((len(rows.labels), count), dtype=np.float32), []
    for seen, unseen in folds:
        weights, centres = _fitted(rows.only(seen), count, setting)
        logits[unseen] = logits_of(rows.vectors[unseen], weights)
        fitted.append(Fold(weights, centres, unseen))
    temperature, loss = temperature_of(logits, rows.labels)
    return _Trial(setting, logits, fitted, temperature, loss)


def _fitted(rows: Rows, count: int, setting: _Setting) -> tuple[Weights, Any]:
    """Weights of the regression, and the centre of each label's rows at length 1."""
    import numpy as np

    used = rows.with_words({"labels": 0, "descriptions": count, "none": len(rows.said)}[setting.words])
    vectors, labels, worth = used.stacked()
    centres = np.stack([(vectors[labels == k] * worth[labels == k, None]).sum(axis=0) for k in range(count)])
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    return logistic_regression(vectors, labels, worth, setting.strength), centres / np.maximum(lengths, 1e-12)


def _report(labels: tuple[str, ...], truth: Any, trial: _Trial, cut: Cut, folds: int) -> Report:
    import numpy as np

    guess = trial.logits.argmax(axis=1)
    right = guess == truth
    sure, raw = (np.exp(log_softmax(z)).max(axis=1) for z in (trial.logits / trial.temperature, trial.logits))
    return Report(
        labels=len(labels),
        examples=len(truth),
        accuracy=float(right.mean()),
        accuracy_interval=wilson(int(right.sum()), len(truth)),
        ece=calibration_error(sure, right),
        ece_uncalibrated=calibration_error(raw, right),
        threshold=cut.threshold,
        known_kept=cut.known_kept,
        unknown_recall=cut.unknown_recall,
        confusions=_confusions(labels, truth, guess),
        folds=folds,
        strength=trial.setting.strength,
        words=trial.setting.words,
        fit_s=0.0,
    )


def _confusions(labels: tuple[str, ...], truth: Any, guess: Any) -> tuple[Confusion, ...]:
    import numpy as np

    totals = np.bincount(truth, minlength=len(labels))
    wrong = truth != guess
    pairs, counts = np.unique(np.stack([truth[wrong], guess[wrong]], axis=1), axis=0, return_counts=True)
    found = [
        Confusion(labels[one], labels[other], int(texts), float(texts / totals[one]))
        for (one, other), texts in zip(pairs, counts, strict=True)
    ]
    return tuple(sorted(found, key=lambda pair: (-pair.texts, -pair.share, pair.label))[:CONFUSIONS])
