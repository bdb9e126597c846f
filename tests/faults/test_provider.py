"""The scripted provider itself: what it does to a request is what its script says, and its record is true."""

from __future__ import annotations

import socket
from typing import Any

import openai
import pytest

from tests.faults.asking import ask, client_of
from tests.faults.provider import Provider, partial_of, running
from tests.faults.scripts import PIECES, SAID, TEXT


@pytest.fixture(scope="module")
def far():
    with running(Provider()) as provider:
        yield provider


@pytest.mark.parametrize("stream", [False, True])
def test_a_good_model_answers_whole(far: Provider, stream: bool) -> None:
    """Text, finish reason, usage and `[DONE]`."""
    told = ask(far.url, f"good.self.{stream}", stream=stream)

    assert told.complete, told
    assert (TEXT, "stop", (2, len(PIECES))) == (told.text, told.finish_reason, told.usage)
    assert [stream] == [bool(request.body.get("stream")) for request in far.asked(f"good.self.{stream}")]


def continued(far: Provider, model: str, **more: Any) -> str:
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": SAID}]
    with client_of(far.url) as client:
        answer = client.chat.completions.create(model=model, messages=messages, max_tokens=99, extra_body=more)  # type: ignore[arg-type]
    return answer.choices[0].message.content or ""


def test_an_answer_goes_on_only_where_that_is_asked_for(far: Provider) -> None:
    """Like vLLM: with its two fields the rest comes, without them a new answer."""
    rest = continued(far, "good.continued", continue_final_message=True, add_generation_prompt=False)

    assert TEXT == SAID + rest
    assert TEXT == continued(far, "good.continued")
    assert [SAID, SAID] == [partial_of(request) for request in far.asked("good.continued")]
    with pytest.raises(openai.BadRequestError):
        continued(far, "picky.continued", continue_final_message=True, add_generation_prompt=False)


def test_a_fault_that_happens_once_does_not_happen_twice(far: Provider) -> None:
    """The second request to the same model is answered."""
    first, second = (ask(far.url, "limited-once.self", stream=False) for _ in range(2))

    assert isinstance(first.error, openai.RateLimitError)
    assert "1" == first.headers["retry-after"]
    assert second.complete


@pytest.mark.parametrize("script", ["cut", "failing-within", "unfinished"])
def test_a_stream_ends_behind_its_first_pieces(far: Provider, script: str) -> None:
    """Some of the text comes, and never a proper end."""
    told = ask(far.url, f"{script}.self", stream=True)

    assert told.text.startswith(SAID)
    assert not told.complete


def test_a_malformed_event_is_more_than_the_official_client_can_take(far: Provider) -> None:
    """It does not even translate what it meets."""
    with pytest.raises(ValueError, match=r"JSON|Unterminated|Expecting"):
        ask(far.url, "malformed.self", stream=True)


def test_who_leaves_is_seen(far: Provider) -> None:
    """The time at which a client hangs up before its answer is complete."""
    host, port = far.url.removeprefix("http://").split(":")
    body = b'{"model": "silent.self"}'
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(head.encode() + body)
        far.wait_until(lambda: len(far.asked("silent.self")) == 1)

        assert [] == far.left_at("silent.self")
    far.wait_until(lambda: len(far.left_at("silent.self")) == 1)

    assert far.left_at("silent.self")[0] >= far.asked("silent.self")[0].at
