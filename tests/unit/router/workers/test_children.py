"""A process that is started again when it died, ever later; real processes, which end at once."""

from __future__ import annotations

import os
import signal
from multiprocessing import connection
from typing import TYPE_CHECKING

from router.workers.children import FIRST_PAUSE_S, LONGEST_PAUSE_S, Child, parent_gone, told_ready, told_why

if TYPE_CHECKING:
    import pytest


def serve(pipe: connection.Connection) -> None:
    """Run until the parent lets go, and end in order."""
    told_ready(pipe, "here")
    parent_gone(pipe)


def refuse(pipe: connection.Connection) -> None:
    """Say why not."""
    told_why(pipe, "the log is in use")


def fall(pipe: connection.Connection) -> None:
    """Die."""
    os.kill(os.getpid(), signal.SIGKILL)


def heard(child: Child) -> str | None:
    """Wait until it has said something, or died."""
    while child.alive and child.ready is None:
        connection.wait(child.heard_of)
        why = child.hear()
        if why is not None:
            return why
    return child.hear()


def test_a_child_says_that_it_is_ready_and_ends_when_it_is_let_go() -> None:
    """By itself: nobody had to kill it."""
    child = Child("worker", serve)
    child.start()

    assert heard(child) is None
    assert (True, b"here") == (child.alive, child.ready)

    child.let_go()
    child.ended(60.0)

    assert not child.alive
    assert 0 == child._process.exitcode


def test_a_child_that_cannot_run_says_why() -> None:
    """Its parent can tell people."""
    child = Child("log", refuse)
    child.start()

    assert "the log is in use" == heard(child)

    child.ended(60.0)


def test_a_death_is_news_until_it_is_buried() -> None:
    """Also where it came after the last look, and before the wait: its parent would never hear of it again."""
    child = Child("worker-1", serve)
    child.start()
    heard(child)
    os.kill(child.pid or 0, signal.SIGKILL)
    child._process.join()

    assert not child.alive
    assert connection.wait(child.heard_of, 0) == child.heard_of != []

    child.bury()

    assert [] == child.heard_of


def test_whoever_dies_again_and_again_is_started_ever_later(caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    """At once the first time; each death is told, with what ended it."""
    now = 1000.0
    monkeypatch.setattr("router.workers.children.time.monotonic", lambda: now)
    child = Child("worker-1", fall)
    pauses = []
    for _ in range(2):
        child.start()
        heard(child)
        child._process.join()
        child.bury()
        pauses.append(child.due - now)
        assert child.heard_of == []
    for _ in range(10):
        child.bury()
        pauses.append(child.due - now)

    assert [0.0, FIRST_PAUSE_S, 2 * FIRST_PAUSE_S] == pauses[:3]
    assert LONGEST_PAUSE_S == pauses[-1]
    assert "worker-1" in caplog.text
    assert "signal 9" in caplog.text

    now += 3600.0
    child.bury()

    assert 0.0 == child.due - now
