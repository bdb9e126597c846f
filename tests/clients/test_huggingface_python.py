"""The hub's own Python client: `model=` with an address for every task, `base_url=` for chats."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

from tests.clients.far import ARGUMENTS, CALL_ID, WORDS
from tests.clients.test_openai_python import QUESTION, TOOL
from tests.e2e.conftest import MINILM, SMOLLM
from tests.e2e.media import IMAGE, PHOTO, SPEECH, base64_of, wav

if TYPE_CHECKING:
    from tests.clients.conftest import House

# The client itself warns about the way it sends raw bytes.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def of_model(house: House, model: str) -> InferenceClient:
    return InferenceClient(model=f"{house.url}/models/{model}", token="unused", timeout=120)


def of_server(house: House) -> InferenceClient:
    return InferenceClient(base_url=f"{house.url}/v1", api_key="unused", timeout=120)


def test_every_task_of_ours_has_its_method(house: House) -> None:
    """Vectors, labels, labels of one's own, text, a drawing, a photo's labels, a transcript."""
    assert (384,) == of_model(house, MINILM).feature_extraction("hello", normalize=True, truncate=True).shape
    labels = of_model(house, "nearfar/minilm-intent").text_classification("Write a function.", top_k=2)
    assert 2 == len(labels)
    zero = of_model(house, "nearfar/minilm-zero-shot").zero_shot_classification(
        "The match ended in a draw.", ["sports", "cooking"], multi_label=False
    )
    assert "sports" == zero[0].label
    text = of_model(house, SMOLLM).text_generation("The capital of France is", max_new_tokens=5, do_sample=False)
    assert "Paris" in text
    assert (16, 16) == of_model(house, IMAGE).text_to_image("a circle", width=16, height=16).size
    assert 2 == len(of_model(house, PHOTO).image_classification(b"a photo", top_k=2))
    assert of_model(house, SPEECH).automatic_speech_recognition(wav()).text


def test_files_go_as_bytes_or_in_json(house: House) -> None:
    """The same answer to raw bytes, to base64 in JSON, and to a list in the native shape."""
    raw = of_model(house, PHOTO).image_classification(b"a photo")
    said = house.server.post(f"/models/{PHOTO}", {"inputs": base64_of(b"a photo")}).body

    assert [label.label for label in raw] == [label["label"] for label in said]


def test_text_streams_with_its_details(house: House) -> None:
    """Pieces of text, then the whole with how it ended."""
    found = of_model(house, SMOLLM)
    asked: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "details": True}
    pieces = list(found.text_generation("The capital of France is", stream=True, **asked))
    whole = found.text_generation("The capital of France is", **asked)

    assert whole.generated_text == pieces[-1].generated_text
    assert whole.generated_text == "".join(piece.token.text for piece in pieces)
    assert whole.details is not None
    assert "length" == whole.details.finish_reason


@pytest.mark.parametrize("how", ["model", "base_url"])
def test_a_chat_calls_tools_and_keeps_to_a_schema(house: House, how: str) -> None:
    """By the model's address and by the server's: what the client sends in its own words arrives in OpenAI's."""
    client, named = (of_model(house, "far/able"), {}) if how == "model" else (of_server(house), {"model": "far/able"})
    called = client.chat_completion(QUESTION, tools=[TOOL], tool_choice="auto", **named)
    [call] = called.choices[0].message.tool_calls or []

    assert (CALL_ID, "weather", ARGUMENTS) == (call.id, call.function.name, call.function.arguments)
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    told = client.chat_completion(QUESTION, response_format=form, **named)
    assert {"city": "Paris"} == json.loads(told.choices[0].message.content or "")
    assert schema == house.sent("able")["response_format"]["json_schema"]["schema"]


def test_a_chat_streams_its_tool_calls(house: House) -> None:
    """The pieces of the arguments add up."""
    client = of_model(house, "far/able")  # a stream ends with the client that began it
    chunks = list(client.chat_completion(QUESTION, tools=[TOOL], stream=True))
    calls = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]

    assert ARGUMENTS == "".join(call.function.arguments or "" for call in calls)
    assert "tool_calls" == chunks[-1].choices[0].finish_reason


def test_probabilities_and_several_answers(house: House) -> None:
    """Of a chat, as OpenAI's client has them."""
    answer = of_server(house).chat_completion(QUESTION, model="far/able", n=2, logprobs=True, top_logprobs=1)

    assert ["".join(WORDS)] * 2 == [choice.message.content for choice in answer.choices]
    assert answer.choices[0].logprobs is not None
    assert list(WORDS) == [token.token for token in answer.choices[0].logprobs.content]


def test_the_asynchronous_client_streams(house: House) -> None:
    """As the other one does."""

    async def streamed() -> str:
        async with AsyncInferenceClient(base_url=f"{house.url}/v1", api_key="unused", timeout=120) as client:
            chunks = await client.chat_completion(QUESTION, model="far/able", stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    assert "".join(WORDS) == asyncio.run(streamed())


def test_errors_are_the_clients_own(house: House) -> None:
    """400, 404, 422 and 502, each with our words in it."""
    with pytest.raises(BadRequestError, match="temperature"):
        of_model(house, SMOLLM).text_generation("x", temperature=-1.0)
    with pytest.raises(HfHubHTTPError, match="Unknown model"):
        of_model(house, "nobody/knows").feature_extraction("x")
    with pytest.raises(HfHubHTTPError, match="tools"):
        of_model(house, f"{SMOLLM}:local").chat_completion(QUESTION, tools=[TOOL])
    with pytest.raises(HfHubHTTPError, match="scripted failure"):
        of_model(house, "far/refusing.hub").chat_completion(QUESTION)
