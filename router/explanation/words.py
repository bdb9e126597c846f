"""The sentences of an explanation that more than one part needs. Figures with their units, and no text of a sender."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from policies.base import apart, dollars, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

ROLES = {
    "primary": "was asked first",
    "retry": "was asked again",
    "fallback": "was asked next, after a failure",
    "hedge": "was asked beside the one under way, which was slower than usual",
    "continuation": "went on with the answer where it had broken off",
    "escalation": "was asked because the first answer was not sure enough",
    "shadow": "was run for comparison, and nobody waited for it",
}
SOURCES = {
    "observed": "learnt from earlier answers",
    "calibrated": "calibrated on this machine",
    "warm-up": "from its warm-up",
    "prior": "a prior: nothing was observed yet",
    "reported": "measured by the page itself",
}
FAILURES = {
    "Unavailable": "nobody answers there",
    "Interrupted": "the connection broke before an answer came",
    "Overloaded": "its queue was full",
    "OutOfMemory": "it did not fit the device",
    "ModelNotFound": "it does not know the model",
    "Timeout": "no answer came in time",
    "Impatient": "its time was needed for the next candidate",
    "DeadlineTimeout": "the request's deadline passed",
    "RateLimited": "it asked to wait",
    "Unauthorized": "it does not accept the token",
    "PaymentRequired": "its credits are gone",
    "ContextLengthExceeded": "the input is longer than it can read",
    "ContentRefused": "it refused the content",
    "InvalidInput": "it cannot take this input",
    "RemoteError": "what it sent was no answer",
}
ENDS = {
    "NoCandidate": "nothing was eligible",
    "NotNow": "nobody who may serve it was there",
    "NoCapacity": "whoever may serve it had too much to do",
    "BudgetExceeded": "a budget had nothing left for it",
    "DeadlineExceeded": "the deadline passed",
    "AllAttemptsFailed": "every attempt failed",
    "FellBack": "the page could not do it itself, and asked the server in another request",
    "UnknownModel": "there is no such model",
    "InvalidRequest": "the request was invalid",
}


def ms(value: float) -> str:
    """Milliseconds for people: `48.1 ms`, `2.31 s`."""
    return seconds(value / 1000)


def named(error_class: str | None, words: dict[str, str]) -> str:
    """What an error's class means, with its name: only a name can come out, whatever the log holds."""
    if error_class is None or re.fullmatch(r"[A-Za-z_]\w{0,63}", error_class) is None:
        return "for a reason that is not known"
    meaning = words.get(error_class)
    return error_class if meaning is None else f"{meaning} ({error_class})"


def expected(latency_ms: float | None, p95_ms: float | None, cost_usd: float | None) -> str:
    """What was predicted of a candidate: `expected 48.1 ms (95 % within 90.0 ms), $0.0000003`."""
    latency = "latency unknown" if latency_ms is None else ms(latency_ms)
    tail = "" if p95_ms is None else f" (95 % within {ms(p95_ms)})"
    return f"expected {latency}{tail}, {price(cost_usd)}"


def price(usd: float | None) -> str:
    """An amount, or that nobody knows it."""
    return "cost unknown" if usd is None else dollars(usd)


def less(mine: float | None, other: float | None) -> float | None:
    """How much more one is than the other; None where either is not known."""
    return None if mine is None or other is None else mine - other


def difference(value: float | None, show: Callable[[float], str], more: str, less: str, same: str) -> str:
    """How far something is from something else: `32.0 ms slower`; empty where that is not known."""
    if value is None:
        return ""
    return f"{show(abs(value))} {more if value > 0 else less}" if abs(value) > 1e-12 else same


def against(mine: float, other: float, show: Callable[[float, int], str]) -> str:
    """Two figures with enough digits to tell them apart."""
    return "{} against {}".format(*apart(show, mine, other))


def sentence(text: str) -> str:
    """With a full stop, unless it has one."""
    stripped = text.strip()
    return stripped if not stripped or stripped[-1] in ".!?" else f"{stripped}."


def counted(number: int, thing: str) -> str:
    """`1 candidate`, `3 candidates`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def place(near: bool | None) -> str:  # noqa: FBT001 - a fact of the log, not a switch
    """Where a candidate is."""
    return {True: "near", False: "far", None: "it is not logged where"}[near]
