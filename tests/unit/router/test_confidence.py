"""How sure an answer is, by its task."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    DrawingOutput,
    EmbeddingInput,
    EmbeddingOutput,
    GenerationInput,
    GenerationOutput,
    LabelScore,
    SpeechInput,
    Target,
    Task,
    TranscriptOutput,
    ZeroShotInput,
)
from router.confidence import confidence_of

TEXT = ClassificationInput(texts=("a",))
HEAD, OTHER = (
    Target(backend="local", provider="local", model="m", task=Task.TEXT_CLASSIFICATION, head=head)
    for head in ("builtin", None)
)


def labels(*scores: float) -> ClassificationOutput:
    return ClassificationOutput((tuple(LabelScore(str(at), score) for at, score in enumerate(scores)),))


def test_intents_are_as_sure_as_they_say() -> None:
    """Their probabilities are calibrated."""
    assert 0.7 == confidence_of(labels(0.7, 0.2), TEXT, HEAD)


def test_other_labels_are_as_sure_as_the_first_is_ahead() -> None:
    """Of one label alone the least margin that its probability allows."""
    assert confidence_of(labels(0.7, 0.2), TEXT, OTHER) == pytest.approx(0.5)
    assert confidence_of(labels(0.7), TEXT, OTHER) == pytest.approx(0.4)
    assert 0.0 == confidence_of(labels(0.3), TEXT, OTHER)


def test_labels_that_exclude_nothing_are_as_sure_as_the_least_certain() -> None:
    """0.5 is a coin."""
    both = ZeroShotInput(texts=("a",), candidate_labels=("x", "y"), multi_label=True)

    assert confidence_of(labels(0.95, 0.4), both, OTHER) == pytest.approx(0.2)


def test_several_texts_are_as_sure_as_the_least_sure() -> None:
    """One doubtful label is enough to ask again."""
    two = ClassificationOutput((*labels(0.9, 0.1).labels, *labels(0.6, 0.4).labels))

    assert confidence_of(two, TEXT, HEAD) == pytest.approx(0.6)


@pytest.mark.parametrize("scores", [(), (3.2,), (-1.0, 2.0)], ids=["none", "regression", "logits"])
def test_what_is_no_probability_says_nothing(scores) -> None:
    """A regression's label has the value itself for a score."""
    assert None is confidence_of(labels(*scores), TEXT, OTHER)


def test_text_and_speech_are_as_sure_as_their_backend_says() -> None:
    """And where it says nothing, nobody knows."""
    said = GenerationInput(prompt="a")

    assert 0.4 == confidence_of(GenerationOutput("b", "stop", 0.4), said, OTHER)
    assert None is confidence_of(GenerationOutput("b", "stop"), said, OTHER)
    assert None is confidence_of(GenerationOutput("b", "stop", math.nan), said, OTHER)
    assert 0.3 == confidence_of(TranscriptOutput(text="b", confidence=0.3), SpeechInput(audio=b""), OTHER)


def test_vectors_and_drawings_say_nothing() -> None:
    """Nothing in them tells whether they are right."""
    assert None is confidence_of(EmbeddingOutput((array("f", [1.0]),)), EmbeddingInput(texts=("a",)), OTHER)
    assert None is confidence_of(DrawingOutput((b"",), (1,)), TEXT, OTHER)


@given(scores=st.lists(st.floats(), max_size=4), multi=st.booleans(), head=st.booleans())
def test_a_confidence_is_a_share(scores, multi, head) -> None:
    """Whatever a far side calls a score."""
    payload = ZeroShotInput(texts=("a",), candidate_labels=("x",), multi_label=multi)
    found = confidence_of(labels(*scores), payload, HEAD if head else OTHER)

    assert found is None or 0 <= found <= 1
