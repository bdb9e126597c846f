"""How many requests a far candidate is given at once: a limit that follows what its latency says of its load.

Gradient2 of Netflix' concurrency-limits (https://github.com/Netflix/concurrency-limits, Gradient2Limit), with each
answer's time divided by what its size lets expect (`router.priors`): a long prompt is no overload. For every answer

    gradient = clamp(TOLERANCE * usual / seen, 0.5, 1)
    limit    = (1 - SMOOTHING) * limit + SMOOTHING * (limit * gradient + sqrt(limit))

`usual` is a slow mean; the square root is what may queue there (the headroom of Envoy's adaptive concurrency filter;
Gradient2 has a constant). Some things differ from Gradient2, which guards a server from its callers, while we are one
of a server's many callers:

* `seen` is the median of the last `RECENT` answers, not one: public far sides have heavy tails without any load.
* It moves once for every `EVERY` of what is under way, not with each answer: an answer says how it was when it began,
  and a limit that is faster than answers are swings.
* A limit grows only while more than half of it is used, as there; but it falls whatever is used, and at once to twice
  the most that was under way lately: what was seen with fifty says nothing of two hundred. With no more than `LEAST`
  under way slowness is not of our making, and the limit stays.
* The more is under way, the less an answer says of what is usual without load: `LEAST` divided by that is its weight,
  and nothing with more than half of the limit under way. Else a long overload would become what is usual.
* So a candidate that became slower for good, whatever is under way there, would be held down for ever. Whoever was
  slow for `HELD` answers more than not is given no more than `LEAST` until `RECENT` of them are answered, and that is
  usual then; where it was load after all, it is twice as long until the next time. (Envoy measures like that every
  minute, whoever is slow.)
* It begins high: a burst at the start is not refused for want of experience.

Answers teach, and waits that were given up where they were longer than an answer usually takes: an impossible deadline
says nothing. Whoever failed otherwise, or was stopped, said nothing of how much it can take.
The near side has no such limit, only its count: its queue is bounded by itself (`local.max_queue`), its wait is
predicted, and it answers many at once in one batch, where being slower with more under way is what makes it fast.

A limit is checked when a request is decided, not when it is sent: a fallback, a retry or a hedge may go over it, and
so may what was decided in the same instant. No clock and no lock: everything happens on the event loop.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from router.priors import Listed, listed_of, prior_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import Usage
    from policies.types import Estimate
    from router.slate import Candidate, Size

LEAST, FIRST, MOST = 4, 1024, 4096
TOLERANCE = 1.5  # an answer that takes half as long again as usual is no sign yet
UNNOTICED_S = 0.25  # on top of every answer: what is quick may take ten times as long before that is anybody's load
SMOOTHING = 0.5
EVERY = 0.25  # of what was under way lately: so many answers between two moves
RECENT = 15  # answers that say how it is now
WARM_UP = 10  # answers before anything is usual
LEARNING = 1 / 100  # weight of one answer in what is usual
HELD, LONGEST_HELD = 300, 4800  # slow answers until what is usual is measured anew
FORGETTING = 0.95  # of what is usual, where an answer took less than half of it: the overload has passed
MAX_CANDIDATES = 10_000


class AdmissionState(NamedTuple):
    """One candidate's limit, for people; None for a near one, which has none."""

    candidate: str
    limit: int | None
    in_flight: int


class Seen(NamedTuple):
    """An attempt's time, the size it turned out to have, and whether it was waited for in vain."""

    total_s: float
    size: Size
    in_vain: bool = False


