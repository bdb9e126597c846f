"""The fake's own life: what it remembers of its targets, the time it takes, and when it fails. Knows no answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backends.errors import RemoteError, Unavailable
from backends.fake.answers import answer, pieces, tokens
from backends.fake.script import FAILURES, Script, script_of
from backends.reports import LoadReport
from backends.types import Delta, InferenceResult, Status, Timings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from backends.errors import BackendError
    from backends.types import InferenceRequest, Output, Piece, Target, Usage

MAX_TARGETS = 1024
MAX_HISTORY = 256


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
            runtime="fake",
        )

    def calibration(self, target: Target) -> LoadReport | None:  # noqa: ARG002 -- the protocol's signature
        """A pretender has never measured anything."""
        return None

    async def load(self, target: Target, *, thorough: bool = False) -> LoadReport:  # noqa: ARG002
        """Take as long as the script says, once."""
        self.calls["load"] += 1
        return LoadReport(load_s=await self._load(self._state(target)))

    async def unload(self, target: Target) -> bool:
        """Load anew before the next answer, if loading takes any time."""
        state = self._state(target)
        held = state.loaded and state.script.load_ms > 0
        state.loaded = state.script.load_ms == 0
        return held

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        """Answer whole, as the script says.

        Raises:
            BackendError: The one in the script.
        """
        with self._call("infer", request, target) as state:
            began = time.perf_counter()
            load_s = await self._load(state)
            await _pause(state.script.latency_ms)
            output, usage = answer(request.payload, target.model, state.script)
            count = sum(map(tokens, pieces(output, usage)))
            self._fail(state, otherwise=RemoteError if state.script.breaks(count) else None)
            if count:
                await _pause(state.script.first_token_ms + count * state.script.per_token_ms)
            timings = Timings(queue_s=0.0, load_s=load_s, service_s=time.perf_counter() - began - load_s)
            return _result(target, output, usage, timings)

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Piece | InferenceResult, None]:
        """Yield words, segments or steps as the script's time passes, then the result.

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
            output, usage = answer(request.payload, target.model, script)
            first_token_s, done = None, 0
            await _pause(script.first_token_ms)
            for piece in (*pieces(output, usage), None):
                count = 1 if piece is None else tokens(piece)
                if script.truncate_after_tokens is not None and done + count > script.truncate_after_tokens:
                    return
                if script.fail_after_tokens is not None and done + count > script.fail_after_tokens:
                    self._fail(state, otherwise=RemoteError)
                if piece is None:
                    break
                await _pause(count * script.per_token_ms)
                done += count
                if isinstance(piece, Delta):
                    first_token_s = first_token_s or time.perf_counter() - began
                yield piece
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
            raise Unavailable(msg)
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
        kind = FAILURES[script.fail] if script.fail else otherwise
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


def _result(target: Target, output: Output, usage: Usage, timings: Timings) -> InferenceResult:
    return InferenceResult(
        output=output, usage=usage, timings=timings, provider="fake", model=target.model, device="fake"
    )
