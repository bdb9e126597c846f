"""What DuckDB holds of a server, and how the rest of the server grows. The server tells the one, its size the sum."""

from __future__ import annotations

import asyncio
import math
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slopes import Size, within_teeth
from soak import SAMPLE_S, WARM_UP

if TYPE_CHECKING:
    from pathlib import Path

    from soak import Sample

TIMEOUT_S = 60.0
SEEN_BYTES = 100  # a request: a run that could not tell so small a leak from none proves nothing


@dataclass(frozen=True)
class Held:
    """What DuckDB holds: in memory, as the server tells it, and in its write-ahead log."""

    log_bytes: int
    wal_bytes: int


async def measure(url: str, wal: Path, held: list[Held], samples: list[Sample]) -> None:
    """What DuckDB holds, for each sample of the process, until cancelled."""
    while True:
        now = await asyncio.to_thread(_holds, url, wal)
        held += [now] * (len(samples) - len(held))
        await asyncio.sleep(SAMPLE_S)


def _holds(url: str, wal: Path) -> Held:
    size = float(_metrics(url)["nearfar_log_memory_bytes"])
    try:
        waits = wal.stat().st_size
    except FileNotFoundError:  # a checkpoint took it all
        waits = 0
    return Held(0 if math.isnan(size) else int(size), waits)


def _metrics(url: str) -> dict[str, str]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=TIMEOUT_S) as response:
        lines = response.read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def beside_the_log(samples: list[Sample], held: list[Held], requests: int) -> dict[str, Any] | None:
    """How the process grows without what DuckDB holds, in bytes a request; None where that cannot be said."""
    sizes = [
        Size(sample.at_s, sample.rss_bytes - now.log_bytes, now.wal_bytes)
        for sample, now in zip(samples, held, strict=True)
    ]
    found, levels = within_teeth(sizes, warm_s=sizes[-1].at_s * WARM_UP)
    if found is None or not requests:
        return None
    a_minute = requests / (sizes[-1].at_s / 60)
    grows = {
        name: found[of] / a_minute for name, of in (("slope", "bytes_per_minute"), ("low", "low"), ("high", "high"))
    }
    return grows | {"points": found["points"], "levels": levels}


def faults_of(grows: dict[str, Any] | None) -> list[str]:
    """What speaks against a server that grows so: also that nobody would have seen `SEEN_BYTES` a request."""
    if grows is not None and grows["low"] > 0:
        return ["memory grows"]
    if grows is None or grows["high"] - grows["low"] > 2 * SEEN_BYTES:
        return ["memory: too short or too uneven a run to tell whether it grows"]
    return []
