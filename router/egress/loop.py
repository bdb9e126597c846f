"""The server's event loop while it is offline: uvloop opens its connections natively, so this one announces them."""

from __future__ import annotations

import sys
from typing import Any

import uvloop

from backends import outward


class SealedLoop(uvloop.Loop):
    """uvloop, whose connections and lookups are heard by audit hooks, as those of Python's own sockets are.

    What Python's own sockets do here (`sock_connect`, and all that runs in threads) is heard as it is.
    """

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """As its parent's; refused where it would leave the machine."""
        if host is not None:
            sys.audit(outward.EVENT, host, port)
        return await super().create_connection(protocol_factory, host, port, **options)

    async def create_datagram_endpoint(
        self, protocol_factory: Any, local_addr: Any = None, remote_addr: Any = None, **options: Any
    ) -> Any:
        """As its parent's. Without a peer it could send anywhere afterwards, unheard: that is refused as well."""
        if not isinstance(remote_addr, str | bytes):
            sys.audit(outward.EVENT, *(remote_addr or ("anywhere", None))[:2])
        return await super().create_datagram_endpoint(protocol_factory, local_addr, remote_addr, **options)

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """As its parent's; a name that somebody else would have to be asked for is refused."""
        sys.audit("socket.getaddrinfo", host, port)
        return await super().getaddrinfo(host, port, **options)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """As its parent's; refused where somebody else would have to be asked."""
        sys.audit("socket.getnameinfo", sockaddr)
        return await super().getnameinfo(sockaddr, flags)


def sealed_loop() -> SealedLoop:
    """A loop for `uvicorn`."""
    return SealedLoop()
