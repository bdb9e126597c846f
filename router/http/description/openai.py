"""OpenAI's routes: chat, embeddings, pictures, recordings, and the catalogue in its shape."""

from typing import Any

from router.http.description import headers
from router.http.description.inference import CHAT, DECISION, DRAWS, HEARS, VECTORS
from router.http.description.openai_shapes import (
    ChatCompletion,
    Model,
    Models,
    Pictures,
    TextCompletion,
    Transcription,
    Vectors,
)
from router.http.description.operation import EVENTS, TEXT, Described, Example, events

_MULTIPART = "multipart/form-data"
_CHUNKS = (
    'Chunks in OpenAI\'s shape, `data: [DONE]` at the end. An error after the first one is `data: {"error": ...}`.'
)


def _chat(summary: str, **more: Any) -> Example:
    message = {"role": "user", "content": "Say hello."}
    return Example(summary=summary, body={"model": CHAT, "messages": [message], "max_tokens": 8, **more})


TABLE = {
    "POST /v1/chat/completions": Described(
        answer=ChatCompletion,
        media={EVENTS: events(_CHUNKS)},
        headers=headers.INFERENCE,
        links=DECISION,
        examples={
            "chat": _chat("A short answer"),
            "streamed": _chat("The same, streamed", stream=True, stream_options={"include_usage": True}),
            "near": _chat(
                "Only on this machine", routing={"backend": "any", "private": False, "max_latency_ms": 60000}
            ),
        },
    ),
    "POST /v1/completions": Described(
        answer=TextCompletion,
        media={EVENTS: events(_CHUNKS)},
        headers=headers.INFERENCE,
        links=DECISION,
        examples={
            "text": Example(summary="Go on with a text", body={"model": CHAT, "prompt": "Once", "max_tokens": 8}),
            "several": Example(
                summary="With each of two", body={"model": CHAT, "prompt": ["Once", "Twice"], "max_tokens": 8}
            ),
            "streamed": Example(
                summary="The same, streamed", body={"model": CHAT, "prompt": "Once", "max_tokens": 8, "stream": True}
            ),
            "echo": Example(
                summary="What is not served", body={"model": CHAT, "prompt": "Once", "echo": True}, status=400
            ),
        },
    ),
    "POST /v1/embeddings": Described(
        answer=Vectors,
        headers=headers.INFERENCE,
        links=DECISION,
        examples={
            "floats": Example(summary="Two texts", body={"model": VECTORS, "input": ["near", "far"]}),
            "base64": Example(summary="Compact", body={"model": VECTORS, "input": "near", "encoding_format": "base64"}),
        },
    ),
    "POST /v1/images/generations": Described(
        answer=Pictures,
        media={EVENTS: events("A comment for each step, then the image.", "image_generation.completed")},
        headers=headers.INFERENCE,
        links=DECISION,
        examples={
            "drawing": Example(summary="One picture", body={"model": DRAWS, "prompt": "a red circle", "seed": 7}),
            "streamed": Example(summary="With its steps", body={"model": DRAWS, "prompt": "a cross", "stream": True}),
        },
    ),
    "POST /v1/audio/transcriptions": Described(
        answer=Transcription,
        media={
            TEXT: {"type": "string", "description": "`response_format` text, srt or vtt."},
            EVENTS: events("Their `type`: `transcript.text.delta`, at the end `transcript.text.done`."),
        },
        headers=headers.INFERENCE,
        links=DECISION,
        examples={
            "verbose": Example(
                summary="With times",
                media=_MULTIPART,
                body={"file": "(the bytes of a recording)", "model": HEARS, "response_format": "verbose_json"},
            ),
            "subtitles": Example(
                summary="As subtitles",
                media=_MULTIPART,
                body={"file": "(the bytes of a recording)", "model": HEARS, "response_format": "srt"},
            ),
        },
    ),
    "GET /v1/models": Described(answer=Models),
    "GET /v1/models/{model_id}": Described(
        answer=Model,
        examples={
            "one": Example(summary="A model of the catalogue", parameters={"model_id": CHAT}),
            "unknown": Example(summary="One that nobody knows", parameters={"model_id": "no/such-model"}, status=404),
        },
    ),
}
