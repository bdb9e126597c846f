"""A real event loop on a clock of its own: when nothing is ready, it is at once the time of what comes next.

What is really run on it takes the time its sleeps say and no machine's load adds to it: a deadline is never missed
because somebody else computes, and what was foretold can be compared with what was. Whatever reads `time.monotonic`,
`time.perf_counter` and `time.time` reads the same clock. What runs in threads takes no time at all.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
BEGAN_S = 1_760_011_200.0  # 2025-10-09 12:00 UTC


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while anything runs, and jumps when everything waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self._in_threads = 0

    def time(self) -> float:
        return self.now_s

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self._in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._back)
        return future

    def _back(self, _future: Any) -> None:
        self._in_threads -= 1

    def _run_once(self) -> None:
        if not self._ready and self._scheduled and not self._in_threads:
            self.now_s = max(self.now_s, self._scheduled[0]._when)
        super()._run_once()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it on a clock of its own, and put the machine's clock back."""
    with pytest.MonkeyPatch.context() as patched, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        patched.setattr(time, "monotonic", loop.time)
        patched.setattr(time, "perf_counter", loop.time)
        patched.setattr(time, "perf_counter_ns", lambda: round(loop.time() * 1e9))
        patched.setattr(time, "time", lambda: BEGAN_S + loop.time())
        patched.setattr(time, "time_ns", lambda: round((BEGAN_S + loop.time()) * 1e9))
        return runner.run(work)
