"""The hub's own client, unmodified, for every task: `InferenceClient(model="http://HOST/models/ID")`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import BadRequestError, GenerationError, HfHubHTTPError

from tests.e2e.conftest import MINILM, SMOLLM
from tests.e2e.media import IMAGE, PHOTO, SPEECH, base64_of, send, wav

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.conftest import Server

# The client itself warns about the way it sends raw bytes.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

BUSY = """
[[models]]
id = "test/busy"
task = "text-classification"
  [[models.candidates]]
  backend = "fake"
  script = { fail = "Overloaded" }
  price = { per_request_usd = 0.0 }
[[models]]
id = "test/broken"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  script = { tokens = 6, fail_after_tokens = 3 }
  price = { per_request_usd = 0.0 }
"""


def client(server: Server, model: str) -> InferenceClient:
    return InferenceClient(model=f"{server.url}/models/{model}", token="unused", timeout=120)


def test_texts_are_embedded(near: Server) -> None:
    """One text is a vector, several are a matrix; parameters beside the inputs are understood."""
    found = client(near, MINILM)
    one, two = found.feature_extraction("hello"), found.feature_extraction(["hello", "world"], normalize=True)

    assert (384,) == one.shape
    assert (2, 384) == two.shape
    assert abs(one - two[0]).max() < 1e-4


def test_texts_are_classified(near: Server) -> None:
    """All labels, or the best ones."""
    found = client(near, "nearfar/minilm-intent")
    labels = found.text_classification("Write a Python function that sorts a list.")

    assert "coding" == labels[0].label
    assert len(labels) > 2
    assert labels[:2] == found.text_classification("Write a Python function that sorts a list.", top_k=2)


def test_texts_are_classified_among_labels_of_ones_own(near: Server) -> None:
    """In the client's newer shape: a list of labels with scores."""
    labels = client(near, "nearfar/minilm-zero-shot").zero_shot_classification(
        "The striker scored twice.", ["cooking", "sports"]
    )

    assert "sports" == labels[0].label
    assert pytest.approx(1.0) == sum(label.score for label in labels)


def test_text_is_generated(near: Server) -> None:
    """Whole, with details, behind its prompt, and as a stream that says the same."""
    found = client(near, "fake/chat")
    whole = found.text_generation("Once upon a time", max_new_tokens=6, do_sample=False)
    details = found.text_generation("Once upon a time", max_new_tokens=6, details=True)
    streamed = list(found.text_generation("Once upon a time", max_new_tokens=6, stream=True))
    told = list(found.text_generation("Once upon a time", max_new_tokens=6, stream=True, details=True))

    assert len(streamed) > 1
    assert whole == "".join(streamed) == details.generated_text == told[-1].generated_text
    assert ("length", 6) == (details.details.finish_reason, details.details.generated_tokens)
    assert "length" == told[-1].details.finish_reason
    assert f"Once upon a time{whole}" == found.text_generation(
        "Once upon a time", max_new_tokens=6, return_full_text=True
    )


def test_a_chat_is_answered(near: Server) -> None:
    """Buffered and streamed, by the model of the path; usage comes on request."""
    found = client(near, SMOLLM)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    whole = found.chat_completion(question, max_tokens=24, temperature=0)
    chunks = list(
        found.chat_completion(
            question, max_tokens=24, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )

    assert "Paris" in whole.choices[0].message.content
    assert SMOLLM == whole.model
    assert whole.choices[0].message.content == "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert whole.usage.total_tokens == chunks[-1].usage.total_tokens


def test_a_prompt_is_drawn(near: Server) -> None:
    """The answer is the image itself, of the size asked for."""
    image = client(near, IMAGE).text_to_image("a red circle", width=24, height=16, num_inference_steps=3, seed=7)

    assert ("PNG", (24, 16)) == (image.format, image.size)


def test_a_photo_is_classified_however_it_is_sent(near: Server, tmp_path: Path) -> None:
    """As bytes without a type, as a file with one, and as base64 beside parameters."""
    (tmp_path / "cat.jpg").write_bytes(b"a photo")
    found = client(near, PHOTO)
    raw = found.image_classification(b"a photo")
    named = found.image_classification(tmp_path / "cat.jpg")
    beside = found.image_classification(b"a photo", top_k=2)

    assert raw == named
    assert beside == raw[:2]


def test_a_recording_is_written_down_however_it_is_sent(near: Server, tmp_path: Path) -> None:
    """The text, and chunks where timestamps are asked for. A .webm file is taken for a film and still is a sound."""
    (tmp_path / "a.webm").write_bytes(wav())
    found = client(near, SPEECH)
    plain = found.automatic_speech_recognition(wav())
    timed = found.automatic_speech_recognition(wav(), extra_body={"return_timestamps": True})

    assert plain.text == timed.text == found.automatic_speech_recognition(tmp_path / "a.webm").text
    assert plain.chunks is None
    assert timed.chunks is not None
    assert [0.0, 0.5] == timed.chunks[0].timestamp


def test_the_pipeline_route_names_its_task(near: Server) -> None:
    """The older address works; a task that the model does not do is refused."""
    path = f"/models/{MINILM}/pipeline"

    assert 384 == len(near.post(f"{path}/feature-extraction", {"inputs": "x"}).body)
    refused = near.post(f"{path}/text-generation", {"inputs": "x"})
    assert (400, True) == (refused.status, "does feature-extraction" in refused.body["error"])


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (MINILM, {"inputs": "x"}),
        (IMAGE, {"inputs": "x"}),
        (SPEECH, {"inputs": base64_of(wav())}),
        ("fake/chat", {"inputs": "x", "stream": True}),
    ],
)
def test_every_answer_carries_its_decision(near: Server, model: str, body: dict[str, Any]) -> None:
    """Images and streams too."""
    kind = {"content-type": "application/json"}
    status, headers, _ = send(near, f"/models/{model}", json.dumps(body).encode(), kind)

    assert 200 == status
    assert {"x-nearfar-decision-id", "x-nearfar-backend", "x-nearfar-provider", "x-nearfar-reason"} <= set(headers)
    row = near.get(f"/v1/decisions/{headers['x-nearfar-decision-id']}").body
    assert row["surface"].startswith("/models/")


