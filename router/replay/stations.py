"""What the log tells of each candidate as a server: how long it takes, how many it serves at once, how it fails.

* Time: what requests of this predicted time took (a line through the means of ten groups, level beyond them, so that a
  prediction that is wrong about sizes, or was made before anything was learnt, does no harm), times what others around
  that moment took over theirs. So sizes count, and a brown-out that hit those who asked then hits those who would have
  asked then. Whoever did ask it took what it took.
* A failure takes as long as it took. An attempt that was given up (a hedge's loser, a sender who left) only says that
  it would have taken longer: its mass goes to those that did (redistribution to the right, Efron 1967).
* A far candidate serves any number at once. A near one has servers, as many as were seen busy at once, and each takes
  what waits, up to the largest batch that was seen; a batch takes longer the larger it is, by a line through what was
  seen. Near candidates are taken to be independent of each other, also where they share a device.
"""

from __future__ import annotations

from bisect import bisect_left
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from router.curves import Curve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from router.replay.logged import Logged, Shown, Tried

GROUPS = 10  # of requests by what was predicted of them, and as many requests at least in each
AROUND = 8  # attempts, closest in time, that one is drawn from
_WAITED_MS = 1.0
_SPARE = 0.01  # share of its busy time in which a server that cannot be may seem to exist: clocks are not perfect


class Served(NamedTuple):
    """What one attempt would take: of its server, on top, and whether it fails. Milliseconds."""

    hold_ms: float
    rest_ms: float
    failed: bool


class _Seen(NamedTuple):
    at_ms: float
    over: float  # what it took over what such requests take; of a failure, what it took
    rest_ms: float
    failed: bool
    bound: bool  # it would have taken longer


