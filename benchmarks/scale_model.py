"""How far does this go? A capacity model of Nearfar, fitted to the saved results and simulated to 100 nodes.

`python benchmarks/scale_model.py` writes the figures of scale.md, between its two marks, and its picture; `--check`
only tells whether they are as they should be. Nothing is measured here: see each figure's own benchmark.
"""

from __future__ import annotations

import argparse
import random
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from charts import Panel, Series, page
from delivery import rule
from goals import number
from scale_inputs import RESULTS, Assumed, Figure, Inputs, read
from scale_queues import Fleet, Owned, Waits, owned, waits
from scale_series import series_of

from router.section import ClusterSettings
from router.sections import ShipSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PAGE, PICTURE = Path(__file__).with_name("scale.md"), RESULTS / "scale_model.svg"
BEGIN, END = "<!-- figures: made by scale_model.py, from results/ -->", "<!-- figures: end -->"
FLEETS = ((1, 1_000), (3, 3_000), (10, 10_000), (30, 30_000), (100, 100_000))
HOLDS_S = (0.0, 1.0, 5.0, 30.0, 120.0)
BUSY = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
DAY_S, SEED, DRAWS = 86_400, 1, 2_000
HOLD_S, SHIP_EVERY_S, GATHERED = ClusterSettings().hold_s, ShipSettings().every_s, 3
NOTICED_MS = 100.0
PATIENT_S = 10.0  # that somebody waits for an answer about a day


class Load(NamedTuple):
    """What a fleet of so many nodes has to do at this rate; shares are of what there is: 1 is all of it."""

    nodes: int
    rate: float
    cpu: float  # of the nodes' cores
    log_writer: float  # of the thread of each node that writes the log
    owner: Owned
    gathered: Owned  # the same, with each tenant's requests at few of the nodes
    files_per_day: float
    decisions_per_day: float


