"""Ctrl-C and SIGTERM: what a benchmark has started ends with it, and is known before it can be stopped."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def put_off() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block.

    `Popen` waits until its child runs; interrupted there it forgets a child that lives on. Main thread only.

    Raises:
        KeyboardInterrupt: at the end, when it came meanwhile.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def stoppable(main: Callable[[], int]) -> int:
    """Run a program whose `finally`s stop its servers, also after SIGTERM. Its exit status; 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return main()
    except KeyboardInterrupt:
        return 130
