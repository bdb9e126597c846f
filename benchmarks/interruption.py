"""Ctrl-C at a bad moment: a process that is being started must be known before it can be stopped."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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