class Station(Struct, frozen=True, kw_only=True):
    """One candidate as a server.

    Attributes:
        servers: How many it serves at once; 0 is any number.
        batch: How many one server takes at once, at most.
        slope: What each further request of a batch adds to its time, as a part of one's.
        load_ms: What loading it took.
        warm: Whether it was loaded at the window's beginning.
        waited: Whether anybody was seen waiting for it, without which nobody knows how many it serves at once.
        curve: What requests take, over what is predicted of them.
        times, seen: The attempts it is known by, in the order of time.
    """

    near: bool
    servers: int
    batch: int
    slope: float
    load_ms: float
    warm: bool
    waited: bool
    curve: Curve
    times: list[float]
    seen: list[_Seen]

    def grown(self, size: int) -> float:
        """How much longer a batch of this size takes than one request."""
        return 1 + self.slope * (size - 1)

    def serve(self, request: Logged, number: int, shown: Shown, salt: int) -> Served:
        """What this request would take here: what it took, where it was here, else as others took around that time."""
        own = next(
            (a for a in request.attempts if a.candidate_id == shown.candidate_id and a.status != "cancelled"), None
        )
        base = _usual(self.curve, _base(shown))
        if own is not None:
            one = _seen(own, base, self.slope)
        elif self.seen:
            middle = bisect_left(self.times, request.at_ms)
            start = max(0, min(middle - AROUND // 2, len(self.seen) - AROUND))
            near = min(AROUND, len(self.seen))
            one = self.seen[start + (((number + 1) * 2654435761 ^ salt * 40503) >> 9) % near]
        else:
            return Served(base, 0.0, failed=False)
        return Served(one.over if one.failed else one.over * base, one.rest_ms, one.failed)


def stations(requests: Sequence[Logged], tick: Callable[[], None]) -> dict[str, Station]:
    """Every candidate that any slate shows, by its id."""
    shown: dict[str, Shown] = {}
    tried: dict[str, list[tuple[Tried, float]]] = {}
    for request in requests:
        tick()
        bases = {}
        for one in request.slate:
            shown.setdefault(one.candidate_id, one)
            bases[one.candidate_id] = _base(one)
        for attempt in request.attempts:
            tried.setdefault(attempt.candidate_id, []).append((attempt, bases.get(attempt.candidate_id, 1.0)))
    return {name: _station(first, tried.get(name, [])) for name, first in shown.items()}


def _station(shown: Shown, tried: Sequence[tuple[Tried, float]]) -> Station:
    slope = _slope(tried) if shown.queues else 0.0
    curve = _curve([(base, _alone(one, slope)) for one, base in tried if one.status == "ok"])
    seen = _redistributed(sorted(_seen(attempt, _usual(curve, base), slope) for attempt, base in tried))
    waits = [attempt.queue_ms for attempt, _ in tried if attempt.queue_ms is not None]
    loads = [attempt.load_ms for attempt, _ in tried if attempt.load_ms]
    return Station(
        near=shown.queues,
        servers=_servers([attempt for attempt, _ in tried]) if shown.queues else 0,
        batch=max((attempt.batch_size or 1 for attempt, _ in tried), default=1),
        slope=slope,
        load_ms=median(loads) if loads else shown.load_ms,
        warm=shown.warm,
        waited=any(wait > _WAITED_MS for wait in waits),
        curve=curve,
        times=[one.at_ms for one in seen],
        seen=seen,
    )


def _base(shown: Shown) -> float:
    return shown.service_ms or 1.0


def _held(attempt: Tried) -> float:
    """What an attempt held its server: near without its wait and load, far all of it."""
    if attempt.service_ms is not None and attempt.queue_ms is not None:
        return attempt.service_ms
    return max(0.0, attempt.total_ms - (attempt.queue_ms or 0.0) - (attempt.load_ms or 0.0))


def _seen(attempt: Tried, base: float, slope: float) -> _Seen:
    held = _held(attempt)
    rest = max(0.0, attempt.total_ms - held - (attempt.queue_ms or 0.0) - (attempt.load_ms or 0.0))
    if attempt.status == "error":
        return _Seen(attempt.begun_ms, held, 0.0, failed=True, bound=False)
    over = _alone(attempt, slope) / base
    return _Seen(attempt.begun_ms, over, rest, failed=False, bound=attempt.status == "cancelled")


def _alone(attempt: Tried, slope: float) -> float:
    """What it would have held its server by itself."""
    return _held(attempt) / (1 + slope * ((attempt.batch_size or 1) - 1))


def _usual(curve: Curve, predicted: float) -> float:
    return curve.at(min(max(predicted, curve.prior_s[0]), curve.prior_s[-1]))


def _curve(points: Sequence[tuple[float, float]]) -> Curve:
    """What requests take over what is predicted of them: through the means of groups of alike predictions."""
    rising = sorted(points)
    groups = max(1, min(GROUPS, len(rising) // GROUPS))
    means: dict[float, float] = {}
    for n in range(groups):
        group = rising[len(rising) * n // groups : len(rising) * (n + 1) // groups]
        if group:
            predicted, took = (sum(column) / len(group) for column in zip(*group, strict=True))
            means[predicted] = max(took, 1e-6)
    return Curve(tuple(means), tuple(means.values())) if means else Curve((1.0,), (1.0,))


def _redistributed(seen: list[_Seen]) -> list[_Seen]:
    """With each lower bound in the place of one that did take longer, in turn; what nothing exceeds stays as it is."""
    longer = sorted(one.over for one in seen if not one.failed and not one.bound)
    if not longer:
        return seen

    def resolved(n: int, one: _Seen) -> _Seen:
        first = bisect_left(longer, one.over)
        if not one.bound or first == len(longer):
            return one
        return one._replace(over=longer[first + (n * 2654435761 >> 9) % (len(longer) - first)], bound=False)

    return [resolved(n, one) for n, one in enumerate(seen)]


def _slope(tried: Iterable[tuple[Tried, float]]) -> float:
    """What each further request of a batch adds, by least squares over what was seen; 0 where nothing was batched."""
    points = [
        ((attempt.batch_size or 1) - 1, _held(attempt) / base) for attempt, base in tried if attempt.status == "ok"
    ]
    if not points:
        return 0.0
    mean_x, mean_y = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    steep = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    at_one = mean_y - steep * mean_x
    return min(1.0, max(0.0, steep / at_one)) if at_one > 0 else 0.0


def _servers(tried: Iterable[Tried]) -> int:
    """How many batches were served at once, but for a hundredth of the busy time; one where nothing is known."""
    steps: list[tuple[float, float]] = []
    for attempt in tried:
        held = _held(attempt)
        if attempt.status != "ok" or held <= 0:
            continue
        start = attempt.begun_ms + (attempt.queue_ms or 0.0) + (attempt.load_ms or 0.0)
        part = 1 / (attempt.batch_size or 1)
        steps += [(start + 0.05 * held, part), (start + 0.95 * held, -part)]
    level, since, busy = 0.0, 0.0, {0: 0.0}
    for at_ms, change in sorted(steps):
        whole = round(level)
        busy[whole] = busy.get(whole, 0.0) + (at_ms - since) * (whole > 0)
        level, since = level + change, at_ms
    allowed = _SPARE * sum(busy.values())
    for whole in sorted(busy, reverse=True):
        allowed -= busy[whole]
        if allowed < 0:
            return max(1, whole)
    return 1
