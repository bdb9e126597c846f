"""OpenAI's own Python client: what its users call every day, streamed and not, near and far, errors included."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.clients.far import ARGUMENTS, CALL_ID, WORDS
from tests.e2e.conftest import MINILM, SMOLLM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.conftest import House

QUESTION: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "strict": True,
    },
}
SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": {"type": "object"}, "strict": True}}


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="unused", max_retries=0) as found:
        yield found


def test_a_tool_is_called_and_its_answer_read(client: openai.OpenAI, house: House) -> None:
    """The tools go far as they came, the call comes back, and the next turn carries call and answer."""
    asked = client.chat.completions.create(
        model="far/able", messages=QUESTION, tools=[TOOL], tool_choice="auto", parallel_tool_calls=False
    )
    choice = asked.choices[0]
    assert "tool_calls" == choice.finish_reason
    assert choice.message.content is None
    [call] = choice.message.tool_calls or []

    assert (CALL_ID, "weather", ARGUMENTS) == (call.id, call.function.name, call.function.arguments)  # type: ignore[union-attr]
    sent = house.sent("able")
    assert ([TOOL], "auto", False) == (sent["tools"], sent["tool_choice"], sent["parallel_tool_calls"])

    answer: Any = {"role": "tool", "tool_call_id": CALL_ID, "content": "sunny"}
    turns: list[Any] = [*QUESTION, choice.message, answer]
    told = client.chat.completions.create(model="far/able", messages=turns, tools=[TOOL])

    assert "".join(WORDS) == told.choices[0].message.content
    _, assistant, tool = house.sent("able")["messages"]
    assert answer == tool
    assert [CALL_ID] == [each["id"] for each in assistant["tool_calls"]]


def test_a_streamed_tool_call_adds_up_to_the_buffered_one(client: openai.OpenAI) -> None:
    """The client's own stream helper puts it together: one role, one name, all arguments, one finish."""
    with client.chat.completions.stream(model="far/able", messages=QUESTION, tools=[TOOL]) as stream:
        final = stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls or []

    assert ("weather", ARGUMENTS) == (call.function.name, call.function.arguments)
    assert "tool_calls" == final.choices[0].finish_reason


def test_a_schema_goes_far_and_json_comes_back(client: openai.OpenAI, house: House) -> None:
    """`json_schema` and `json_object` as they came; the client parses what they gave."""
    answer = client.chat.completions.create(model="far/able", messages=QUESTION, response_format=SCHEMA)

    assert ARGUMENTS == answer.choices[0].message.content
    assert SCHEMA == house.sent("able")["response_format"]
    client.chat.completions.create(model="far/able", messages=QUESTION, response_format={"type": "json_object"})
    assert {"type": "json_object"} == house.sent("able")["response_format"]


def test_several_answers_with_their_probabilities(client: openai.OpenAI, house: House) -> None:
    """Each choice has its text and its log-probabilities, buffered and streamed; penalties go along."""
    wanted: dict[str, Any] = {
        "n": 2,
        "logprobs": True,
        "top_logprobs": 2,
        "frequency_penalty": 0.5,
        "presence_penalty": 1,
    }
    biased = wanted | {"logit_bias": {"42": -100}, "reasoning_effort": "low"}
    answer = client.chat.completions.create(model="far/able", messages=QUESTION, **biased)

    assert ["".join(WORDS)] * 2 == [choice.message.content for choice in answer.choices]
    likely = answer.choices[1].logprobs
    assert likely is not None
    assert list(WORDS) == [token.token for token in likely.content or []]
    assert biased.items() <= house.sent("able").items()
    chunks = list(client.chat.completions.create(model="far/able", messages=QUESTION, stream=True, **wanted))
    for index in range(2):
        mine = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(WORDS) == "".join(choice.delta.content or "" for choice in mine)
        assert ["stop"] == [choice.finish_reason for choice in mine if choice.finish_reason]
        assert len(WORDS) == sum(len(choice.logprobs.content or []) for choice in mine if choice.logprobs)


