"""Sizes from characters and bytes: they grow with what is asked, and leave open what the model decides."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.extras import Extras
from backends.fake.answers import png
from backends.types import (
    ClassificationInput,
    DrawingInput,
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    Message,
    PhotoInput,
    SpeechInput,
    Task,
    ZeroShotInput,
)
from router.sizes import PRIOR_OUTPUT_TOKENS, size_of
from router.slate import Size
from tests.unit.backends.test_media import wav


def size_for(payload, context_length: int | None = None) -> Size:
    return size_of(InferenceRequest(task=Task.FEATURE_EXTRACTION, model="m", payload=payload), context_length)


@given(st.lists(st.text(max_size=50), max_size=5), st.text(max_size=50))
@example([], "")
def test_a_size_grows_with_its_texts(texts, another) -> None:
    """Every text has some tokens, also an empty one; labels of a zero-shot request are read too."""
    less, more = size_for(EmbeddingInput(texts=tuple(texts))), size_for(EmbeddingInput(texts=(*texts, another)))

    assert (len(texts), len(texts) + 1) == (less.items, more.items)
    assert less.input_tokens < more.input_tokens
    assert less == size_for(ClassificationInput(texts=tuple(texts)))
    assert less.input_tokens < size_for(ZeroShotInput(texts=tuple(texts), candidate_labels=(another,))).input_tokens
    assert less.output_tokens is None


def test_only_a_text_that_may_be_cut_counts_as_cut() -> None:
    """The others are refused or read whole; a short one counts as it is."""
    long = ("x" * 4000, "x")
    for make in (EmbeddingInput, ClassificationInput, lambda **given: ZeroShotInput(candidate_labels=("a",), **given)):
        whole, cut = (size_for(make(texts=long, truncate=truncate), 256) for truncate in (False, True))
        assert 1000 < whole.input_tokens
        assert 256 < cut.input_tokens < 270
        assert whole == size_for(make(texts=long))


def test_a_generation_is_expected_to_end_before_its_limit() -> None:
    """A high limit is not what most answers need; a low one is."""
    long, short = (size_for(GenerationInput(prompt="hello", max_tokens=n)) for n in (100_000, 5))

    assert (PRIOR_OUTPUT_TOKENS, 100_000) == (long.output_tokens, long.max_output_tokens)
    assert (5, 5) == (short.output_tokens, short.max_output_tokens)


def test_a_prompt_and_a_chat_of_the_same_text_are_as_large() -> None:
    """The empty prompt is a prompt too."""
    chat = size_for(GenerationInput(messages=(Message("user", "hello " * 20),)))

    assert chat.input_tokens == size_for(GenerationInput(prompt="hello " * 20)).input_tokens
    assert 0 < size_for(GenerationInput(prompt="")).input_tokens


def test_a_conversation_in_which_tools_were_called_is_counted_once() -> None:
    """The extras hold all of it, and what has no text beside."""
    words = "What is the weather in Paris today? " * 50
    told = ({"role": "user", "content": words}, {"role": "tool", "tool_call_id": "a", "content": words})
    messages = (Message("user", words), Message("tool", words))
    plain = size_for(GenerationInput(messages=messages))
    called = size_for(GenerationInput(messages=messages, extras=Extras(messages=told)))

    assert plain.input_tokens <= called.input_tokens < 1.2 * plain.input_tokens


def test_a_drawing_says_what_it_says_and_leaves_the_rest_open() -> None:
    """Half a size is none: the model decides on the other half."""
    asked = size_for(DrawingInput(prompt="p" * 40, negative_prompt="n" * 40, width=64, height=32, steps=5, images=3))
    plain, half = size_for(DrawingInput(prompt="p")), size_for(DrawingInput(prompt="p", width=64))

    assert (3, 3, 64 * 32, 5) == (asked.items, asked.images, asked.pixels, asked.steps)
    assert 20 < asked.input_tokens
    assert [(1, None, None)] * 2 == [(size.images, size.pixels, size.steps) for size in (plain, half)]
    assert {None} == {size.output_tokens for size in (asked, plain)}


def test_photos_are_counted_and_have_no_tokens() -> None:
    """None is not 0."""
    photo = png(1, 1, (0, 0, 0))

    assert Size(items=2, input_tokens=None, images=2) == size_for(PhotoInput(images=(photo, photo)))


@pytest.mark.parametrize(
    ("audio", "seconds"),
    [
        (wav(2.5), 2.5),
        (wav(2.5, rate=8000), 2.5),
        (b"ID3" + bytes(31_997), 2.0),
        (b"OggS" + bytes(11_996), 2.0),
        (b"\x1aE\xdf\xa3" + bytes(11_996), 2.0),
        (b"fLaC" + bytes(31_996), 2.0),
        (b"", 0.0),
        (bytes(16_000), 1.0),
    ],
)
def test_a_recording_is_as_long_as_it_says_or_as_its_bytes_usually_sound(audio, seconds) -> None:
    """A WAV's header knows; the others are guessed by their usual rates."""
    assert pytest.approx(seconds) == size_for(SpeechInput(audio=audio)).audio_s
