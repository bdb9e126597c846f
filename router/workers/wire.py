"""A Unix socket that messages go over, on either side. Every call blocks."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from typing import TYPE_CHECKING

from backends.frames import Frames, framed
from router.errors import LogError

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 120.0
"""How long the other side may take for its next message. The longest question of a user runs for a quarter of it."""
REACHED_IN_S = 15.0
"""How long the other side may be away: an owner that died is there again in two seconds, with a long log in a few."""
_BLOCK = 256 * 1024
_PAUSE_S = 0.05


class Wire:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = Frames()
        self._ready: deque[bytes] = deque()

    def send(self, message: bytes) -> None:
        """Send a message.

        Raises:
            OSError: the other side is gone.
        """
        self._sock.sendall(framed(message))

    def receive(self) -> bytes | None:
        """The next message; None where the other side has ended.

        Raises:
            OSError: it ended in the middle of a message, or sent none for too long.
        """
        while not self._ready:
            data = self._sock.recv(_BLOCK)
            if not data:
                return None
            self._ready.extend(self._frames.feed(data))
        return self._ready.popleft()

    def patient(self, seconds: float | None) -> None:
        """Wait so long for each message from now on; None waits for ever."""
        self._sock.settimeout(seconds)

    def end(self) -> None:
        """Let nobody wait here any more, whichever thread does."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it."""
        self._sock.close()


def reached(path: Path, within_s: float) -> Wire:
    """A connection to whoever listens there, tried for so long while nobody does.

    Raises:
        LogError: nobody does.
    """
    give_up = time.monotonic() + within_s
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE_S)
        try:
            sock.connect(str(path))
        except OSError as error:
            sock.close()
            if time.monotonic() >= give_up:
                raise LogError("The process that owns the decision log cannot be reached.") from error
            time.sleep(_PAUSE_S)
        else:
            return Wire(sock)


def listening(path: Path) -> socket.socket:
    """A socket that only this user's processes can connect to, in the place of one that a dead process left.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen(socket.SOMAXCONN)
    except OSError:
        sock.close()
        raise
    return sock
