"""The shapes in which errors are told, and which statuses an operation may answer with."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from router.http.description.operation import JSON, Described, Told

MEANINGS = {
    400: "The request is wrong; `param` names the field.",
    401: "Nobody knows the sender.",
    402: "The credits or the budget are used up, and nobody may serve it for less.",
    403: "The sender is known and may not do this.",
    404: "There is no such thing; a model's near names are given.",
    408: "The body did not arrive in time.",
    409: "It contradicts what is there.",
    413: "The body, or a list in it, is too large.",
    415: "The body is of a kind that is not taken here.",
    422: "No candidate may ever serve the request as it is; `candidates` says why of each.",
    429: "Too many requests, here or at the far side.",
    502: "Every attempt failed; `attempts` says how.",
    503: "Nobody who may serve it has room or is there now, or what it needs is not ready.",
    504: "The deadline passed before an answer.",
}
INFERENCE = (402, 404, 422, 429, 502, 503, 504)
WAITING = frozenset({429, 503})


class Refused(Told):
    """A candidate that may not serve."""

    candidate_id: str
    code: str
    reason: str


class Failed(Told):
    """An attempt that failed."""

    candidate_id: str
    error: str
    message: str


class Problem(Told):
    """What went wrong, in OpenAI's words; `decision_id` names the rows of the log, where there are any."""

    message: str
    type: str
    param: str | None
    code: str | None
    decision_id: str | None
    candidates: list[Refused] | UnsetType = UNSET
    attempts: list[Failed] | UnsetType = UNSET


class Error(Told):
    """The error of OpenAI's and most of our own routes."""

    error: Problem


class NativeError(Told):
    """The error of the native routes of inference."""

    success: Literal[False]
    error: Problem


class HubError(Told):
    """The error of the hub's routes. `estimated_time` in seconds, where waiting helps."""

    error: str
    estimated_time: float | UnsetType | None = UNSET


SHAPES: dict[str, type[Told]] = {"openai": Error, "native": NativeError, "huggingface": HubError}


def statuses(operation: dict[str, Any], said: Described, *, posts: bool, public: bool, inference: bool) -> list[int]:
    """Which errors this operation of the document may answer with, in order."""
    found = set(said.errors) | ({415} if posts else set())
    if operation.get("parameters"):
        found.add(400)
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", ())):
        found.add(404)
    if "requestBody" in operation:
        found |= {400, 408, 413, 415}
    if inference:
        found |= set(INFERENCE)
    return sorted(found | {403} | (set() if public else {401, 429}))


def response(status: int, schema: dict[str, Any]) -> dict[str, Any]:
    """One error as a component of the document."""
    headers = {"x-request-id": {"$ref": "#/components/headers/x-request-id"}}
    if status in WAITING:
        headers["retry-after"] = {"$ref": "#/components/headers/retry-after"}
    return {"description": MEANINGS[status], "headers": headers, "content": {JSON: {"schema": schema}}}


def name(status: int, shape: str) -> str:
    """What the component is called."""
    return f"{SHAPES[shape].__name__}{status}"
