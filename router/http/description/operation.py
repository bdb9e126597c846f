"""What an entry of the tables says of one operation."""

from typing import Any

from msgspec import Struct

JSON = "application/json"
EVENTS = "text/event-stream"
TEXT = "text/plain"


def events(says: str, *names: str) -> dict[str, Any]:
    """The schema of each event of a stream: its data, and its name, one of `names` where it has one."""
    data = {"type": "string", "contentMediaType": JSON}
    return {
        "type": "object",
        "description": f"Each event of the stream. {says}",
        "required": ["data"],
        "properties": {"data": data, "event": {"enum": [*names] or ["message"]}},
    }


class Told(Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of the shapes of answers: what is not in the description must not be in the answer either."""


class Example(Struct, frozen=True, kw_only=True):
    """A request that can be sent as it stands; a test sends it.

    Attributes:
        body: Of a form, its fields.
        parameters: Path and query parameters by name.
        media: Which of the request's media types it is in.
        status: What it is answered with; None for the operation's own 2xx.
    """

    summary: str
    body: Any = None
    parameters: dict[str, Any] = {}
    media: str = JSON
    status: int | None = None


class Link(Struct, frozen=True, kw_only=True):
    """Where an answer leads: a parameter of another operation, or its body, and the expression that gives the value."""

    to: str
    parameters: dict[str, str] = {}
    body: Any = None


class Described(Struct, frozen=True, kw_only=True):
    """One operation.

    Attributes:
        answer: The type, or the JSON schema, of the JSON answer; None where there is none.
        media: JSON schemas of the answer in further media types.
        bodies: Likewise of the request's body; empty where the handler's own `data` says it.
        parts: Types that the schemas above refer to, and nobody else does.
        errors: Statuses of errors beyond those that every operation of its kind may answer with.
        also: Further statuses with shapes of their own.
        headers: Names of the answer's headers, of `headers.HEADERS`.
        parameters: JSON schema of a parameter beyond what its type says.
        shape: Of its errors: `openai`, `native` or `huggingface`.
    """

    answer: Any = None
    media: dict[str, dict[str, Any]] = {}
    bodies: dict[str, Any] = {}
    parts: tuple[Any, ...] = ()
    errors: tuple[int, ...] = ()
    also: dict[int, Any] = {}
    headers: tuple[str, ...] = ()
    parameters: dict[str, dict[str, Any]] = {}
    examples: dict[str, Example] = {}
    links: dict[str, Link] = {}
    shape: str = "openai"
