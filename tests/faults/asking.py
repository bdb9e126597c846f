"""Asks a Nearfar as its users do, through the official client, and keeps what came, as client and wire tell it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import openai
from httpx2 import Response, SyncByteStream
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TOKENS = 6  # one more than the scripted answer has pieces


class Told(Struct, kw_only=True):
    """What a caller was told.

    Attributes:
        text: All of it, also of an answer that broke.
        models: Who answered, by each chunk (streamed) or the answer itself, without repetitions.
        usage: Prompt and completion tokens.
        nearfar: What the finishing chunk says of attempts and splices.
        done: Whether the last line of a stream was `[DONE]`.
        error: What the client raised.
        took_s: Seconds until all of it was there.
    """

    text: str = ""
    finish_reason: str | None = None
    models: list[str] = field(default_factory=list)
    usage: tuple[int, int] | None = None
    nearfar: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    done: bool | None = None
    error: openai.APIError | None = None
    took_s: float = 0.0

    @property
    def decision_id(self) -> str:
        """The id of its rows in the log."""
        return self.headers["x-nearfar-decision-id"]

    @property
    def complete(self) -> bool:
        """A whole answer, properly ended."""
        return self.error is None and self.finish_reason in {"stop", "length"} and self.done is not False


class _Tapped(SyncByteStream):
    """A body that passes through unchanged and is kept."""

    def __init__(self, body: SyncByteStream, kept: bytearray) -> None:
        self._body, self._kept = body, kept

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            self._kept += chunk
            yield chunk

    def close(self) -> None:
        self._body.close()


@contextmanager
def client_of(url: str, kept: bytearray | None = None) -> Iterator[openai.OpenAI]:
    """The official client, without retries of its own; with `kept`, what it reads is kept there, too."""

    def tap(response: Response) -> None:
        if kept is not None:
            assert isinstance(response.stream, SyncByteStream)
            response.stream = _Tapped(response.stream, kept)

    http = openai.DefaultHttpxClient(event_hooks={"response": [tap]}, verify=False)  # no certificates to read
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, http_client=http, timeout=60) as client:
        yield client


def ask(url: str, model: str, *, stream: bool, question: str = "What arrives?", **routing: Any) -> Told:
    """Ask once. An error is in what is returned, not raised."""
    told, wire = Told(), bytearray()
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "extra_body": {"routing": routing} if routing else None,
    }
    with client_of(url, wire) as client:
        began = time.monotonic()
        try:
            if stream:
                _streamed(client, body, told)
            else:
                _whole(client, body, told)
        except openai.APIError as error:
            told.error = error
            if isinstance(error, openai.APIStatusError):
                told.headers = dict(error.response.headers)
        told.took_s = time.monotonic() - began
    if stream and not isinstance(told.error, openai.APIStatusError):
        told.done = [b"data: [DONE]"] == wire.strip().splitlines()[-1:]
    return told


def crowd(url: str, model: str, *, stream: bool, callers: int = 32, seconds: float = 0.0) -> list[Told]:
    """Ask from so many callers at once: each once, or one request after the other until so many seconds are over."""
    until = time.monotonic() + seconds

    def caller(_: int) -> list[Told]:
        told = [ask(url, model, stream=stream)]
        while time.monotonic() < until:
            told.append(ask(url, model, stream=stream))
        return told

    with ThreadPoolExecutor(callers) as pool:
        return [one for told in pool.map(caller, range(callers)) for one in told]


def _whole(client: openai.OpenAI, body: dict[str, Any], told: Told) -> None:
    raw = client.chat.completions.with_raw_response.create(**body)
    told.headers = dict(raw.headers)
    answer = raw.parse()
    told.text, told.finish_reason = answer.choices[0].message.content or "", answer.choices[0].finish_reason
    told.models = [answer.model]
    assert answer.usage is not None
    told.usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens)


def _streamed(client: openai.OpenAI, body: dict[str, Any], told: Told) -> None:
    raw = client.chat.completions.with_raw_response.create(**body, stream=True, stream_options={"include_usage": True})
    told.headers = dict(raw.headers)
    for chunk in raw.parse():
        if chunk.model not in told.models:
            told.models.append(chunk.model)
        if chunk.usage is not None:
            told.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        told.nearfar = (chunk.model_extra or {}).get("nearfar", told.nearfar)
        for choice in chunk.choices:
            told.text += choice.delta.content or ""
            told.finish_reason = choice.finish_reason or told.finish_reason


def error_of(told: Told) -> dict[str, Any]:
    """The error's body."""
    assert told.error is not None, told
    body = told.error.body
    found: dict[str, Any] = json.loads(body) if isinstance(body, str) else dict(body or {})  # type: ignore[call-overload]
    return found
