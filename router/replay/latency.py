"""Latency and deadline misses of another policy by event replay, with intervals, or why the log does not carry them.

Intervals by a bootstrap over blocks of time (Künsch 1989): requests of one moment share its queues and brown-outs, so
whole stretches are drawn again, not requests. Latency is of answered requests; a request without an answer, or with
one after its deadline, misses it.

The simulation is asked first for what the log did itself. Where it does not give back what was observed, it is not
believed about anything else.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate, pairwise
from math import inf, log
from random import Random
from statistics import stdev
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from router.replay.estimators import unsure
from router.replay.events import Ran, run
from router.replay.intervals import LEVEL, share, t_quantile
from router.replay.targets import LOGGED, Target
from router.replay.verdict import Figure, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.replay.logged import Logged, Traffic
    from router.replay.stations import Station

QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
QUANTITIES = ("latency_mean", *QUANTILES, "deadline_misses")
MIN_REQUESTS = 200
MIN_BLOCKS, MAX_BLOCKS = 10, 50
RESAMPLES = 200
BINS = 512
WORTH = 60_000  # requests simulated in all: a short log is simulated several times, and what chance says averaged
KNOWN = 20  # attempts by which a candidate is known
MAX_UNKNOWN = 0.05
DOUBTED, DISBELIEVED = 0.1, 0.25  # how far the simulation of the log's own choices may be off


class Lived(NamedTuple):
    """How requests fared, in the order in which they came: latency (None: no answer), and whether too late."""

    latency_ms: list[float | None]
    missed: list[bool | None]


class Judge(NamedTuple):
    """What event replay needs of a window, made once for all targets."""

    traffic: Traffic
    stations: dict[str, Station]
    lived: Lived
    deadline_ms: float | None
    simulated: Lived  # the log's own choices, simulated
    held_ms: dict[str, float]


def judge(traffic: Traffic, stations: dict[str, Station], deadline_ms: float | None, tick: Callable[[], None]) -> Judge:
    """Ready to judge targets; `deadline_ms` is what counts as late, where not each request's own."""
    again = run(traffic.requests, stations, Target(name=LOGGED), 0, tick)
    return Judge(
        traffic=traffic,
        stations=stations,
        lived=_observed(traffic.requests, deadline_ms),
        deadline_ms=deadline_ms,
        simulated=_lived(traffic.requests, again, deadline_ms),
        held_ms=again.held_ms,
    )


def objection(here: Judge) -> str | None:
    """Why event replay cannot be believed about this window; None when it can."""
    seen = _known(here.lived.latency_ms)
    if len(seen) < MIN_REQUESTS:
        return f"too little evidence: {len(seen)} answered requests, and {MIN_REQUESTS} are needed"
    worst = max(_off(here), key=lambda one: abs(one[1] - 1))
    if abs(worst[1] - 1) > DISBELIEVED:
        return (
            f"the simulation does not give back the log: of its own choices it makes a {worst[0]} of {worst[1]:.2f} "
            "times what was observed"
        )
    return None


