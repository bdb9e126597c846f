"""From native bodies to requests, and each refusal with its field."""

import base64
import math

import msgspec
import pytest

from backends.types import ClassificationInput, DrawingInput, EmbeddingInput, PhotoInput, SpeechInput, Task
from router.errors import InvalidRequest
from router.http.parameters import PARAMETERS, request_of
from router.http.schemas import InferenceBody, RoutingBody, invalid

FILE = base64.b64encode(b"file").decode()
IMAGE, PHOTO, SPEECH = Task.TEXT_TO_IMAGE, Task.IMAGE_CLASSIFICATION, Task.AUTOMATIC_SPEECH_RECOGNITION


def request(task: Task, inputs: object, *, stream: bool = False, **parameters: object):
    body = InferenceBody(inputs=inputs, parameters=parameters, stream=stream)
    return request_of(body, "org/m", task, max_items=8)


def test_every_task_has_parameters() -> None:
    """A task that is added without them would be a KeyError for its first sender."""
    assert set(Task) == set(PARAMETERS)


def test_a_drawing_is_asked_for_in_either_vocabulary() -> None:
    """Ours and the hub's words mean the same request."""
    ours = request(IMAGE, "a cat", steps=4, n=2, width=64, height=32, guidance_scale=3, seed=7, negative_prompt="dog")
    hubs = request(
        IMAGE,
        "a cat",
        num_inference_steps=4,
        num_images=2,
        width=64,
        height=32,
        guidance_scale=3.0,
        seed=7,
        negative_prompt="dog",
    )

    assert ours == hubs
    assert DrawingInput(
        prompt="a cat", negative_prompt="dog", width=64, height=32, steps=4, guidance_scale=3.0, seed=7, images=2
    ) == (ours.payload)


def test_photos_come_one_or_many_and_are_told_five_labels_unless_asked() -> None:
    """An image model knows a thousand; null asks for all of them."""
    assert PhotoInput(images=(b"file",), top_k=5) == request(PHOTO, FILE).payload
    assert PhotoInput(images=(b"file",) * 2, top_k=2) == request(PHOTO, [FILE, FILE], top_k=2).payload
    assert request(PHOTO, FILE, top_k=None).payload.top_k is None


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "segment"),
        ({"timestamps": "word"}, "word"),
        ({"return_timestamps": True}, "segment"),
        ({"return_timestamps": False}, "segment"),
        ({"return_timestamps": "word"}, "word"),
    ],
)
def test_timestamps_are_asked_for_as_here_or_as_on_the_hub(parameters, expected) -> None:
    """`return_timestamps` is true, or says which."""
    asked = request(SPEECH, FILE, language="en", **parameters)

    assert SpeechInput(audio=b"file", language="en", timestamps=expected) == asked.payload


def test_texts_are_cut_only_where_that_is_asked() -> None:
    """By default a text that is too long is refused."""
    for task, kind in (
        (Task.FEATURE_EXTRACTION, EmbeddingInput),
        (Task.TEXT_CLASSIFICATION, ClassificationInput),
    ):
        assert isinstance(request(task, "x").payload, kind)
        assert not request(task, "x").payload.truncate
        assert request(task, "x", truncate=True).payload.truncate
    assert request(Task.ZERO_SHOT_CLASSIFICATION, "x", candidate_labels=["a"], truncate=True).payload.truncate


@pytest.mark.parametrize("task", [task for task in Task if task not in {Task.TEXT_GENERATION, IMAGE, SPEECH}])
def test_what_has_no_pieces_cannot_be_streamed(task) -> None:
    """The other three can."""
    parameters = {"candidate_labels": ["a"]} if task is Task.ZERO_SHOT_CLASSIFICATION else {}

    with pytest.raises(InvalidRequest, match="cannot be streamed") as refusal:
        request(task, FILE, stream=True, **parameters)
    assert "stream" == refusal.value.param


@pytest.mark.parametrize(
    ("task", "inputs", "parameters", "param"),
    [
        (IMAGE, ["a", "b"], {}, "inputs"),
        (IMAGE, "  ", {}, "inputs"),
        (IMAGE, "x", {"width": 0}, "parameters.width"),
        (IMAGE, "x", {"width": 10**6}, "parameters.width"),
        (IMAGE, "x", {"steps": 10**6}, "parameters.steps"),
        (IMAGE, "x", {"n": 11}, "parameters.n"),
        (IMAGE, "x", {"seed": -1}, "parameters.seed"),
        (IMAGE, "x", {"seed": 2**63}, "parameters.seed"),
        (IMAGE, "x", {"guidance_scale": math.nan}, "parameters.guidance_scale"),
        (IMAGE, "x", {"guidance_scale": math.inf}, "parameters.guidance_scale"),
        (IMAGE, "x", {"steps": 3, "num_inference_steps": 4}, "parameters.num_inference_steps"),
        (IMAGE, "x", {"scheduler": "ddim"}, "parameters.scheduler"),
        (PHOTO, "?", {}, "inputs"),
        (PHOTO, FILE, {"top_k": 0}, "parameters.top_k"),
        (SPEECH, [FILE], {}, "inputs"),
        (SPEECH, FILE, {"language": "English"}, "parameters.language"),
        (SPEECH, FILE, {"timestamps": "letter"}, "parameters.timestamps"),
        (Task.TEXT_GENERATION, "x", {"temperature": math.nan}, "parameters.temperature"),
    ],
)
def test_a_wrong_field_is_named(task, inputs, parameters, param) -> None:
    """By its path in the body."""
    with pytest.raises(InvalidRequest) as refusal:
        request(task, inputs, **parameters)

    assert param == refusal.value.param


def test_json_cannot_smuggle_what_is_not_finite() -> None:
    """Neither the words nor a number too large for a float."""
    for word in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(b'{"inputs":"x","parameters":{"guidance_scale":' + word + b"}}", type=InferenceBody)


def test_a_wrong_word_is_answered_with_the_right_ones() -> None:
    """Also inside a nested object, and where the field may be null."""
    for shape, given, said in (
        (RoutingBody, {"backend": "lokal"}, "one of: local, ray, remote, fake, browser, any"),
        (InferenceBody, {"inputs": "x", "routing": {"backend": "lokal"}}, "one of: local, ray, remote"),
        (PARAMETERS[SPEECH], {"timestamps": "letter"}, "one of: segment, word"),
        (InferenceBody, {"inputs": "x", "provider": {"sort": "colour"}}, "one of: price, latency, throughput"),
    ):
        with pytest.raises(msgspec.ValidationError) as failure:
            msgspec.convert(given, shape)

        assert said in str(invalid(failure.value, shape))
