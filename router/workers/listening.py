"""The socket that every process of a server accepts connections from."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from router.errors import SettingsError

if TYPE_CHECKING:
    from router.sections import Settings

BACKLOG = 2048


def listen(settings: Settings) -> socket.socket:
    """Listen before anything else is opened: a taken port is a clear refusal, and early callers wait.

    Several workers accept from this one socket (`router.workers.accepting`), and not each from its own (SO_REUSEPORT):
    whoever has fewest takes the next connection. With a socket each, the kernel would deal connections out by their
    addresses, also to a worker that is busy, and those dealt to one that died would be lost with it.

    Raises:
        SettingsError: nobody can listen there.
    """
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; without, each answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(f"server: cannot listen on {host}:{port}: {error.strerror}.") from error
    return listener
