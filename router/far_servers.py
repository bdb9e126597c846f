"""The servers of far sides that have several, or run an engine: where whoever shows or watches them finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.remote.backend import RemoteBackend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.base import Backend


def remote_of(backends: Mapping[str, Backend]) -> RemoteBackend:
    """The far backend of a house.

    Raises:
        TypeError: Under its name there is another one.
    """
    remote = backends["remote"]
    if not isinstance(remote, RemoteBackend):
        raise TypeError(f"the remote backend is a {type(remote).__name__}")
    return remote
