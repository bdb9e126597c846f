"""Whom to try next, after what has happened so far: the rules of an attempt chain. No I/O, no clock, no dice.

* Repeated at the same place, once: a connection that broke before headers, and 5xx; what asks to wait (429, 503) or
  cannot be reached only where nobody else is left, after its Retry-After. Never: what was silent, and every other 4xx.
* At another server of the same candidate, at once and as often as there is one: what failed at one of them only.
* Elsewhere, in the order of the ranking: after any failure that another candidate may be spared. A context that was too
  short goes to a longer one only. A refusal of the content goes nowhere. Whoever needs more time than is left is passed
  over while somebody does not; where all do, the quickest is asked.
* Where all others failed, one whose breaker is open is asked all the same: it may have recovered meanwhile.
* The last attempt goes near where that can serve: an outage of all far ones must not use up the chain before it.
* What a fallback refuses for reasons of its own does not end the chain, and never hides the first failure.
* Beside a near answer that may be wrong (`cascade`), only who is far and may know better, each once.
* One budget for the whole chain: whoever would exceed `max_cost_usd` together with what was spent is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from backends.errors import (
    ContentRefused,
    ContextLengthExceeded,
    Interrupted,
    InvalidInput,
    Overloaded,
    RateLimited,
    RemoteError,
    Unavailable,
)
from backends.types import GenerationInput, Task
from router.outcome import Role
from router.slate import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.errors import BackendError
    from router.outcome import Attempt
    from router.slate import Plan

LEAST_BACKOFF_S, MOST_BACKOFF_S = 0.1, 0.5
_ASKS_TO_WAIT = (RateLimited, Overloaded)


class Step(Struct, frozen=True):
    """The next attempt: whom to ask, as what, and how long to wait before; `as_told`: because the place said so."""

    candidate: Candidate
    role: Role
    wait_s: float = 0.0
    as_told: bool = False


class Course:
    """One chain of attempts. Told of every failure, it names the next step."""

    def __init__(
        self,
        plan: Plan,
        most: int,
        refusal: Callable[[Candidate], str | None],
        account_refusal: Callable[[Candidate], str | None],
    ) -> None:
        """Begin at the decision.

        Args:
            plan: The ranking, and what the request allows.
            most: Bounds the attempts.
            refusal: Why a candidate must not be tried now: its breaker, or its account's, is open.
            account_refusal: The same of its account alone.
        """
        self._plan = plan
        self._refusal = refusal
        self._account_refusal = account_refusal
        self._most = most
        self._left = _order(plan)
        self._tried: list[tuple[Candidate, BackendError]] = []
        self._repeated: set[str] = set()
        self._spent_usd = 0.0
        self._begun = 0
        self.continuing = False  # something was said already: only who can go on from there may follow

    def left(self) -> list[Candidate]:
        """Whom the chain would still go to."""
        return [candidate for candidate in self._left if self._may(candidate)]

    def next(self, left_s: float, draw: float) -> Step | None:
        """The next step, begun; None where the chain ends. `left_s` to the deadline; `draw` (0..1) spreads waits."""
        if self._begun >= self._most or left_s <= 0 or (self._tried and self._is_over()):
            return None
        step = self._first() or self._repeat(left_s, draw) or self._elsewhere(left_s) or self._return(left_s, draw)
        self._begun += step is not None
        return step

    def beside(self, under_way: Candidate) -> list[Candidate]:
        """Who could be asked as well while this one is: both must be paid for within the request's limit."""
        if self._begun >= self._most:
            return []
        return [candidate for candidate in self.left() if self._affordable(candidate, under_way)]

    def hedge(self, candidate: Candidate) -> Step:
        """A second attempt beside the one under way, begun."""
        self._left.remove(candidate)
        self._begun += 1
        return Step(candidate, "hedge")

    def answered(self, candidate: Candidate, attempt: Attempt) -> None:
        """An attempt answered, and another answer is wanted all the same: what it cost is spent."""
        self._charge(candidate, attempt)

    def escalate(self, wanted: Callable[[Candidate], bool]) -> Step | None:
        """Who is asked beside an answer that may be wrong, begun; None where nobody is left who is wanted."""
        if self._begun >= self._most or (self._tried and isinstance(self._tried[-1][1], ContentRefused)):
            return None
        found = next((candidate for candidate in self.left() if wanted(candidate)), None)
        if found is None:
            return None
        self._left.remove(found)
        self._begun += 1
        return Step(found, "escalation")

    def passed_over(self) -> None:
        """The step just given was not taken: nobody was asked."""
        self._begun -= 1

    def failed(self, candidate: Candidate, attempt: Attempt) -> None:
        """An attempt ended without an answer."""
        self._charge(candidate, attempt)
        if attempt.error is not None:
            self._tried.append((candidate, attempt.error))

    def _charge(self, candidate: Candidate, attempt: Attempt) -> None:
        expected_usd = self._plan.estimate(candidate.id).cost_usd
        self._spent_usd += (expected_usd if attempt.cost.usd is None else attempt.cost.usd) or 0.0

    def _is_over(self) -> bool:
        """True where the last failure ends the chain."""
        candidate, error = self._tried[-1]
        if error.elsewhere or isinstance(error, ContextLengthExceeded):
            return False
        is_fallback = candidate.id != self._tried[0][0].id
        if isinstance(error, ContentRefused):
            return not (is_fallback and self.continuing)
        return not (is_fallback and isinstance(error, InvalidInput))

    def _first(self) -> Step | None:
        """The decision's choice, as it was made an instant ago."""
        if self._tried or not self._left:
            return None
        return Step(self._left.pop(0), "primary")

    def _repeat(self, left_s: float, draw: float) -> Step | None:
        """The same place again, where that is safe and likely to help."""
        if not self._tried:
            return None
        candidate, error = self._tried[-1]
        if error.replaceable:
            return self._replaced(candidate)
        if self.continuing or not (isinstance(error, Interrupted) or _server_failed(error)):
            return None
        if error.retry_after_s is not None and self.left():
            return None
        return self._again(candidate, error, left_s, draw)

    def _replaced(self, candidate: Candidate) -> Step | None:
        """The same candidate at another of its servers. The last attempt is left to whoever is near."""
        last = self._begun == self._most - 1 and any(each.near for each in self.left())
        if last or not self._affordable(candidate) or self._refusal(candidate) is not None:
            return None
        if self.continuing and not _can_continue(self._plan, candidate):
            return None
        return Step(candidate, "continuation" if self.continuing else "retry")

    def _elsewhere(self, left_s: float) -> Step | None:
        """The next that may, and can be in time; with the last attempt that is allowed, one that is near, if any is."""
        may = self.left() or self._last_resort()
        near = [candidate for candidate in may if candidate.near]
        among = near if near and self._begun == self._most - 1 else may
        if not among:
            return None
        found = next((each for each in among if self._expected_s(each) <= left_s), min(among, key=self._expected_s))
        self._left.remove(found)
        return Step(found, "continuation" if self.continuing else "fallback")

    def _expected_s(self, candidate: Candidate) -> float:
        return self._plan.estimate(candidate.id).latency_s

    def _last_resort(self) -> list[Candidate]:
        """Nobody else is left: whoever was left alone for failing may have recovered, and no answer is worse."""
        return [each for each in self._left if self._account_refusal(each) is None and self._suits(each)]

    def _return(self, left_s: float, draw: float) -> Step | None:
        """Nobody is left: back to who asked to wait, or could not be reached, if there is time for it."""
        if self.continuing:
            return None
        steps = [
            self._again(candidate, error, left_s, draw, begin=False)
            for candidate, error in self._tried
            if _may_come_back(candidate, error)
        ]
        soonest = min((step for step in steps if step is not None), key=lambda step: step.wait_s, default=None)
        if soonest is not None:
            self._repeated.add(soonest.candidate.id)
        return soonest

    def _again(
        self, candidate: Candidate, error: BackendError, left_s: float, draw: float, *, begin: bool = True
    ) -> Step | None:
        backoff_s = LEAST_BACKOFF_S + draw * (MOST_BACKOFF_S - LEAST_BACKOFF_S)
        wait_s = (error.retry_after_s or 0.0) + backoff_s
        # What it asks to wait is waited; whether its breaker lets anybody through is seen after that.
        refused = error.retry_after_s is None and self._refusal(candidate) is not None
        if candidate.id in self._repeated or wait_s >= left_s or refused or not self._affordable(candidate):
            return None
        if begin:
            self._repeated.add(candidate.id)
        return Step(candidate, "retry", wait_s, as_told=error.retry_after_s is not None)

    def _may(self, candidate: Candidate) -> bool:
        return self._refusal(candidate) is None and self._suits(candidate)

    def _suits(self, candidate: Candidate) -> bool:
        """Whether it could serve what is left of the request."""
        return (
            self._affordable(candidate)
            and (not self.continuing or _can_continue(self._plan, candidate))
            and self._reads_more(candidate)
        )

    def _affordable(self, candidate: Candidate, *others: Candidate) -> bool:
        """Whether asking it, and others that are being asked, keeps to what the request may cost in all."""
        limit_usd = self._plan.call.routing.max_cost_usd
        if limit_usd is None or not (self._spent_usd or others):
            return True
        expected = (self._plan.estimate(each.id).cost_usd or 0.0 for each in (candidate, *others))
        return self._spent_usd + sum(expected) <= limit_usd

    def _reads_more(self, candidate: Candidate) -> bool:
        """After a context that was too short: whether this one is known to be longer than it, or than what is asked."""
        short = [tried for tried, error in self._tried if isinstance(error, ContextLengthExceeded)]
        if not short:
            return True
        if candidate.context_length is None:
            return False
        size = self._plan.size
        asked = (size.input_tokens or 0) + (size.output_tokens or 0)
        return all(candidate.context_length > (tried.context_length or asked) for tried in short)


def _server_failed(error: BackendError) -> bool:
    return isinstance(error, RemoteError) and 500 <= (error.http_status or 0) < 600


def _may_come_back(candidate: Candidate, error: BackendError) -> bool:
    """Whether it said when to come back, or could not be reached."""
    asks = error.http_status is not None and (isinstance(error, _ASKS_TO_WAIT) or _server_failed(error))
    return asks or (isinstance(error, Unavailable) and candidate.target.backend in {"remote", "ray"})


def _order(plan: Plan) -> list[Candidate]:
    """The ranking, cut where another vector space would begin; the first alone where no fallbacks are allowed."""
    ranked = plan.ranked()
    if plan.call.request.task is Task.FEATURE_EXTRACTION:
        ranked = [candidate for candidate in ranked if candidate.vector_space == ranked[0].vector_space]
    return ranked if plan.call.routing.allow_fallbacks else ranked[:1]


def _can_continue(plan: Plan, candidate: Candidate) -> bool:
    """A text without a chat around it anybody can go on with; a message only who says so."""
    payload = plan.call.request.payload
    if candidate.cached or not isinstance(payload, GenerationInput):
        return False
    return payload.prompt is not None or candidate.continues
