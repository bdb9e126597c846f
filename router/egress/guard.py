"""Holds this process on its machine while it is sealed: whatever would leave it is refused, told once, and counted.

It hears of a connection before anything is sent, as an audit event of the interpreter. Python's own sockets raise these
events wherever they are used. Native code does not: `backends.outward` speaks for the far side's client and for child
processes that fetch, and `router.egress.loop` for the event loop. A native library that opened sockets of its own would
not be heard; that none does is what `tests/e2e/test_offline.py` looks at from outside, system call by system call.

An audit hook cannot be taken out again. It is put in when a process is sealed first, and looks whether it still is.
"""

from __future__ import annotations

import errno
import logging
import socket
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from backends import outward
from router.egress.addresses import is_own, literal, stays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    Rule = Callable[..., str | None]

logger = logging.getLogger("nearfar.egress")

KINDS = ("connect", "send", "lookup")
MAX_TOLD = 64  # different refusals that are logged; a library that tries for ever is counted further
_TEST_NET = ("192.0.2.1", 9)  # of RFC 5737: nobody's


class EgressDenied(ConnectionError):
    """Something would have left this machine, which is offline. Libraries take it for a network that is not there."""

    def __init__(self, kind: str, whom: str) -> None:
        super().__init__(
            errno.ENETUNREACH, f"offline: {kind} to {whom} refused; nothing may leave this machine (routing.offline)"
        )


class EgressState(Struct, frozen=True):
    """Whether this process is sealed, and how often something was refused since it started, by kind."""

    sealed: bool
    denied: dict[str, int]

    @property
    def total(self) -> int:
        """All refusals."""
        return sum(self.denied.values())


class Guard:
    """The guard of a process. There is one, `GUARD`: hooks belong to the interpreter."""

    def __init__(self) -> None:
        self._seals = 0
        self._hooked = False
        self._denied: Counter[str] = Counter()
        self._told: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()
        self._aside = threading.local()  # set while this thread tells of a refusal, or tries the guard itself

    @contextmanager
    def sealed(self, *, when: bool = True) -> Iterator[None]:
        """Let nothing leave this machine while the block runs; seals may lie within each other. `when` false: no seal.

        The first seal of a process puts in the hook, which costs every audited event some 100 ns from then on.
        """
        if not when:
            yield
            return
        with self._lock:
            self._seals += 1
            hook = not self._hooked
            self._hooked = True
        if hook:
            sys.addaudithook(self._heard)
        try:
            yield
        finally:
            with self._lock:
                self._seals -= 1

    def state(self) -> EgressState:
        """What is known now."""
        with self._lock:
            return EgressState(self._seals > 0, {kind: self._denied[kind] for kind in KINDS})

    def holds(self) -> bool:
        """Try whether a connection to nobody's address is refused before it begins. Sends nothing, counts nothing."""
        self._aside.busy = True
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sys.audit("socket.connect", sock, _TEST_NET)
        except EgressDenied:
            return True
        finally:
            self._aside.busy = False
        return False

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        rule = _RULES.get(event)
        if rule is None or not self._seals:
            return
        judge, kind = rule
        whom = judge(*args)
        if whom is None:
            return
        if not getattr(self._aside, "busy", False):
            self._count(kind, whom)
        raise EgressDenied(kind, whom)

    def _count(self, kind: str, whom: str) -> None:
        asker = _asker()
        with self._lock:
            self._denied[kind] += 1
            new = (kind, whom, asker) not in self._told and len(self._told) < MAX_TOLD
            if new:
                self._told.add((kind, whom, asker))
        if not new:
            return
        self._aside.busy = True  # a log that is sent over a socket must not tell of itself
        try:
            logger.warning(
                "offline: refused a %s to %s, wanted by %s; more of the same is only counted", kind, whom, asker
            )
        finally:
            self._aside.busy = False


def _connected(sock: socket.socket, address: object) -> str | None:
    return None if stays(sock.family, address) else _named(address)


def _sent(sock: socket.socket, address: object = None) -> str | None:
    """Without an address it goes where the socket is connected to, which was looked at then."""
    return None if address is None or stays(sock.family, address) else _named(address)


def _looked_up(host: object, *_: object) -> str | None:
    """An address needs no lookup, and nothing at all is the machine itself."""
    return None if host is None or host in ("", b"") or literal(host) or is_own(host) else _named((host,))


def _asked_back(address: object) -> str | None:
    """The name of an address is asked of others, unless it is one of this machine's."""
    host = address[0] if isinstance(address, tuple) and address else address
    return None if is_own(host) else _named((host,))


def _announced(host: str, port: int | None) -> str | None:
    return None if is_own(host) else _named((host, port))


def _named(address: object) -> str:
    """The peer for people. A name is withheld: whatever should not leave this machine can be written into one."""
    host = address[0] if isinstance(address, tuple) and address else None
    number = literal(host)
    if number is None:
        return "a host by name" if isinstance(host, str | bytes) else "an address that is not this machine's"
    port = address[1] if isinstance(address, tuple) and len(address) > 1 and isinstance(address[1], int) else None
    where = f"[{number}]" if number.version == 6 else str(number)
    return where if port is None else f"{where}:{port}"


def _asker() -> str:
    """The module that wanted it: the innermost that is neither ours nor the standard library's."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 -- `inspect` would read source files for every frame
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(__name__.rpartition(".")[0]):
            return name
        frame = frame.f_back
    return "the interpreter"


_RULES: dict[str, tuple[Rule, str]] = {
    "socket.connect": (_connected, "connect"),
    "socket.sendto": (_sent, "send"),
    "socket.sendmsg": (_sent, "send"),
    "socket.getaddrinfo": (_looked_up, "lookup"),
    "socket.gethostbyname": (_looked_up, "lookup"),
    "socket.gethostbyaddr": (_asked_back, "lookup"),
    "socket.getnameinfo": (_asked_back, "lookup"),
    outward.EVENT: (_announced, "connect"),
}

GUARD = Guard()
"""This process' guard."""
