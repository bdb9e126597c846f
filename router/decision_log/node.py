"""What this machine is and what runs on it, as a row of the log."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec

from router.decision_log.record import NodeRow

if TYPE_CHECKING:
    from backends.hardware import Probe
    from router.decision_log.taking import Log

PACKAGES = ("nearfar", "duckdb", "litestar", "torch", "transformers", "sentence-transformers")


def node_row(log: Log, probe: Probe, ts_us: int) -> NodeRow:
    """The row of this start of the log's owner."""
    software = {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()}
    return NodeRow(
        boot_id=log.boot_id,
        node_id=log.node_id,
        ts_us=ts_us,
        hardware=msgspec.json.encode(probe).decode(),
        software=msgspec.json.encode(software).decode(),
    )


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
