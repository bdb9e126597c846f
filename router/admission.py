"""How many requests a far candidate is given at once: a limit that follows what its latency says of its load.

Gradient2 of Netflix' concurrency-limits (https://github.com/Netflix/concurrency-limits, Gradient2Limit), with each
answer's time divided by what its size lets expect (`router.priors`): a long prompt is no overload. For every answer

    gradient = clamp(TOLERANCE * usual / seen, 0.5, 1)
    limit    = (1 - SMOOTHING) * limit + SMOOTHING * (limit * gradient + sqrt(limit))

`usual` is a slow mean; the square root is what may queue there (the headroom of Envoy's adaptive concurrency filter;
Gradient2 has a constant). Some things differ from Gradient2, which guards a server from its callers, while we are one
of a server's many callers:

* `seen` is the median of the last `RECENT` answers, not one: public far sides have heavy tails without any load.
* A limit grows only while more than half of it is used, as there; but it may fall whatever is used, to no less than
  twice the most that was under way lately: what was seen with fifty says nothing of two hundred. With no more than
  `LEAST` under way slowness is not of our making, and the limit stays.
* `usual` learns nothing from answers begun with more than half of the limit under way: a long overload would become
  what is usual, and the limit creep up with it.
* So a candidate that became slower for good, whatever is under way there, would be held down for ever. Whoever was
  slow for `HELD` answers more than not is given no more than `LEAST` until `RECENT` of them are answered, and that is
  usual then. (Envoy measures like that every minute, whoever is slow.)
* It begins high: a burst at the start is not refused for want of experience.

Answers and time-outs teach; whoever failed otherwise, or was stopped, said nothing of how much it can take.
The near side has no such limit, only its count: its queue is bounded by itself (`local.max_queue`), its wait is
predicted, and it answers many at once in one batch, where being slower with more under way is what makes it fast.

A limit is checked when a request is decided, not when it is sent: a fallback, a retry or a hedge may go over it, and
so may what was decided in the same instant. No clock and no lock: everything happens on the event loop.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace as marked
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from router.priors import prior_service_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import Usage
    from policies.types import Estimate
    from router.slate import Candidate, Size

LEAST, FIRST, MOST = 4, 256, 1024
TOLERANCE = 1.5  # an answer that takes half as long again as usual is no sign yet
SMOOTHING = 0.2
RECENT = 15  # answers that say how it is now
WARM_UP = 10  # answers before anything is usual
LEARNING = 1 / 100  # weight of one answer in what is usual
HELD = 300  # slow answers until what is usual is measured anew
FORGETTING = 0.95  # of what is usual, where an answer took less than half of it: the overload has passed
MAX_CANDIDATES = 10_000


class AdmissionState(NamedTuple):
    """One candidate's limit, for people; None for a near one, which has none."""

    candidate: str
    limit: int | None
    in_flight: int


class Limit(Struct):
    """The limit of one candidate.

    Attributes:
        limit: How many may be under way; between `LEAST` and `MOST`.
        usual: Mean of what was seen, in units of what was expected.
        answers: How many were seen.
        recent: The last of them, each with how many were under way when it began.
        slow: How many more of them were slow than not since what is usual was measured.
        measuring: Whether it is being measured anew.
    """

    limit: float = float(FIRST)
    usual: float = 0.0
    answers: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT))
    slow: int = 0
    measuring: bool = False

    def observe(self, seen: float, in_flight: int) -> None:
        """Learn from one answer.

        Args:
            seen: How long it took, in units of what its size lets expect.
            in_flight: How many were under way when it began, itself included.
        """
        if not 0 < seen < math.inf or (self.measuring and in_flight > LEAST):
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
            self.usual += LEARNING * (seen - self.usual)
        lately = median(each for each, _ in self.recent)
        if self.usual > 2 * lately:
            self.usual *= FORGETTING
        gradient = max(0.5, min(1.0, TOLERANCE * self.usual / lately))
        self._move(gradient, in_flight)
        self.slow = max(0, self.slow + (1 if gradient < 1.0 and in_flight > LEAST else -1))
        if self.slow >= HELD:
            self.measuring, self.limit = True, float(LEAST)
            self.recent.clear()

    def _measure(self) -> None:
        if len(self.recent) == RECENT:
            self.usual = fmean(each for each, _ in self.recent)
            self.measuring, self.slow = False, 0

    def _move(self, gradient: float, in_flight: int) -> None:
        grows = in_flight > self.limit / 2
        most = max(count for _, count in self.recent)
        if most <= LEAST and not grows:
            return
        base = self.limit if grows else min(self.limit, 2.0 * most)
        moved = (1 - SMOOTHING) * self.limit + SMOOTHING * (base * gradient + math.sqrt(base))
        if grows or (gradient < 1.0 and moved < self.limit):
            self.limit = max(float(LEAST), min(float(MOST), moved))


class Admission:
    """Who has how many requests under way, and who may be given another. State is bounded and lives in memory.

    Args:
        limiting: Whether limits bind; what is under way is counted in any case.
    """

    def __init__(self, *, limiting: bool = True) -> None:
        self._limiting = limiting
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

    def observe(self, candidate: Candidate, size: Size, total_s: float, in_flight: int) -> None:
        """An attempt was answered, or waited for in vain as long as that; `size` is what it turned out to be."""
        if candidate.near:
            return
        if candidate.id not in self._limits and len(self._limits) >= MAX_CANDIDATES:
            self._limits.pop(next(iter(self._limits)))
        limit = self._limits.setdefault(candidate.id, Limit())
        limit.observe(total_s / prior_service_s(candidate, size), in_flight)

    def refusal(self, candidate: Candidate) -> str | None:
        """Why the candidate takes no further request now; None when it does."""
        if candidate.near or not self._limiting:
            return None
        allowed, count = self._allowed(candidate.id), self._count(candidate.id)
        if count < allowed:
            return None
        return f"overloaded: {count} requests are under way there, and its latency allows {allowed} now"

    def mark(self, estimates: Sequence[Estimate], candidates: Sequence[Candidate]) -> list[Estimate]:
        """The estimates, each with why its candidate takes no further request where that is so."""
        found = ((e, self.refusal(c)) for e, c in zip(estimates, candidates, strict=True))
        return [e if why is None else marked(e, overloaded=why) for e, why in found]

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
