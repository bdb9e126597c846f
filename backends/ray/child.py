"""The driver's process, as the router that owns it sees it: begun anew, with a socket, and ended in time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from backends.ray.driver import END_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.ray.options import RayOptions

KILLED_AFTER_S = END_S + 5.0
"""A driver ends itself in `END_S` when nobody needs it any more, unless it cannot."""

_COMMAND = (sys.executable, "-P", "-m", "backends.ray.driver")  # -P: not from the folder that it is started in

# Whoever runs the router may have said otherwise, except of telemetry, and of who may join a cluster of our own.
_PHONES_NOBODY = {"RAY_USAGE_STATS_ENABLED": "0"}
_QUICK = {
    "GRPC_VERBOSITY": "ERROR",  # else its own log is on stderr
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # calls leave from the driver's event loop, by gRPC: 2 ms instead of 7
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",  # which would have every replica listen for HTTP: nobody calls it so
}
# A cluster of our own is bound to loopback, as Ray does itself where firewalls would ask: nobody else can join it.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class Child(Protocol):
    """A process with a socket: whatever closes that ends it."""

    @property
    def sock(self) -> socket.socket:
        """Our end."""
        ...

    async def ended(self) -> None:
        """Wait until it has ended, whose socket is closed; one that does not is killed."""
        ...


class Process:
    """The real one, in a process group of its own: what ends the router with Ctrl-C lets it finish first."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._sock, self._process = sock, process

    @property
    def sock(self) -> socket.socket:
        """Our end."""
        return self._sock

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ended(self) -> None:
        """Wait until it has ended. One that hangs ends itself; one that cannot is killed, with what it started."""
        await asyncio.to_thread(self._ended)

    def _ended(self) -> None:
        try:
            self._process.wait(KILLED_AFTER_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):  # it ended just now
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


async def spawned(options: RayOptions) -> Process:
    """A driver that waits for orders.

    Raises:
        OSError: no process can be started.
    """
    return await asyncio.to_thread(_spawned, environment(options))


def environment(options: RayOptions) -> dict[str, str]:
    """What the driver is told before it imports Ray, and which Ray cannot be told otherwise."""
    return _QUICK | dict(options.environ) | _PHONES_NOBODY | (_ALONE if options.own else {})


def _spawned(environ: Mapping[str, str]) -> Process:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [*_COMMAND, str(theirs.fileno())]
        try:
            process = subprocess.Popen(  # noqa: S603 -- our own module, by the interpreter that runs this
                command,
                env=environ,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,
            )
        except BaseException:
            ours.close()
            raise
    return Process(ours, process)
