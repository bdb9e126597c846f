"""The hub's route: one path for every model and task."""

from typing import Any

from router.http.description import headers
from router.http.description.inference import (
    CHAT,
    DECISION,
    DRAWS,
    INTENT,
    LABELS,
    SEES,
    VECTOR,
    VECTORS,
    ZERO_SHOT,
    listed,
    shaped,
)
from router.http.description.openai_shapes import ChatCompletion, TextCompletion
from router.http.description.operation import EVENTS, JSON, Described, Example, events
from router.http.hub_schemas import HubBody

BYTES = "application/octet-stream"
_WORDS = {"type": "string"}
_GENERATED = {
    "type": "object",
    "required": ["generated_text"],
    "properties": {"generated_text": _WORDS, "details": {"type": "object"}},
    "additionalProperties": False,
}
_ANSWER: dict[str, Any] = {
    "description": "As `huggingface_hub.InferenceClient` reads it, by task.",
    "anyOf": [
        VECTOR | {"title": "feature-extraction"},
        listed(VECTOR),
        listed(_GENERATED) | {"title": "text-generation"},
        LABELS | {"title": "zero-shot-classification, image-classification"},
        listed(LABELS) | {"title": "text-classification"},
        shaped(text=_WORDS) | {"title": "automatic-speech-recognition"},
        {
            "type": "object",
            "required": ["text"],
            "properties": {"text": _WORDS, "chunks": {"type": "array"}, "language": {"type": ["string", "null"]}},
            "additionalProperties": False,
        },
        {"$ref": f"#/components/schemas/{ChatCompletion.__name__}"},
        {"$ref": f"#/components/schemas/{TextCompletion.__name__}"},
    ],
}
_BODY = {
    "description": "At `{id}/v1/chat/completions` a chat's, at `{id}/v1/completions` a completion's, else the hub's.",
    "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in (HubBody.__name__, "ChatBody", "CompletionsBody")],
}


def _of(summary: str, model: str, inputs: Any, **more: Any) -> Example:
    return Example(summary=summary, body={"inputs": inputs, **more}, parameters={"address": model})


TABLE = {
    "POST /models/{address}": Described(
        answer=_ANSWER,
        media={
            "image/png": {"type": "string", "contentMediaType": "image/png"},
            EVENTS: events("As of text-generation-inference, or a chat's chunks."),
        },
        bodies={JSON: _BODY, BYTES: {"type": "string", "format": "binary"}},
        parts=(HubBody,),
        headers=(*headers.INFERENCE, "x-nearfar-seed"),
        links=DECISION,
        shape="huggingface",
        parameters={
            "address": {
                "description": "`{id}`, `{id}/pipeline/{task}`, `{id}/v1/chat/completions` or `{id}/v1/completions`; "
                "ids have slashes."
            }
        },
        examples={
            "embedding": _of("A vector", VECTORS, "near"),
            "text": _of("A text", CHAT, "Say hello.", parameters={"max_new_tokens": 8, "details": True}),
            "streamed": _of("A text, piece by piece", CHAT, "Say hello.", stream=True),
            "labels": _of("Labels", ZERO_SHOT, "It rains.", parameters={"candidate_labels": ["weather", "billing"]}),
            "intent": _of("What a prompt wants", INTENT, "Write a function that sorts."),
            "drawing": _of("A PNG file", DRAWS, "a red circle"),
            "pipeline": _of("The task said", f"{VECTORS}/pipeline/feature-extraction", ["near", "far"]),
            "chat": Example(
                summary="A chat",
                parameters={"address": f"{CHAT}/v1/chat/completions"},
                body={"model": "dummy", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8},
            ),
            "completion": Example(
                summary="A text, in OpenAI's shape",
                parameters={"address": f"{CHAT}/v1/completions"},
                body={"model": "dummy", "prompt": "Say hello.", "max_tokens": 8},
            ),
            "photo": Example(
                summary="A photo's bytes", parameters={"address": SEES}, media=BYTES, body="(the bytes of a photo)"
            ),
        },
    ),
}