def test_what_the_far_side_counted_apart_is_told(client: openai.OpenAI) -> None:
    """Cached tokens and tokens of reasoning come back with the usage, buffered and streamed."""
    whole = client.chat.completions.create(model="far/able", messages=QUESTION).usage
    *_, last = client.chat.completions.create(
        model="far/able", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    for usage in (whole, last.usage):
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        assert usage.completion_tokens_details is not None
        assert (8, 3) == (usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens)


def test_who_cannot_is_left_out_of_the_slate(client: openai.OpenAI, house: House) -> None:
    """A model that is near and far goes far for a tool, and the near candidate's reason is told."""
    answer = client.chat.completions.with_raw_response.create(model="both/able", messages=QUESTION, tools=[TOOL])
    assert "scripted" == answer.headers["x-nearfar-provider"]
    body = {"model": "both/able", "inputs": "x", "task": "text-generation"}
    plain = house.server.post("/v1/route", body).body

    assert {None} == {each["rejection"] for each in plain["candidates"]}
    row = house.server.get(f"/v1/decisions/{answer.headers['x-nearfar-decision-id']}").body
    assert "cannot do what is asked by: tools" in str(row)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [TOOL]),
        ("response_format", SCHEMA),
        ("presence_penalty", -1),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"1": 1}),
        ("reasoning_effort", "low"),
    ],
)
def test_what_nobody_can_do_is_refused_by_the_fields_name(client: openai.OpenAI, field: str, value: Any) -> None:
    """A near model alone: 422, the field in `param` and in words."""
    with pytest.raises(openai.UnprocessableEntityError, match=field) as caught:
        client.chat.completions.create(model=f"{SMOLLM}:local", messages=QUESTION, **{field: value})

    assert (field, "no_candidate") == (caught.value.param, caught.value.code)


def test_near_tells_the_probability_of_each_token(client: openai.OpenAI) -> None:
    """The tokens make up the text, whole and streamed; the likeliest others are not told, and that is said."""
    asked: dict[str, Any] = {
        "model": f"{SMOLLM}:local", "messages": QUESTION, "logprobs": True, "max_tokens": 8, "temperature": 0,
    }  # fmt: skip
    choice = client.chat.completions.create(**asked).choices[0]
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []

    assert choice.message.content == "".join(token.token for token in tokens)
    assert all(token.logprob <= 0 for token in tokens)
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
    told = [token for part in chunks if part.logprobs for token in part.logprobs.content or []]
    assert [token.logprob for token in tokens] == [token.logprob for token in told]
    with pytest.raises(openai.UnprocessableEntityError, match="top_logprobs"):
        client.chat.completions.create(**asked, top_logprobs=2)
    with pytest.raises(openai.UnprocessableEntityError, match="logprobs") as caught:
        client.completions.create(model=f"{SMOLLM}:local", prompt="x", logprobs=1)
    assert "logprobs" == caught.value.param


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function.name"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"n": 0}, "n"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
        ({"messages": [*QUESTION, {"role": "function", "name": "f", "content": "x"}]}, "messages.1.role"),
    ],
)
def test_what_makes_no_sense_is_refused(client: openai.OpenAI, given: dict[str, Any], param: str) -> None:
    """400 before anybody is asked, naming the field."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**({"model": "far/able", "messages": QUESTION} | given))

    assert param == caught.value.param


def test_near_gives_several_answers_from_seeds_of_their_own(client: openai.OpenAI) -> None:
    """Each differs, the same seed gives the same ones, streamed and buffered agree, and all tokens are counted."""
    asked: dict[str, Any] = {
        "model": f"{SMOLLM}:local", "messages": QUESTION, "n": 3, "seed": 7, "temperature": 1.0, "max_tokens": 6,
    }  # fmt: skip
    answer = client.chat.completions.create(**asked)
    texts = [choice.message.content for choice in answer.choices]

    assert 3 == len(set(texts))
    assert [0, 1, 2] == [choice.index for choice in answer.choices]
    assert answer.usage is not None
    assert 6 < answer.usage.completion_tokens <= 18
    said = ["", "", ""]
    for chunk in client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert texts == said


def test_half_a_tool_call_is_an_error_and_never_gone_on_with(client: openai.OpenAI, house: House) -> None:
    """What has gone out cannot be finished by somebody else, whatever the alias says."""
    before = len(house.far.asked("able"))
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="breaks", messages=QUESTION, tools=[TOOL], stream=True))
    assert before == len(house.far.asked("able"))


@pytest.mark.parametrize("alias", ["fails", "halves"])
def test_a_tool_falls_back_to_who_can(client: openai.OpenAI, alias: str) -> None:
    """A failure, or fewer answers than were asked for, before anything went out: the next candidate is asked."""
    answer = client.chat.completions.create(model=alias, messages=QUESTION, tools=[TOOL], n=2)

    assert ["tool_calls"] * 2 == [choice.finish_reason for choice in answer.choices]


def test_completions_go_on_with_a_text(client: openai.OpenAI) -> None:
    """Buffered, streamed, and several prompts at once; the chat template is not around it."""
    asked: dict[str, Any] = {"model": SMOLLM, "max_tokens": 5, "temperature": 0}
    one = client.completions.create(prompt="The capital of France is", **asked)
    raw = client.completions.with_raw_response.create(prompt=["The capital of France is", "One, two, three,"], **asked)
    both = raw.parse()
    chunks = list(client.completions.create(prompt="The capital of France is", stream=True, **asked))

    assert "Paris" in one.choices[0].text
    assert [0, 1] == [choice.index for choice in both.choices]
    assert one.choices[0].text == both.choices[0].text
    assert both.usage is not None
    assert f"{both.usage.cost:.10f}" == raw.headers["x-nearfar-cost-usd"], "of all prompts together"
    assert one.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks)
    assert "length" == chunks[-1].choices[0].finish_reason == one.choices[0].finish_reason
    assert one.usage is not None
    assert 5 == one.usage.completion_tokens


def test_completions_far_give_probabilities(client: openai.OpenAI) -> None:
    """The old shape of log-probabilities goes through as it is; several answers are numbered through."""
    answer = client.completions.create(model="far/able", prompt=["a", "b"], n=2, logprobs=1)

    assert [0, 1, 2, 3] == [choice.index for choice in answer.choices]
    assert answer.choices[3].logprobs is not None
    assert list(WORDS) == answer.choices[3].logprobs.tokens


@pytest.mark.parametrize(
    ("field", "value"),
    [("echo", True), ("suffix", "end"), ("best_of", 3), ("prompt", [1, 2]), ("prompt", []), ("prompt", "")],
)
def test_completions_refuse_by_name(client: openai.OpenAI, field: str, value: Any) -> None:
    """What is not served is named."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**({"model": SMOLLM, "prompt": "x"} | {field: value}))

    assert field == caught.value.param


