"""The priors: durations that grow with a request as its time does, in the units of each task."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.types import Task
from router.priors import FAR_S_PER_INPUT_TOKEN, TYPICAL_DRAWINGS, assumed_pixel_steps, prior_load_s, prior_service_s
from router.slate import Size
from tests.unit.router.test_estimates import OF_TASK, candidate, candidates, tokens

SPEECH = Task.AUTOMATIC_SPEECH_RECOGNITION


@given(candidates, st.data())
def test_a_prior_is_always_a_positive_duration(whom, data) -> None:
    """Whatever the candidate and the size, also of another task."""
    size = data.draw(st.one_of(*OF_TASK.values()))

    assert 0 < prior_service_s(whom, size) < math.inf
    assert 0 < prior_load_s(whom, runtime_started=True) < prior_load_s(whom, runtime_started=False) < math.inf


@given(candidates, tokens, tokens, tokens, tokens)
def test_a_larger_text_is_never_expected_to_be_faster(whom, inputs, outputs, more_inputs, more_outputs) -> None:
    """The prior is monotone in both counts."""
    small = Size(items=1, input_tokens=inputs, output_tokens=outputs)
    large = Size(items=1, input_tokens=inputs + more_inputs, output_tokens=outputs + more_outputs)

    assert prior_service_s(whom, small) <= prior_service_s(whom, large)


@given(st.sampled_from(["local", "remote", "fake"]), st.integers(1, 10), st.integers(1, 10), st.floats(0, 1e4))
def test_more_of_anything_is_never_expected_to_be_faster(backend, few, more, sound_s) -> None:
    """Images, pixels, steps and seconds."""
    for task, small, large in (
        (Task.TEXT_TO_IMAGE, drawing(images=few), drawing(images=few + more)),
        (Task.TEXT_TO_IMAGE, drawing(pixels=few), drawing(pixels=few + more)),
        (Task.TEXT_TO_IMAGE, drawing(steps=few), drawing(steps=few + more)),
        (Task.IMAGE_CLASSIFICATION, photos(few), photos(few + more)),
        (SPEECH, sound(sound_s), sound(sound_s + more)),
    ):
        assert prior_service_s(candidate(backend, task=task), small) <= prior_service_s(
            candidate(backend, task=task), large
        )


def drawing(images: int = 1, pixels: int | None = None, steps: int | None = None) -> Size:
    return Size(items=images, input_tokens=5, images=images, pixels=pixels, steps=steps)


def photos(images: int) -> Size:
    return Size(items=images, input_tokens=None, images=images)


def sound(seconds: float) -> Size:
    return Size(items=1, input_tokens=None, audio_s=seconds)


@pytest.mark.parametrize("task", list(OF_TASK))
def test_a_gpu_is_expected_to_be_faster_and_a_larger_model_slower(task) -> None:
    """The priors know that much of physics, for every task."""
    size = Size(items=1, input_tokens=1000, output_tokens=100, images=1, pixels=4096, steps=10, audio_s=10.0)
    whom = candidate(task=task)

    assert prior_service_s(candidate(task=task, device="cuda:0"), size) < prior_service_s(whom, size)
    assert prior_service_s(whom, size) < prior_service_s(candidate(task=task, parameters=10**9), size)


def test_half_the_bytes_are_decoded_in_half_the_time() -> None:
    """Decoding is bound by memory."""
    size = Size(items=1, input_tokens=1, output_tokens=1000)

    assert prior_service_s(candidate(dtype="bfloat16"), size) < prior_service_s(candidate(), size)


@pytest.mark.parametrize(
    ("task", "parameters", "size", "measured_s"),
    [
        (SPEECH, 37_760_640, sound(7.9), 0.67),
        (Task.IMAGE_CLASSIFICATION, 4_652_008, photos(1), 0.049),
        (Task.TEXT_TO_IMAGE, 28_890_000, drawing(), 0.65),
    ],
    ids=["whisper tiny.en", "efficientnet-lite0", "nearfar/shapes-64"],
)
def test_the_built_in_models_are_guessed_within_a_factor_of_four(task, parameters, size, measured_s) -> None:
    """Of what they took on two cores: a guess that is far off would route wrongly until the first answer."""
    guessed_s = prior_service_s(candidate(task=task, parameters=parameters), size)

    assert measured_s / 4 < guessed_s < measured_s * 4


def test_a_drawing_that_says_nothing_is_as_models_of_its_size_have_it() -> None:
    """What it does say counts."""
    for parameters, (_, pixels, steps) in zip((3_500_000_000, 1_000_000_000, 6_000_000), TYPICAL_DRAWINGS, strict=True):
        whom = candidate(task=Task.TEXT_TO_IMAGE, parameters=parameters)
        assert 2 * pixels * steps == assumed_pixel_steps(whom, drawing(images=2))
        assert 100 * steps == assumed_pixel_steps(whom, drawing(pixels=100))
        assert 3 * pixels == assumed_pixel_steps(whom, drawing(steps=3))
    unknown = candidate(task=Task.TEXT_TO_IMAGE, parameters=None)
    assert TYPICAL_DRAWINGS[1][1] * TYPICAL_DRAWINGS[1][2] == assumed_pixel_steps(unknown, drawing())


@given(st.floats(0.001, 10), st.floats(0.1, 1000), tokens, tokens)
def test_a_router_that_measured_a_provider_is_believed_before_we_have(first_s, per_s, inputs, outputs) -> None:
    """Quicker first tokens and more of them a second are expected to take less; else the usual figures count."""
    size = Size(items=1, input_tokens=inputs, output_tokens=outputs)
    plain = candidate("remote")
    told = replace(plain, first_token_s=first_s, tokens_per_s=per_s)
    quicker = replace(plain, first_token_s=first_s / 2, tokens_per_s=per_s * 2)

    assert pytest.approx(first_s + outputs / per_s + FAR_S_PER_INPUT_TOKEN * inputs) == prior_service_s(told, size)
    assert prior_service_s(quicker, size) <= prior_service_s(told, size)
    for nothing in (None, 0.0):
        silent = replace(told, first_token_s=nothing, tokens_per_s=nothing)
        assert prior_service_s(silent, size) == prior_service_s(plain, size)
