"""Real weights: a prompt drawn, a photo classified and a sentence written down, natively and by official clients."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from huggingface_hub import InferenceClient

from tests.e2e.command import here
from tests.e2e.media import EFFICIENTNET, SHAPES, WHISPER, base64_of, events, send, wav

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Server

# The hub's client itself warns about the way it sends raw bytes.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

PROMPT, SEED = "a red circle on a blue background", 3
WORDS = "ask not what your country can do for you ask what you can do for your country"
SPEECH = (Path(__file__).parents[1] / "data" / "jfk.ogg").read_bytes()  # John F. Kennedy, 20 January 1961


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A daisy, with a bee on it."""
    datasets = pytest.importorskip("sklearn.datasets")
    return (Path(datasets.__file__).parent / "images" / "flower.jpg").read_bytes()


@pytest.fixture
def client(near: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{near.url}/v1", api_key="unused", max_retries=0) as found:
        yield found


def hub(near: Server, model: str) -> InferenceClient:
    return InferenceClient(model=f"{near.url}/models/{model}", token="unused", timeout=120)


def streamed(near: Server, body: dict[str, Any]) -> list[tuple[str, Any]]:
    kind = {"content-type": "application/json"}
    status, _, answer = send(near, "/v1/inference", json.dumps(body | {"stream": True}).encode(), kind)

    assert 200 == status, answer
    return [(name, json.loads(data)) for name, data in events(answer)]


def is_red_on_blue(png: bytes) -> bool:
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    (red, _, blue), (edge_red, _, edge_blue) = image.getpixel((32, 32)), image.getpixel((2, 2))
    return red > 2 * max(blue, 1) and edge_blue > 2 * max(edge_red, 1)


def plain(text: str) -> str:
    return " ".join(text.lower().replace(",", " ").replace(".", " ").split())


def test_a_prompt_is_drawn(near: Server, client: openai.OpenAI) -> None:
    """What was asked for, the same file from every client and as a stream: the seed decides."""
    native = near.post("/v1/inference", {"model": SHAPES, "inputs": PROMPT, "parameters": {"seed": SEED}})
    png = base64.b64decode(native.body["result"]["image"])
    told = streamed(near, {"model": SHAPES, "inputs": PROMPT, "parameters": {"seed": SEED}})
    generated = client.images.generate(model=SHAPES, prompt=PROMPT, size="64x64", extra_body={"seed": SEED})
    image = hub(near, SHAPES).text_to_image(PROMPT, seed=SEED)

    assert is_red_on_blue(png)
    assert (SEED, 1, "measured") == (
        native.body["result"]["seed"],
        native.body["usage"]["images"],
        native.body["cost_source"],
    )
    steps = [data for name, data in told[:-1] if name == "progress"]
    assert [step["step"] for step in steps] == list(range(1, steps[-1]["steps"] + 1))
    assert native.body["result"] == told[-1][1]["result"]
    assert generated.data is not None
    assert png == base64.b64decode(generated.data[0].b64_json or "")
    assert ("PNG", (64, 64)) == (image.format, image.size)


def test_a_photo_is_classified(near: Server, photo: bytes) -> None:
    """The flower is a daisy, whoever asks and however it is sent."""
    native = near.post("/v1/inference", {"model": EFFICIENTNET, "inputs": base64_of(photo)}).body
    found = hub(near, EFFICIENTNET)
    raw, beside = found.image_classification(photo), found.image_classification(photo, top_k=2)

    assert "daisy" == native["result"][0]["label"] == raw[0].label == beside[0].label
    assert (5, 5, 2) == (len(native["result"]), len(raw), len(beside))
    assert 1 == native["usage"]["images"]


def test_a_sentence_is_written_down(near: Server, client: openai.OpenAI) -> None:
    """The same words natively, by both clients, and in the stream; with times that lie within the recording."""
    native = near.post("/v1/inference", {"model": WHISPER, "inputs": base64_of(SPEECH)}).body
    told = streamed(near, {"model": WHISPER, "inputs": base64_of(SPEECH)})
    transcript = client.audio.transcriptions.create(model=WHISPER, file=("jfk.ogg", SPEECH))
    words = client.audio.transcriptions.create(
        model=WHISPER, file=("jfk.ogg", SPEECH), response_format="verbose_json", timestamp_granularities=["word"]
    )
    heard = hub(near, WHISPER).automatic_speech_recognition(SPEECH)

    assert WORDS in plain(native["result"]["text"])
    assert native["result"]["text"] == transcript.text == heard.text == told[-1][1]["result"]["text"]
    assert plain("".join(data["text"] for name, data in told if name == "delta")) == plain(transcript.text)
    assert pytest.approx(11, abs=0.2) == native["usage"]["audio_s"]
    assert words.words is not None
    times = [time for word in words.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 11.2
    assert plain(" ".join(word.word for word in words.words)) == plain(transcript.text)


def test_a_streamed_transcript_comes_through_openais_client(client: openai.OpenAI) -> None:
    """Deltas, then the whole."""
    told = list(client.audio.transcriptions.create(model=WHISPER, file=("jfk.ogg", SPEECH), stream=True))

    assert {"transcript.text.delta"} == {event.type for event in told[:-1]}
    assert WORDS in plain(told[-1].text)


BAD = [
    (EFFICIENTNET, b"no image at all", {}),
    (EFFICIENTNET, b"\x89PNG\r\n\x1a\n" + bytes(40), {}),
    (WHISPER, b"no sound at all", {}),
    (WHISPER, wav(0), {}),
    (WHISPER, SPEECH[:200], {}),
    (WHISPER, SPEECH, {"language": "de"}),
    (SHAPES, PROMPT, {"width": 63}),
    (SHAPES, PROMPT, {"width": 8192, "height": 8192}),
]


@pytest.mark.parametrize(("model", "inputs", "parameters"), BAD, ids=[f"{b[0]}-{n}" for n, b in enumerate(BAD)])
def test_files_that_are_none_are_refused(
    near: Server, model: str, inputs: bytes | str, parameters: dict[str, object]
) -> None:
    """400, in words that name no path, no prompt and no content; whole and streamed alike."""
    body = {
        "model": model,
        "inputs": inputs if isinstance(inputs, str) else base64_of(inputs),
        "parameters": parameters,
    }
    for given in (body, body | ({} if model == EFFICIENTNET else {"stream": True})):
        answer = near.post("/v1/inference", given)

        assert 400 == answer.status, answer.body
        assert "InvalidInput" in answer.body["error"]["message"]
        assert "/root" not in answer.body["error"]["message"]
        assert PROMPT not in answer.body["error"]["message"]


def test_a_prompt_past_the_context_is_refused_with_its_length(near: Server) -> None:
    """The limit and the length, under the code that OpenAI's clients know."""
    for model, inputs in ((SHAPES, "red " * 400), ("sentence-transformers/all-MiniLM-L6-v2", "red " * 400)):
        answer = near.post("/v1/inference", {"model": model, "inputs": inputs})

        assert (400, "context_length_exceeded") == (answer.status, answer.body["error"]["code"])
        assert "40" in answer.body["error"]["message"]


def test_the_shell_sees_all_three(tmp_path: Path, photo: bytes) -> None:
    """Offline, from files, with the first model of the catalogue."""
    (tmp_path / "photo.jpg").write_bytes(photo)
    (tmp_path / "speech.ogg").write_bytes(SPEECH)

    def nearfar(*arguments: str) -> str:
        done = here(tmp_path, "run", *arguments, "--offline")
        assert 0 == done.exit_code, done.stderr
        return done.stdout

    assert "nearfar-3.png\n" == nearfar("text-to-image", PROMPT, "--seed", str(SEED))
    assert is_red_on_blue((tmp_path / "nearfar-3.png").read_bytes())
    assert "daisy" == json.loads(nearfar("image-classification", "@photo.jpg"))[0]["label"]
    assert WORDS in plain(nearfar("automatic-speech-recognition", "@speech.ogg"))