class Limit(Struct):
    """The limit of one candidate.

    Attributes:
        limit: How many may be under way; between `LEAST` and `MOST`.
        usual: Mean of what was seen, in units of what was expected.
        answers: How many were seen.
        recent: The last of them, each with how many were under way when it began.
        slow: How many more of them were slow than not since what is usual was measured.
        measuring: Whether it is being measured anew.
        held: How many more slow answers than not bring that about.
        since: Answers since the limit was moved.
        listed: What was listed of the candidate when it was first seen: with it `usual` stays right when that changes.
    """

    limit: float = float(FIRST)
    usual: float = 0.0
    answers: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT))
    slow: int = 0
    measuring: bool = False
    held: int = HELD
    since: int = 0
    listed: Listed | None = None

    def observe(self, seen: float, in_flight: int, *, in_vain: bool = False) -> None:
        """Learn from one answer.

        Args:
            seen: How long it took, in units of what its size lets expect.
            in_flight: How many were under way when it began, itself included.
            in_vain: It was given up after that: nobody knows how long it would have taken.
        """
        unusual = self.answers >= WARM_UP and seen > self.usual
        if not 0 < seen < math.inf or (self.measuring and in_flight > LEAST) or (in_vain and not unusual):
            return
        self.answers += 1
        self.recent.append((seen, in_flight))
        if self.answers <= WARM_UP:
            self.usual += (seen - self.usual) / self.answers
        elif self.measuring:
            self._measure()
        else:
            self._follow(seen, in_flight)

    def _follow(self, seen: float, in_flight: int) -> None:
        if in_flight <= max(LEAST, self.limit / 2):
            self.usual += LEARNING * min(1.0, LEAST / in_flight) * (seen - self.usual)
        lately = median([each for each, _ in self.recent])
        if self.usual > 2 * lately:
            self.usual *= FORGETTING
        gradient = max(0.5, min(1.0, TOLERANCE * self.usual / lately))
        self._move(gradient)
        self.slow = max(0, self.slow + (1 if gradient < 1.0 and in_flight > LEAST else -1))
        if self.slow >= self.held:
            self.measuring, self.limit = True, float(LEAST)
            self.recent.clear()

    def _measure(self) -> None:
        if len(self.recent) == RECENT:
            found = fmean(each for each, _ in self.recent)
            self.held = min(2 * self.held, LONGEST_HELD) if found < TOLERANCE * self.usual else HELD
            self.usual, self.measuring, self.slow = found, False, 0

    def _move(self, gradient: float) -> None:
        most = max([count for _, count in self.recent])
        self.since += 1
        if self.since < EVERY * most:
            return
        self.since = 0
        grows = most > self.limit / 2
        if most <= LEAST and not grows:
            return
        base = self.limit if grows else min(self.limit, 2.0 * most)
        moved = (1 - SMOOTHING) * self.limit + SMOOTHING * (base * gradient + math.sqrt(base))
        if grows or (gradient < 1.0 and moved < self.limit):
            self.limit = max(float(LEAST), min(float(MOST), moved))


class Admission:
    """Who has how many requests under way, and who may be given another. State is bounded and lives in memory.

    Attributes:
        limiting: Whether limits bind; what is under way is counted in any case.
    """

    def __init__(self, *, limiting: bool = True) -> None:
        self.limiting = limiting
        self._limits: dict[str, Limit] = {}
        self._in_flight: dict[str, tuple[bool, int]] = {}  # near, how many

    @property
    def near_in_flight(self) -> int:
        """Attempts under way on this machine."""
        return sum(count for near, count in self._in_flight.values() if near)

    def began(self, candidate: Candidate) -> int:
        """An attempt starts; how many of the candidate are under way, this one included."""
        count = self._count(candidate.id) + 1
        self._in_flight[candidate.id] = candidate.near, count
        return count

    def ended(self, candidate: Candidate) -> None:
        """An attempt that began has ended."""
        count = self._count(candidate.id) - 1
        if count > 0:
            self._in_flight[candidate.id] = candidate.near, count
        else:
            self._in_flight.pop(candidate.id, None)

    def observe(self, candidate: Candidate, seen: Seen, in_flight: int) -> None:
        """An attempt ended that had as many under way when it began."""
        if candidate.near:
            return
        if candidate.id not in self._limits:
            if len(self._limits) >= MAX_CANDIDATES:
                self._limits.pop(next(iter(self._limits)))
            self._limits[candidate.id] = Limit(listed=listed_of(candidate))
        limit = self._limits[candidate.id]
        expected_s = sum(prior_parts(candidate, seen.size, limit.listed))
        took = (seen.total_s + UNNOTICED_S) / (expected_s + UNNOTICED_S)
        limit.observe(took, in_flight, in_vain=seen.in_vain)

    def refusal(self, candidate: Candidate) -> str | None:
        """Why the candidate takes no further request now; None when it does."""
        if candidate.near or not self.limiting:
            return None
        allowed, count = self._allowed(candidate.id), self._count(candidate.id)
        if count < allowed:
            return None
        return f"overloaded: {count} requests are under way there, and its latency allows {allowed} now"

    def mark(self, estimates: Sequence[Estimate], candidates: Sequence[Candidate]) -> list[Estimate]:
        """The estimates, each with why its candidate takes no further request where that is so."""
        found = ((e, self.refusal(c)) for e, c in zip(estimates, candidates, strict=True))
        return [e if why is None else e._replace(overloaded=why) for e, why in found]

    def states(self) -> list[AdmissionState]:
        """Everybody who has something under way, or a limit that was learnt."""
        names = sorted({*self._limits, *self._in_flight})
        near = {name for name, (is_near, _) in self._in_flight.items() if is_near}
        return [
            AdmissionState(name, None if name in near else self._allowed(name), self._count(name)) for name in names
        ]

    def _allowed(self, candidate_id: str) -> int:
        known = self._limits.get(candidate_id)
        return FIRST if known is None else int(known.limit)

    def _count(self, candidate_id: str) -> int:
        return self._in_flight.get(candidate_id, (False, 0))[1]


def turned_out(size: Size, usage: Usage) -> Size:
    """The size with what the answer says it was: a long answer is no overload either."""
    return replace(
        size,
        input_tokens=usage.prompt_tokens or size.input_tokens,
        output_tokens=None if size.output_tokens is None else usage.completion_tokens or size.output_tokens,
        audio_s=usage.audio_s or size.audio_s,
    )
