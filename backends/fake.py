"""A backend that pretends, and says so: for tests, demos and for measuring our own overhead. No model, no network."""

from __future__ import annotations

import asyncio
import hashlib
import math
import struct
import time
from array import array
from collections import Counter, OrderedDict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from backends import errors
from backends.errors import BackendError, RemoteError
from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    Delta,
    EmbeddingInput,
    EmbeddingOutput,
    GenerationInput,
    GenerationOutput,
    InferenceResult,
    LabelScore,
    LoadReport,
    Status,
    Timings,
    Usage,
    ZeroShotInput,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from backends.types import InferenceRequest, Output, Target

MARK = "[fake]"
LABELS = ("POSITIVE", "NEUTRAL", "NEGATIVE")
WORDS = ("near", "far", "quick", "cheap", "warm", "cold", "small", "large")

MAX_TARGETS = 1024
MAX_HISTORY = 256

_FAILURES: dict[str, type[BackendError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, BackendError) and kind is not BackendError
}


class Script(Struct, frozen=True, kw_only=True):
    """What a fake target pretends.

    Attributes:
        latency_ms: Paid by every request before its first token.
        first_token_ms: Paid by generations, on top.
        tokens: Words a generation has, where the request allows as many.
        per_token_ms: Paid for each of them.
        load_ms: Paid once; a target with none is loaded from the start.
        fail: A class of `backends.errors` to raise; empty for none.
        fail_times: Only the first n calls fail; 0 is all of them.
        fail_after_tokens: Streams fail after n tokens instead of at once (with RemoteError when `fail` is empty).
        truncate_after_tokens: Streams end after n tokens without a result.
        near: Whether a router should treat it as near.
        dimensions: Length of its vectors.
    """

    latency_ms: float = 0
    first_token_ms: float = 0
    tokens: int = 16
    per_token_ms: float = 0
    load_ms: float = 0
    fail: str = ""
    fail_times: int = 0
    fail_after_tokens: int | None = None
    truncate_after_tokens: int | None = None
    near: bool = False
    dimensions: int = 384


def script_of(target: Target) -> Script:
    """The target's script.

    Raises:
        ValueError: An unknown key, an unknown error class, a wrong type or a negative number.
            It names the alternatives.
    """
    given = dict(target.script)
    known = Script.__struct_fields__
    if unknown := sorted(given.keys() - set(known)):
        msg = f"fake model {target.model}: unknown script key {unknown[0]!r}; there are: {', '.join(known)}"
        raise ValueError(msg)
    try:
        script = msgspec.convert(given, Script)
    except msgspec.ValidationError as error:
        msg = f"fake model {target.model}: {error}"
        raise ValueError(msg) from error
    if script.fail and script.fail not in _FAILURES:
        msg = f"fake model {target.model}: unknown error {script.fail!r}; there are: {', '.join(sorted(_FAILURES))}"
        raise ValueError(msg)
    for name, value in given.items():
        if isinstance(value, (int, float)) and value < (1 if name == "dimensions" else 0):
            msg = f"fake model {target.model}: {name} must not be {value}"
            raise ValueError(msg)
    return script


