"""OpenAI's route for plain text to be gone on with: no chat template is put around the prompt."""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.params import JSONBody
from litestar.response import Stream
from msgspec import Meta

from backends.types import InferenceRequest
from router.errors import InvalidRequest
from router.http import headers
from router.http.answers import Answer, Whole, answered, opened
from router.http.chats.chunks import TextChunks, events
from router.http.chats.extras import Asking, extras_of, shared_fields
from router.http.chats.generating import generation
from router.http.chats.telling import text_choices, text_of, usage_of
from router.http.openai_schemas import refuse_unserved
from router.http.schemas import (
    routing_of,
    texts_of,
)
from router.http.services import call_of, model_and_routing, request_id, services
from router.request import Call

MAX_TOKENS = 16  # OpenAI's own default for this route
AT_ONCE = 4  # of several prompts


class CompletionsBody(Asking, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/completions`. Each of several prompts is a request of its own: decided, run and logged apart."""

    prompt: str | list[Any]
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    # Known, and refused unless they ask for nothing.
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


_NEUTRAL: dict[str, tuple[object, ...]] = {"echo": (None, False), "suffix": (None, ""), "best_of": (None, 1)}


@post("/v1/completions", status_code=200, opt={"inference": True}, summary="Go on with a text, buffered or streamed")
async def completions(request: Request[Any, Any, Any], data: JSONBody[CompletionsBody]) -> Response[Any]:
    """Go on with a prompt, or with each of several. With `stream` the answer comes as events that end with `[DONE]`."""
    return await completed(request, data)


async def completed(request: Request[Any, Any, Any], data: CompletionsBody) -> Response[Any]:
    """The answer to a completion, buffered or streamed."""
    calls = _calls(request, data)
    if calls[0].request.stream:
        begun, pieces = await opened(request, calls[0])
        written = events(pieces, TextChunks(begun, include_usage=data.include_usage))
        return Stream(written, media_type="text/event-stream", headers=headers.of_stream(begun, request_id(request)))
    answers = await _answered(request, calls)
    body, said = _body(answers, data.n or 1), headers.of_outcome(answers[0].outcome, request_id(request))
    said["x-nearfar-cost-usd"] = headers.cost(body["usage"]["cost"])  # of all prompts together
    return Whole(body, said)


def _calls(request: Request[Any, Any, Any], body: CompletionsBody) -> list[Call]:
    """One call a prompt.

    Raises:
        InvalidRequest: no prompt, one that is not text, or a feature that is not served.
    """
    refuse_unserved(body, _NEUTRAL)
    if isinstance(body.prompt, list) and body.prompt and not isinstance(body.prompt[0], str):
        raise InvalidRequest("`prompt` must be text or a list of texts; token ids are not supported.", param="prompt")
    prompts = texts_of(body.prompt, "prompt", services(request).settings.server.max_batch_items)
    if body.stream and len(prompts) > 1:
        raise InvalidRequest("`stream`: a stream carries one prompt.", param="stream")
    model, routing = model_and_routing(request, body.model, routing_of(body.routing, body.provider))
    return [call_of(request, _request(body, model, prompt), routing) for prompt in prompts]


def _request(body: CompletionsBody, model: str, prompt: str) -> InferenceRequest:
    probable = {} if body.logprobs is None else {"logprobs": body.logprobs}
    extras = extras_of({**shared_fields(body), **probable})
    return generation(body, model, prompt, body.max_tokens or MAX_TOKENS, extras)


async def _answered(request: Request[Any, Any, Any], calls: Sequence[Call]) -> list[Answer]:
    """The answers in the order of their calls, a few at a time; the first failure is the request's, and ends it.

    Raises:
        RouterError: one of them failed; the others are stopped.
    """
    if len(calls) == 1:
        return [await answered(request, calls[0])]
    places = asyncio.Semaphore(AT_ONCE)

    async def one(call: Call) -> Answer:
        async with places:
            return await answered(request, call)

    tasks = [asyncio.create_task(one(call)) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _body(answers: Sequence[Answer], each: int) -> dict[str, Any]:
    choices = [
        choice
        for number, answer in enumerate(answers)
        for choice in text_choices(text_of(answer.result.output), number * each)
    ]
    return {
        "id": f"cmpl-{answers[0].outcome.decision_id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": answers[0].result.model,
        "choices": choices,
        "usage": _usage(answers),
    }


def _usage(answers: Sequence[Answer]) -> dict[str, Any]:
    """All of them together; one cost that nobody knows makes the sum unknown."""
    told = [usage_of(answer) for answer in answers]
    if len(told) == 1:
        return told[0]
    costs = [usage["cost"] for usage in told]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = {name: sum(usage.get(name, 0) for usage in told) for name in names}
    return {**counts, "cost": None if None in costs else sum(costs)}
