"""OpenAI's routes, in OpenAI's shapes: the official client works unmodified."""

import base64
import sys
import time
from array import array
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody
from litestar.response import Stream

from backends.types import EmbeddingOutput, Output
from router.candidates import CandidateFinder
from router.catalog import Catalog
from router.errors import UnknownModel
from router.http import headers
from router.http.answers import Answer, Whole, answered, opened
from router.http.chats.chunks import ChatChunks, events
from router.http.chats.telling import chat_choices, text_of, usage_of
from router.http.openai_schemas import ChatBody, EmbeddingsBody, chat_request, embeddings_request
from router.http.schemas import routing_of
from router.http.services import call_of, identity, model_and_routing, request_id, services
from router.identity import is_known_to
from router.quality import Quality
from router.sections import AliasEntry, ModelEntry


@post("/v1/chat/completions", status_code=200, opt={"inference": True}, summary="Chat, buffered or streamed")
async def chat(request: Request[Any, Any, Any], data: JSONBody[ChatBody]) -> Response[Any]:
    """Continue a conversation. With `stream` the answer comes as server-sent events that end with `[DONE]`."""
    return await chatted(request, data, data.model)


async def chatted(request: Request[Any, Any, Any], body: ChatBody, name: str) -> Response[Any]:
    """The answer of the model of this name to a chat, buffered or streamed."""
    model, routing = model_and_routing(request, name, routing_of(body.routing, body.provider))
    call = call_of(request, chat_request(body, model), routing)
    if not call.request.stream:
        answer = await answered(request, call)
        return Whole(_completion(answer), headers.of_outcome(answer.outcome, request_id(request)))
    begun, pieces = await opened(request, call)
    written = events(pieces, ChatChunks(begun, include_usage=body.include_usage))
    return Stream(written, media_type="text/event-stream", headers=headers.of_stream(begun, request_id(request)))


@post("/v1/embeddings", status_code=200, opt={"inference": True}, summary="Embed texts")
async def embeddings(request: Request[Any, Any, Any], data: JSONBody[EmbeddingsBody]) -> Response[Any]:
    """One vector a text, as floats or as base64 of little-endian float32."""
    model, routing = model_and_routing(request, data.model, routing_of(data.routing, data.provider))
    max_items = services(request).settings.server.max_batch_items
    call = call_of(request, embeddings_request(data, model, max_items), routing)
    answer = await answered(request, call)
    as_base64 = data.encoding_format == "base64"
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if as_base64 else list(vector)}
            for index, vector in enumerate(_vectors(answer.result.output))
        ],
        "model": answer.result.model,
        "usage": usage_of(answer),
    }
    return Whole(body, headers.of_outcome(answer.outcome, request_id(request)))


@get("/v1/models", summary="The catalogue, with the state of each candidate")
async def models(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Every model and alias in OpenAI's shape, and of intents one's own; what only we know is under `nearfar`."""
    house = services(request)
    entries = [
        model_answer(house.finder, house.lessons.judgement.quality, entry)
        for entry in house.catalog
        if is_known_to(entry.id, identity(request).sees)
    ]
    return {
        "object": "list",
        "data": [*entries, *(alias_answer(house.catalog, alias) for alias in house.catalog.aliases.values())],
    }


@get("/v1/models/{model_id:path}", summary="One model of the catalogue")
async def model(request: Request[Any, Any, Any], model_id: FromPath[str]) -> dict[str, Any]:
    """One model, or 404 naming near ones."""
    house = services(request)
    wanted = str(model_id).removeprefix("/")
    alias = house.catalog.alias(wanted)
    if alias is not None:
        return alias_answer(house.catalog, alias)
    entry = house.catalog.find(wanted) if is_known_to(wanted, identity(request).sees) else None
    if entry is None:
        raise UnknownModel(wanted, house.catalog.alternatives(wanted))
    return model_answer(house.finder, house.lessons.judgement.quality, entry)


def _completion(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.outcome.decision_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answer.result.model,
        "choices": chat_choices(text_of(answer.result.output)),
        "usage": usage_of(answer),
    }


def _vectors(output: Output) -> "tuple[array[float], ...]":
    if not isinstance(output, EmbeddingOutput):
        raise TypeError(f"feature extraction gave {type(output).__name__}")
    return output.vectors


def _base64(vector: "array[float]") -> str:
    if sys.byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()


def alias_answer(catalog: Catalog, alias: AliasEntry) -> dict[str, Any]:
    """An alias in OpenAI's shape, with the models it stands for, whose candidates are its own."""
    first = catalog.find(alias.models[0])
    return {
        "id": alias.name,
        "object": "model",
        "created": 0,
        "owned_by": "nearfar",
        "nearfar": {
            "task": None if first is None else first.task,
            "description": "An alias.",
            "models": alias.models,
            "fallbacks": alias.fallbacks,
            "policy": alias.policy,
            "candidates": [],
        },
    }


def quality_answer(quality: Quality, model: str) -> dict[str, Any]:
    """What a model's quality is held to be now, in all and by intent; `weight` is that of the judgements behind it."""
    found = {intent: quality.of(model, intent) for intent in (None, *quality.intents(model))}
    told = {intent: figure._asdict() for intent, figure in found.items()}
    return {**told.pop(None), "intents": told}


def model_answer(finder: CandidateFinder, quality: Quality, entry: ModelEntry) -> dict[str, Any]:
    """A catalogue entry in OpenAI's shape, with the state of its candidates."""
    return {
        "id": entry.id,
        "object": "model",
        "created": 0,
        "owned_by": entry.id.split("/", maxsplit=1)[0],
        "nearfar": {
            "task": entry.task,
            "description": entry.description,
            "context_length": entry.context_length,
            "parameters": entry.parameters,
            "quality": entry.quality,
            "quality_now": quality_answer(quality, entry.id),
            "candidates": [
                {
                    "candidate": candidate.id,
                    "backend": candidate.target.backend,
                    "provider": candidate.target.provider,
                    "device": candidate.status.device,
                    "loaded": candidate.status.loaded,
                    "available": candidate.status.unavailable is None and candidate.status.does_not_fit is None,
                    "why_not": candidate.status.unavailable or candidate.status.does_not_fit,
                    "memory_bytes": candidate.status.memory_bytes,
                    "price": candidate.price,
                }
                for candidate in finder.of_model(entry)
            ],
        },
    }
