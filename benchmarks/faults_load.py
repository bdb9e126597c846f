"""Callers of `faults.py`: closed loop, a given number at once, each answer judged whole, failed, or falsely whole."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

MAX_TOKENS = 6
DIMENSIONS = 384
PATIENCE_S = 30.0  # a caller's own; a router is quicker


@dataclass(frozen=True)
class Asked:
    """Who is asked, and for what: a task's route, a model, and the text of a whole answer where one is known.

    `near` keeps the request on this machine, which loads the model there.
    """

    url: str
    task: str
    model: str
    patience_s: float = PATIENCE_S
    text: str | None = None
    near: bool = False

    @property
    def path(self) -> str:
        """The route of OpenAI's API."""
        return f"{self.url}/v1/{'embeddings' if self.task == 'embeddings' else 'chat/completions'}"

    def body(self, number: int) -> dict[str, Any]:
        """The n-th request: each has words of its own, so that nobody could have kept the answer."""
        more: dict[str, Any] = {"routing": {"backend": "local"}} if self.near else {}
        if self.task == "embeddings":
            text = f"the request of number {number}"
            return more | {"model": self.model, "input": [text], "encoding_format": "float"}
        messages = [{"role": "user", "content": f"What arrives, number {number}?"}]
        said = {"messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0, "stream": True}
        return more | {"model": self.model} | said


@dataclass(frozen=True)
class Answer:
    """How one request ended: `ok`, or why not; `false success` is an answer that looked whole and was not."""

    ended: str
    taken_s: float
    decision_id: str | None = None


async def ask_all(client: httpx.AsyncClient, asked: Asked, *, requests: int, callers: int) -> list[Answer]:
    """So many requests from so many callers, each sending its next when the last has ended."""
    numbers = iter(range(requests))

    async def caller() -> list[Answer]:
        return [await _ask(client, asked, number) for number in numbers]

    return [answer for answers in await asyncio.gather(*(caller() for _ in range(callers))) for answer in answers]


async def _ask(client: httpx.AsyncClient, asked: Asked, number: int) -> Answer:
    began, decision_id, ended = time.perf_counter(), None, "timeout"
    try:
        async with (
            asyncio.timeout(asked.patience_s),
            client.stream("POST", asked.path, json=asked.body(number)) as answer,
        ):
            decision_id = answer.headers.get("x-nearfar-decision-id")
            body = (await answer.aread()).decode()
            ended = f"status {answer.status_code}" if answer.status_code != 200 else _judged(asked, body)
    except (TimeoutError, httpx.TimeoutException):
        pass
    except httpx.HTTPError:
        ended = "connection broke"
    return Answer(ended, time.perf_counter() - began, decision_id)


def _judged(asked: Asked, body: str) -> str:
    if asked.task == "embeddings":
        (row,) = json.loads(body)["data"]
        return "ok" if len(row["embedding"]) == DIMENSIONS else "false success"
    *lines, last = [line.removeprefix("data: ") for line in body.splitlines() if line]
    if last != "[DONE]":
        return "error in band" if "error" in json.loads(last) else "stream without an end"
    return "ok" if _whole(asked, [json.loads(line) for line in lines]) else "false success"


def _whole(asked: Asked, chunks: list[dict[str, Any]]) -> bool:
    """A finish and a text; the very text where one model said all of it, and it is the one whose text is known."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    finished = any(choice["finish_reason"] in {"stop", "length"} for choice in choices)
    models = {chunk["model"] for chunk in chunks}
    known = asked.text is not None and len(models) == 1 and next(iter(models)).startswith("mixed-")
    return finished and (text == asked.text if known else bool(text.strip()))


async def text_of(client: httpx.AsyncClient, asked: Asked) -> str:
    """The text of a whole answer of a far side that does not fail."""
    answer = await client.post(asked.path, json=asked.body(0))
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line][:-1]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
