"""How two answers are compared, task by task, and the word error rate against the textbook's table."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.types import (
    ClassificationOutput,
    DrawingOutput,
    EmbeddingOutput,
    GenerationOutput,
    LabelScore,
    TranscriptOutput,
)
from router.agreement import agreement
from router.word_errors import edits, word_error_rate, words_of

words = st.lists(st.sampled_from("abcd"), max_size=90)


def table(one: list[str], other: list[str]) -> int:
    """Levenshtein's distance, cell by cell (Wagner and Fischer)."""
    row = list(range(len(other) + 1))
    for i, word in enumerate(one, start=1):
        last, row = row, [i]
        for j, against in enumerate(other, start=1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (word != against)))
    return row[-1]


@given(words, words)
def test_edits_are_those_of_the_table(one, other) -> None:
    """Also where there are more words than a machine word has bits."""
    assert table(one, other) == edits(one, other) == edits(other, one)


@given(words, words, words)
def test_edits_are_a_distance(one, other, third) -> None:
    """Nothing for the same, and no way round is shorter."""
    assert 0 == edits(one, one)
    assert edits(one, third) <= edits(one, other) + edits(other, third)


@pytest.mark.parametrize(
    ("reference", "heard", "rate"),
    [
        ("The cat sat.", "the cat sat", 0.0),
        ("the cat sat on the mat", "the cat sat on mat", 1 / 6),
        ("the cat", "a dog barked", 1.5),
        ("", "", 0.0),
        ("", "noise", 1.0),
        ("word", "", 1.0),
        ("don\u2019t go", "don't go", 0.5),
    ],
)
def test_the_word_error_rate_counts_words_and_not_their_dress(reference, heard, rate) -> None:
    """Case and punctuation are not heard; an apostrophe inside a word is part of it."""
    assert rate == pytest.approx(word_error_rate(reference, heard))


def test_words_are_found_in_any_script() -> None:
    """Not only in ASCII."""
    assert ["gr\u00fcsse", "\u043c\u0438\u0440", "3"] == words_of("Gr\u00fc\u00dfe, \u041c\u0438\u0440 3!")


def vectors(*rows: list[float]) -> EmbeddingOutput:
    return EmbeddingOutput(tuple(array("f", row) for row in rows))


def labels(*firsts: str) -> ClassificationOutput:
    return ClassificationOutput(tuple((LabelScore(first, 0.9), LabelScore("other", 0.1)) for first in firsts))


@pytest.mark.parametrize(
    ("reference", "other", "expected"),
    [
        (vectors([1, 0], [0, 2]), vectors([3, 0], [0, 1]), ("cosine", 1.0)),
        (vectors([1, 0], [0, 2]), vectors([3, 0], [1, 0]), ("cosine", 0.5)),
        (vectors([1, 0]), vectors([-1, 0]), ("cosine", 0.0)),
        (vectors([0, 0]), vectors([1, 0]), ("cosine", 0.0)),
        (labels("A", "B", "C"), labels("a", "B", "X"), ("label", 2 / 3)),
        (TranscriptOutput(text="one two"), TranscriptOutput(text="One too."), ("wer", 0.5)),
        (TranscriptOutput(text="one"), TranscriptOutput(text="x y z"), ("wer", 0.0)),
        (GenerationOutput("a  b\n", "stop"), GenerationOutput(" a b", "length"), ("exact", 1.0)),
        (GenerationOutput("a b", "stop"), GenerationOutput("a c", "stop"), ("exact", 0.0)),
    ],
)
def test_each_task_has_its_measure(reference, other, expected) -> None:
    """Its name, and 1 for the same answer."""
    found = agreement(reference, other)

    assert (expected[0], pytest.approx(expected[1])) == found


@pytest.mark.parametrize(
    ("reference", "other"),
    [
        (vectors([1, 0]), vectors([1, 0, 0])),
        (vectors([1, 0]), vectors([1, 0], [0, 1])),
        (vectors(), vectors()),
        (labels("A"), labels("A", "B")),
        (labels("A"), ClassificationOutput(((),))),
        (labels("A"), vectors([1.0])),
        (DrawingOutput((b"1",), (None,)), DrawingOutput((b"1",), (None,))),
    ],
)
def test_what_cannot_be_compared_is_unknown_and_not_zero(reference, other) -> None:
    """Other dimensions, other counts, other tasks, and pictures."""
    assert agreement(reference, other) is None
