"""What the capacity model is fitted to: figures of saved results with their intervals, and what is only assumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"


class Figure(NamedTuple):
    """A figure with the least and the most that its rounds had, and where it comes from."""

    what: str
    low: float
    middle: float
    high: float
    source: str

    @property
    def shown(self) -> str:
        """The middle, with the interval where there is one."""
        middle = f"{self.middle:,.4g}"
        return middle if self.low == self.high else f"{middle} ({self.low:,.4g}..{self.high:,.4g})"


class Inputs(NamedTuple):
    """All that the model knows of Nearfar."""

    request_cpu_ms: Figure
    latency_spread: Figure
    settle_us: Figure
    row_bytes: Figure
    question_s: Figure
    questioned_rows: Figure
    memory_mb: Figure


class Assumed(NamedTuple):
    """What nothing here was measured for: the load, the machines, what others charge, and what others take."""

    cores: int = 8  # of a node
    utilisation: float = 0.6  # that a fleet is planned for
    far_share: float = 0.3  # of the requests, whose money is set aside
    tenants: int = 1000  # with a budget each; their shares of the requests follow Zipf's law
    candidates: int = 20
    core_usd_per_hour: float = 0.0335  # router/pricing.py's default
    storage_usd_per_gb_month: float = 0.023  # object storage, list price of a large cloud
    tables: int = 3  # that every request has a row in, and that are shipped: decisions, attempts, outcomes
    ray_cpu_ms: float = 8.0  # through a handle from a router outside of Ray, both ends; of the prototype behind issue 9


def read(results: Path = RESULTS) -> Inputs:
    """What the saved results say.

    Raises:
        FileNotFoundError, KeyError: a result that the model stands on is missing, or is not what it was.
    """
    overhead, log = _report(results, "router_overhead"), _report(results, "log_scale")
    level = max(overhead["levels"], key=lambda each: each["concurrency"])
    alone = min(overhead["levels"], key=lambda each: each["concurrency"])["proxied"]
    size, asked = log["size"], log["asked"]
    spread = [alone["p99_ms"][end] / alone["p50_ms"][end] for end in ("min", "median", "max")]
    tail = f"router_overhead, {level['concurrency']} at once"
    return Inputs(
        request_cpu_ms=_spread("CPU of a routed request, ms", level["proxied"]["router_cpu_ms"], tail),
        latency_spread=Figure("p99 over p50 of a request that is alone", *sorted(spread), "router_overhead, 1 at once"),
        settle_us=_one("CPU of a decision in the log, us", size["settle_us_per_decision"], "log_scale"),
        row_bytes=_one("bytes of a settled decision", size["bytes_per_decision"], "log_scale"),
        question_s=Figure(
            "slowest question, s", *sorted((asked["slowest_p50_s"],) * 2), asked["slowest_max_s"], "log_scale"
        ),
        questioned_rows=_one("decisions that it was asked of", size["rows"], "log_scale"),
        memory_mb=_one("memory of a router, MB", overhead["router"]["rss_mb"], "router_overhead"),
    )


def _report(results: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _spread(what: str, value: dict[str, float], source: str) -> Figure:
    return Figure(what, value["min"], value["median"], value["max"], source)


def _one(what: str, value: float, source: str) -> Figure:
    return Figure(what, value, value, value, source)
