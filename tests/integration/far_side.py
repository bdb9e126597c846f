"""A far side on loopback: raw sockets that answer both protocols well, or exactly as badly as a test asks.

Well: deterministic vectors, labels and texts. Badly: enqueue a `Reply` and the next request gets it instead.
"""

import asyncio
import base64
import hashlib
import json
import socket
import struct
import time
from array import array
from collections import deque
from contextlib import suppress
from typing import Any, Literal, Self

from msgspec import Struct, field

from backends.fake.answers import png
from backends.media import content_type

HEAD_END = b"\r\n\r\n"
Then = Literal["end", "cut", "reset", "hang", "flood"]


class Request(Struct, frozen=True):
    """What came in; header names are lower-case. The body is decoded where it is JSON, and bytes where it is not.

    `at` is when all of it had been read, in monotonic seconds.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float = field(default_factory=time.monotonic)


class Reply(Struct, frozen=True, kw_only=True):
    """An answer, literally.

    `chunks` are flushed one by one. `then` says what follows them: `end` ends the body properly, `cut` closes the
    socket inside the body, `reset` resets it, `hang` sends nothing more until the client goes away, `flood` repeats the
    last chunk until it does. With status 0 no head is sent: `then` follows at once.

    `before_s` passes before the head, `between_s` between any two chunks; a client that leaves meanwhile is noticed.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    chunks: tuple[bytes, ...] = ()
    then: Then = "end"
    before_s: float = 0.0
    between_s: float = 0.0


def reply_json(payload: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; underscores in header names become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(
        status=status, headers={"content-type": "application/json"} | named, chunks=(json.dumps(payload).encode(),)
    )


def reply_events(*payloads: Any, then: Then = "end", **headers: str) -> Reply:
    """A stream of events, one flush each; a str payload is sent as it is."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    chunks = tuple(
        f"data: {payload if isinstance(payload, str) else json.dumps(payload)}\n\n".encode() for payload in payloads
    )
    return Reply(headers={"content-type": "text/event-stream"} | named, chunks=chunks, then=then)


class FarSide:
    """Use as `async with FarSide() as far`; `far.url` is its origin.

    `arrived` is set when a request has been read, `gone` when a client left before its answer was complete.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._place = host, port
        self.requests: list[Request] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.gone = asyncio.Event()
        self.url = ""
        self._replies: deque[Reply] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def enqueue(self, *replies: Reply) -> None:
        """The next requests get these, in order; then the good answers return."""
        self._replies.extend(replies)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, *self._place)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer(await _read(reader), reader, writer):
                    pass
        finally:
            writer.close()

    def reply_to(self, request: Request) -> Reply:
        """What this request gets: the next enqueued reply, else a good answer."""
        return self._replies.popleft() if self._replies else good(request)

    def left(self, request: Request) -> None:
        """The client of this request went away before its answer was complete."""
        self.gone.set()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """True when the connection can serve again."""
        self.requests.append(request)
        reply = self.reply_to(request)
        self.arrived.set()
        try:
            stayed = await _send(reply, reader, writer)
        except ConnectionError:
            stayed = False
        if not stayed:
            self.left(request)
        return stayed and reply.then == "end"