class _State:
    """What a target remembers between calls."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.loaded = script.load_ms == 0
        self.queued = 0
        self.calls = 0
        self.failures = 0


class FakeBackend:
    """Answers every task at once, or as slowly and badly as the target's script says.

    Attributes:
        calls: How often each method was called.
        history: The last requests, oldest first.
    """

    name = "fake"
    near = False

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.history: deque[InferenceRequest] = deque(maxlen=MAX_HISTORY)
        self._states: OrderedDict[Target, _State] = OrderedDict()
        self._closed = False

    async def prepare(self, target: Target) -> None:
        """Check the script.

        Raises:
            ValueError: The script is wrong.
        """
        self.calls["prepare"] += 1
        self._state(target)

    def status(self, target: Target) -> Status:
        """Always available, until closed."""
        state = self._state(target)
        return Status(
            unavailable="the fake backend is closed" if self._closed else None,
            loaded=state.loaded,
            device="fake",
            queued=state.queued,
        )

    async def load(self, target: Target) -> LoadReport:
        """Take as long as the script says, once."""
        self.calls["load"] += 1
        return LoadReport(load_s=await self._load(self._state(target)))

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        """Answer whole, as the script says.

        Raises:
            BackendError: The one in the script.
        """
        with self._call("infer", request, target) as state:
            began = time.perf_counter()
            load_s = await self._load(state)
            await _pause(state.script.latency_ms)
            output, usage = _answer(request, target, state.script)
            words = len(_words(output))
            self._fail(state, otherwise=RemoteError if _breaks(state.script, words) else None)
            if words:
                await _pause(state.script.first_token_ms + words * state.script.per_token_ms)
            timings = Timings(queue_s=0.0, load_s=load_s, service_s=time.perf_counter() - began - load_s)
            return _result(target, output, usage, timings)

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Delta | InferenceResult, None]:
        """Yield a generation word by word, then its result.

        Raises:
            BackendError: The one in the script.
        """
        with self._call("stream", request, target) as state:
            script = state.script
            began = time.perf_counter()
            load_s = await self._load(state)
            await _pause(script.latency_ms)
            if script.fail_after_tokens is None:
                self._fail(state)
            output, usage = _answer(request, target, script)
            first_token_s = None
            await _pause(script.first_token_ms)
            for count, word in enumerate((*_words(output), "")):
                if count == script.truncate_after_tokens:
                    return
                if count == script.fail_after_tokens:
                    self._fail(state, otherwise=RemoteError)
                if not word:
                    break
                await _pause(script.per_token_ms)
                first_token_s = first_token_s or time.perf_counter() - began
                yield Delta(word)
            service_s = time.perf_counter() - began - load_s
            timings = Timings(queue_s=0.0, load_s=load_s, service_s=service_s, first_token_s=first_token_s)
            yield _result(target, output, usage, timings)

    async def aclose(self) -> None:
        """Answer nothing any more."""
        self._closed = True

    def _state(self, target: Target) -> _State:
        if target not in self._states:
            self._states[target] = _State(script_of(target))
            while len(self._states) > MAX_TARGETS:
                self._states.popitem(last=False)
        return self._states[target]

    @contextmanager
    def _call(self, method: str, request: InferenceRequest, target: Target) -> Iterator[_State]:
        if self._closed:
            msg = "the fake backend is closed"
            raise errors.Unavailable(msg)
        self.calls[method] += 1
        self.history.append(request)
        state = self._state(target)
        state.calls += 1
        state.queued += 1
        try:
            yield state
        finally:
            state.queued -= 1

    def _fail(self, state: _State, otherwise: type[BackendError] | None = None) -> None:
        """Raise what the script says, while it still says so."""
        script = state.script
        kind = _FAILURES[script.fail] if script.fail else otherwise
        if kind is None or (script.fail_times and state.failures >= script.fail_times):
            return
        state.failures += 1
        msg = f"the fake backend was told to fail with {kind.__name__}"
        raise kind(msg)

    async def _load(self, state: _State) -> float:
        if state.loaded:
            return 0.0
        began = time.perf_counter()
        await _pause(state.script.load_ms)
        state.loaded = True
        return time.perf_counter() - began


async def _pause(milliseconds: float) -> None:
    if milliseconds:
        await asyncio.sleep(milliseconds / 1000)


def _answer(request: InferenceRequest, target: Target, script: Script) -> tuple[Output, Usage]:
    payload = request.payload
    if isinstance(payload, GenerationInput):
        generated = _generation(payload, target.model, script)
        prompt = (payload.prompt or "", *(message.content for message in payload.messages))
        return generated, Usage(prompt_tokens=_count(*prompt), completion_tokens=_count(generated.text))
    usage = Usage(prompt_tokens=_count(*payload.texts), completion_tokens=0)
    if isinstance(payload, EmbeddingInput):
        return EmbeddingOutput(tuple(_vector(target.model, text, payload, script) for text in payload.texts)), usage
    return ClassificationOutput(tuple(_labels(target.model, text, payload) for text in payload.texts)), usage


def _generation(payload: GenerationInput, model: str, script: Script) -> GenerationOutput:
    prompt = payload.prompt or "\n".join(f"{message.role}: {message.content}" for message in payload.messages)
    count = min(script.tokens, payload.max_tokens)
    bits = hashlib.shake_128(_seed(model, prompt)).digest(max(count, 1))
    text = " ".join([MARK, *(WORDS[bit % len(WORDS)] for bit in bits)][:count])
    ends = [at for stop in payload.stop if (at := text.find(stop)) >= 0]
    if ends:
        return GenerationOutput(text[: min(ends)], "stop")
    return GenerationOutput(text, "length" if payload.max_tokens < script.tokens else "stop")


def _breaks(script: Script, words: int) -> bool:
    """Whether a generation of that many words would break on the way."""
    limits = (script.fail_after_tokens, script.truncate_after_tokens)
    return words > 0 and any(limit is not None and limit <= words for limit in limits)


def _words(output: Output) -> list[str]:
    """The text in pieces that join to it."""
    if not isinstance(output, GenerationOutput) or not output.text:
        return []
    first, *rest = output.text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def _vector(model: str, text: str, payload: EmbeddingInput, script: Script) -> array[float]:
    size = script.dimensions
    bits = hashlib.shake_128(_seed(model, text)).digest(4 * size)
    vector = struct.unpack(f"<{size}i", bits)[: payload.dimensions]
    length = math.hypot(*vector)
    return array("f", [component / length for component in vector])


def _labels(model: str, text: str, payload: ClassificationInput | ZeroShotInput) -> tuple[LabelScore, ...]:
    labels = payload.candidate_labels if isinstance(payload, ZeroShotInput) else LABELS
    weights = [int.from_bytes(_seed(model, text, label)[:4], "big") / 2**32 for label in labels]
    total = 1.0 if isinstance(payload, ZeroShotInput) and payload.multi_label else math.fsum(weights) or 1.0
    scored = [LabelScore(label, weight / total) for label, weight in zip(labels, weights, strict=True)]
    top_k = payload.top_k if isinstance(payload, ClassificationInput) else None
    return tuple(sorted(scored, key=lambda label: -label.score)[:top_k])


def _seed(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _count(*texts: str) -> int:
    return sum(len(text.split()) for text in texts)


def _result(target: Target, output: Output, usage: Usage, timings: Timings) -> InferenceResult:
    return InferenceResult(
        output=output, usage=usage, timings=timings, provider="fake", model=target.model, device="fake"
    )
