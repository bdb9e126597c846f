"""The hub's routes: `InferenceClient(model="http://HOST/models/ID")` works unmodified, for every task and for chat."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from litestar import Request, Response, post
from litestar.params import FromPath
from litestar.response import Stream

from backends.types import Delta, DrawingOutput, Piece, Task
from router.errors import InvalidRequest, RouterError
from router.http import answers, completions, headers, hub_schemas, openai
from router.http.completions import CompletionsBody
from router.http.hub_schemas import Wanted
from router.http.openai_schemas import ChatBody
from router.http.schemas import invalid, routing_of, task_named
from router.http.services import call_of, identity, model_and_routing, request_id, services
from router.outcome import Begun, Outcome
from router.request import Routing

encode = msgspec.json.encode

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
B = TypeVar("B", ChatBody, CompletionsBody)
FILES = ("image/*", "audio/*", "video/*", "application/octet-stream", "")  # video: what .webm and .mp4 are taken for


class Address(NamedTuple):
    """What a path below `/models` names."""

    model: str
    task: str | None = None
    speaks: Literal["chat", "completion"] | None = None  # OpenAI's shape, where it is not the hub's own


@post(
    "/models/{address:path}",
    status_code=200,
    opt={"inference": True, "bodies": FILES, "shape": "huggingface"},
    summary="Any task, in the hub's shapes",
)
async def model(request: Request[Any, Any, Any], address: FromPath[str]) -> Response[Any]:
    """`/models/{id}`, `/models/{id}/pipeline/{task}`, `/models/{id}/v1/chat/completions` and `.../v1/completions`.

    The body is `{"inputs", "parameters"}`, or an image or a recording as it is. An answer of text-to-image is a PNG.
    """
    place = address_of(str(address))
    raw, is_json = await request.body(), request.content_type[0] == "application/json"
    if place.speaks == "chat":
        return await openai.chatted(request, _named(raw, place.model, ChatBody), place.model)
    if place.speaks == "completion":
        return await completions.completed(request, _named(raw, place.model, CompletionsBody))
    if is_json:
        body = hub_schemas.body_of(raw)
        name, routing = model_and_routing(request, place.model, routing_of(body.routing, body.provider))
        task = await _task(request, name, place.task)
        asked = hub_schemas.wanted(body, name, task, services(request).settings.server.max_batch_items)
    else:
        name, routing = model_and_routing(request, place.model, Routing())
        asked = hub_schemas.wanted_of_file(raw, name, await _task(request, name, place.task))
    return await _answer(request, asked, routing)


def address_of(path: str) -> Address:
    """The model's id, which has slashes itself, and what follows it."""
    path = path.strip("/")
    if f"/{path}".endswith(CHAT):
        return Address(path[: -len(CHAT)], speaks="chat")
    if f"/{path}".endswith(COMPLETION):
        return Address(path[: -len(COMPLETION)], speaks="completion")
    name, found, task = path.rpartition("/pipeline/")
    return Address(name, task) if found and "/" not in task else Address(path)


async def _task(request: Request[Any, Any, Any], name: str, given: str | None) -> Task:
    return task_named(given or await services(request).dispatcher.task_of(name, identity(request).tenant))


def _named(raw: bytes, name: str, shape: type[B]) -> B:
    """The body; the model is the path's, whatever the body says (the clients say `dummy`, or their whole address)."""
    try:
        tree = msgspec.json.decode(raw)
        if isinstance(tree, dict):
            tree = (tree if shape is ChatBody else hub_schemas.in_openais_words(tree)) | {"model": name}
        return msgspec.convert(tree, shape)
    except msgspec.ValidationError as error:
        raise invalid(error, shape) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error


async def _answer(request: Request[Any, Any, Any], asked: Wanted, routing: Routing) -> Response[Any]:
    call = call_of(request, asked.request, routing)
    if asked.request.stream:
        begun, pieces = await answers.opened(request, call)
        said = headers.of_stream(begun, request_id(request))
        return Stream(_events(pieces, asked), media_type="text/event-stream", headers=said)
    answer = await answers.answered(request, call)
    said = headers.of_outcome(answer.outcome, request_id(request))
    output = answer.result.output
    if isinstance(output, DrawingOutput):
        seed = {} if output.seeds[0] is None else {"x-nearfar-seed": str(output.seeds[0])}
        return Response(output.images[0], media_type="image/png", headers=said | seed)
    return answers.Whole(hub_schemas.answer_of(answer, asked), said)


async def _events(pieces: AsyncGenerator[Begun | Piece | Outcome, None], asked: Wanted) -> AsyncGenerator[bytes, None]:
    """Events of text-generation-inference. A piece is text, not a token: it has no id and no log-probability."""
    number = 0
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Delta):
                number += 1
                yield _event(number, piece.text)
            elif isinstance(piece, Outcome):
                yield _last(number + 1, piece, asked)


def _event(number: int, text: str, *, special: bool = False, **end: Any) -> bytes:
    token = {"id": None, "text": text, "logprob": None, "special": special}
    body = {"index": number, "token": token, "generated_text": None, "details": None} | end
    return b"data:" + encode(body) + b"\n\n"


def _last(number: int, outcome: Outcome, asked: Wanted) -> bytes:
    try:
        answer = answers.answer_of(outcome)
    except RouterError as error:
        return b"data:" + encode({"error": str(error), "error_type": "generation"}) + b"\n\n"
    text, details = hub_schemas.text_in(answer, asked), hub_schemas.details_of(answer, asked.request)
    return _event(number, "", special=True, generated_text=text, details=details)
