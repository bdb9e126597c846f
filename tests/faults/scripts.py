"""What a scripted model does to its n-th request, by name: one fault each, for answers whole and streamed."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import struct
from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from tests.integration.far_side import Reply, Request, reply_events, reply_json

if TYPE_CHECKING:
    from collections.abc import Callable

    Script = Callable[[int, Request], Reply]

PIECES = ("Every", " answer", " arrives", " whole", ".")
TEXT = "".join(PIECES)
SENT = 3  # pieces that arrive before a stream breaks
SAID = "".join(PIECES[:SENT])
DIMENSIONS = 384
NEVER_S = 120.0
ELSEWHERE = "/elsewhere"


# --- good answers -------------------------------------------------------------------------------


def good(number: int, request: Request) -> Reply:
    """A whole answer; from the beginning of one, the rest of it."""
    if request.path.endswith("/embeddings"):
        return _embedded(request)
    return reply_events(*_events(request)) if request.body.get("stream") else reply_json(_whole(request))


def _embedded(request: Request) -> Reply:
    texts: list[str] = request.body["input"]
    rows = [{"index": index, "embedding": _vector(text)} for index, text in enumerate(texts)]
    usage = {"prompt_tokens": sum(len(text.split()) for text in texts)}
    return reply_json({"data": rows, "model": request.body["model"], "usage": usage})


def _vector(text: str) -> list[float]:
    """The same for the same text, of length 1."""
    raw = [
        value / 65535 - 0.5 for value in struct.unpack(f"{DIMENSIONS}H", hashlib.shake_128(text.encode()).digest(768))
    ]
    length = sum(value * value for value in raw) ** 0.5
    return [value / length for value in raw]


def _rest(request: Request) -> tuple[str, ...]:
    """The pieces still to be said: a continuation is asked for as vLLM and its kin want it, else all are said anew."""
    *_, last = messages = request.body["messages"]
    goes_on = request.body.get("continue_final_message") is True and request.body.get("add_generation_prompt") is False
    if not (goes_on and last["role"] == "assistant"):
        return PIECES[: request.body["max_tokens"]]
    assert TEXT.startswith(last["content"]), messages
    said, count = last["content"], 0
    while "".join(PIECES[:count]) != said:
        count += 1
    return PIECES[count:]


def usage_of(request: Request) -> dict[str, int]:
    """Words in, pieces out."""
    words = sum(len(message["content"].split()) for message in request.body["messages"])
    pieces = len(_rest(request))
    return {"prompt_tokens": words, "completion_tokens": pieces, "total_tokens": words + pieces}


def _choice(request: Request, kind: str, text: str, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, kind: {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"id": "scripted", "model": request.body["model"], "choices": [choice]}


def _whole(request: Request, finish: str = "stop") -> dict[str, Any]:
    return _choice(request, "message", "".join(_rest(request)), finish) | {"usage": usage_of(request)}


def _events(request: Request, finish: str = "stop") -> list[Any]:
    """One event a piece, the finish, the usage, and `[DONE]`."""
    return [
        *(_choice(request, "delta", piece) for piece in _rest(request)),
        _choice(request, "delta", "", finish),
        {"id": "scripted", "model": request.body["model"], "choices": [], "usage": usage_of(request)},
        "[DONE]",
    ]


# --- refusals -----------------------------------------------------------------------------------


def refusing(status: int, code: str | None = None, **headers: str) -> Script:
    """Every request is refused."""

    def refuse(number: int, request: Request) -> Reply:
        return reply_json({"error": {"message": f"scripted {status}", "code": code}}, status=status, **headers)

    return refuse


def once(fault: Script) -> Script:
    """The first request meets the fault, all others a good answer."""
    return lambda number, request: (good if number else fault)(number, request)


def picky(number: int, request: Request) -> Reply:
    """Good, but refuses a conversation that ends with an assistant's message."""
    if request.body["messages"][-1]["role"] == "assistant":
        return reply_json(
            {"error": {"message": "the last message must be a user's", "code": "invalid_value"}}, status=400
        )
    return good(number, request)


# --- connections that break or hang -------------------------------------------------------------


def reset(number: int, request: Request) -> Reply:
    """The connection is reset instead of an answer."""
    return Reply(status=0, then="reset")


def silent(number: int, request: Request) -> Reply:
    """The request is accepted, and that is all."""
    return Reply(status=0, then="hang")


def slow(number: int, request: Request) -> Reply:
    """The headers of a stream come at once, its first token does not; a whole answer's headers do not either."""
    if not request.body.get("stream"):
        return replace(good(number, request), before_s=NEVER_S)
    answer = good(number, request)
    return replace(answer, chunks=(b": wait\n\n", *answer.chunks), between_s=NEVER_S)


def paced(number: int, request: Request) -> Reply:
    """Good, in a fifth of a second or so: so many callers do not ask more often than a machine of two cores can ask."""
    return replace(good(number, request), before_s=0.1, between_s=0.02)


def dripping(number: int, request: Request) -> Reply:
    """Good, but each piece takes a second: nobody who leaves has had it all."""
    return replace(good(number, request), between_s=1.0)