async def _send(reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send the reply as it says. False when the client went away before its end."""
    if reply.before_s and await _gone(reader, reply.before_s):
        return False
    if reply.status:
        writer.write(_head(reply))
    for number, chunk in enumerate(reply.chunks):
        if number and reply.between_s and await _gone(reader, reply.between_s):
            return False
        writer.write(_chunk(chunk))
        await writer.drain()
    while reply.then == "flood":
        writer.write(_chunk(reply.chunks[-1]))
        await writer.drain()
    if reply.then == "end":
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    if reply.then == "reset":
        linger = struct.pack("ii", 1, 0)  # closing then sends RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    return reply.then != "hang" or not await _gone(reader, None)


async def _gone(reader: asyncio.StreamReader, within_s: float | None) -> bool:
    """Wait so long, or until the client closes its side, which makes it True."""
    try:
        async with asyncio.timeout(within_s):
            return not await reader.read(1)
    except TimeoutError:
        return False


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(HEAD_END)).decode().split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body: Any = await reader.readexactly(int(headers.get("content-length", "0"))) or None
    if body and headers.get("content-type") == "application/json":
        body = json.loads(body)
    return Request(method, path, headers, body)


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} Said", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


# --- the good answers ---------------------------------------------------------------------------


def good(request: Request) -> Reply:
    """The right answer to any request that this far side understands."""
    for end, answer in _ROUTES.items():
        if request.path.endswith(end):
            return answer(request)
    if "/models/" in request.path:
        return _hub(request)
    return reply_json({"error": {"message": f"no route {request.path}", "code": "not_found"}}, status=404)


def _chat(request: Request) -> Reply:
    return _generation(request.body, "".join(message["content"] for message in request.body["messages"]), chat=True)


def _completion(request: Request) -> Reply:
    return _generation(request.body, request.body["prompt"], chat=False)


def _features(request: Request) -> Reply:
    return reply_json([vector(text, request.body.get("dimensions")) for text in request.body["inputs"]])


def vector(text: str, dimensions: int | None = None) -> list[float]:
    """A vector of length 1, the same for the same text."""
    raw = [byte - 127.5 for byte in hashlib.blake2b(text.encode(), digest_size=8).digest()][: dimensions or 8]
    length = sum(number * number for number in raw) ** 0.5
    return [number / length for number in raw]


def words_of(prompt: str, max_tokens: int) -> list[str]:
    """Five words, or fewer if the request allows no more."""
    return [f"far-{len(prompt)}", " says", " it", " was", " asked"][:max_tokens]


def _generation(body: dict[str, Any], prompt: str, *, chat: bool) -> Reply:
    words = words_of(prompt, body["max_tokens"])
    finish = "stop" if len(words) == 5 else "length"
    usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(words)}
    base = {"id": "far-1", "model": body["model"]}

    def choice(kind: str, text: str, finish_reason: str | None) -> dict[str, Any]:
        said = {kind: {"role": "assistant", "content": text}} if chat else {"text": text}
        return base | {"choices": [{"index": 0, "finish_reason": finish_reason} | said]}

    if not body.get("stream"):
        return reply_json(choice("message", "".join(words), finish) | {"usage": usage}, x_request_id="far-1")
    return reply_events(
        *(choice("delta", word, None) for word in words),
        choice("delta", "", finish),
        base | {"choices": [], "usage": usage},
        "[DONE]",
        x_request_id="far-1",
    )


def _embeddings(request: Request) -> Reply:
    body = request.body
    vectors = [vector(text, body.get("dimensions")) for text in body["input"]]
    rows = [{"index": index, "embedding": row} for index, row in enumerate(vectors)]
    usage = {"prompt_tokens": sum(len(text.split()) for text in body["input"])}
    return reply_json({"data": rows, "model": body["model"], "usage": usage}, x_request_id="far-1")


def _classification(body: dict[str, Any]) -> Reply:
    parameters = body.get("parameters", {})
    labels = parameters.get("candidate_labels", ["POSITIVE", "NEGATIVE"])
    texts = [body["inputs"]] if isinstance(body["inputs"], str) else body["inputs"]
    share = 1 / (len(labels) * (len(labels) + 1) / 2)
    one = [{"label": label, "score": (rank + 1) * share} for rank, label in enumerate(labels)]
    return reply_json([sorted(one, key=lambda row: -row["score"])[: parameters.get("top_k")] for _ in texts])


SPOKEN = ("Turn", " it", " off.")
LABELS = ("tabby", "tiger cat", "lynx", "remote control", "sofa", "bucket")


def _hub(request: Request) -> Reply:
    """What one path under a model's name means depends on what is sent there."""
    body, parameters = request.body, {}
    if request.headers["accept"] == "image/png":
        return _drawing(body)
    if isinstance(body, dict):
        parameters = body.get("parameters", {})
        inputs = body["inputs"]
        body = base64.b64decode(inputs) if isinstance(inputs, str) and _is_base64(inputs) else b""
    kind = content_type(body) or ""
    if kind.startswith("image/"):
        scored = [{"label": name, "score": 0.5 / 2**rank} for rank, name in enumerate(LABELS)]
        return reply_json(scored[: parameters.get("top_k", 5)])
    if kind.startswith("audio/"):
        return _heard(parameters)
    return _classification(request.body)


def _is_base64(text: str) -> bool:
    try:
        return len(text) > 16 and bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def colour(prompt: str, seed: object) -> tuple[int, int, int]:
    """What the far side draws: one colour a prompt and seed."""
    red, green, blue = hashlib.blake2b(f"{prompt} {seed}".encode(), digest_size=3).digest()
    return red, green, blue


def _drawing(body: dict[str, Any]) -> Reply:
    given = body.get("parameters", {})
    image = png(given.get("width", 16), given.get("height", 16), colour(body["inputs"], given.get("seed")))
    return Reply(headers={"content-type": "image/png", "x-request-id": "far-1"}, chunks=(image[:40], image[40:]))


def _drawings(request: Request) -> Reply:
    body = request.body
    width, height = map(int, body.get("size", "16x16").split("x"))
    images = [png(width, height, colour(body["prompt"], number)) for number in range(body["n"])]
    return reply_json({"created": 1, "data": [{"b64_json": base64.b64encode(image).decode()} for image in images]})


def _heard(parameters: dict[str, Any]) -> Reply:
    answer: dict[str, Any] = {"text": f" {''.join(SPOKEN)}"}
    if parameters.get("return_timestamps") == "word":
        answer["chunks"] = [{"text": word, "timestamp": [at, at + 1]} for at, word in enumerate(SPOKEN)]
    return reply_json(answer)


def form(request: Request) -> dict[str, list[tuple[dict[str, str], bytes]]]:
    """The parts of a multipart form by field name: their headers, and what they hold."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    first, *parts, last = request.body.split(b"--" + boundary)
    assert (b"", b"--\r\n") == (first, last)
    found: dict[str, list[tuple[dict[str, str], bytes]]] = {}
    for part in parts:
        head, _, content = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(HEAD_END)
        lines = (line.partition(":") for line in head.decode().split("\r\n"))
        headers = {name.lower(): value.strip() for name, _, value in lines}
        name = headers["content-disposition"].partition('name="')[2].partition('"')[0]
        found.setdefault(name, []).append((headers, content))
    return found


def _transcription(request: Request) -> Reply:
    fields = form(request)
    wanted = [content for _, content in fields.get("timestamp_granularities[]", [])]
    answer: dict[str, Any] = {"text": "".join(SPOKEN), "language": "english", "duration": 3.0}
    answer["segments"] = [{"id": 0, "start": 0.0, "end": 3.0, "text": f" {''.join(SPOKEN)}"}]
    if b"word" in wanted:
        answer["words"] = [{"word": word.strip(), "start": at, "end": at + 1} for at, word in enumerate(SPOKEN)]
    return reply_json(answer, x_request_id="far-1")


def as_base64(numbers: list[float]) -> str:
    """As OpenAI's own client asks for embeddings: float32, little-endian."""
    return base64.b64encode(array("f", numbers).tobytes()).decode()


_ROUTES = {
    "/chat/completions": _chat,
    "/completions": _completion,
    "/embeddings": _embeddings,
    "/images/generations": _drawings,
    "/audio/transcriptions": _transcription,
    "/pipeline/feature-extraction": _features,
}
