"""The far backend: resolves a target to its provider, asks over the wire, and answers in our types.

It must not know policies, prices or the log; formats live in the `*_wire` modules, waits and sockets in `client`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING
from weakref import WeakSet

from msgspec.structs import replace

from backends.errors import BackendError, Unauthorized, Unavailable
from backends.extras import FEATURES, TOKEN_IDS
from backends.remote import listing, openai_wire, wires
from backends.remote.compute_time import compute_s, queue_s
from backends.remote.engines.pool import Pool
from backends.remote.engines.watch import Watch, addresses
from backends.remote.provider import ROUTER, SUB_PROVIDERS, Provider
from backends.reports import LoadReport
from backends.types import Delta, DrawingInput, GenerationInput, InferenceResult, SpeechInput, Status, Task, Timings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from backends.remote.call import Call
    from backends.remote.client import Answer, Connections, FarStream
    from backends.remote.engines.replica import ReplicaState
    from backends.remote.engines.watch import Resolver
    from backends.remote.listing import ListedModel
    from backends.types import InferenceRequest, Limits, Output, Piece, Target, Usage

__all__ = ["Provider", "RemoteBackend"]

# Segments that begin like words: no absolute, relative, home, Windows or file:// path.
_NAME = re.compile(r"(?![A-Za-z]:)\w[\w.@:+-]*(?:/\w[\w.@:+-]*)*")
_VARIANT_MARKS = "-@:.+_"

MAX_DESCRIBED = 10_000
_SLOW = (GenerationInput, DrawingInput, SpeechInput)
"""Nothing is sent before all of it is done, so only the total limit bounds the wait for headers."""

_REQUEST_ID_HEADERS = ("x-request-id", "inference-id", "x-amzn-trace-id")


class RemoteBackend:
    """Serves targets through the given providers. Holds connections only, so loading is a no-op."""

    name = "remote"
    near = False

    def __init__(self, providers: Sequence[Provider], resolver: Resolver = addresses) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._pools = {provider.name: Pool(provider) for provider in providers}
        self._left: WeakSet[Pool] = WeakSet()  # in use only by requests that began with them
        self._configured = frozenset(self._providers)
        self.watch = Watch(list(self._pools.values()), resolver)
        self._in_flight: Counter[tuple[str, str, Task]] = Counter()
        self._usual: dict[Target, Status] = {}  # with nothing under way; until keys change
        self._closed = False

    def become(self, providers: Sequence[Provider]) -> None:
        """Go by these providers from the next request on.

        One that is the same keeps its connections. Requests under way end on those that they began with, and whoever
        was to be asked at a provider that is gone is asked there still: no new request is sent to it.
        """
        for provider in providers:
            known = self._providers.get(provider.name)
            if known == provider:
                continue
            if known is not None:
                self._left.add(self._pools[provider.name])
            self._providers[provider.name] = provider
            self._pools[provider.name] = Pool(provider)
        self._usual.clear()
        self._configured = frozenset(provider.name for provider in providers)
        self.watch.become(self._present())

    async def prepare(self, target: Target) -> None:
        """Nothing to find out: `status` needs no file and no network."""

    def status(self, target: Target) -> Status:
        """Unavailable when closed, unknown, keyless or beyond the protocol; or as an engine that is watched says."""
        usual = self._usual.get(target)
        if usual is None:
            usual = self._described(target)
            if len(self._usual) >= MAX_DESCRIBED:
                self._usual.clear()
            self._usual[target] = usual
        queued = self._in_flight.get(_key(target), 0)
        status = replace(usual, queued=queued) if queued else usual
        pool = self._pools.get(target.provider)
        return status if pool is None or not pool.provider.watched else _as_watched(status, pool, target.model)

    async def unload(self, target: Target) -> bool:  # noqa: ARG002 -- the protocol's signature
        """Nothing far is held in memory here."""
        return False

    def calibration(self, target: Target) -> LoadReport | None:  # noqa: ARG002 -- the protocol's signature
        """Nothing far was measured on this hardware."""
        return None

    async def load(self, target: Target, *, thorough: bool = False) -> LoadReport:  # noqa: ARG002 -- as the protocol
        """Far models are their provider's to load."""
        return LoadReport(load_s=0.0)

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        """Ask for a whole answer.

        Raises:
            BackendError: Any failure.
        """
        provider, model = self._resolved(target)
        payload = request.payload
        calls = _traced(wires.calls(provider, payload, model), request.traceparent)
        pool = await self._pool(provider)
        with _Counted(self._in_flight, target), pool.lease() as replica:
            began = time.perf_counter()
            answers = await self._asked(replica.connections, calls, request.limits, patient=isinstance(payload, _SLOW))
            whole_s = time.perf_counter() - began
            headers = [answer.headers for answer in answers]
            waited_s = queue_s(headers, pool.queue_ms_header, whole_s)
            timings = Timings(queue_s=waited_s, service_s=whole_s - (waited_s or 0.0))
            computed_s = pool.answered(replica, timings) or compute_s(headers, whole_s)
        payloads = [answer.payload for answer in answers]
        if isinstance(payload, DrawingInput):  # megabytes to decode, perhaps to convert
            parsed = await asyncio.to_thread(wires.parsed, provider, payload, payloads)
        else:
            parsed = wires.parsed(provider, payload, payloads)
        output, usage, served = parsed
        usage = replace(usage, compute_s=computed_s)
        result = _result(target, headers[0], output=output, usage=usage, model=served, timings=timings)
        return replace(result, replica=pool.told(replica))

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Piece | InferenceResult, None]:
        """Yield a generation's text as it comes, then the result; closing early closes the connection.

        No protocol streams the other tasks: they are awaited whole, and no progress is invented.

        Raises:
            BackendError: Any failure, also a stream that ends without a finish reason.
        """
        payload = request.payload
        if not isinstance(payload, GenerationInput):
            yield await self.infer(request, target)
            return
        provider, model = self._resolved(target)
        [call] = _traced([wires.stream_call(provider, payload, model)], request.traceparent)
        reader = openai_wire.reader_of(payload)
        first_token_s: float | None = None
        pool = await self._pool(provider)
        with _Counted(self._in_flight, target), pool.lease() as replica:
            began = time.perf_counter()
            async with replica.connections.stream(call, request.limits) as far:
                async with aclosing(_deltas(far, reader)) as deltas:
                    async for delta in deltas:
                        first_token_s = first_token_s or time.perf_counter() - began
                        with far.paused():
                            yield delta
                service_s = time.perf_counter() - began - far.paused_s
                timings = Timings(service_s=service_s, first_token_s=first_token_s)
                output = reader.output()
                computed_s = pool.answered(replica, timings) or compute_s([far.headers], service_s + far.paused_s)
                usage = replace(reader.usage, compute_s=computed_s)
                result = _result(target, far.headers, output=output, usage=usage, model=reader.model, timings=timings)
                try:
                    yield replace(result, replica=pool.told(replica))
                finally:  # whoever has the result closes the generator here
                    await far.drain()

    async def listing(self, provider: str) -> tuple[ListedModel, ...]:
        """Ask a provider what it serves. Spends nothing, and needs a key only where the provider wants one for this.

        Raises:
            BackendError: Any failure, also a provider that nobody configured.
        """
        if self._closed or provider not in self._pools:
            msg = f"provider {provider!r} cannot be asked what it serves"
            raise Unavailable(msg)
        pool = await self._pool(self._providers[provider])
        with pool.lease() as replica:
            document = await replica.connections.get(listing.PATH, listing.MAX_BYTES)
        return await asyncio.to_thread(listing.parse, document, provider)

    def rekey(self, provider: str, api_key: str | None) -> None:
        """Use another key at a provider from the next request on; its connections stay open.

        Raises:
            ValueError: The key holds characters that no header can carry; the present one stays.
        """
        self._providers[provider] = replace(self._providers[provider], api_key=api_key)
        self._pools[provider].rekey(api_key)
        self._usual.clear()

    def replicas(self) -> list[ReplicaState]:
        """How each server is of the providers that have several, or an engine that is watched."""
        told = (pool for pool in self._present() if pool.provider.watched or pool.provider.base_urls)
        return [state for pool in told for state in pool.states()]

    async def aclose(self) -> None:
        """Close every connection; requests in flight fail as unavailable."""
        self._closed = True
        self._usual.clear()
        for pool in (*self._pools.values(), *self._left):
            await pool.aclose()

    def _present(self) -> list[Pool]:
        """The pools of those that are configured now."""
        return [pool for name, pool in self._pools.items() if name in self._configured]

    def _described(self, target: Target) -> Status:
        refusal = self._refusal(target)
        return Status(
            unavailable=None if refusal is None else str(refusal),
            loaded=True,
            device="remote",
            features=self._features(target),
        )

    async def _pool(self, provider: Provider) -> Pool:
        """The servers of a provider; where nobody found them by their name yet, that is done first."""
        pool = self._pools[provider.name]
        if provider.dns and not pool.replicas:
            async with pool.resolving:
                if not pool.replicas:
                    await self.watch.resolve(pool)
        return pool

    async def _asked(
        self, connections: Connections, calls: Sequence[Call], limits: Limits, *, patient: bool
    ) -> list[Answer]:
        """The answers, one after the other: a failure ends it before more is charged."""
        answers: list[Answer] = []
        for call in calls:
            try:
                answers.append(await connections.post(call, limits, patient=patient))
            except BackendError as error:
                if answers:  # what was answered before may well be charged
                    error.billed = None
                raise
        return answers

    def _find(self, target: Target) -> Provider | None:
        provider = self._providers.get(target.provider)
        if provider is None and target.provider in SUB_PROVIDERS and target.task is Task.TEXT_GENERATION:
            return self._providers.get(ROUTER)
        return provider

    def _features(self, target: Target) -> frozenset[str]:
        """Chats are OpenAI's in both protocols; token ids are known to one of them only."""
        if target.task is Task.TEXT_GENERATION:
            return FEATURES
        provider = self._find(target)
        speaks = provider is not None and provider.protocol == "openai" and target.task is Task.FEATURE_EXTRACTION
        return frozenset({TOKEN_IDS}) if speaks else frozenset()

    def _refusal(self, target: Target) -> Unavailable | Unauthorized | None:
        """Why the target cannot be asked; None when it can."""
        if self._closed:
            return Unavailable("the remote backend is closed")
        provider = self._find(target)
        if provider is None:
            known = ", ".join(sorted(self._providers)) or "none"
            return Unavailable(f"unknown provider {target.provider!r} for {target.task}; there are: {known}")
        if target.task not in provider.serves:
            tasks = ", ".join(provider.serves) or "none"
            return Unavailable(f"provider {provider.name} does not serve {target.task}; it serves: {tasks}")
        if provider.needs_key and not provider.api_key:
            return Unauthorized(provider.no_key)
        return None

    def _resolved(self, target: Target) -> tuple[Provider, str]:
        """The provider to ask, and the model's name there."""
        refusal = self._refusal(target)
        if refusal is not None:
            raise refusal
        provider = self._find(target)
        assert provider is not None  # noqa: S101 -- refused above
        direct = provider.name == target.provider
        return provider, target.model if direct else f"{target.model}:{target.provider}"


