"""A whole replay: the window is read once, and each target judged on it, every quantity by the method valid for it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from policies.types import Parameters
from router.errors import ReplayStopped
from router.replay import audit, estimators, latency, paired
from router.replay.evidence import QUANTITIES, does, drifted, weigh
from router.replay.logged import read
from router.replay.stations import stations
from router.replay.targets import BASELINES, LOGGED, ORACLE, Target, target
from router.replay.verdict import Figure, Replay, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.decision_log.queries import LogReader
    from router.decision_log.windows import Window
    from router.replay.evidence import Weighed
    from router.replay.logged import Traffic

Stage = Literal["reading", "deciding", "simulating"]
EVERY = 16  # requests between two looks at the clock

CANNOT = {
    "cascade": "cascade asks on when it has seen an answer, and the log does not show what it would have seen",
    "budget": "budget goes by how much of the day's money is gone, and that would have been another amount",
}
"""Policies that decide by what the log does not show."""
MAX_ESCALATED = 0.01
DEAREST = "its upper end takes for granted that no request costs more than the dearest one in the window"

BY_CHANCE = (
    "every logged decision was certain (propensity 1): price, errors and quality can only be told where a policy does "
    "what the log did; log with exploration (routing.exploration) to compare others"
)


class Asked(Struct, frozen=True, kw_only=True):
    """What is to be replayed.

    Attributes:
        policy: The target's name.
        given: Parameters of policies; None leaves them as they are by default.
        baselines: Whether the named baselines are replayed too.
        deadline_ms: What counts as late, where not each request's own deadline.
        watched: Somebody looks again and again while the log grows: intervals hold at every moment at once,
            while the window's start stays the same.
    """

    policy: str
    given: Parameters | None = None
    baselines: bool = False
    deadline_ms: float | None = None
    watched: bool = False


class Clock:
    """How long a replay may take, who may stop it, and how far it is. Called for every request of every stage.

    A `polite` one hands the interpreter over every few requests, for a server whose answers must not wait for a replay.
    """

    def __init__(
        self,
        time_limit_s: float = inf,
        stop: threading.Event | None = None,
        tell: Callable[[Stage, str, int], None] | None = None,
        *,
        polite: bool = False,
    ) -> None:
        self._limit_s, self._until = time_limit_s, time.monotonic() + time_limit_s
        self._stop, self._tell, self._polite = stop or threading.Event(), tell, polite
        self._stage: tuple[Stage, str] = ("reading", "")
        self._count = 0

    def begin(self, stage: Stage, what: str) -> None:
        """Another stage begins."""
        self._stage, self._count = (stage, what), 0

    def tick(self) -> None:
        """One request more.

        Raises:
            ReplayStopped: the time is up, or nobody waits any more.
        """
        self._count += 1
        if self._count % EVERY:
            return
        if self._polite:
            time.sleep(0)  # gives the interpreter away and takes it back
        if self._tell is not None:
            self._tell(*self._stage, self._count)
        if self._stop.is_set():
            raise ReplayStopped("The replay was stopped: nobody waits for it.")
        if time.monotonic() > self._until:
            raise ReplayStopped(
                f"The replay took longer than {self._limit_s:g} s and was stopped: choose a shorter window."
            )


def replay(reader: LogReader, window: Window, asked: Asked, clock: Clock) -> Replay:
    """Replay one policy, and the baselines where they are asked for, on a window of the log.

    Raises:
        InvalidRequest: there is no such policy.
        LogError: the log cannot be read.
        ReplayStopped: it took too long.
    """
    named = dict.fromkeys([asked.policy, *((LOGGED, *BASELINES) if asked.baselines else ())])
    targets = [target(name, asked.given) for name in named]
    clock.begin("reading", "the log")
    return judged(read(reader, window, clock.tick), targets, asked, clock)


def judged(traffic: Traffic, targets: list[Target], asked: Asked, clock: Clock) -> Replay:
    """Judge targets on traffic that was read."""
    clock.begin("simulating", LOGGED)
    here = latency.judge(traffic, stations(traffic.requests, clock.tick), asked.deadline_ms, clock.tick)
    anytime = asked.watched or bool(drifted(traffic))
    case = _Case(traffic, here, audit.objection(traffic.requests), anytime=anytime)
    verdicts = tuple(case.verdict(one, clock) for one in targets)
    ends = [
        datetime.fromtimestamp(one.at_ms / 1000, UTC).isoformat()
        for one in traffic.requests[:1] + traffic.requests[-1:]
    ]
    return Replay(
        since=ends[0] if ends else None,
        until=ends[-1] if ends else None,
        requests=len(traffic.requests),
        held=traffic.held,
        clustered_by=traffic.clustered_by,
        verdicts=verdicts,
        warnings=tuple(_warnings(traffic, watched=asked.watched)),
    )


class _Case:
    """What is the same for all targets of one window."""

    def __init__(self, traffic: Traffic, here: latency.Judge, distrust: str | None, *, anytime: bool) -> None:
        self._traffic, self._here, self._distrust, self._anytime = traffic, here, distrust, anytime
        escalated = sum(any(a.role == "escalation" for a in one.attempts) for one in traffic.requests)
        self._escalated = escalated / max(len(traffic.requests), 1)

    def verdict(self, one: Target, clock: Clock) -> Verdict:
        clock.begin("deciding", one.name)
        choices = []
        for request in self._traffic.requests:
            choices.append(one.choice(request))
            clock.tick()
        weighed = weigh(self._traffic.requests, choices)
        same = one.name == LOGGED or (weighed.agrees and one.name != ORACLE)
        best, others = self._per_request(one, weighed, same=same)
        clock.begin("simulating", one.name)
        best += self._by_events(one, clock, same=same)
        best = _reconciled(best)
        agreed = sum(map(does, self._traffic.requests, choices))
        return Verdict(
            policy=one.name,
            version=one.version,
            agreement=agreed / len(choices) if choices and one.name not in {LOGGED, ORACLE} else None,
            figures=tuple(best),
            others=tuple(others),
        )

    def _per_request(self, one: Target, weighed: Weighed, *, same: bool) -> tuple[list[Figure], list[Figure]]:
        direct = [] if same else paired.figures(self._traffic, weighed.choices, one.name)
        best, others = [], []
        for n, quantity in enumerate(QUANTITIES):
            case = estimators.evidence(self._traffic, weighed, quantity)
            if same:
                found = [estimators.observed(case) if case.known else self._refused(one, case)]
            elif reason := self._reason(one, case):
                found = [estimators.refused(case, reason)]
            else:
                found = [_judged(figure, case) for figure in estimators.figures(case, anytime=self._anytime)]
            found += direct[n : n + 1]
            if found[0].refusal and len(found) > 1 and not found[-1].refusal:
                found = [found[-1], *found[:-1]]
            best.append(found[0])
            others += found[1:]
        return best, others

    def _refused(self, one: Target, case: estimators.Evidence) -> Figure:
        return estimators.refused(case, self._reason(one, case) or "no outcome is known", "observed")

    def _reason(self, one: Target, case: estimators.Evidence) -> str | None:
        """Why nothing can be said of a quantity from propensities."""
        if one.name == ORACLE and case.known:
            return "the oracle knows what those not asked would have answered; only shadows tell"
        if one.name in CANNOT and case.known:
            return CANNOT[one.name]
        if self._escalated > MAX_ESCALATED:
            return (
                f"{self._escalated:.0%} of the requests went on to a better model after the first answer: what that "
                "first answer alone would have been worth is not in the log"
            )
        found = estimators.objection(case)
        if found is not None and found.startswith("unseen") and audit.is_deterministic(self._traffic.requests):
            return f"{found.partition(';')[0]}; {BY_CHANCE}"
        return self._distrust if self._distrust is not None and case.known else found

    def _by_events(self, one: Target, clock: Clock, *, same: bool) -> list[Figure]:
        if same:
            return latency.blank(self._here, "observed") if self._traffic.requests else _nothing()
        reason = latency.objection(self._here)
        reason = CANNOT.get(one.name, reason)
        if reason is None:
            return latency.figures(self._here, one, clock.tick)
        return [replace(figure, refusal=reason) for figure in self._known]

    @cached_property
    def _known(self) -> list[Figure]:
        """What every refused target is told: the log's own figures, and intervals that take a while."""
        return latency.blank(self._here, "events") if self._traffic.requests else _nothing()