def test_token_ids_are_embedded_as_the_text_they_say(client: openai.OpenAI, house: House) -> None:
    """Near by the model's own tokenizer, far as they are."""
    hello_world = [7592, 2088]  # in BERT's vocabulary
    text = client.embeddings.create(model=MINILM, input="hello world").data[0].embedding
    one = client.embeddings.create(model=MINILM, input=hello_world)
    two = client.embeddings.create(model=MINILM, input=[hello_world, [101, 7592, 102]])

    assert pytest.approx(text, abs=1e-6) == one.data[0].embedding
    assert 2 == len(two.data)
    assert pytest.approx(text, abs=1e-6) == two.data[0].embedding
    client.embeddings.create(model="far/vectors", input=[hello_world])
    assert [hello_world] == house.sent("able.vectors")["input"]


@pytest.mark.parametrize("ids", [[99999], [[7592], []], [[7592], "x"], [-1], [1.5], [[101, 102]]])
def test_token_ids_that_say_nothing_are_refused(client: openai.OpenAI, ids: Any) -> None:
    """Ids of another model's tokenizer would mean other words; none at all mean nothing."""
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=f"{MINILM}:local", input=ids)


def test_dimensions_and_encodings_agree(client: openai.OpenAI) -> None:
    """The first components, scaled to length 1, the same in both encodings."""
    short = client.embeddings.create(model=MINILM, input=["hello"], dimensions=8, encoding_format="float")
    packed = client.embeddings.create(model=MINILM, input=["hello"], dimensions=8, encoding_format="base64")

    assert 8 == len(short.data[0].embedding)
    assert packed.data[0].embedding != short.data[0].embedding  # the client leaves what was asked for as it is
    assert pytest.approx(1.0, abs=1e-5) == sum(value * value for value in short.data[0].embedding)


def test_the_asynchronous_client_runs_many_calls_at_once(house: House) -> None:
    """Chats, completions and embeddings together, each with its own answer."""

    async def all_at_once() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="unused", max_retries=0) as client:
            calls: list[Any] = [
                client.chat.completions.create(model="far/able", messages=QUESTION, tools=[TOOL]),
                client.embeddings.create(model=MINILM, input=["a", "b"]),
                client.completions.create(model="far/able", prompt="x"),
            ]
            return await asyncio.gather(*calls * 3)

    assert 9 == len(asyncio.run(all_at_once()))


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    """Each status raises its own class, with the decision's id in the body."""
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="nobody/knows", prompt="x")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=SMOLLM, messages=[])
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["decision_id"]
    with pytest.raises(openai.InternalServerError, match="scripted failure"):
        client.chat.completions.create(model="far/refusing.openai", messages=QUESTION)
