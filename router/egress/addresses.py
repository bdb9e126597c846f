"""Which addresses are this machine's own. Looks nothing up."""

from __future__ import annotations

import ipaddress
import socket

LOCAL_NAMES = frozenset({"localhost", "localhost."})
# They end in this machine's kernel, or in another process on it. Whatever else there is leads elsewhere.
_INNER = frozenset(
    getattr(socket, name) for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG", "AF_ROUTE") if hasattr(socket, name)
)
_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})


def stays(family: int, address: object) -> bool:
    """True when what is sent to this address of this family reaches nobody but this machine."""
    if family in _INNER:
        return True
    return family in _INTERNET and isinstance(address, tuple) and bool(address) and is_own(address[0])


def is_own(host: object) -> bool:
    """True for loopback addresses and for `localhost`. No other name: somebody would have to be asked what it is."""
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    if not isinstance(host, str):
        return False
    if host.lower() in LOCAL_NAMES:
        return True
    number = literal(host)
    mapped = getattr(number, "ipv4_mapped", None)
    return number is not None and (mapped or number).is_loopback


def literal(host: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that is written there; None for a name, which only a lookup could turn into one."""
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    if not isinstance(host, str):
        return None
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
