"""Says where a connection is about to go that Python's own sockets do not show: a native client's, a child process'.

Whoever audits this process hears it as an event, before anything is sent, and may refuse it.
"""

from __future__ import annotations

import sys

from backends.errors import Unavailable

EVENT = "nearfar.connect"


def announce(host: str, port: int | None = None) -> None:
    """Say where the next connection goes. Without anybody who listens it costs nothing to speak of.

    Raises:
        Unavailable: somebody refused it: no connection may be opened.
    """
    try:
        sys.audit(EVENT, host, port)
    except ConnectionError as error:
        raise Unavailable(str(error.strerror or error)) from error
