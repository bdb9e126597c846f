"""Whether there is a terminal: a SIGHUP says that it has gone, or that somebody wants the settings read again."""

from __future__ import annotations

import os


def has_terminal() -> bool:
    """Whether this process can be reached from a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
