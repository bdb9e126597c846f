"""How good one output is, by each metric."""

from array import array

import pytest

from backends.types import (
    ClassificationOutput,
    DrawingOutput,
    EmbeddingOutput,
    GenerationOutput,
    LabelScore,
    TranscriptOutput,
)
from router.compare.quality import score


def said(text: str) -> GenerationOutput:
    return GenerationOutput(text, "stop")


def labels(*names: str) -> ClassificationOutput:
    return ClassificationOutput(tuple((LabelScore(name, 0.9), LabelScore("other", 0.1)) for name in names))


def vectors(*rows: list[float]) -> EmbeddingOutput:
    return EmbeddingOutput(tuple(array("f", row) for row in rows))


@pytest.mark.parametrize(
    ("text", "expected", "value"),
    [
        (" \u201cParis.\u201d\n", "paris", 1.0),
        ("The  capital\nis Paris", "the capital is paris", 1.0),
        ("ﬁne", "fine", 1.0),
        ("Paris, France", "Paris", 0.0),
        ("four", ["4", "four"], 1.0),
        ("", "paris", 0.0),
    ],
)
def test_an_exact_match_is_the_same_text_in_one_form(text, expected, value) -> None:
    """Without case, white space or marks around it; any of several right answers."""
    assert value == score("exact_match", said(text), expected)


def test_a_label_and_a_transcript_match_exactly_as_well() -> None:
    """A label is the first of one text."""
    assert 1.0 == score("exact_match", labels("Joy"), "joy")
    assert 1.0 == score("exact_match", TranscriptOutput(text="Ask not."), "ask not")
    assert 1.0 == score("exact_match", said("yes"), said("Yes!"))


def test_label_accuracy_is_the_share_of_first_labels_that_are_right() -> None:
    """One for each text."""
    assert 0.5 == score("label_accuracy", labels("joy", "anger"), ["Joy", "fear"])
    assert 1.0 == score("label_accuracy", labels("joy"), "joy")
    assert 1.0 == score("label_accuracy", labels("joy"), labels("joy"))


def test_cosine_is_the_mean_over_the_texts() -> None:
    """To a vector of the suite, or to those of a reference."""
    assert score("cosine", vectors([3.0, 4.0]), [3.0, 4.0]) == pytest.approx(1.0)
    assert score("cosine", vectors([1.0, 0.0], [0.0, 1.0]), [[1.0, 0.0], [1.0, 0.0]]) == pytest.approx(0.5)
    assert score("cosine", vectors([1.0, 1.0]), vectors([1.0, 0.0])) == pytest.approx(0.5**0.5)


def test_word_errors_count_down_from_one() -> None:
    """The nearest of several right transcripts counts; more errors than words are not below nothing."""
    heard = TranscriptOutput(text="ask what your country can do")

    assert score("word_error_rate", heard, "ask not what your country can do") == pytest.approx(1 - 1 / 7)
    assert 1.0 == score("word_error_rate", heard, ["something else", "Ask what your country can do!"])
    assert 0.0 == score("word_error_rate", heard, "no")


@pytest.mark.parametrize(
    ("metric", "output", "expected"),
    [
        ("exact_match", said("a"), None),
        ("exact_match", DrawingOutput((b"",), (None,)), "a"),
        ("exact_match", vectors([1.0]), "a"),
        ("label_accuracy", said("joy"), "joy"),
        ("label_accuracy", labels("joy", "fear"), "joy"),
        ("cosine", vectors([1.0, 0.0]), [1.0, 0.0, 0.0]),
        ("cosine", labels("joy"), [1.0]),
        ("cosine", vectors([1.0]), []),
        ("word_error_rate", said("a"), "a"),
        ("vote", said("a"), "a"),
    ],
)
def test_what_cannot_be_told_has_no_score(metric, output, expected) -> None:
    """None, never 0."""
    assert score(metric, output, expected) is None
