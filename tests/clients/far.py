"""A scripted far side that can do what near models cannot: call tools, keep to a schema, give log-probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.integration.far_side import Reply, reply_events, reply_json

if TYPE_CHECKING:
    from tests.faults.scripts import Script
    from tests.integration.far_side import Request

CALL_ID = "call_1"
ARGUMENTS = '{"city": "Paris"}'
WORDS = ("It", " is", " sunny", ".")
CACHED = 8
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 4,
    "total_tokens": 24,
    "prompt_tokens_details": {"cached_tokens": CACHED},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def able(number: int, request: Request) -> Reply:
    """Whatever is asked: a call of the first tool, JSON for a schema, else a sentence; as often as `n` says."""
    body = request.body
    if request.path.endswith("/embeddings"):
        rows = [{"index": at, "embedding": [float(len(row)), 1.0]} for at, row in enumerate(body["input"])]
        return reply_json({"data": rows, "model": body["model"], "usage": {"prompt_tokens": 3}})
    whole, parts = _answer(body, chat=request.path.endswith("/chat/completions"))
    if not body.get("stream"):
        return reply_json(_chunk(body, whole) | {"usage": USAGE})
    usage = _chunk(body, []) | {"usage": USAGE}
    return reply_events(*(_chunk(body, [part]) for part in parts), usage, "[DONE]")


def breaking(number: int, request: Request) -> Reply:
    """Half a tool call, and then the connection breaks."""
    _, parts = _answer(request.body, chat=True)
    return reply_events(*(_chunk(request.body, [part]) for part in parts[:2]), then="cut")


def half(number: int, request: Request) -> Reply:
    """One answer, however many are wanted."""
    whole, _ = _answer(request.body | {"n": 1}, chat=True)
    return reply_json(_chunk(request.body, whole) | {"usage": USAGE})


def refusing(number: int, request: Request) -> Reply:
    """Nothing works there."""
    return reply_json({"error": {"message": "scripted failure"}}, status=500)


SCRIPTS: dict[str, Script] = {"able": able, "breaking": breaking, "half": half, "refusing": refusing}


def _chunk(body: dict[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "scripted", "object": "chat.completion", "created": 1, "model": body["model"], "choices": choices}


def _answer(body: dict[str, Any], *, chat: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The choices whole, and the same as the parts of a stream."""
    whole: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for index in range(body.get("n", 1)):
        if body.get("tools") and body["messages"][-1]["role"] == "user":
            one, pieces = _called(body["tools"][0]["function"]["name"])
        else:
            one, pieces = _said(body) if chat else _written(body)
        whole.append({"index": index} | one)
        parts += [{"index": index} | piece for piece in pieces]
    return whole, parts


def _called(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    call = {"id": CALL_ID, "type": "function", "function": {"name": name, "arguments": ARGUMENTS}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    first = {"index": 0, "id": CALL_ID, "type": "function", "function": {"name": name, "arguments": ""}}
    deltas = [
        {"role": "assistant", "content": None, "tool_calls": [first]},
        *({"tool_calls": [{"index": 0, "function": {"arguments": text}}]} for text in (ARGUMENTS[:7], ARGUMENTS[7:])),
    ]
    pieces: list[dict[str, Any]] = [{"delta": delta, "finish_reason": None} for delta in deltas]
    return {"message": message, "finish_reason": "tool_calls"}, [*pieces, {"delta": {}, "finish_reason": "tool_calls"}]


def _said(body: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    words = (ARGUMENTS,) if body.get("response_format") else WORDS
    likely = [_token(word, body.get("top_logprobs", 0)) for word in words] if body.get("logprobs") else []
    message = {"role": "assistant", "content": "".join(words)}
    whole = {"message": message, "logprobs": {"content": likely} if likely else None, "finish_reason": "stop"}
    pieces: list[dict[str, Any]] = [{"delta": {"content": word}, "finish_reason": None} for word in words]
    for piece, token in zip(pieces, likely, strict=False):
        piece["logprobs"] = {"content": [token]}
    return whole, [{"delta": {"role": "assistant", "content": ""}}, *pieces, {"delta": {}, "finish_reason": "stop"}]


def _written(body: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    told = {"tokens": list(WORDS), "token_logprobs": [-0.5] * len(WORDS), "top_logprobs": None, "text_offset": None}
    likely = told if body.get("logprobs") is not None else None
    pieces: list[dict[str, Any]] = [{"text": word, "finish_reason": None} for word in WORDS]
    return {"text": "".join(WORDS), "logprobs": likely, "finish_reason": "stop"}, [
        *pieces,
        {"text": "", "finish_reason": "stop"},
    ]


def _token(word: str, others: int) -> dict[str, Any]:
    top = [{"token": word, "logprob": -0.5, "bytes": None} for _ in range(others)]
    return {"token": word, "logprob": -0.5, "bytes": list(word.encode()), "top_logprobs": top}