def between(figures: Sequence[Figure], value: Callable[..., float]) -> Figure:
    """A value with its 5 % and 95 %, each figure being anywhere in its interval, most likely in its middle."""
    draw = random.Random(SEED)
    drawn = sorted(value(*(draw.triangular(one.low, one.high, one.middle) for one in figures)) for _ in range(DRAWS))
    return Figure("", drawn[DRAWS // 20], value(*(one.middle for one in figures)), drawn[DRAWS * 19 // 20], "")


def load_of(nodes: int, rate: float, given: Inputs, assumed: Assumed) -> Load:
    """What this fleet has to do."""
    cpu_s = given.request_cpu_ms.middle / 1000
    return Load(
        nodes=nodes,
        rate=rate,
        cpu=rate * cpu_s / (nodes * assumed.cores),
        log_writer=rate / nodes * given.settle_us.middle / 1e6,
        owner=leases(nodes, rate, given, assumed, at=nodes),
        gathered=leases(nodes, rate, given, assumed, at=GATHERED),
        files_per_day=nodes * assumed.tables * DAY_S / SHIP_EVERY_S,
        decisions_per_day=rate * DAY_S,
    )


@cache
def leases(nodes: int, rate: float, given: Inputs, assumed: Assumed, *, at: int, hold_s: float = HOLD_S) -> Owned:
    """What the owner of the budgets has to do. A message costs it what a request to a stack like ours does, at most."""
    far = rate * assumed.far_share
    fleet = Fleet(nodes, far, assumed.tenants, min(at, nodes))
    return owned(fleet, hold_s, given.request_cpu_ms.middle / 1000, seconds=min(10.0, 60_000 / far), seed=SEED)


# --- the page -----------------------------------------------------------------------------------


def figures(given: Inputs, assumed: Assumed) -> str:
    """All that stands between the marks."""
    loads = [load_of(nodes, rate, given, assumed) for nodes, rate in FLEETS]
    parts = [
        *("### What it is fitted to", *inputs(given)),
        *("### What is only assumed", *assumptions(assumed)),
        *("### One core, one node, a million decisions", *capacity(given, assumed)),
        *("### From one node to a hundred", *fleets(loads)),
        *("### Waiting for a core", *cores(given)),
        *("### Leases, by how much a node holds", *holds(given, assumed)),
        *("### What breaks first", *limits(given, assumed, loads)),
    ]
    return "\n\n".join(parts)


def inputs(given: Inputs) -> Iterator[str]:
    yield table("| figure | value (least..most of its rounds) | result |", [(f.what, f.shown, f.source) for f in given])


def assumptions(assumed: Assumed) -> Iterator[str]:
    told = {
        "cores of a node": assumed.cores,
        "how busy a fleet is planned to be": assumed.utilisation,
        "share of requests that cost money": assumed.far_share,
        "tenants with a budget each, as Zipf's law has them": assumed.tenants,
        "what a node holds of each budget, s of its own spending": HOLD_S,
        "how often a node ships its log, s": SHIP_EVERY_S,
        "tables that are shipped": assumed.tables,
        "a core, US dollars an hour": assumed.core_usd_per_hour,
        "storage, US dollars a GB and month": assumed.storage_usd_per_gb_month,
        "CPU of a call through a Ray handle, both ends, ms": assumed.ray_cpu_ms,
    }
    yield table("| assumption | value |", [(what, f"{value:g}") for what, value in told.items()])


def capacity(given: Inputs, assumed: Assumed) -> Iterator[str]:
    cpu, busy, per_node = given.request_cpu_ms, assumed.utilisation, assumed.cores
    per_core = between([cpu], lambda ms: 1000 / ms)
    usd = between([cpu], lambda ms: ms / 1000 / busy * 1e6 / 3600 * assumed.core_usd_per_hour)
    gb = given.row_bytes.middle * 1e6 / 1e9
    ray = between([cpu], lambda ms: (ms + assumed.ray_cpu_ms) / ms)
    yield table(
        "| figure | value (5 %..95 %) |",
        [
            ("requests a second a core can route, all of it", per_core.shown),
            (
                f"requests a second of a node, {busy:.0%} busy",
                between([cpu], lambda ms: busy * per_node * 1000 / ms).shown,
            ),
            (
                f"nodes for 100,000 requests a second, {busy:.0%} busy",
                between([cpu], lambda ms: 1e5 * ms / 1000 / busy / per_node).shown,
            ),
            ("a million decisions: CPU of routing them, US dollars", usd.shown),
            ("a million decisions: their log, GB", f"{gb:.3g}"),
            ("a million decisions: a month of their log, US dollars", f"{gb * assumed.storage_usd_per_gb_month:.2g}"),
            ("decisions a second that one thread writes down", f"{1e6 / given.settle_us.middle:,.0f}"),
            ("times the CPU, where the model is called through Ray", ray.shown),
        ],
    )


def fleets(loads: Sequence[Load]) -> Iterator[str]:
    yield table(
        "| nodes | requests/s | of all cores | of each log writer | of the owner's core | that wait for it | p99, ms | "
        "tenants gathered: of its core | that wait | p99, ms | files/day, as shipped | decisions/day | series |",
        [
            (
                f"{each.nodes}",
                f"{each.rate:,.0f}",
                f"{each.cpu:.0%}",
                f"{each.log_writer:.1%}",
                *told(each.owner)[1:],
                *told(each.gathered)[1:],
                f"{each.files_per_day:,.0f}",
                f"{each.decisions_per_day:,.0f}",
                f"{each.nodes * series_of(Assumed().candidates):,}",
            )
            for each in loads
        ],
    )


def cores(given: Inputs) -> Iterator[str]:
    found = [(busy, waited(given, busy)) for busy in BUSY]
    rows = [(f"{busy:.0%}", number(wait.p50_ms), number(wait.p99_ms)) for busy, wait in found]
    yield table("| a core is busy | a request waits for it: p50, ms | p99, ms |", rows)


def waited(given: Inputs, busy: float) -> Waits:
    return waits(busy, given.request_cpu_ms.middle / 1000, given.latency_spread.middle, requests=200_000, seed=SEED)


def holds(given: Inputs, assumed: Assumed) -> Iterator[str]:
    nodes, rate = FLEETS[-1]
    rows = []
    for hold_s in HOLDS_S:
        found = [leases(nodes, rate, given, assumed, at=at, hold_s=hold_s) for at in (nodes, GATHERED)]
        rows.append(
            (f"{hold_s:g}" if hold_s else "nothing: each request asks", *(cell for one in found for cell in told(one)))
        )
    where = "messages/s | of the owner's core | requests that wait | and how long, p99, ms"
    yield f"{nodes} nodes, {rate:,} requests a second; first as requests come, then each tenant's at {GATHERED} nodes."
    yield table(f"| held, s | {where} | gathered: {where} |", rows)


def told(found: Owned) -> tuple[str, ...]:
    wait = "without end" if found.wait_ms_p99 is None else number(found.wait_ms_p99)
    return f"{found.messages_per_s:,.0f}", f"{found.utilisation:.0%}", f"{found.waiting_share:.2%}", wait


def limits(given: Inputs, assumed: Assumed, loads: Sequence[Load]) -> Iterator[str]:
    """At which rate each part is used up, the first one first."""
    per_row_s = given.question_s.high / given.questioned_rows.middle
    found = {
        "one core routes": 1000 / given.request_cpu_ms.middle,
        f"a node of {assumed.cores} cores routes": assumed.cores * 1000 / given.request_cpu_ms.middle,
        "one file has one writer": 1e6 / given.settle_us.middle,
        f"who waits for the owner waits {NOTICED_MS:g} ms (p99), tenants everywhere": used_up(
            loads, lambda each: (each.owner.wait_ms_p99 or 0.0) / NOTICED_MS
        ),
        "the owner's core, tenants everywhere": used_up(loads, lambda each: each.owner.utilisation),
        f"the owner's core, each tenant at {GATHERED} nodes": used_up(loads, lambda each: each.gathered.utilisation),
        f"a question about a day, in {PATIENT_S:g} s, by one reader over every row": PATIENT_S / per_row_s / DAY_S,
    }
    most = loads[-1].rate
    rows = [
        (what, f"{rate:,.0f}" if rate <= most else f"{rate:,.0f}, as it grows up to {most:,.0f}")
        for what, rate in sorted(found.items(), key=lambda each: each[1])
    ]
    yield table("| what is used up | at requests/s |", rows)


def used_up(loads: Sequence[Load], share: Callable[[Load], float]) -> float:
    """At which rate a share becomes 1: between two fleets where it does, else as it grows behind the last."""
    points = [(0.0, 0.0), *((each.rate, share(each)) for each in loads)]
    pairs = list(pairwise(points))
    (at, has), (then, will) = next((pair for pair in pairs if pair[1][1] >= 1), pairs[-1])
    return at + (1 - has) * (then - at) / (will - has)


def table(head: str, rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([head, rule(head), *(f"| {' | '.join(row)} |" for row in rows)])


def picture(given: Inputs, assumed: Assumed) -> str:
    """The same as lines."""
    loads = [load_of(nodes, rate, given, assumed) for nodes, rate in FLEETS]
    nodes = [f"{each.nodes}" for each in loads]
    shares = {
        "all cores": [each.cpu for each in loads],
        "each log writer": [each.log_writer for each in loads],
        "the owner": [each.owner.utilisation for each in loads],
        "the owner, tenants gathered": [each.gathered.utilisation for each in loads],
    }
    waited_ms = [waited(given, busy).p99_ms for busy in BUSY]
    panels = [
        Panel("share in use, 1,000 requests/s a node", nodes, [Series(name, line) for name, line in shares.items()]),
        Panel("p99 wait for a core, ms", [f"{busy:.0%}" for busy in BUSY], [Series("a core", waited_ms)]),
    ]
    return page(panels, columns=2, below="nodes; how busy a core is")


def main() -> int:
    """0 when page and picture are now as they should be, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 when it is not up to date")
    given, assumed = read(), Assumed()
    new = {PAGE: renewed(PAGE.read_text(encoding="utf-8"), figures(given, assumed)), PICTURE: picture(given, assumed)}
    old = {path: path.read_text(encoding="utf-8") if path.exists() else "" for path in new}
    if parser.parse_args().check:
        print("up to date" if new == old else "out of date: run python benchmarks/scale_model.py")
        return int(new != old)
    for path, text in new.items():
        path.write_text(text, encoding="utf-8")
    return 0


def renewed(text: str, told: str) -> str:
    """The page with what is between its marks replaced.

    Raises:
        ValueError: it lacks one of them.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"scale.md lacks {BEGIN!r} or {END!r}")
    return f"{before}{BEGIN}\n\n{told}\n\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
