"""What a far side repeats of a request is blotted out of its error; what it says of itself stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.types import ClassificationInput, GenerationInput, Message, PhotoInput
from router.privacy.redaction import MARK, STRETCH, STRIDE, without_inputs, without_values

PROMPT = "Dear Dr. Ambrose, my account number is DE-4471-0098 and I need the results before Thursday."


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (f"status 400: could not parse {PROMPT!r}", "status 400: could not parse '[input]'"),
        ("status 400: bad token near 'account number is DE-4471'", "status 400: bad token near '[input]'"),
        ("status 400: blocked word DE-4471-0098", "status 400: blocked word [input]"),
        ("status 400: max_new_tokens must be <= 256", "status 400: max_new_tokens must be <= 256"),
        ("status 413: the results are too large", "status 413: the results are too large"),
        ("", ""),
    ],
)
def test_what_is_repeated_is_blotted_out(message, told) -> None:
    """A whole prompt, a stretch of one and an account number go; words of everybody's stay."""
    assert told == without_inputs(message, GenerationInput(prompt=PROMPT))


def test_a_word_that_nobody_expected_is_not_repeated() -> None:
    """Where one of a few words is wanted, the refusal in the log says so without the one that was sent."""
    refused = "messages[0].role: Invalid enum value 'it's a secret'; one of: system, user."

    assert f"messages[0].role: Invalid enum value {MARK}; one of: system, user." == without_values(refused)
    assert "model: required." == without_values("model: required.")


def test_every_text_of_a_request_counts() -> None:
    """Messages, stop strings and labels are inputs; how the spaces between their words lie says nothing."""
    payload = GenerationInput(messages=(Message("user", "one\n  secret   thing"),), stop=("halt here",))

    assert f"no: {MARK}, {MARK}" == without_inputs("no: one secret thing, halt here", payload)
    assert f"no: {MARK}" == without_inputs("no: tell nobody", ClassificationInput(texts=("x", "tell nobody")))
    assert "no: pictures" == without_inputs("no: pictures", PhotoInput(images=(b"pictures",)))


def test_a_prompt_of_a_letter_leaves_messages_readable() -> None:
    """What is shorter than four letters is in every message."""
    assert "a status" == without_inputs("a status", GenerationInput(prompt="a"))


words = st.text(alphabet="abcdefgh ", min_size=0, max_size=60)


@given(words, words, st.text(alphabet="uvwxyz", min_size=STRETCH + STRIDE - 1, max_size=80), st.integers(0, 200))
def test_no_long_stretch_survives(before, after, secret, cut) -> None:
    """No 23 letters in a row that a message shares with the input are left, wherever they begin."""
    start = min(cut, len(secret) - (STRETCH + STRIDE - 1))
    repeated = secret[start:]
    told = without_inputs(f"{before}{repeated}{after}", GenerationInput(prompt=f"12 {secret} 34"))

    assert MARK in told
    assert not any(told[at : at + STRETCH + STRIDE - 1] in secret for at in range(len(told) - STRETCH - STRIDE + 2))
