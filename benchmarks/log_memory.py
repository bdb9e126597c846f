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


def beside_the_log(samples: list[Sample], held: list[Held]) -> dict[str, Any] | None:
    """How the process grows without what DuckDB holds; None where that cannot be said."""
    sizes = [
        Size(sample.at_s, sample.rss_bytes - now.log_bytes, now.wal_bytes)
        for sample, now in zip(samples, held, strict=True)
    ]
    found, levels = within_teeth(sizes, warm_s=sizes[-1].at_s * WARM_UP)
    return found and found | {"levels": levels}