def figures(here: Judge, target: Target, tick: Callable[[], None]) -> list[Figure]:
    """What the target's latency and misses would have been; the caller has heard `objection`."""
    requests = here.traffic.requests
    times = max(1, min(5, WORTH // len(requests)))
    runs = [run(requests, here.stations, target, salt, tick) for salt in range(times)]
    strange = _strange(here, runs)
    if strange is not None:
        return [replace(figure, refusal=strange) for figure in blank(here, "events")]
    lived = [_lived(requests, ran, here.deadline_ms) for ran in runs]
    warnings = (*_doubts(here, runs),)
    return [replace(figure, warnings=warnings) for figure in _compared(here, lived)]


def blank(here: Judge, method: str) -> list[Figure]:
    """A figure a quantity with what was observed, and nothing of the target yet."""
    made = _compared(here, [here.lived])
    kept = [
        Figure(
            quantity=one.quantity,
            unit=one.unit,
            method="observed" if method == "observed" else "events",
            n=one.n,
            missing=one.missing,
            clusters=one.clusters,
            observed=one.estimate,
            observed_low=one.low,
            observed_high=one.high,
        )
        for one in made
    ]
    if method != "observed":
        return kept
    return [
        replace(
            one, estimate=one.observed, low=one.observed_low, high=one.observed_high, difference=0.0,
            difference_low=0.0, difference_high=0.0,
        )
        for one in kept
    ]  # fmt: skip


def _observed(requests: Sequence[Logged], deadline_ms: float | None) -> Lived:
    latency = [one.latency_ms if one.status == "ok" else None for one in requests]
    ended = [one.status not in {None, "cancelled"} for one in requests]
    missed = [
        _late(one, ms, deadline_ms) if end else None for one, ms, end in zip(requests, latency, ended, strict=True)
    ]
    return Lived(latency, missed)


def _lived(requests: Sequence[Logged], ran: Ran, deadline_ms: float | None) -> Lived:
    late = [_late(one, ms, deadline_ms) for one, ms in zip(requests, ran.latency_ms, strict=True)]
    return Lived(ran.latency_ms, late)


def _late(request: Logged, latency_ms: float | None, deadline_ms: float | None) -> bool | None:
    deadline = request.deadline_ms if deadline_ms is None else deadline_ms
    if deadline is None:
        return None
    return latency_ms is None or latency_ms > deadline


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _off(here: Judge) -> list[tuple[str, float]]:
    """How many times what was observed the simulation makes of the log's own choices, by its mean and upper end."""
    seen, made = sorted(_known(here.lived.latency_ms)), sorted(_known(here.simulated.latency_ms))
    if not made or not sum(seen):
        return [("mean", float("inf"))]
    mean = (sum(made) / len(made)) / (sum(seen) / len(seen))
    return [("mean", mean), ("95th percentile", _at(made, 0.95) / max(_at(seen, 0.95), 1e-9))]


def _strange(here: Judge, runs: Sequence[Ran]) -> str | None:
    """Too many requests would go to candidates of which the log hardly shows what they take."""
    unknown = {name for name, station in here.stations.items() if len(station.seen) < KNOWN}
    firsts = [name for ran in runs for name in ran.first if name is not None]
    strange = sum(name in unknown for name in firsts) / max(len(firsts), 1)
    if strange <= MAX_UNKNOWN:
        return None
    return (
        f"unseen candidates: {strange:.0%} of the requests would go to candidates tried fewer than {KNOWN} times "
        f"({', '.join(sorted(unknown.intersection(firsts)))}); log with exploration or shadows"
    )


def _doubts(here: Judge, runs: Sequence[Ran]) -> list[str]:
    said = [
        f"the simulation of the log's own choices makes a {what} of {ratio:.2f} times what was observed"
        for what, ratio in _off(here)
        if abs(ratio - 1) > DOUBTED
    ]
    for name, station in here.stations.items():
        busier = sum(ran.held_ms.get(name, 0.0) for ran in runs) / len(runs)
        if station.near and not station.waited and busier > 1.5 * here.held_ms.get(name, 0.0) > 0:
            said.append(
                f"nobody was seen waiting for {name}, so how many it serves at once is not known; "
                f"{station.servers} is the most that was seen"
            )
    return said


def _compared(here: Judge, lived: Sequence[Lived]) -> list[Figure]:
    """Target and log side by side. The same blocks are drawn of both: what they share does not blur the difference."""
    blocks = _blocks(len(here.lived.latency_ms))
    both = _known(here.lived.latency_ms) + [ms for one in lived for ms in _known(one.latency_ms)]
    edges = _edges(both)
    seen = [_summed([here.lived], span, edges) for span in blocks]
    made = [_summed(lived, span, edges) for span in blocks]
    rng = Random(0)  # noqa: S311 -- the same draws each time: a figure does not change by itself
    draws = [[rng.randrange(len(blocks)) for _ in blocks] for _ in range(RESAMPLES)]
    target = [_figures([made[n] for n in draw], edges) for draw in draws]
    log_ = [_figures([seen[n] for n in draw], edges) for draw in draws]
    exact, before = _exact(lived), _exact([here.lived])
    missing = sum(one is None for one in here.lived.missed)
    units: tuple[Unit, ...] = ("ms",) * 4 + ("share",)
    return [
        _figure(
            Figure(
                quantity=name, unit=units[n], method="events", n=len(here.lived.latency_ms), missing=missing,
                clusters=len(blocks), observed=before[n],
            ),
            exact[n], [one[n] for one in target], [one[n] for one in log_],
        )
        for n, name in enumerate(QUANTITIES)
    ]  # fmt: skip


def _figure(
    figure: Figure, estimate: float | None, target: Sequence[float | None], log_: Sequence[float | None]
) -> Figure:
    if estimate is None:
        nothing = "no deadline is known: say what counts as late" if figure.unit == "share" else "nothing was answered"
        return replace(figure, refusal=nothing)
    low, high = _around(estimate, _known(target), figure)
    figure = replace(figure, estimate=estimate, low=low, high=high)
    if figure.observed is None:
        return figure
    seen_low, seen_high = _around(figure.observed, _known(log_), figure)
    changes = [t - o for t, o in zip(target, log_, strict=True) if t is not None and o is not None]
    half = _half(changes, figure.clusters)
    change = estimate - figure.observed
    return unsure(
        replace(
            figure, observed_low=seen_low, observed_high=seen_high, difference=change, difference_low=change - half,
            difference_high=change + half,
        )
    )  # fmt: skip


def _around(estimate: float, drawn: Sequence[float], figure: Figure) -> tuple[float, float]:
    if figure.unit == "share":
        se = stdev(drawn) if len(drawn) > 1 else inf
        within = share(estimate, se, figure.clusters - 1.0, float(figure.n))
        return within.low, within.high
    half = _half(drawn, figure.clusters)
    return max(0.0, estimate - half), estimate + half


def _half(drawn: Sequence[float], blocks: int) -> float:
    """Half the interval; Student's t makes up for there being few blocks."""
    return t_quantile((1 + LEVEL) / 2, blocks - 1) * stdev(drawn) if len(drawn) > 1 else 0.0


def _blocks(count: int) -> list[range]:
    blocks = max(MIN_BLOCKS, min(MAX_BLOCKS, count // 100))
    ends = [round(count * n / blocks) for n in range(blocks + 1)]
    return [range(start, end) for start, end in pairwise(ends)]


class _Sums(NamedTuple):
    total: float
    answered: int
    late: int
    judged: int
    bins: list[int]


def _edges(values: Sequence[float]) -> list[float]:
    """Borders of bins, each the same factor above the one before: quantiles of a draw are read off their counts."""
    low, high = max(min(values, default=1.0), 1e-3), max(max(values, default=1.0), 1e-3)
    step = log(max(high / low, 1.001)) / BINS
    return [low * 2.718281828459045 ** (step * n) for n in range(BINS + 1)]


def _summed(lived: Sequence[Lived], span: range, edges: Sequence[float]) -> _Sums:
    values = [ms for one in lived for ms in one.latency_ms[span.start : span.stop] if ms is not None]
    missed = [late for one in lived for late in one.missed[span.start : span.stop] if late is not None]
    bins = [0] * (len(edges) + 1)
    for value in values:
        bins[bisect_left(edges, value)] += 1
    return _Sums(sum(values), len(values), sum(missed), len(missed), bins)


def _figures(blocks: Sequence[_Sums], edges: Sequence[float]) -> list[float | None]:
    """All quantities of a draw of blocks."""
    count, judged = sum(one.answered for one in blocks), sum(one.judged for one in blocks)
    if not count:
        return [None] * 4 + [sum(one.late for one in blocks) / judged if judged else None]
    below = list(accumulate(map(sum, zip(*(one.bins for one in blocks), strict=True))))
    found: list[float | None] = [sum(one.total for one in blocks) / count]
    for part_below in QUANTILES.values():
        place = bisect_left(below, part_below * count)
        under = below[place - 1] if place else 0
        part = (part_below * count - under) / max(below[place] - under, 1)
        lower, upper = edges[max(place - 1, 0)], edges[min(place, len(edges) - 1)]
        found.append(lower + part * (upper - lower))
    return [*found, sum(one.late for one in blocks) / judged if judged else None]


def _exact(lived: Sequence[Lived]) -> list[float | None]:
    values = sorted(ms for one in lived for ms in _known(one.latency_ms))
    missed = [late for one in lived for late in one.missed if late is not None]
    late = sum(missed) / len(missed) if missed else None
    if not values:
        return [None] * 4 + [late]
    return [sum(values) / len(values), *(_at(values, below) for below in QUANTILES.values()), late]


def _at(rising: Sequence[float], below: float) -> float:
    """A quantile, straight lines between the values."""
    place = below * (len(rising) - 1)
    lower = int(place)
    upper = min(lower + 1, len(rising) - 1)
    return rising[lower] + (place - lower) * (rising[upper] - rising[lower])