def _judged(figure: Figure, case: estimators.Evidence) -> Figure:
    """With what a reader should know of it."""
    said = list(figure.warnings)
    if case.quantity == "quality" and len(case.rewards) < 0.95 * len(case.weighed.weights):
        share = len(case.rewards) / len(case.weighed.weights)
        said.append(f"{share:.0%} of the answers were judged: it is right only if these are like the others")
    if figure.missing:
        said.append(f"{figure.missing} outcomes are not known; the interval covers all they could have been")
    if case.quantity == "price" and (figure.anytime or figure.missing or case.weighed.unseen > 0):
        said.append(DEAREST)
    if case.weighed.unseen > 0:
        said.append(f"{case.weighed.unseen:.2%} of its choices cannot be in the log; the interval covers any outcome")
    return replace(figure, warnings=tuple(said))


def _reconciled(figures: list[Figure]) -> list[Figure]:
    """Errors are those of the log's queues: where the policy's own would be worse, the reader should know."""
    by_name = {figure.quantity: figure for figure in figures}
    errors, late = by_name["errors"], by_name["deadline_misses"]
    if errors.method == "observed" or errors.high is None or late.low is None or late.low <= errors.high:
        return figures
    warning = f"these are the failures in the log's own queues; in this policy's, {late.estimate:.1%} would be late"
    marked = replace(errors, warnings=(*errors.warnings, warning))
    return [marked if figure is errors else figure for figure in figures]


def _nothing() -> list[Figure]:
    return [
        Figure(
            quantity=name, unit="share" if name == "deadline_misses" else "ms", method="events", refusal="no requests"
        )
        for name in latency.QUANTITIES
    ]


def _warnings(traffic: Traffic, *, watched: bool) -> list[str]:
    said = []
    if traffic.held > len(traffic.requests):
        said.append(f"the window holds {traffic.held} decisions; the newest {len(traffic.requests)} are replayed")
    if changed := drifted(traffic):
        said.append(
            f"{', '.join(changed)} changed within the window (more than one version): intervals of price, errors and "
            "quality hold at every moment at once while the window's start stays the same, and are wider"
        )
    elif watched:
        said.append(
            "intervals of price, errors and quality hold at every moment at once while the window's start stays the "
            "same, and are wider"
        )
    if traffic.requests and audit.is_deterministic(traffic.requests):
        said.append(BY_CHANCE)
    if traffic.clustered_by == "request":
        said.append("no sessions are logged: requests are taken as independent of each other")
    return said
