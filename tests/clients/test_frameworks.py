"""LangChain and LlamaIndex, as their users point them at a server that speaks OpenAI's protocol."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.clients.far import ARGUMENTS, CACHED, WORDS
from tests.e2e.conftest import MINILM, SMOLLM

if TYPE_CHECKING:
    from tests.clients.conftest import House

QUESTION = "What is the weather in Paris?"


def chat_model(house: House, model: str, **given: Any) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=model, base_url=f"{house.url}/v1", api_key="unused", max_retries=0, **given)


def test_langchain_chats(house: House) -> None:
    """Near: a message in, a message out, whole and in pieces that add up to it, with its usage."""
    model = chat_model(house, SMOLLM, temperature=0, max_tokens=16)
    whole = model.invoke("What is the capital of France?")
    pieces = list(model.stream("What is the capital of France?", stream_usage=True))

    assert "Paris" in whole.content
    assert whole.content == "".join(piece.content for piece in pieces)
    counts = [piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata]
    assert 0 < whole.usage_metadata["output_tokens"] == sum(counts)


def test_langchain_calls_tools(house: House) -> None:
    """A bound tool is called, whole and streamed, and its answer is read on the next turn."""
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    model = chat_model(house, "far/able").bind_tools([weather])
    called = model.invoke(QUESTION)
    [call] = called.tool_calls
    streamed = None
    for piece in model.stream(QUESTION):
        streamed = piece if streamed is None else streamed + piece

    assert ("weather", json.loads(ARGUMENTS)) == (call["name"], call["args"])
    assert streamed is not None
    assert call["args"] == streamed.tool_calls[0]["args"]
    told = model.invoke(
        [HumanMessage(QUESTION), called, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])]
    )
    assert "".join(WORDS) == told.content
    assert "sunny in Paris" == house.sent("able")["messages"][-1]["content"]


def test_langchain_gives_structured_output(house: House) -> None:
    """A schema goes along, and an object comes back; what was counted apart is told."""
    schema = {"title": "place", "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    found = chat_model(house, "far/able").with_structured_output(schema, method="json_schema", include_raw=True)
    answer = found.invoke(QUESTION)

    assert json.loads(ARGUMENTS) == answer["parsed"]
    counted = answer["raw"].usage_metadata["input_token_details"]
    assert CACHED == counted["cache_read"]


def test_langchain_embeds(house: House) -> None:
    """Documents and queries; its own cutting of texts is off, as it says for servers with another tokenizer."""
    from langchain_openai import OpenAIEmbeddings

    given: dict[str, Any] = {"model": MINILM, "base_url": f"{house.url}/v1", "api_key": "unused"}
    found = OpenAIEmbeddings(**given, check_embedding_ctx_length=False)
    vectors = found.embed_documents(["hello", "world"])

    assert [384, 384] == [len(vector) for vector in vectors]
    assert pytest.approx(vectors[0], abs=1e-5) == found.embed_query("hello")


def test_langchain_raises_what_openai_raises(house: House) -> None:
    """Its errors are the client's own."""
    with pytest.raises(openai.NotFoundError):
        chat_model(house, "nobody/knows").invoke("x")
    with pytest.raises(openai.UnprocessableEntityError, match="frequency_penalty"):
        chat_model(house, f"{SMOLLM}:local", frequency_penalty=0.5).invoke("x")


def test_llama_index_embeds(house: House) -> None:
    """One text, a query, and a batch."""
    from llama_index.embeddings.openai import OpenAIEmbedding

    found = OpenAIEmbedding(model_name=MINILM, api_base=f"{house.url}/v1", api_key="unused", max_retries=0)
    one, many = found.get_text_embedding("hello"), found.get_text_embedding_batch(["hello", "world"])

    assert [384, 384] == [len(vector) for vector in many]
    assert pytest.approx(one, abs=1e-5) == many[0]
    assert 384 == len(found.get_query_embedding("hello"))
    with pytest.raises(openai.NotFoundError):
        OpenAIEmbedding(
            model_name="nobody/knows", api_base=f"{house.url}/v1", api_key="unused", max_retries=0
        ).get_text_embedding("x")
