"""The far backend: resolves a target to its provider, asks over the wire, and answers in our types.

It must not know policies, prices or the log; formats live in the `*_wire` modules, waits and sockets in `client`.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

from backends.errors import RemoteError, Unauthorized, Unavailable
from backends.remote import huggingface_wire, openai_wire
from backends.remote.client import Connections
from backends.remote.provider import ROUTER, SUB_PROVIDERS, Provider
from backends.types import (
    ClassificationInput,
    Delta,
    EmbeddingInput,
    GenerationInput,
    InferenceResult,
    LoadReport,
    Status,
    Task,
    Timings,
    Usage,
    ZeroShotInput,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

    from backends.types import InferenceRequest, Output, Target

__all__ = ["Provider", "RemoteBackend"]

NO_TOKEN = "no token: set HF_TOKEN or log in with the hub's own command"  # noqa: S105 -- a sentence, not a token

# Segments that begin like words: no absolute, relative, home, Windows or file:// path.
_NAME = re.compile(r"(?![A-Za-z]:)\w[\w.@:+-]*(?:/\w[\w.@:+-]*)*")
_VARIANT_MARKS = "-@:.+_"

_REQUEST_ID_HEADERS = ("x-request-id", "inference-id", "x-amzn-trace-id")


class RemoteBackend:
    """Serves targets through the given providers. Holds connections only, so loading is a no-op."""

    name = "remote"
    near = False

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._connections = {provider.name: Connections(provider) for provider in providers}
        self._in_flight: Counter[tuple[str, str, Task]] = Counter()
        self._closed = False

    async def prepare(self, target: Target) -> None:
        """Nothing to find out: `status` needs no file and no network."""

    def status(self, target: Target) -> Status:
        """Unavailable when closed, unknown, keyless or beyond the protocol; says nothing of the far side's health."""
        refusal = self._refusal(target)
        return Status(
            unavailable=None if refusal is None else str(refusal),
            loaded=True,
            device="remote",
            queued=self._in_flight[_key(target)],
        )

    async def load(self, target: Target) -> LoadReport:  # noqa: ARG002 -- the protocol's signature
        """Far models are their provider's to load."""
        return LoadReport(load_s=0.0)

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        """Ask for a whole answer.

        Raises:
            BackendError: Any failure.
        """
        provider, model = self._resolved(target)
        payload = request.payload
        call = _call(provider, payload, model, stream=False)
        with self._counted(target):
            began = time.perf_counter()
            answer = await self._connections[provider.name].post_json(
                call.path, call.body, patient=isinstance(payload, GenerationInput)
            )
            timings = Timings(service_s=time.perf_counter() - began)
        output, usage, served = _parsed(provider, payload, answer.payload)
        return _result(target, answer.headers, output=output, usage=usage, model=served, timings=timings)

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Delta | InferenceResult, None]:
        """Yield the text as it comes, then the result; closing early closes the connection.

        Raises:
            BackendError: Any failure, also a stream that ends without a finish reason.
        """
        provider, model = self._resolved(target)
        call = _call(provider, request.payload, model, stream=True)
        reader = _reader(request.payload)
        first_token_s: float | None = None
        with self._counted(target):
            began = time.perf_counter()
            async with self._connections[provider.name].stream(call.path, call.body) as far:
                async with aclosing(far.payloads()) as payloads:
                    async for payload in payloads:
                        if text := reader.feed(payload):
                            first_token_s = first_token_s or time.perf_counter() - began
                            with far.paused():
                                yield Delta(text)
                service_s = time.perf_counter() - began - far.paused_s
                timings = Timings(service_s=service_s, first_token_s=first_token_s)
                output = reader.output()
                yield _result(
                    target, far.headers, output=output, usage=reader.usage, model=reader.model, timings=timings
                )
                await far.drain()

    async def aclose(self) -> None:
        """Close every connection; requests in flight fail as unavailable."""
        self._closed = True
        for connections in self._connections.values():
            await connections.aclose()

    def _find(self, target: Target) -> Provider | None:
        provider = self._providers.get(target.provider)
        if provider is None and target.provider in SUB_PROVIDERS and target.task is Task.TEXT_GENERATION:
            return self._providers.get(ROUTER)
        return provider

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
            return Unauthorized(NO_TOKEN)
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

    @contextmanager
    def _counted(self, target: Target) -> Iterator[None]:
        key = _key(target)
        self._in_flight[key] += 1
        try:
            yield
        finally:
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]


def _key(target: Target) -> tuple[str, str, Task]:
    return target.provider, target.model, target.task


def _call(provider: Provider, payload: object, model: str, *, stream: bool) -> openai_wire.Call:
    hub = provider.protocol == "huggingface"
    match payload:
        case GenerationInput() if hub:
            return huggingface_wire.generation_call(payload, model, stream=stream)
        case GenerationInput():
            return openai_wire.generation_call(payload, model, stream=stream)
        case EmbeddingInput() if hub:
            return huggingface_wire.embeddings_call(payload, model)
        case EmbeddingInput():
            return openai_wire.embeddings_call(payload, model)
        case ClassificationInput() | ZeroShotInput() if hub:
            return huggingface_wire.classification_call(payload, model)
    msg = f"provider {provider.name} cannot be asked for {type(payload).__name__}"
    raise Unavailable(msg)


def _reader(payload: object) -> openai_wire.GenerationReader:
    return openai_wire.GenerationReader(payload.max_tokens if isinstance(payload, GenerationInput) else None)


def _parsed(provider: Provider, payload: object, answer: Any) -> tuple[Output, Usage, str | None]:
    """The output, the usage, and the model's name as served where the answer says it."""
    said = answer if isinstance(answer, dict) else {}
    usage = openai_wire.usage_of(said.get("usage"))
    model = said.get("model")
    served = model if isinstance(model, str) and model else None
    match payload:
        case GenerationInput():
            reader = _reader(payload)
            reader.feed(answer)
            return reader.output(), reader.usage, served
        case EmbeddingInput() if provider.protocol == "huggingface":
            return huggingface_wire.parse_embeddings(answer, payload), usage, served
        case EmbeddingInput():
            return openai_wire.parse_embeddings(answer, payload), usage, served
        case ClassificationInput() | ZeroShotInput():
            return huggingface_wire.parse_classification(answer, payload), usage, served
    msg = f"no answer is known for {type(payload).__name__}"
    raise RemoteError(msg)


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
