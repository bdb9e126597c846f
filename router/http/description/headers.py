"""The headers of answers, by name, with what each of them says."""

from typing import Any

_MS = "A decimal number of milliseconds."

HEADERS: dict[str, str] = {
    "x-request-id": "The sender's own `x-request-id`, or one made here.",
    "x-nearfar-decision-id": "UUIDv7 of the decision: `GET /v1/decisions/{decision_id}`.",
    "x-nearfar-backend": "Who answered: `local`, `remote` or `fake`.",
    "x-nearfar-provider": "Whose machine answered: `local`, or a far side's name.",
    "x-nearfar-model": "The model that answered, as whoever served it names it.",
    "x-nearfar-policy": "Which policy decided.",
    "x-nearfar-reason": "Why the candidate came first, in a sentence; of a buffered answer also why another answered.",
    "x-nearfar-attempts": "How many attempts were made.",
    "x-nearfar-cost-usd": "What all attempts cost in US dollars, or `unknown`.",
    "x-nearfar-cost-source": "`measured`, `declared`, `priced`, `estimated` or `unknown`.",
    "x-nearfar-queue-ms": f"Waited for a turn. {_MS}",
    "x-nearfar-inference-ms": f"Of inference itself. {_MS}",
    "x-nearfar-overhead-ms": f"In which no attempt was under way. {_MS}",
    "x-nearfar-seed": "The seed that the picture was drawn with.",
    "etag": "The snapshot of the catalogue in force, in quotes: a change may send it back as `If-Match`.",
    "retry-after": "Whole seconds after which it is worth to ask again.",
}
INFERENCE = tuple(name for name in HEADERS if name.startswith("x-") and name != "x-nearfar-seed")


def component(name: str) -> dict[str, Any]:
    """The header as OpenAPI describes it. None of them is on every answer."""
    return {"description": HEADERS[name], "required": False, "schema": {"type": "string"}}
