"""The one table of backends. Adding a backend is one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.fake import FakeBackend
from backends.local.backend import LocalBackend
from backends.ray.backend import RayBackend
from backends.remote.backend import RemoteBackend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.base import Backend
    from backends.hardware import Probe
    from backends.local.backend import LocalOptions
    from backends.ray.backend import RayOptions
    from backends.remote.provider import Provider


def create(local: LocalOptions, ray: RayOptions, providers: Sequence[Provider], probe: Probe) -> dict[str, Backend]:
    """Every backend by its name. Nothing is loaded and no connection is opened."""
    return {
        "local": LocalBackend(local, probe),
        "ray": RayBackend(ray),
        "remote": RemoteBackend(providers),
        "fake": FakeBackend(),
    }