def breaking(*last: Any, then: str = "end") -> Script:
    """A stream has some pieces and then these events and this end; of a whole answer only half the body comes."""

    def broken(number: int, request: Request) -> Reply:
        if request.path.endswith("/embeddings"):
            return cut_vectors(number, request)
        if request.body.get("stream"):
            return reply_events(*_events(request)[:SENT], *last, then=then)
        body = json.dumps(_whole(request)).encode()
        return Reply(chunks=(body[: len(body) // 2],), then=then)

    return broken


def failing_within(number: int, request: Request) -> Reply:
    """An error under status 200: between the pieces of a stream, or instead of a whole answer."""
    error = {"error": {"message": "the engine died", "type": "server_error", "code": None}}
    return reply_events(*_events(request)[:SENT], error) if request.body.get("stream") else reply_json(error)


# --- answers that are none ----------------------------------------------------------------------


def answering(*chunks: bytes, content_type: str | None = None, then: str = "end", **headers: str) -> Script:
    """These bytes, under status 200 and the content type that was asked for unless another is given."""

    def answer(number: int, request: Request) -> Reply:
        wanted = "text/event-stream" if request.body.get("stream") else "application/json"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Reply(headers={"content-type": content_type or wanted} | named, chunks=chunks, then=then)

    return answer


@cache
def _bomb() -> bytes:
    """A few hundred KB that become twice what any answer may be."""
    return gzip.compress(b" " * (128 << 20), compresslevel=1)


def bomb(number: int, request: Request) -> Reply:
    """A compressed body, though nobody said that it may be."""
    return answering(_bomb(), content_encoding="gzip")(number, request)


def redirecting(number: int, request: Request) -> Reply:
    """To a host of another name, where the same provider sees who follows."""
    host = request.headers["host"].replace("127.0.0.1", "localhost")
    return Reply(status=302, headers={"location": f"http://{host}{ELSEWHERE}"})


def filtered(number: int, request: Request) -> Reply:
    """The provider's filter ends the answer."""
    if request.body.get("stream"):
        return reply_events(*_events(request)[:SENT], *_events(request, "content_filter")[-3:])
    return reply_json(_whole(request, "content_filter"))


# --- endings without `[DONE]`, which only streams have ------------------------------------------


def unended(then: str) -> Script:
    """Everything comes but `[DONE]`."""
    return lambda number, request: reply_events(*_events(request)[:-1], then=then)


def unfinished(number: int, request: Request) -> Reply:
    """Every piece and the usage come, but no finish reason, and the body ends properly."""
    if request.body.get("stream"):
        *pieces, _, usage, _ = _events(request)
        return reply_events(*pieces, usage)
    whole = _whole(request)
    whole["choices"][0]["finish_reason"] = None
    return reply_json(whole)


# --- by seeded chance, not by the clock ---------------------------------------------------------


def flapping(seed: int) -> Script:
    """Good and bad in turns of 1 to 8 requests, good first; what goes wrong is drawn, too. Each takes a while."""
    dice, turns = random.Random(seed), []
    while len(turns) < 4096:
        fault = FLAPS[dice.randrange(len(FLAPS))]
        turns += [paced] * dice.randint(1, 8) + [fault] * dice.randint(1, 8)
    return lambda number, request: turns[number % len(turns)](number, request)


class Pace(Struct, frozen=True, kw_only=True):
    """How long first tokens take: lognormal, drawn anew for each request."""

    median_s: float
    sigma: float
    seed: int


def mixed(share: float, pace: Pace) -> Script:
    """Good answers after a realistic wait; this share of the requests fails in one of four ways."""

    def drawn(number: int, request: Request) -> Reply:
        dice = random.Random(f"{pace.seed} {request.body['model']} {number}")
        wait_s = pace.median_s * dice.lognormvariate(0.0, pace.sigma)
        fault = MIX[dice.randrange(len(MIX))]
        script = fault if dice.random() < share else good
        reply = script(number, request)
        return replace(reply, before_s=wait_s, between_s=wait_s / 10) if reply.then in {"end", "cut"} else reply

    return drawn


def cut_vectors(number: int, request: Request) -> Reply:
    """Half of the vectors."""
    answer = good(number, request)
    return replace(answer, chunks=(answer.chunks[0][: len(answer.chunks[0]) // 2],), then="cut")


error, overloaded, cut = refusing(500), refusing(503), breaking(then="cut")
FLAPS: tuple[Script, ...] = (error, overloaded, reset, cut)
MIX: tuple[Script, ...] = (error, reset, silent, cut)

ALL: dict[str, Script] = {
    "good": good,
    "picky": picky,
    "limited-once": once(refusing(429, retry_after="1")),
    "limited-once-unsaid": once(refusing(429)),
    "limited": refusing(429),
    "limited-long": refusing(429, retry_after="60"),
    "error-once": once(error),
    "error": error,
    "overloaded": overloaded,
    "gateway-timeout": refusing(504),
    "reset-once": once(reset),
    "reset": reset,
    "silent": silent,
    "slow": slow,
    "dripping": dripping,
    "paced": paced,
    "cut": cut,
    "stall": breaking(then="hang"),
    "malformed": breaking('{"choices": [{"ind', "[DONE]"),
    "failing-within": failing_within,
    "unended": unended("end"),
    "unended-open": unended("hang"),
    "unfinished": unfinished,
    "context": refusing(400, "context_length_exceeded"),
    "filter": refusing(400, "content_filter"),
    "filtered": filtered,
    "unauthorized": refusing(401),
    "unpaid": refusing(402),
    "forbidden": refusing(403),
    "missing": refusing(404),
    "html": answering(b"<html>please log in</html>", content_type="text/html"),
    "junk": answering(b"data: junk\n\n"),
    "bomb": bomb,
    "endless": answering(b" " * (1 << 20), then="flood"),
    "redirect": redirecting,
    "flapping": flapping(4),
}
