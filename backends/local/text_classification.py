"""text-classification: what a prompt asks for, by its likeness to the example prompts of `intents.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from backends.local.embedder import unit
from backends.local.types import Answer
from backends.local.zero_shot_classification import ranked
from backends.types import ClassificationOutput, Usage

if TYPE_CHECKING:
    from backends.local.embedder import Embedder
    from backends.local.types import Control
    from backends.types import ClassificationInput

UNKNOWN = "unknown"
# Chosen with all-MiniLM-L6-v2 by leaving out each of the 115 examples in turn: accuracy 0.84 (centroids alone 0.80).
NEAREST = 3  # examples that speak for an intent beside its centroid
DESCRIPTION_WEIGHT = 0.75  # of the description in the centroid
SCALE = 30.0  # 1 / temperature of the softmax: the least log loss of those tried
KNOWN_SHARE = 0.85  # of the left-out examples stay above the threshold, and half of CLINC150's strangers below


class Intent(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of `intents.toml`."""

    description: str
    examples: tuple[str, ...]


@cache
def intents() -> dict[str, Intent]:
    """Every intent, by name."""
    with Path(__file__).with_name("intents.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), dict[str, Intent])


class IntentHead:
    """The examples as one embedder sees them. Built once for each loaded model."""

    def __init__(self, model: Embedder) -> None:
        self.labels = (*intents(), UNKNOWN)
        self._owners = [index for index, intent in enumerate(intents().values()) for _ in intent.examples]
        self._examples = model.unit_vectors([text for intent in intents().values() for text in intent.examples])
        described = [f"This request is about {intent.description}." for intent in intents().values()]
        self._descriptions = model.unit_vectors(described)
        tops = sorted(max(self.leave_one_out(index)) for index in range(len(self._owners)))
        self.threshold: float = tops[int((1 - KNOWN_SHARE) * len(tops))]

    def scores(self, vectors: Any) -> Any:
        """One row a text, one likeness in -1..1 an intent."""
        return self._likeness(vectors, range(len(self._owners)))

    def leave_one_out(self, index: int) -> list[float]:
        """The likenesses of one example when it is not among the examples."""
        others = [other for other in range(len(self._owners)) if other != index]
        row: list[float] = self._likeness(self._examples[index : index + 1], others)[0].tolist()
        return row

    def accuracy(self) -> float:
        """The share of examples that the others would put where they belong."""
        rows = [self.leave_one_out(index) for index in range(len(self._owners))]
        right = sum(row.index(max(row)) == owner for row, owner in zip(rows, self._owners, strict=True))
        return right / len(rows)

    def _likeness(self, vectors: Any, among: Any) -> Any:
        """Half the cosine with the intent's centre, half the mean cosine with its nearest examples."""
        import torch

        columns = []
        for intent, description in enumerate(self._descriptions):
            own = self._examples[[index for index in among if self._owners[index] == intent]]
            centre = unit(own.mean(0, keepdim=True)) + DESCRIPTION_WEIGHT * description
            nearest = (vectors @ own.T).topk(min(NEAREST, len(own)), dim=1).values.mean(1)
            columns.append((nearest + (vectors @ unit(centre).T)[:, 0]) / 2)
        return torch.stack(columns, dim=1)


def run(model: Embedder, payload: ClassificationInput, control: Control) -> Answer:
    """Intents with their probabilities, best first, `unknown` among them.

    `unknown` competes with a likeness equal to the threshold: it comes first when no intent is above it.
    """
    import torch

    head = model.built("intents", IntentHead)
    likeness = head.scores(model.unit_vectors(payload.texts, control))
    threshold = torch.full((len(likeness), 1), head.threshold)
    probabilities = (torch.cat([likeness, threshold], dim=1) * SCALE).softmax(dim=1).tolist()
    output = ClassificationOutput(tuple(ranked(head.labels, row)[: payload.top_k] for row in probabilities))
    return Answer(output, Usage(prompt_tokens=model.read(payload.texts)))
