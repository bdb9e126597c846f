"""Text as it comes: whole characters, nothing from a stop string on, nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.local.detokenizer import Detokenizer


def decode(tokens):
    """One token a byte, the hardest case."""
    return bytes(tokens).decode("utf-8", errors="replace")


def fed(text, stop=()):
    detokenizer = Detokenizer(decode, stop)
    pieces = [detokenizer.push(token) for token in text.encode()]
    return [*pieces, detokenizer.finish()], detokenizer


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=40))
def test_the_pieces_are_the_text(text):
    """Nothing is lost or doubled, whatever the characters' widths."""
    pieces, detokenizer = fed(text)

    assert text == "".join(pieces)
    assert len(text.encode()) == detokenizer.tokens


def test_a_character_is_held_until_it_is_whole():
    """Four bytes of an emoji: three empty pieces and one of a character."""
    assert ["", "", "", "🎉", ""] == fed("🎉")[0]


def test_plain_text_is_passed_on_at_once():
    """Nothing waits that could not begin a stop string."""
    assert ["a", "b", "c", ""] == fed("abc", stop=("x",))[0]


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one two three", ("two",), "one "),
        ("one two three", ("three", "two"), "one "),
        ("aaab", ("aab",), "a"),
        ("🎉stop", ("stop",), "🎉"),
        ("stop", ("stop",), ""),
        ("no such thing", ("absent",), "no such thing"),
        ("ends with sto", ("stop",), "ends with sto"),
        ("é", ("é",), ""),
    ],
)
def test_the_text_ends_before_the_first_stop_string(text, stop, expected):
    """The stop string itself is never part of it, nor what comes after; its mere beginning is."""
    pieces, detokenizer = fed(text, stop)

    assert expected == "".join(pieces)
    assert any(one in text for one in stop) is detokenizer.stopped


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_no_piece_ever_reaches_into_a_stop_string(text, stop):
    """What was passed on is always the text cut where the earliest-completed stop string begins."""
    pieces, _ = fed(text, stop)
    ends = [end for end in range(1, len(text) + 1) if any(text[:end].endswith(one) for one in stop)]
    cut = min((text[: ends[0]].find(one) for one in stop if one in text[: ends[0]]), default=0) if ends else len(text)

    assert text[:cut] == "".join(pieces)


def test_an_incomplete_end_is_shown_as_such():
    """A model cut off in the middle of a character leaves a replacement, not an error."""
    detokenizer = Detokenizer(decode)
    pieces = [detokenizer.push(token) for token in "é".encode()[:1]]

    assert ["", "\ufffd"] == [*pieces, detokenizer.finish()]


def test_a_text_that_is_gone_on_with_keeps_the_space_before_its_next_word():
    """Some tokenizers write the first word of a text without the space that others have; told words come first."""
    words = {1: "Hello", 2: "there", 3: "world"}

    def decode(tokens):
        return " ".join(words[token] for token in tokens)

    detokenizer = Detokenizer(decode, context=[1])
    text = "".join([detokenizer.push(2), detokenizer.push(3), detokenizer.finish()])

    assert (" there world", 2) == (text, detokenizer.tokens)
