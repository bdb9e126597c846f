"""A circuit breaker for each candidate: after repeated failures it is left alone for a while, then probed once.

Event-driven and without a clock of its own: `now` (monotonic seconds) is passed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from backends.errors import (
    ContentRefused,
    ContextLengthExceeded,
    InvalidInput,
    Overloaded,
    PaymentRequired,
    RateLimited,
    Unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.errors import BackendError

THRESHOLD = 3  # consecutive failures that open a breaker
HALF = 0.5  # share of attempts, weighed by how recent they are, that must have failed besides
FORGETTING = 0.15  # weight of the last attempt in that share: five failures in a row are half of what was all good
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0
MAX_BREAKERS = 10_000

BreakerState = Literal["closed", "half-open", "open"]  # half-open: a probe decides, which is under way or due

_SENDERS_FAULT = (ContentRefused, ContextLengthExceeded, InvalidInput)
_NEEDS_AN_OPERATOR = (Unauthorized, PaymentRequired)
_ASKS_TO_WAIT = (RateLimited, Overloaded)


def _opens_at_once(error: BackendError) -> bool:
    return isinstance(error, _NEEDS_AN_OPERATOR) or (isinstance(error, _ASKS_TO_WAIT) and bool(error.retry_after_s))


class _Breaker(Struct):
    failures: int = 0
    pause_s: float = 0.0
    open_until: float = 0.0
    probing: bool = False
    why: str = ""


class Breakers:
    """The breakers of all candidates. A candidate without failures has none.

    Attributes:
        tell: Told when one opens, for how many seconds and why; and when one closes, with None for the seconds.
    """

    def __init__(self) -> None:
        self._breakers: dict[str, _Breaker] = {}
        self._failing: dict[str, tuple[float, int]] = {}  # share of attempts that failed, and how many there were
        self.tell: Callable[[str, float | None, str], None] | None = None

    def refusal(self, candidate_id: str, now: float) -> str | None:
        """Why the candidate must not be tried now; None when it may. Changes nothing."""
        breaker = self._breakers.get(candidate_id)
        if breaker is None or breaker.pause_s == 0.0:
            return None
        if breaker.probing:
            return f"circuit breaker open after {breaker.why}; one probe is under way"
        if now < breaker.open_until:
            return f"circuit breaker open after {breaker.why}; probed again in {breaker.open_until - now:.0f} s"
        return None

    def back_in_s(self, candidate_id: str, now: float) -> float:
        """Seconds until it may be probed, if nobody does; 0 where it may be asked, or a probe is under way."""
        breaker = self._breakers.get(candidate_id)
        return 0.0 if breaker is None else max(0.0, breaker.open_until - now)

    def closed(self, candidate_id: str) -> bool:
        """Whether nothing is known against the candidate: an attempt that begins now is no probe."""
        breaker = self._breakers.get(candidate_id)
        return breaker is None or breaker.pause_s == 0.0

    def begin(self, candidate_id: str) -> bool:
        """An attempt starts. True makes it the probe: behind an open breaker, it decides for everybody."""
        breaker = self._breakers.get(candidate_id)
        if breaker is None or breaker.pause_s == 0.0 or breaker.probing:
            return False
        breaker.probing = True
        return True

    def succeeded(self, candidate_id: str) -> None:
        """An attempt was answered: the breaker closes."""
        breaker = self._breakers.pop(candidate_id, None)
        self._weigh(candidate_id, 0.0)
        if self.tell is not None and breaker is not None and breaker.pause_s > 0.0:
            self.tell(candidate_id, None, "")

    def abandoned(self, candidate_id: str, *, probe: bool = False) -> None:
        """An attempt ended without teaching anything (cancelled, say); after a probe the next request may probe."""
        breaker = self._breakers.get(candidate_id)
        if breaker is not None and probe:
            breaker.probing = False

    def failed(self, candidate_id: str, error: BackendError, now: float, *, probe: bool = False) -> None:
        """An attempt failed. What is the request's own fault does not count against the candidate.

        Behind an open breaker only the probe counts: requests begun before it opened fail for the same reason.
        """
        if isinstance(error, _SENDERS_FAULT):
            self.abandoned(candidate_id, probe=probe)
            return
        breaker = self._of(candidate_id)
        if breaker.pause_s > 0.0 and not probe:
            return
        breaker.failures += 1
        breaker.probing = False
        often = self._weigh(candidate_id, 1.0) >= HALF
        broken = probe or (often and breaker.failures >= THRESHOLD)
        if not (broken or _opens_at_once(error)):
            return
        breaker.pause_s = min(max(breaker.pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        # Whoever says when to come back, and has not failed often, is believed: it is asked again then, and not later.
        pause_s = 0.0 if error.retry_after_s and not broken else breaker.pause_s
        breaker.open_until = now + max(pause_s, error.retry_after_s or 0.0)
        breaker.why = f"{breaker.failures} failure{'s' * (breaker.failures > 1)} ({type(error).__name__})"
        if self.tell is not None:
            self.tell(candidate_id, breaker.open_until - now, breaker.why)

    def heard(self, candidate_id: str, open_s: float | None, why: str, now: float) -> None:
        """Another router's breaker opened for so many seconds, or closed (None): ours does so, too. Tells nobody."""
        if open_s is None:
            self._breakers.pop(candidate_id, None)
            return
        breaker = self._of(candidate_id)
        breaker.pause_s = max(breaker.pause_s, FIRST_PAUSE_S)
        breaker.open_until = max(breaker.open_until, now + open_s)
        breaker.why = why

    def _of(self, candidate_id: str) -> _Breaker:
        if candidate_id not in self._breakers and len(self._breakers) >= MAX_BREAKERS:
            self._breakers.pop(next(iter(self._breakers)))
        return self._breakers.setdefault(candidate_id, _Breaker())

    def _weigh(self, candidate_id: str, failed: float) -> float:
        """Take the last attempt into the share of those that failed; the share.

        Failures come back sooner than answers, so of a candidate that fails one time in five three in a row are common
        among many callers, and mean nothing.
        """
        if candidate_id not in self._failing and len(self._failing) >= MAX_BREAKERS:
            self._failing.pop(next(iter(self._failing)))
        before, seen = self._failing.get(candidate_id, (0.0, 0))
        share = before + max(FORGETTING, 1 / (seen + 1)) * (failed - before)  # the plain mean of the first few
        self._failing[candidate_id] = share, seen + 1
        return share

    def states(self, now: float) -> dict[str, BreakerState]:
        """Every breaker there is: of what failed since it last answered."""
        return {key: self._state(breaker, now) for key, breaker in self._breakers.items()}

    @staticmethod
    def _state(breaker: _Breaker, now: float) -> BreakerState:
        if breaker.pause_s == 0.0:
            return "closed"
        return "open" if now < breaker.open_until and not breaker.probing else "half-open"

    def open(self, now: float) -> dict[str, str]:
        """Every candidate that must not be tried now, with the reason."""
        return {key: why for key in self._breakers if (why := self.refusal(key, now)) is not None}