class _Counted:
    """Counts a request to a target as under way, while inside."""

    def __init__(self, in_flight: Counter[tuple[str, str, Task]], target: Target) -> None:
        self._in_flight = in_flight
        self._key = _key(target)

    def __enter__(self) -> None:
        self._in_flight[self._key] += 1

    def __exit__(self, *_: object) -> None:
        self._in_flight[self._key] -= 1
        if not self._in_flight[self._key]:
            del self._in_flight[self._key]


async def _deltas(far: FarStream, reader: openai_wire.GenerationReader) -> AsyncGenerator[Delta, None]:
    """The pieces of an answer, until it is complete.

    Behind its finish it is, whatever becomes of the connection: the usage is still waited for, `[DONE]` is not.
    """
    try:
        async with aclosing(far.payloads()) as payloads:
            async for event in payloads:
                text = reader.feed(event)
                if text or reader.parts:
                    yield Delta(text, choices=reader.parts)
                if reader.counted:
                    return
                if reader.finished:
                    far.hurry()
    except BackendError:
        if not reader.finished:
            raise


def _traced(calls: Sequence[Call], traceparent: str | None) -> Sequence[Call]:
    """The calls as parts of a trace, where there is one."""
    return calls if traceparent is None else [replace(call, traceparent=traceparent) for call in calls]