def test_refusals_are_the_clients_own_exceptions(near: Server) -> None:
    """In the hub's shape, which the client reads: unknown models name near ones, wrong parameters their field."""
    with pytest.raises(HfHubHTTPError, match="Did you mean") as unknown:
        client(near, "all-MiniLM-L6").feature_extraction("x")
    with pytest.raises(BadRequestError, match=r"parameters\.top_k"):
        client(near, "nearfar/minilm-intent").text_classification("x", top_k=0)
    with pytest.raises(BadRequestError, match="typical_p"):
        client(near, "fake/chat").text_generation("x", typical_p=0.5)
    with pytest.raises(BadRequestError, match="one image"):
        client(near, IMAGE).text_to_image("x", extra_body={"n": 2})
    with pytest.raises(HfHubHTTPError, match="no token"):
        client(near, f"{MINILM}:remote").feature_extraction("x")

    assert 404 == unknown.value.response.status_code
    assert ["error"] == list(unknown.value.response.json())


def test_a_busy_model_says_when_to_come_back(serve: Callable[..., Server]) -> None:
    """503 with `estimated_time`; a stream that breaks raises in the client, too."""
    server = serve(BUSY)
    busy = server.post("/models/test/busy", {"inputs": "x"})

    assert 503 == busy.status
    assert {"error", "estimated_time"} == set(busy.body)
    assert float(busy.headers["retry-after"]) >= busy.body["estimated_time"] > 0
    found = client(server, "test/broken")  # it closes its streams when it goes
    with pytest.raises(GenerationError, match="RemoteError"):
        list(found.text_generation("x", stream=True))


@pytest.mark.parametrize(
    ("model", "kind", "body", "status", "said"),
    [
        (PHOTO, "image/png", b"", 400, "empty"),
        ("fake/chat", "application/octet-stream", b"x", 400, "application/json"),
        (PHOTO, "text/plain", b"x", 415, "application/json"),
        (PHOTO, "multipart/form-data; boundary=x", b"x", 415, "application/json"),
        (PHOTO, "application/json", b"[]", 400, "object"),
        (PHOTO, "application/json", b"{", 400, "JSON"),
        (PHOTO, "application/json", b'{"inputs":"?"}', 400, "base64"),
        (PHOTO, "image/png", bytes(11_000_000), 413, "10000000"),
        ("", "application/json", b"{}", 404, ""),
    ],
    ids=["empty", "no JSON", "text", "form", "a list", "broken JSON", "no base64", "too long", "no model"],
)
def test_a_body_that_cannot_be_read_is_refused(
    near: Server, model: str, kind: str, body: bytes, status: int, said: str
) -> None:
    """In the hub's shape, with what was wrong."""
    code, _, answer = send(near, f"/models/{model}", body, {"content-type": kind})

    assert (status, True) == (code, said in str(json.loads(answer)["error"])), answer


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", ""])
@pytest.mark.parametrize("page", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}], ids=str)
def test_a_web_page_cannot_send_files_through_a_browser(near: Server, kind: str, page: dict[str, str]) -> None:
    """A body without a content type is what a browser sends unasked."""
    status, _, answer = send(near, f"/models/{PHOTO}", b"x", page | ({"content-type": kind} if kind else {}))

    assert (403, True) == (status, "may not ask" in json.loads(answer)["error"])
