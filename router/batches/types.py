"""The values of batches: files, a batch and its states, a line's question and answer. No I/O."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from msgspec import Raw, Struct, field
from msgspec.structs import replace

State = Literal["validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"]
Purpose = Literal["batch", "batch_output"]

MOVES: dict[State, frozenset[State]] = {
    "validating": frozenset({"in_progress", "failed", "cancelling"}),
    "in_progress": frozenset({"finalizing", "failed", "expired", "cancelling"}),
    "finalizing": frozenset({"completed", "failed"}),
    "cancelling": frozenset({"cancelled", "failed"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "expired": frozenset(),
    "cancelled": frozenset(),
}


class Fault(Struct, frozen=True):
    """What is wrong with a file or a line of it.

    Attributes:
        line: Its number in the file, from 1; None where it is the whole file.
        custom_id: What the line calls itself, where that could be read.
    """

    code: str
    message: str
    line: int | None = None
    custom_id: str | None = None


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file that is kept for a tenant. Times are seconds since 1970."""

    id: str
    tenant: str
    filename: str
    size_bytes: int
    purpose: Purpose
    created_at: int
    expires_at: int


class Batch(Struct, frozen=True, kw_only=True):
    """One batch, as it is kept on disk.

    Attributes:
        at: When it came into each of its states, in seconds since 1970.
        output_file_id, error_file_id: Chosen when it is made; files of these ids are there once it has ended, where
            there is anything in them.
        routing: What holds for its lines where they say nothing themselves: fields of a request's `routing`.
        max_cost_usd: Lines begin only while less than that is spent.
        output_expires_s: How long its files are kept; None as long as others.
        errors: Why the whole of it failed.
        total: Lines in its file; 0 until they are counted.
        cost_usd: Of the lines answered so far, as far as that is known.
        unpriced: Answered lines whose cost nobody knows.
    """

    id: str
    tenant: str
    endpoint: str
    input_file_id: str
    completion_window: str
    expires_at: int
    output_file_id: str
    error_file_id: str
    at: dict[State, int]
    state: State = "validating"
    metadata: dict[str, str] | None = None
    routing: dict[str, Any] = {}
    max_cost_usd: float | None = None
    output_expires_s: int | None = None
    errors: tuple[Fault, ...] = ()
    total: int = 0
    completed: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return not MOVES[self.state]

    @property
    def created_at(self) -> int:
        """When it was made."""
        return self.at["validating"]

    def moved(self, state: State, now: float, **changes: Any) -> Batch:
        """The batch in its next state.

        Raises:
            ValueError: that state cannot follow this one.
        """
        if state not in MOVES[self.state]:
            raise ValueError(f"a batch that is {self.state} cannot become {state}")
        return replace(self, state=state, at={**self.at, state: int(now)}, **changes)


class Line(Struct, frozen=True, kw_only=True):
    """One request of a file. The fields of `body` are JSON as it was written."""

    number: int
    custom_id: str
    body: dict[str, Raw]


class Question(Struct, frozen=True, kw_only=True):
    """A line as it is asked: a JSON body for an endpoint, in its batch's tenant's name.

    Attributes:
        firm: It was stopped often enough for others who came, and is not to be stopped again.
    """

    endpoint: str
    body: bytes
    tenant: str
    request_id: str
    firm: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """What the endpoint answered: a status code and a JSON body; None for what is not known."""

    status: int
    body: bytes
    decision_id: str | None = None
    backend: str | None = None
    cost_usd: float | None = None
    retry_after_s: float | None = None


Ask = Callable[[Question], Coroutine[Any, Any, Answer]]
"""What answers a line; cancelled from within where it had to give way."""


class Given(Struct, frozen=True, kw_only=True):
    """What a new batch is made of."""

    input_file_id: str
    endpoint: str
    completion_window: str = "24h"
    metadata: dict[str, str] | None = None
    routing: dict[str, Any] = field(default_factory=dict)
    max_cost_usd: float | None = None
    output_expires_s: int | None = None


def new_file_id() -> str:
    """An id that nobody guesses."""
    return f"file-{secrets.token_hex(12)}"


def new_batch_id() -> str:
    """An id that nobody guesses."""
    return f"batch_{secrets.token_hex(12)}"


def entry_id(batch_id: str, number: int) -> str:
    """The id of what became of a line: its number can be read from it."""
    return f"batch_req_{batch_id.removeprefix('batch_')}_{number}"
