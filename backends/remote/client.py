"""One provider's connections, carrying calls: bounded, never redirected, each wait with its own limit. Knows no task.

pyreqwest 0.15 cannot abort a request whose task was cancelled before its headers came: it detaches it, and the request
holds its connection until an answer or a limit ends it. So pyreqwest is given limits of its own, `_GRACE_S` above ours.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from pyreqwest.client import ClientBuilder

from backends import outward
from backends.errors import BackendError, Interrupted, RemoteError, Timeout
from backends.remote.call import JSON
from backends.remote.errors import from_status, raise_in_band, translated
from backends.remote.exchange_limits import ExchangeLimits
from backends.remote.sse import SseParser
from backends.types import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from types import TracebackType

    from pyreqwest.client import Client
    from pyreqwest.request import StreamRequest
    from pyreqwest.response import Response

    from backends.remote.call import Call
    from backends.remote.exchange_limits import Phase
    from backends.remote.provider import Provider
    from backends.remote.sse import Event

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024

_GRACE_S = 1.0
_DRAIN_S = 0.25
_PING_EVERY_S, _PING_WAIT_S = 15, 10  # an HTTP/2 connection that died unseen would swallow every later request
_DONE = "[DONE]"


class Answer(Struct, frozen=True):
    """A whole answer: lower-case header names, and the decoded JSON, or the bytes of an image that was asked for."""

    headers: dict[str, str]
    payload: Any


class FarStream:
    """An answer that is still coming."""

    def __init__(self, provider: Provider, response: Response, limits: ExchangeLimits) -> None:
        self.headers = _headers(response)
        self.paused_s = 0.0
        self._provider = provider
        self._reader = response.body_reader
        self._limits = limits

    async def payloads(self) -> AsyncGenerator[Any, None]:
        """The JSON of each event, until `[DONE]` or the end.

        Raises:
            BackendError: The stream broke, stalled, said an error or something that is not JSON.
        """
        parser = SseParser()
        phase: Phase = "first-token"
        while True:
            chunk = await self._limits.within(phase, self._reader.read_chunk)
            events = parser.finish() if chunk is None else parser.feed(chunk.to_bytes())
            for event in events:
                if event.data == _DONE:
                    return
                yield self._decoded(event)
            if chunk is None:
                return
            if events:
                phase = "idle"

    def hurry(self) -> None:
        """The answer is complete: from here on only a moment is waited for what may still follow it."""
        self._limits.hurry()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Whatever happens inside is the listener's time: it counts in `paused_s`, and for no limit."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self.paused_s += seconds
            self._limits.extend(seconds)

    async def drain(self) -> None:
        """Read what little follows the answer, so that the connection can serve again; give up quickly."""
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                with translated(self._provider.name):
                    while await self._reader.read_chunk() is not None:
                        pass

    def _decoded(self, event: Event) -> Any:
        payload = _decoded(self._provider, event.data)
        if event.name == "error":
            raise_in_band(payload, provider=self._provider.name, secret=self._provider.api_key)
        return payload


class Connections:
    """Asks one provider. Its two pools are built on first use: buffered generations wait long, all else does not.

    Args:
        address: Which of its host's addresses is asked; None leaves that to whoever connects. The name stays what a
            certificate must be for.
    """

    def __init__(
        self, provider: Provider, clients: dict[bool, Client] | None = None, address: str | None = None
    ) -> None:
        self._provider = provider
        self._clients: dict[bool, Client] = {} if clients is None else clients
        self._address = address
        url = urlsplit(provider.base_url)
        self._announced = address or url.hostname or "", url.port

    @property
    def name(self) -> str:
        """What errors call whom it asks."""
        return self._provider.name

    def rekeyed(self, api_key: str | None) -> Connections:
        """The same pools with another key from now on; what is under way ends with the key that it began with."""
        return Connections(replace(self._provider, api_key=api_key), self._clients, self._address)

    async def get(self, path: str, max_bytes: int) -> Any:
        """Ask for a JSON document of at most so many bytes; its headers must come within the first-token limit.

        Raises:
            BackendError: Any failure, by the table in `errors`.
        """
        provider, limits = self._provider, ExchangeLimits(self._provider, Limits())
        request = self._document(provider.base_url.rstrip("/") + path, JSON, provider.total_timeout_s)
        async with _Sent(request, limits, "first-token") as response:
            await self._check(response, limits)
            if (kind := _kind(response)) != JSON:
                raise await self._other(response, limits, kind, JSON)
            return await asyncio.to_thread(_decoded, provider, await self._body(response, limits, max_bytes))

    async def page(self, path: str, max_bytes: int, within_s: float) -> tuple[int, bytes]:
        """Status and body of a page at the provider's origin, whatever they say, all of it within so many seconds.

        Raises:
            BackendError: Nobody answered in time, or the connection broke.
        """
        limits = ExchangeLimits(self._provider, Limits(total_s=within_s))
        request = self._document(self._provider.origin + path, "text/plain, */*", within_s)
        async with _Sent(request, limits, "total") as response:
            return response.status, await self._body(response, limits, max_bytes)

    async def post(self, call: Call, asked: Limits, *, patient: bool = False) -> Answer:
        """Ask for a whole answer. The headers must come within the first-token limit, or the total one if `patient`.

        Raises:
            BackendError: Any failure, by the table in `errors`.
        """
        limits = ExchangeLimits(self._provider, asked)
        request = self._request(call, patient=patient, streamed=False)
        async with _Sent(request, limits, "total" if patient else "first-token") as response:
            await self._check(response, limits)
            kind = _kind(response)
            if JSON in {call.accept, kind}:
                body = await self._body(response, limits, MAX_BODY_BYTES)
                return Answer(_headers(response), _decoded(self._provider, body))
            if not kind.startswith(("image/", "application/octet-stream")):
                raise await self._other(response, limits, kind, call.accept)
            return Answer(_headers(response), await self._body(response, limits, MAX_BODY_BYTES))

    @asynccontextmanager
    async def stream(self, call: Call, asked: Limits) -> AsyncIterator[FarStream]:
        """Ask for a stream of events; leaving the block closes the connection.

        Raises:
            BackendError: Any failure, by the table in `errors`.
        """
        limits = ExchangeLimits(self._provider, asked)
        request = self._request(call, patient=False, streamed=True)
        async with _Sent(request, limits, "first-token") as response:
            await self._check(response, limits)
            kind = _kind(response)
            if kind != "text/event-stream":
                raise await self._other(response, limits, kind, "a stream")
            yield FarStream(self._provider, response, limits)

    async def aclose(self) -> None:
        """Close both pools; requests in flight fail."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()

    def _request(self, call: Call, *, patient: bool, streamed: bool) -> StreamRequest:
        provider = self._provider
        body = call.body if isinstance(call.body, bytes) else msgspec.json.encode(call.body)
        with translated(provider.name):
            builder = (
                self._client(patient=patient)
                .post(provider.base_url.rstrip("/") + call.path)
                .header("content-type", call.content_type)
                .header("accept", "text/event-stream" if streamed else call.accept)
                .header("accept-encoding", "identity")  # a compressor would hold pieces back, and costs small answers
                .streamed_read_buffer_limit(0)  # else 64 KiB are awaited before status and headers are given
                .body_bytes(body)
            )
            if not streamed:  # it would count the listener's time; a stream's every read has the client's limit
                builder = builder.timeout(timedelta(seconds=provider.total_timeout_s + _GRACE_S))
            if provider.api_key:
                builder = builder.bearer_auth(provider.api_key)
            if call.traceparent is not None:
                builder = builder.header("traceparent", call.traceparent)
            return builder.build_streamed()

    def _document(self, url: str, accept: str, within_s: float) -> StreamRequest:
        provider = self._provider
        with translated(provider.name):
            builder = (
                self._client(patient=False)
                .get(url)
                .header("accept", accept)
                .header("accept-encoding", "identity")
                .streamed_read_buffer_limit(0)
                .timeout(timedelta(seconds=within_s + _GRACE_S))
            )
            if provider.api_key:
                builder = builder.bearer_auth(provider.api_key)
            return builder.build_streamed()

    def _client(self, *, patient: bool) -> Client:
        outward.announce(*self._announced)
        if patient not in self._clients:
            self._clients[patient] = _build(self._provider, self._address, patient=patient)
        return self._clients[patient]

    async def _check(self, response: Response, limits: ExchangeLimits) -> None:
        """Let a good status pass; raises what another one means."""
        if 200 <= response.status < 300:
            return
        provider, body = self._provider, b""
        limits.hurry()
        with suppress(BackendError):  # the status says enough
            body = await self._body(response, limits, MAX_ERROR_BYTES)
        said = from_status(response.status, _headers(response), body, provider=provider.name, secret=provider.api_key)
        if response.status >= 500 and not isinstance(said, Timeout):  # providers charge for what they completed
            said.billed = False
        raise said

    async def _other(self, response: Response, limits: ExchangeLimits, kind: str, wanted: str) -> RemoteError:
        """The error of an answer of another kind than was asked for; raises the error that its body says, if any."""
        body = await self._body(response, limits, MAX_ERROR_BYTES)
        try:
            _decoded(self._provider, body)
        except RemoteError as error:
            if error.http_status is not None:  # it says an error, which is more than that it is no JSON
                raise
        return RemoteError(f"provider {self._provider.name}: answered {kind[:50]} instead of {wanted}")

    async def _body(self, response: Response, limits: ExchangeLimits, max_bytes: int) -> bytes:
        """Read it to its length where that was said, else to its end; each chunk is a turn of another thread's."""
        body, reader, length = bytearray(), response.body_reader, _length(response)
        while length is None or len(body) < length:
            chunk = await limits.within("idle", reader.read_chunk)
            if chunk is None:
                break
            body += chunk
            if len(body) > max_bytes:
                msg = f"provider {self._provider.name}: the answer is longer than {max_bytes} bytes"
                raise RemoteError(msg)
        return bytes(body)


