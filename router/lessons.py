"""What is learnt from attempts: estimates, patience, and whom to leave alone. Knows no request and starts nothing."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from backends import errors
from backends.errors import BackendError, Overloaded, PaymentRequired, Timeout, Unauthorized
from router.admission import Admission, Seen, turned_out
from router.estimates import Asked
from router.prediction.timed import whole_s

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from policies.types import Estimate
    from router.availability import Breakers
    from router.decision_log.record import ShadowRow
    from router.estimates import Estimator
    from router.judgement import Judgement
    from router.outcome import Attempt
    from router.patience import Patience
    from router.section_of_routing import RoutingSettings
    from router.slate import Candidate, Plan, Size
    from router.token_health import TokenHealth


class Impatient(Timeout):
    """We took back the time that the next candidate needs: it says nothing of this one."""


class DeadlineTimeout(Impatient):
    """The request's own deadline ended the attempt; there is no time left to try elsewhere."""

    elsewhere: ClassVar[bool] = False


class Start(NamedTuple):
    """What was so when an attempt began: which breakers it is the probe of, and which key of its account it uses.

    `in_flight` is how many of its candidate were under way then, itself included.
    """

    probes: frozenset[str]
    key: int
    in_flight: int = 1


class Lessons:
    """Tells everybody who learns of each attempt's beginning and end.

    A candidate has a breaker of its own, and shares one with all whose account is the same: where credits are gone or a
    token is not accepted, that is so for all of them.
    """

    def __init__(
        self,
        estimator: Estimator,
        breakers: Breakers,
        patience: Patience,
        token: TokenHealth,
        judgement: Judgement,
        admission: Admission | None = None,
    ) -> None:
        self.judgement = judgement
        self.estimator = estimator
        self.admission = admission or Admission()
        self.breakers = breakers
        self.patience = patience
        self.token = token
        self._keys: Counter[str] = Counter()  # how often each account had another one

    def become(self, settings: RoutingSettings) -> None:
        """Go by these settings from now on; all that was learnt stays."""
        self.admission.limiting = settings.admission
        self.judgement.become(settings.cascade)

    def estimates(self, size: Size, candidates: Sequence[Candidate], intent: str | None = None) -> list[Estimate]:
        """What is expected of each, in order, and who must be left alone or has as much to do as it can take."""
        return self.admission.mark(self.estimator.estimate(size, candidates, self.refusal, intent), candidates)

    def refusal(self, candidate: Candidate) -> str | None:
        """Why the candidate must not be asked now; None when it may."""
        now = time.monotonic()
        for key in _keys(candidate):
            reason = self.breakers.refusal(key, now)
            if reason is not None:
                return reason
        return None

    def back_in_s(self, candidate: Candidate) -> float | None:
        """When a candidate that is unavailable may be asked again; None where that does not come by itself."""
        if candidate.status.unavailable is not None or self.trusted(candidate):
            return candidate.status.back_in_s
        now = time.monotonic()
        return max(self.breakers.back_in_s(key, now) for key in _keys(candidate))

    def trusted(self, candidate: Candidate) -> bool:
        """Whether an attempt at the candidate would be no probe of it: then nothing for everybody hangs on it."""
        return all(map(self.breakers.closed, _keys(candidate)))

    def account_refusal(self, candidate: Candidate) -> str | None:
        """Why nobody of the candidate's account must be asked now; None when its own breaker alone may be open."""
        return self.breakers.refusal(candidate.account, time.monotonic()) if candidate.account else None

    def begin(self, candidate: Candidate, *, teaches: bool = True) -> Start:
        """An attempt starts. One that teaches nothing is no breaker's probe either; it is under way all the same."""
        probes = frozenset(key for key in _keys(candidate) if self.breakers.begin(key)) if teaches else frozenset()
        return Start(probes, self._keys[candidate.account], self.admission.began(candidate))

    def heard(self, start: Start) -> None:
        """An attempt began to answer: behind a probe the next request may follow before its end, a minute away."""
        for key in start.probes:
            self.breakers.abandoned(key, probe=True)

    def outrun(self, plan: Plan, candidate: Candidate, waited_s: float) -> None:
        """A hedge was faster: the candidate would have taken longer than this, which its percentiles must know."""
        self.patience.observe(candidate, plan.size, waited_s)

    def learn(self, plan: Plan, candidate: Candidate, attempt: Attempt, start: Start) -> None:
        """Learn from how an attempt ended; `ended` must follow, whatever comes of this."""
        self._judged(candidate, attempt, start)  # first: who may be asked must not hang on any arithmetic
        self._load(plan, candidate, attempt, start.in_flight)
        self._first_byte(plan, candidate, attempt)
        asked = _asked(plan, candidate, attempt)
        if attempt.result is not None:
            result = attempt.result
            self.estimator.observe(candidate, plan.size, result.usage, result.timings, attempt.candidates_s, asked)
        elif attempt.status == "cancelled" or isinstance(attempt.error, Timeout):
            silent = plan.call.request.stream and attempt.first_token_s is None
            self.estimator.outlasted(candidate, plan.size, attempt.candidates_s, asked, silent=silent)

    def ended(self, candidate: Candidate, start: Start) -> None:
        """An attempt is no longer under way, and probes nothing any more; also where nothing was learnt from it."""
        self.admission.ended(candidate)
        for key in start.probes:
            self.breakers.abandoned(key, probe=True)

    def _judged(self, candidate: Candidate, attempt: Attempt, start: Start) -> None:
        """Whom to leave alone. What the account said to a key no longer in use says nothing of the present one."""
        outdated = start.key != self._keys[candidate.account]
        if not outdated and attempt.status != "cancelled" and self.token.concerns(candidate.target.provider):
            self.token.observe(attempt.error)
        if attempt.result is not None:
            for key in _keys(candidate)[: 1 if outdated else None]:
                self.breakers.succeeded(key)
            return
        for key in _keys(candidate):
            if outdated and isinstance(attempt.error, PaymentRequired | Unauthorized):
                self.breakers.abandoned(key, probe=key in start.probes)
            else:
                self._blame(key, candidate, attempt, probe=key in start.probes)

    def compared(self, plan: Plan, row: ShadowRow, confidence: float | None) -> None:
        """A near answer of this confidence was compared with the far one that was given."""
        self.judgement.compared(plan, (row.candidate_id, row.reference), row.agreement, confidence)

    def rekeyed(self, candidates: Sequence[Candidate], providers: Container[str]) -> None:
        """Other keys are used at these providers: what was refused with the old ones says nothing any more."""
        accounts = {c.account for c in candidates if c.account and c.target.provider in providers}
        self._keys.update(accounts)
        for candidate in candidates:
            if candidate.account in accounts:
                for key in _keys(candidate):
                    self.breakers.succeeded(key)

    def remember(self, candidate: Candidate, error_class: str | None, ended: float) -> None:
        """Take in how an attempt of an earlier process ended, and when: who was left alone then is left alone still.

        Whose pause has passed meanwhile is probed with one request first.
        """
        kind = getattr(errors, error_class or "", None)
        if error_class is None:
            for key in _keys(candidate):
                self.breakers.succeeded(key)
        elif isinstance(kind, type) and issubclass(kind, BackendError):
            for key in _keys(candidate):
                if key == candidate.id or kind is PaymentRequired:
                    self.breakers.failed(key, kind(f"before the restart: {error_class}"), ended)

    def _blame(self, key: str, candidate: Candidate, attempt: Attempt, *, probe: bool) -> None:
        error = attempt.error
        # Cancelled, too impatient, a full queue or pool of our own, one server of several: nothing that speaks against
        # the candidate.
        ours = isinstance(error, Overloaded) and error.http_status is None
        innocent = error is None or isinstance(error, Impatient) or ours or error.replaceable
        if error is None or innocent or (key == candidate.account and not _of_account(error)):
            self.breakers.abandoned(key, probe=probe)
        else:
            self.breakers.failed(key, error, time.monotonic(), probe=probe)

    def _load(self, plan: Plan, candidate: Candidate, attempt: Attempt, in_flight: int) -> None:
        """What the attempt says of how much the candidate can take: nothing, unless it answered or was waited for."""
        if attempt.result is not None:
            size = turned_out(plan.size, attempt.result.usage)
            seconds = whole_s(attempt.result.timings, attempt.candidates_s)
            self.admission.observe(candidate, Seen(seconds, size), in_flight)
        elif isinstance(attempt.error, Timeout):
            self.admission.observe(candidate, Seen(attempt.candidates_s, plan.size, in_vain=True), in_flight)

    def _first_byte(self, plan: Plan, candidate: Candidate, attempt: Attempt) -> None:
        """Of a stream its first piece; of what comes at once the whole; and a silence that was long enough."""
        if attempt.first_token_s is not None:
            self.patience.observe(candidate, plan.size, attempt.first_token_s)
            return
        at_once = plan.call.request.stream or not plan.generates
        if at_once and (_silent(attempt) or (attempt.result is not None and not plan.generates)):
            self.patience.observe(candidate, plan.size, attempt.total_s)


def _asked(plan: Plan, candidate: Candidate, attempt: Attempt) -> Asked:
    """What was predicted of it: when a second try begins, a near queue is another one than was foreseen."""
    then = attempt.role == "primary" or not candidate.near
    return Asked(
        intent=None if plan.intent is None else plan.intent.label,
        predicted=plan.estimate(candidate.id) if then else None,
    )


def _silent(attempt: Attempt) -> bool:
    """Whether it was waited for as long as anybody waits; our own haste says nothing."""
    return isinstance(attempt.error, Timeout) and not isinstance(attempt.error, Impatient)


def _keys(candidate: Candidate) -> tuple[str, ...]:
    return (candidate.id, candidate.account) if candidate.account else (candidate.id,)


def _of_account(error: Exception) -> bool:
    """Whether it would be the same for every candidate of the account: 403 may be about this model alone."""
    return isinstance(error, PaymentRequired) or (isinstance(error, Unauthorized) and error.http_status == 401)
