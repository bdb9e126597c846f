"""The two tasks of a model that was trained to tell classes of text apart: its own labels, and any by entailment.

Entailment: a label fits a text when "This example is LABEL." follows from it, which a model trained on natural language
inference tells (Yin, Hay and Roth 2019). The scores are those of transformers' own pipelines.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from backends.errors import ContextLengthExceeded, InvalidInput
from backends.local.sequence_model import SequenceModel, Tokens, load
from backends.local.types import Answer, LocalFamily, LocalTask, Unit
from backends.local.zero_shot_classification import ranked
from backends.types import ClassificationInput, ClassificationOutput, Task, Usage, ZeroShotInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.local.types import Control

BUDGET = 4096  # tokens of a batch: a second of work for a small model on two cores, which bounds everybody's wait
TEMPLATE = "This example is {}."
_SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank."


def core(model: SequenceModel, contents: list[Tokens], _control: Control) -> list[Any]:
    """A list of logits for each token sequence, of whatever requests they are."""
    return list(model.logits(contents))


# --- the model's own labels ---------------------------------------------------------------------


def pre_texts(model: SequenceModel, payload: ClassificationInput) -> list[Unit]:
    """Tokenise the texts.

    Raises:
        ContextLengthExceeded: A text is too long and `truncate` is off.
        InvalidInput: A text is nothing to the model, or `top_k` is less than 1.
    """
    if payload.top_k is not None and payload.top_k < 1:
        raise InvalidInput(f"top_k is {payload.top_k}; it can be 1 or more, or left out for all labels")
    units = []
    for at, (text, tokens) in enumerate(zip(payload.texts, model.tokens(payload.texts), strict=True)):
        if model.is_too_long(tokens) and not payload.truncate:
            raise ContextLengthExceeded(f"text {at} has {len(tokens.ids)} tokens; the model reads {model.limit}")
        if not tokens.ids:
            raise InvalidInput(f"text {at} has no tokens")
        units.append(_unit(model.cut(text) if model.is_too_long(tokens) else tokens))
    return units


def post_texts(model: SequenceModel, payload: ClassificationInput, units: list[Unit], results: list[Any]) -> Answer:
    """Labels, best first, with probabilities; a regression's label has the value itself for a score."""
    rows = (ranked(model.labels, _own_scores(model, logits), payload.top_k) for logits in results)
    return Answer(ClassificationOutput(tuple(rows)), _usage(units))


def _own_scores(model: SequenceModel, logits: Sequence[float]) -> list[float]:
    if model.problem == "regression":
        return list(logits)
    if model.problem == "multi_label_classification" or len(logits) == 1:
        return [_sigmoid(logit) for logit in logits]
    return _softmax(logits)


# --- any labels, by entailment ------------------------------------------------------------------


def pre_pairs(model: SequenceModel, payload: ZeroShotInput) -> list[Unit]:
    """Tokenise each text with each label's hypothesis; only of the text is anything ever cut off.

    Raises:
        ContextLengthExceeded: A pair is too long and `truncate` is off, or a hypothesis leaves no room for a text.
        InvalidInput: There are no labels, the template has no place for one, or the model knows no entailment.
    """
    hypotheses = _hypotheses(model, payload)
    pairs = [(text, hypothesis) for text in payload.texts for hypothesis in hypotheses]
    units = []
    for at, (pair, tokens) in enumerate(zip(pairs, model.tokens(*_columns(pairs)), strict=True)):
        if model.is_too_long(tokens):
            text, label = divmod(at, len(hypotheses))
            if not payload.truncate:
                raise ContextLengthExceeded(
                    f"text {text} with label {label} has {len(tokens.ids)} tokens; the model reads {model.limit}"
                )
            _check_room(model, label, pair[1])
            tokens = model.cut(*pair)  # noqa: PLW2901 -- what is read of it
        units.append(_unit(tokens))
    return units


def post_pairs(model: SequenceModel, payload: ZeroShotInput, units: list[Unit], results: list[Any]) -> Answer:
    """Score each label for each text, best first.

    One right label: a softmax over the labels' entailment. `multi_label`, or a single label: for each label a softmax
    of entailment against contradiction.
    """
    labels = payload.candidate_labels
    rows = [results[at : at + len(labels)] for at in range(0, len(results), len(labels))]
    scores = (ranked(labels, _entailed(model, row, multi_label=payload.multi_label)) for row in rows)
    return Answer(ClassificationOutput(tuple(scores)), _usage(units))


def _hypotheses(model: SequenceModel, payload: ZeroShotInput) -> list[str]:
    if model.entailment is None:
        known = ", ".join(model.labels[:10])
        raise InvalidInput(
            f"this model tells no entailment: its labels are {known}; zero-shot needs one trained for it"
        )
    if not payload.candidate_labels:
        raise InvalidInput("there are no candidate_labels")
    template = payload.hypothesis_template or TEMPLATE
    if "{}" not in template:
        raise InvalidInput("hypothesis_template has no {}, the place of the label")
    return [template.replace("{}", label) for label in payload.candidate_labels]


def _columns(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [text for text, _ in pairs], [hypothesis for _, hypothesis in pairs]


def _check_room(model: SequenceModel, label: int, hypothesis: str) -> None:
    (alone,) = model.tokens([""], [hypothesis])
    if model.limit is not None and len(alone.ids) >= model.limit:
        raise ContextLengthExceeded(
            f"label {label} has {len(alone.ids)} tokens in its template, which leave no room for a text; "
            f"the model reads {model.limit}"
        )


def _entailed(model: SequenceModel, rows: list[list[float]], *, multi_label: bool) -> list[float]:
    entailment = model.entailment or 0
    if multi_label or len(rows) == 1:
        return [_softmax([row[model.contradiction], row[entailment]])[1] for row in rows]
    return _softmax([row[entailment] for row in rows])


# --- both ---------------------------------------------------------------------------------------


def _unit(tokens: Tokens) -> Unit:
    return Unit(tokens, len(tokens.ids))


def _usage(units: list[Unit]) -> Usage:
    return Usage(prompt_tokens=sum(unit.size for unit in units))


def _softmax(logits: Sequence[float]) -> list[float]:
    highest = max(logits)
    powers = [math.exp(logit - highest) for logit in logits]
    return [power / sum(powers) for power in powers]


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else 1 - 1 / (1 + math.exp(logit))


FAMILY = LocalFamily(load=load, core=core, budget=BUDGET)

TEXT_CLASSIFICATION = LocalTask(
    task=Task.TEXT_CLASSIFICATION,
    family="sequence-classifier",
    pre=pre_texts,
    post=post_texts,
    warm_ups=(
        ClassificationInput(texts=(_SENTENCE,)),
        ClassificationInput(texts=(_SENTENCE,) * 8),
        ClassificationInput(texts=(" ".join([_SENTENCE] * 12),) * 8, truncate=True),
    ),
)

ZERO_SHOT_CLASSIFICATION = LocalTask(
    task=Task.ZERO_SHOT_CLASSIFICATION,
    family="sequence-classifier",
    pre=pre_pairs,
    post=post_pairs,
    warm_ups=(
        ZeroShotInput(texts=(_SENTENCE,), candidate_labels=("animals",)),
        ZeroShotInput(texts=(_SENTENCE,) * 2, candidate_labels=("animals", "money", "weather", "sports")),
        ZeroShotInput(
            texts=(" ".join([_SENTENCE] * 12),) * 2,
            candidate_labels=("animals", "money", "weather", "sports"),
            truncate=True,
        ),
    ),
)
