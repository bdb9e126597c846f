"""The `x-nearfar-*` headers: one outcome, told to the client in headers."""

from typing import Any

from router.outcome import Begun, Outcome
from router.slate import Plan


def of_outcome(outcome: Outcome, request_id: str) -> dict[str, str]:
    """Headers of a buffered answer. What is not known is left out, an unknown cost says `unknown`."""
    winner = outcome.winner
    headers = _common(outcome.plan, request_id) | {"x-nearfar-reason": _ascii(outcome.reason)}
    headers["x-nearfar-attempts"] = str(len(outcome.attempts))
    headers["x-nearfar-cost-usd"] = cost(outcome.cost.usd)
    headers["x-nearfar-cost-source"] = outcome.cost.source
    headers["x-nearfar-overhead-ms"] = f"{outcome.overhead_s * 1000:.3f}"
    if winner is not None:
        headers |= {
            "x-nearfar-backend": winner.backend,
            "x-nearfar-provider": _ascii(winner.provider),
            "x-nearfar-model": _ascii(winner.model),
        }
    if outcome.result is not None:
        timings = outcome.result.timings
        if timings.queue_s is not None:
            headers["x-nearfar-queue-ms"] = f"{timings.queue_s * 1000:.3f}"
        if timings.service_s is not None:
            headers["x-nearfar-inference-ms"] = f"{timings.service_s * 1000:.3f}"
    return headers


def cost(usd: float | None) -> str:
    """An amount of US dollars, as `x-nearfar-cost-usd` tells it."""
    return "unknown" if usd is None else f"{usd:.10f}"


def trailer(outcome: Outcome) -> dict[str, Any]:
    """What the headers of a stream could not know yet, for its last event."""
    winner = outcome.winner
    return {
        "decision_id": outcome.decision_id,
        "attempts": len(outcome.attempts),
        "backend": None if winner is None else winner.backend,
        "provider": None if winner is None else winner.provider,
        "model": None if winner is None else winner.model,
        "cost_usd": outcome.cost.usd,
        "cost_source": outcome.cost.source,
        "latency_ms": outcome.latency_s * 1000,
        "reason": outcome.reason,
        "splices": [{"from_char": a.from_char, "candidate": a.candidate_id} for a in outcome.splices],
    }


def of_stream(begun: Begun, request_id: str) -> dict[str, str]:
    """Headers of a stream: what is known at its first piece. The rest is in its last event and in the log."""
    headers = _common(begun.plan, request_id)
    headers |= {
        "x-nearfar-attempts": str(begun.attempts),
        "x-nearfar-backend": begun.backend,
        "x-nearfar-provider": _ascii(begun.provider),
        "x-nearfar-model": _ascii(begun.model),
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
    }
    return headers


def _common(plan: Plan, request_id: str) -> dict[str, str]:
    return {
        "x-request-id": _ascii(request_id),
        "x-nearfar-decision-id": plan.decision_id,
        "x-nearfar-policy": _ascii(plan.decision.policy),
        "x-nearfar-reason": _ascii(plan.decision.reason),
    }


def _ascii(text: str) -> str:
    """Header values are one line of ASCII."""
    if text.isascii() and text.isprintable():
        return text
    return " ".join(text.split()).encode("ascii", "replace").decode()