def _as_watched(status: Status, pool: Pool, model: str) -> Status:
    """The status with what the provider's servers say of themselves."""
    queue, away = pool.queue(model), pool.refusal if status.unavailable is None else None
    return replace(
        status,
        unavailable=status.unavailable or away,
        back_in_s=None if away is None else pool.back_in_s,
        queued=status.queued if queue.outstanding is None else queue.outstanding,
        queue_s=queue.wait_s,
        queue_turns=queue.turns,
        together=pool.together,
    )


def _key(target: Target) -> tuple[str, str, Task]:
    return target.provider, target.model, target.task


def _like(said: str, asked: str) -> bool:
    """False for another name, and for a path: a server of a local directory names that directory."""
    if not _NAME.fullmatch(said):
        return False
    last, rest = asked.rpartition("/")[2], said.rpartition("/")[2]
    return rest == last or (rest.startswith(last) and rest[len(last)] in _VARIANT_MARKS)


def _result(
    target: Target,
    headers: Mapping[str, str],
    *,
    output: Output,
    usage: Usage,
    model: str | None,
    timings: Timings,
) -> InferenceResult:
    return InferenceResult(
        output=output,
        usage=usage,
        timings=timings,
        provider=headers.get("x-inference-provider") or target.provider,
        model=model if model and _like(model, target.model) else target.model,
        device="remote",
        provider_request_id=next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None),
    )
