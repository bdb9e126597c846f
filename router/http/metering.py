"""What requests used, told to those who count: the metrics, and the limits of whoever sent them."""

from router.access.limits import Limiter
from router.http.metrics import Metrics
from router.outcome import Outcome
from router.rows import Refused
from router.slate import BROWSER, Size


class Metering:
    """Counts every end of a request, as the ledger sees them."""

    def __init__(self, metrics: Metrics, limits: Limiter) -> None:
        self._metrics = metrics
        self._limits = limits

    def observe(self, surface: str, outcome: Outcome) -> None:
        """A decided request ended."""
        self._metrics.observe(surface, outcome)
        self._limits.used(outcome.plan.call.request.tenant, tokens_of(outcome))

    def refused(self, refusal: Refused, decision_id: str) -> None:
        """A request was turned away before a decision: it used nothing."""
        self._metrics.refused(refusal, decision_id)


def tokens_of(outcome: Outcome) -> int:
    """Tokens of all answers to a request, those not returned too. Where nobody counted, what was expected.

    An attempt that failed gave nothing; one that was cancelled (its reader went away) may have. What a page did itself
    used nothing of ours.
    """
    estimate = estimated_tokens(outcome.plan.size)
    used = 0
    for attempt in outcome.attempts:
        if attempt.backend == BROWSER:
            continue
        if attempt.result is not None:
            usage = attempt.result.usage
            known = usage.prompt_tokens is not None or usage.completion_tokens is not None
            used += (usage.prompt_tokens or 0) + (usage.completion_tokens or 0) if known else estimate
        elif attempt.status == "cancelled":
            used += estimate
    return used


def estimated_tokens(size: Size) -> int:
    """Tokens that a request of this size will probably use, read and written; none where it has no tokens."""
    return (size.input_tokens or 0) + (size.output_tokens or 0)
