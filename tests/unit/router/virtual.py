"""A real event loop on a clock of its own: when nothing is ready, it is at once the time of what comes next.

What is really run on it takes the time its sleeps say and no machine's load adds to it, so that it can be compared with
what was foretold. Whatever reads `time.monotonic`, `time.perf_counter` and `time.time` reads the same clock.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import pytest

T = TypeVar("T")
BEGAN_S = 1_760_011_200.0  # 2025-10-09 12:00 UTC


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while anything runs, and jumps when everything waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def time(self) -> float:
        return self.now_s

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self.now_s = max(self.now_s, self._scheduled[0]._when)
        super()._run_once()


def run(work: Coroutine[Any, Any, T], monkeypatch: pytest.MonkeyPatch) -> T:
    """Run it on a clock of its own, and put the machine's clock back."""
    loop = VirtualLoop()
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: loop.now_s)
        patched.setattr(time, "perf_counter", lambda: loop.now_s)
        patched.setattr(time, "perf_counter_ns", lambda: round(loop.now_s * 1e9))
        patched.setattr(time, "time", lambda: BEGAN_S + loop.now_s)
        patched.setattr(time, "time_ns", lambda: round((BEGAN_S + loop.now_s) * 1e9))
        try:
            return loop.run_until_complete(work)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
