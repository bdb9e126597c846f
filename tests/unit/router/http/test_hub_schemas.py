"""The hub's words for requests, and what they become."""

import msgspec
import pytest

from backends.types import EmbeddingInput, GenerationInput, PhotoInput, SpeechInput, Task
from router.errors import InvalidRequest
from router.http.hub_schemas import body_of, wanted, wanted_of_file
from router.http.huggingface import Address, address_of

FILE = "aGk="


def asked(task: Task, **body: object):
    return wanted(body_of(msgspec.json.encode(body)), "org/m", task, max_items=8)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/org/model", Address("org/model")),
        ("/model", Address("model")),
        ("/org/model:local/", Address("org/model:local")),
        ("/org/model/pipeline/feature-extraction", Address("org/model", "feature-extraction")),
        ("/org/model/v1/chat/completions", Address("org/model", speaks="chat")),
        ("/a/b/c/pipeline/x/y", Address("a/b/c/pipeline/x/y")),
        ("/v1/chat/completions", Address("", speaks="chat")),
    ],
)
def test_a_path_is_a_model_and_what_follows_it(path, expected) -> None:
    """A model's id has slashes of its own."""
    assert expected == address_of(path)


def test_feature_extraction_takes_its_parameters_beside_the_inputs() -> None:
    """That is where the client puts them; inside works too, and what asks for nothing is dropped."""
    beside = asked(Task.FEATURE_EXTRACTION, inputs="x", normalize=False, truncate=True, truncation_direction="right")
    inside = asked(Task.FEATURE_EXTRACTION, inputs="x", parameters={"normalize": False, "truncate": True})

    assert (
        EmbeddingInput(texts=("x",), normalize=False, truncate=True)
        == beside.request.payload
        == (inside.request.payload)
    )
    with pytest.raises(InvalidRequest, match="prompt_name"):
        asked(Task.FEATURE_EXTRACTION, inputs="x", prompt_name="query")


def test_generation_speaks_the_words_of_text_generation_inference() -> None:
    """Those that ask for nothing are dropped, those that ask for what is not served are refused by name."""
    given = asked(
        Task.TEXT_GENERATION,
        inputs="Once",
        stream=True,
        parameters={
            "max_new_tokens": 4,
            "do_sample": False,
            "return_full_text": True,
            "details": True,
            "best_of": 1,
            "watermark": False,
            "seed": None,
        },
    )

    assert GenerationInput(prompt="Once", max_tokens=4, temperature=0.0) == given.request.payload
    assert (True, True, True) == (given.request.stream, given.full_text, given.details)
    for refused in ("typical_p", "grammar", "adapter_id", "best_of"):
        with pytest.raises(InvalidRequest, match=refused):
            asked(Task.TEXT_GENERATION, inputs="x", parameters={refused: 2})


def test_a_body_may_be_the_file_itself() -> None:
    """Where the model reads files; elsewhere the refusal says what to send."""
    assert PhotoInput(images=(b"x",), top_k=5) == wanted_of_file(b"x", "m", Task.IMAGE_CLASSIFICATION).request.payload
    assert SpeechInput(audio=b"x") == wanted_of_file(b"x", "m", Task.AUTOMATIC_SPEECH_RECOGNITION).request.payload
    with pytest.raises(InvalidRequest, match="application/json"):
        wanted_of_file(b"x", "m", Task.TEXT_GENERATION)
    with pytest.raises(InvalidRequest, match="empty"):
        wanted_of_file(b"", "m", Task.IMAGE_CLASSIFICATION)


def test_chunks_are_answered_where_timestamps_were_asked_for() -> None:
    """As on the hub."""
    speech = Task.AUTOMATIC_SPEECH_RECOGNITION

    assert not asked(speech, inputs=FILE).timestamps
    assert not asked(speech, inputs=FILE, parameters={"return_timestamps": False}).timestamps
    assert asked(speech, inputs=FILE, parameters={"return_timestamps": True}).timestamps
    assert "word" == asked(speech, inputs=FILE, parameters={"return_timestamps": "word"}).request.payload.timestamps


@pytest.mark.parametrize(
    ("task", "body", "said"),
    [
        (Task.TEXT_TO_IMAGE, {"inputs": "x", "parameters": {"n": 2}}, "one image"),
        (Task.TEXT_TO_IMAGE, {"inputs": "x", "stream": True}, "cannot be streamed here"),
        (Task.TEXT_TO_IMAGE, {"inputs": "x", "parameters": {"scheduler": "ddim"}}, "scheduler"),
        (Task.TEXT_CLASSIFICATION, {"inputs": "x", "colour": 1}, "colour"),
        (Task.TEXT_CLASSIFICATION, {}, "inputs"),
    ],
)
def test_what_does_not_fit_the_hubs_shapes_is_refused(task, body, said) -> None:
    """By name."""
    with pytest.raises(InvalidRequest, match=said):
        asked(task, **body)


@pytest.mark.parametrize("raw", [b"", b"{", b'{"inputs": "x"', b"\xff\xfe", b'{"inputs": NaN}'])
def test_a_body_that_is_no_json_is_refused(raw) -> None:
    """Also when it is empty or not even text."""
    with pytest.raises(InvalidRequest, match="JSON"):
        body_of(raw)