class _Sent:
    """A request on its way: entered when its headers are there, within the limit of that phase."""

    def __init__(self, request: StreamRequest, limits: ExchangeLimits, phase: Phase) -> None:
        self._request, self._limits, self._phase = request, limits, phase

    async def __aenter__(self) -> Response:
        try:
            return await self._limits.within(self._phase, self._request.__aenter__)
        except RemoteError as error:
            msg = f"provider {self._limits.provider.name}: the connection broke before an answer came"
            raise Interrupted(msg) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._request.__aexit__(kind, error, trace)


def _build(provider: Provider, address: str | None, *, patient: bool) -> Client:
    longest_silence_s = provider.total_timeout_s if patient else provider.first_token_timeout_s
    builder = (
        ClientBuilder()
        .user_agent("nearfar")
        .http2(enable=True)  # by ALPN, so only over TLS; pyreqwest offers it to nobody unasked
        .http2_keep_alive_interval(timedelta(seconds=_PING_EVERY_S))
        .http2_keep_alive_timeout(timedelta(seconds=_PING_WAIT_S))
        .follow_redirects(enable=False)
        .referer(enable=False)
        .max_connections(provider.max_connections)
        .connect_timeout(timedelta(seconds=provider.connect_timeout_s))
        .pool_timeout(timedelta(seconds=provider.connect_timeout_s))
        .read_timeout(timedelta(seconds=max(longest_silence_s, provider.idle_timeout_s) + _GRACE_S))
    )
    if address is not None:  # a proxy would look the name up itself
        builder = builder.resolve(urlsplit(provider.base_url).hostname or "", address, 0).no_proxy()
    return (builder.no_proxy() if provider.loopback else builder).build()


def _kind(response: Response) -> str:
    return (response.get_header("content-type") or "no content type").partition(";")[0].strip().lower()


def _length(response: Response) -> int | None:
    said = response.get_header("content-length") or ""
    return int(said) if said.isascii() and said.isdigit() else None


def _headers(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _decoded(provider: Provider, text: str | bytes) -> Any:
    """The JSON in a 2xx answer; an error in it is raised."""
    try:
        payload = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"provider {provider.name}: the answer is not JSON"
        raise RemoteError(msg) from error
    if isinstance(payload, dict) and payload.get("error"):
        raise_in_band(payload, provider=provider.name, secret=provider.api_key)
    return payload
