"""Choices as a far side gave them: the parts of a stream add up to the whole, however it was cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ContentRefused, RemoteError
from backends.extras import Extras, parts_of
from backends.remote.choices import Choices
from backends.remote.openai_wire import GenerationReader, generation_call, reader_of
from backends.types import GenerationInput, Message

texts = st.text(max_size=12)
calls = st.lists(st.tuples(st.text("abc", min_size=1, max_size=5), texts), max_size=3)


def cut(text: str) -> list[str]:
    """In two, where there is enough of it."""
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def whole(index: int, content: str, called: list[tuple[str, str]]) -> dict:
    tools = [
        {"id": f"c{at}", "type": "function", "function": {"name": n, "arguments": a}}
        for at, (n, a) in enumerate(called)
    ]
    message = {"role": "assistant", "content": content or None} | ({"tool_calls": tools} if tools else {})
    return {"index": index, "message": message, "finish_reason": "tool_calls" if tools else "stop"}


def parts(choice: dict) -> list[dict]:
    message, index = choice["message"], choice["index"]
    deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in cut(message["content"] or ""))]
    for at, call in enumerate(message.get("tool_calls", [])):
        named = {"name": call["function"]["name"], "arguments": ""}
        deltas.append({"tool_calls": [{"index": at, "id": call["id"], "type": "function", "function": named}]})
        deltas += [
            {"tool_calls": [{"index": at, "function": {"arguments": text}}]}
            for text in cut(call["function"]["arguments"])
        ]
    end = {"index": index, "delta": {}, "finish_reason": choice["finish_reason"]}
    return [*({"index": index, "delta": delta, "finish_reason": None} for delta in deltas), end]


@given(st.lists(st.tuples(texts, calls), min_size=1, max_size=3))
def test_the_parts_of_a_stream_add_up_to_the_whole(said):
    """Texts, several tool calls, several answers: what is put together is what a buffered answer says."""
    choices = [whole(index, *each) for index, each in enumerate(said)]
    buffered, streamed = Choices(len(said)), Choices(len(said))
    buffered.feed(choices)
    told = [part for choice in choices for each in parts(choice) for part in streamed.feed([each])]

    again = Choices(len(said))
    again.feed([part | {"finish_reason": "stop"} for part in parts_of(tuple(choices))])
    assert [each.get("message") for each in streamed.whole()] == [each.get("message") for each in again.whole()]
    assert buffered.finished
    assert streamed.finished
    for one, other, given_as in zip(buffered.whole(), streamed.whole(), choices, strict=True):
        assert given_as["finish_reason"] == one["finish_reason"] == other["finish_reason"]
        assert given_as["message"] == one["message"]
        assert given_as["message"] == {"role": "assistant", "content": None} | other.get("message", {})
    assert all("finish_reason" not in part and "role" not in part.get("delta", {}) for part in told)


def test_likelihoods_go_on():
    """Each chunk brings those of its own tokens."""
    choices = Choices(1)
    for token in "ab":
        choices.feed([{"index": 0, "delta": {"content": token}, "logprobs": {"content": [{"token": token}]}}])
    choices.feed([{"index": 0, "delta": {}, "finish_reason": "stop"}])

    assert [{"token": "a"}, {"token": "b"}] == choices.whole()[0]["logprobs"]["content"]


def test_an_answer_that_nobody_asked_for_is_an_error():
    """What is kept is bounded by what was asked for."""
    with pytest.raises(RemoteError, match="a choice 2; 2 were asked for"):
        Choices(2).feed([{"index": 2, "delta": {"content": "x"}}])


def test_one_answer_of_two_is_half_an_answer():
    """A far side that does not know `n` gives one: that is no success."""
    reader = GenerationReader(8, answers=2)
    reader.feed({"choices": [whole(0, "x", [])]})

    assert not reader.finished
    with pytest.raises(RemoteError, match="truncated"):
        reader.output()


def test_a_filter_ends_all_of_it():
    """One refused answer of several is a refusal."""
    reader = GenerationReader(8, answers=2)
    reader.feed({"choices": [whole(0, "x", []), whole(1, "y", []) | {"finish_reason": "content_filter"}]})

    with pytest.raises(ContentRefused):
        reader.output()


@pytest.mark.parametrize("call", [7, {"function": {"name": 3}}, {"function": {"name": "f", "arguments": {}}}])
def test_a_tool_call_of_another_shape_is_an_error(call):
    """A client would trip over it."""
    with pytest.raises(RemoteError, match="unknown shape"):
        GenerationReader(8, answers=1).feed({"choices": [{"message": {"tool_calls": [call]}}]})


def test_a_tool_call_that_nobody_asked_for_is_an_error():
    """Text was asked for, and there is none."""
    reader = GenerationReader(8)
    reader.feed({"choices": [whole(0, "", [("f", "{}")])]})

    with pytest.raises(RemoteError, match="'tool_calls'"):
        reader.output()


def test_all_answers_count_together():
    """Three answers may have three times as many tokens as one; what cannot be true is not believed."""
    payload = GenerationInput(prompt="x", max_tokens=5, extras=Extras(fields={"n": 3}))

    def counted(tokens: int) -> int | None:
        reader = reader_of(payload)
        reader.feed({"choices": [], "usage": {"completion_tokens": tokens}})
        return reader.usage.completion_tokens

    assert (15, None) == (counted(15), counted(16))


def test_extras_go_over_the_wire_as_they_came():
    """The fields beside the others, the whole messages instead of their texts."""
    messages = ({"role": "user", "content": "hi"}, {"role": "tool", "tool_call_id": "c", "content": "5"})
    extras = Extras(fields={"tools": [{"type": "function"}], "logprobs": True}, messages=messages)
    payload = GenerationInput(messages=(Message("user", "hi"),), extras=extras)
    body = generation_call(payload, "m", stream=False).body

    assert {"tools": [{"type": "function"}], "logprobs": True, "messages": list(messages)}.items() <= dict(body).items()
    assert json.dumps(body)
