"""The driver's process: it ends with whoever began it, however that ends, and however it hangs itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import uvloop

from backends.errors import Interrupted, Unavailable
from backends.frames import framed
from backends.local.backend import LocalOptions
from backends.ray import child, messages, wire
from backends.ray.child import spawned
from backends.ray.driving import LONGEST_PAUSE_S, STEADY_S, Pause
from backends.ray.link import Link
from backends.ray.options import Opening, RayOptions, Shape
from backends.types import Target, Task

HANG_S = 60
ROOT = Path(__file__).parents[4]
OPTIONS = RayOptions(local=LocalOptions(models_dir=Path("/models")), environ=os.environ)
OWNER = """
import asyncio, os, signal
from pathlib import Path
from backends.local.backend import LocalOptions
from backends.ray.child import spawned
from backends.ray.options import RayOptions
options = RayOptions(local=LocalOptions(models_dir=Path("/models")), environ=os.environ)
print(asyncio.run(spawned(options)).pid, flush=True)
signal.pause()
"""
HANGING = """
import sys, threading
from backends.ray import driver
class Hanging:
    def deploy(self, *given): pass
    def handles(self, name):
        print("hangs", flush=True)
        threading.Event().wait()
driver.Cluster = Hanging
driver.END_S = 1
driver.main()
"""


def test_a_driver_ends_when_its_socket_closes_and_not_by_what_ends_a_router():
    """A terminal's Ctrl-C and a supervisor's SIGTERM reach it, too: the router has to finish first."""

    async def check():
        begun = await spawned(OPTIONS)
        begun.sock.send(framed(messages.encode(messages.Call(0, "none", "describe"))))  # answered once it listens
        begun.sock.settimeout(HANG_S)
        assert await asyncio.to_thread(begun.sock.recv, 1)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(begun.pid, number)
        begun.sock.send(framed(messages.encode(messages.Call(1, "none", "describe"))))
        said = b""
        while framed(messages.encode(messages.Said(1, None))) not in said:
            more = await asyncio.to_thread(begun.sock.recv, 65536)
            assert more
            said += more
        begun.sock.close()
        await begun.ended()

        assert 0 == begun._process.returncode

    asyncio.run(check())


def test_a_driver_ends_with_its_router_that_was_killed():
    """Nobody is there to end it: its socket is closed by the system."""
    with subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE) as owner:
        driver = psutil.Process(int(owner.stdout.readline()))
        owner.kill()

        driver.wait(HANG_S)


def test_a_driver_whose_loop_hangs_ends_all_the_same():
    """By the system, which asks no thread of its."""
    ours, theirs = socket.socketpair()
    target = Target(backend="ray", provider="ray", model="m", task=Task.FEATURE_EXTRACTION)
    opening = wire.opening(Opening(target=target, shape=Shape(), local=OPTIONS.local))
    command = [sys.executable, "-c", HANGING, str(theirs.fileno())]
    with theirs, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]) as process:
        ours.send(framed(messages.encode(messages.Deploy(0, "name", opening))))
        assert b"hangs\n" == process.stdout.readline()
        ours.close()
        theirs.close()

        assert -signal.SIGALRM == process.wait(HANG_S)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_orders_after_a_driver_died_fail_as_those_before(loop):
    """Also before its end was heard of: servers run on uvloop, whose sockets raise then."""

    async def check():
        ours, theirs = socket.socketpair()
        ended = []
        link = await Link.over(ours, ended.append)
        before = link.send(messages.Look)
        theirs.close()
        replies = [before, *(link.send(messages.Look) for _ in range(3))]
        replies[-1].cancel()
        for reply in replies[:-1]:
            with pytest.raises(Interrupted):
                await reply.done()
        assert 1 == len(ended)
        await link.aclose()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(check())


def test_a_driver_that_cannot_end_is_killed(monkeypatch):
    """As one that the system has stopped."""
    monkeypatch.setattr(child, "KILLED_AFTER_S", 0.1)

    async def check():
        begun = await spawned(OPTIONS)
        os.kill(begun.pid, signal.SIGSTOP)
        begun.sock.close()
        await begun.ended()

        assert -signal.SIGKILL == begun._process.returncode

    asyncio.run(check())


@pytest.mark.parametrize("own", [True, False])
def test_a_driver_is_told_before_it_imports_ray(own):
    """Whoever runs the router may have said otherwise, but not of telemetry, nor of who joins a cluster of our own."""
    joinable = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    given = {"RAY_USAGE_STATS_ENABLED": "1", "GRPC_VERBOSITY": "INFO", "PATH": "/bin", joinable: "1"}
    options = RayOptions(local=OPTIONS.local, address="local" if own else "auto", environ=given)

    told = child.environment(options)

    assert ("0", "INFO", "/bin") == (told["RAY_USAGE_STATS_ENABLED"], told["GRPC_VERBOSITY"], told["PATH"])
    assert ("0" if own else "1") == told[joinable]


def test_a_cluster_is_asked_for_again_at_once_and_then_ever_later():
    """One that stood for long counts as if it had never been lost."""
    now = [1000.0]
    pause = Pause(lambda: now[0])

    def waits() -> float:
        """Seconds until it may be asked for."""
        began = now[0]
        while True:
            try:
                pause.check()
            except Unavailable:
                now[0] += 0.25
            else:
                return now[0] - began

    waited = []
    for _ in range(10):
        pause.failed("it died")
        waited.append(waits())
    pause.failed("it died", stood_s=STEADY_S + 1)

    assert [0.0, 0.5, 1.0, 2.0] == waited[:4]
    assert LONGEST_PAUSE_S == waited[-1]
    assert 0.0 == waits()
