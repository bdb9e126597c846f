"""What a router and the owner tell each other. Amounts are exact: fractions of a dollar, written as such.

A router sends one exchange at a time, and the owner answers it whole. Of money every figure only ever grows (granted,
spent, returned), so an exchange or an answer that comes twice, late or out of order changes nothing. What is news and
no figure (who asks how often, breakers) counts only in an exchange that is newer than the last one heard.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

NONE = Fraction(0)
KEYS, CATALOGUE = "keys", "catalogue"  # the documents that there are
EXCHANGE, DOCUMENTS, STATE = "/cluster/exchange", "/cluster/documents", "/cluster/state"
MAX_BYTES = 16 * 1024 * 1024  # of one message: ten thousand keys are five of them
T = TypeVar("T")


BudgetId = tuple[str, Literal["day", "month"], Literal["near", "refuse", "warn"]]
"""A budget: its scope, its period, and what becomes of whoever exceeds it."""


class AccountId(Struct, frozen=True):
    """A budget in one of its periods, which begins at `starts_at` (seconds since 1970)."""

    scope: str
    period: Literal["day", "month"]
    on_exceeded: Literal["near", "refuse", "warn"]
    starts_at: int

    @property
    def budget(self) -> BudgetId:
        """The budget, whatever the period."""
        return self.scope, self.period, self.on_exceeded


class Row(Struct, frozen=True, kw_only=True):
    """How a router stands with an account.

    Attributes:
        spent: What its attempts have cost since it started.
        reserved: What is set aside for attempts under way.
        returned: How much of what it was granted it gave back.
        needed: What it would have to have been granted for all that, and for whoever waits for money or got none.
        enough: Likewise for the least of these alone: less than that helps nobody.
        wanted: As `needed`, with what it would like to hold ahead.
        earlier: What its log remembers as spent in the period by processes before this one.
    """

    account: AccountId
    spent: Fraction = NONE
    reserved: Fraction = NONE
    returned: Fraction = NONE
    needed: Fraction = NONE
    enough: Fraction = NONE
    wanted: Fraction = NONE
    earlier: Fraction = NONE


class Granted(Struct, frozen=True, kw_only=True):
    """How an account stands.

    Attributes:
        granted: What this router was granted in all: it may spend that, less what it gave back.
        limit: What all may spend.
        spent: What is spent beside what this router reports: by all others (and all that is held by whoever is not
            heard of any more), and what its log remembered.
        reserved: What all others have set aside.
        room: What could still be granted.
        scarce: Whether somebody goes without while others hold something ahead: then nobody should.
    """

    account: AccountId
    granted: Fraction
    limit: Fraction
    spent: Fraction
    reserved: Fraction
    room: Fraction
    scarce: bool


class News(Struct, frozen=True):
    """A breaker opened for so many seconds from now, or closed (None)."""

    breaker: str
    open_s: float | None
    why: str = ""


class Document(Struct, frozen=True):
    """Keys, or changes of the catalogue. Version 0 is that there are none yet."""

    version: int = 0
    body: str = ""


class Exchange(Struct, frozen=True, kw_only=True):
    """What a router has to say.

    Attributes:
        node: Which one it is, through every restart.
        holder: Which start of it: what one held, the next does not know of.
        number: Counts its exchanges.
        asked: How often each tenant has asked since the last exchange.
        owner: Which start of the owner its `heard` is of.
        heard: The last number of the owner's news that it knows.
        documents: The versions that it has.
        leaving: It ends, and gives everything back.
    """

    node: str
    holder: str
    number: int
    rows: list[Row] = []
    asked: dict[str, int] = {}
    news: list[News] = []
    owner: str = ""
    heard: int = 0
    documents: dict[str, int] = {}
    leaving: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """What the owner says.

    Attributes:
        routers: How many there are.
        parts: The part of their limits that this router gives these tenants.
        problems: Why it is granted nothing, for people.
    """

    owner: str
    heard: int
    routers: int
    rows: list[Granted] = []
    parts: dict[str, float] = {}
    news: list[News] = []
    documents: dict[str, Document] = {}
    problems: list[str] = []


class Change(Struct, frozen=True):
    """Another body for a document, in place of the version that its writer saw."""

    version: int
    body: str


def encode(message: Struct) -> bytes:
    """A message as it is sent."""
    return msgspec.json.encode(message, enc_hook=_written)


def decode(body: bytes, kind: type[T]) -> T:
    """A message that was sent.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.json.decode(body, type=kind, dec_hook=_read)


def _written(value: object) -> str:
    if isinstance(value, Fraction):
        return str(value)
    raise NotImplementedError(type(value).__name__)


def _read(kind: type[Any], value: Any) -> Fraction:
    if kind is not Fraction or not isinstance(value, str):
        raise ValueError(f"{kind.__name__} is not read from {type(value).__name__}")
    numerator, _, denominator = value.partition("/")
    return Fraction(int(numerator), int(denominator or 1))
