"""What workers and the owner of the log say to each other, as MessagePack: typed on both sides, and nothing else goes.

A connection is of one kind, which its first message says: it sends rows (`Hello`), waits to be asked for those that it
still has (`Listening`), or asks one question. A question has its own type for each of `LogReader`'s methods.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
from msgspec import Raw, Struct

from router.decision_log.named import Name
from router.decision_log.queries import Value
from router.decision_log.taking import LogStats
from router.decision_log.windows import Window
from router.shipping.shipper import ShippingState

if TYPE_CHECKING:
    from router.decision_log.queries import LogReader


class Message(Struct, frozen=True, kw_only=True, tag=True):
    """Base of all."""


class Hello(Message, frozen=True, kw_only=True):
    """Rows are to come from this place, of this boot."""

    place: str
    boot: str


class Welcome(Message, frozen=True, kw_only=True):
    """The number of the last row of that boot which is committed; 0 where none is."""

    number: int


class Rows(Message, frozen=True, kw_only=True):
    """Rows by their kind and JSON line, the first with this number. `again`: they may have come in another boot."""

    first: int
    rows: list[tuple[str, bytes]]
    again: bool = False


class Committed(Message, frozen=True, kw_only=True):
    """They are, every one, or refused; how the log does, and how it is shipped (None where it is not)."""

    log: LogStats
    shipping: ShippingState | None = None


class Listening(Message, frozen=True, kw_only=True):
    """Whoever waits here is to be told when somebody reads, and answers when its rows so far are committed."""


class Flush(Message, frozen=True, kw_only=True):
    """Somebody is about to read."""


class Flushed(Message, frozen=True, kw_only=True):
    """What there was is committed."""


class Question(Message, frozen=True, kw_only=True):
    """A question for the log, in the name of whoever `sees` one tenant's rows, or everybody's."""

    LONG: ClassVar[bool] = False  # may take its time: only a few at once

    sees: str | None = None

    def of(self, reader: LogReader) -> Any:
        """Its answer. Raises as the reader's method does."""
        raise NotImplementedError


class Decisions(Question, frozen=True, kw_only=True):
    """`LogReader.decisions`."""

    filters: dict[str, str | None]
    since: datetime | None
    until: datetime | None
    limit: int
    cursor: str | None

    def of(self, reader: LogReader) -> Any:
        """A page."""
        return reader.decisions(
            since=self.since, until=self.until, limit=self.limit, cursor=self.cursor, **self.filters
        )


class RecentAttempts(Question, frozen=True, kw_only=True):
    """`LogReader.recent_attempts`."""

    seconds: float

    def of(self, reader: LogReader) -> Any:
        """The attempts."""
        return reader.recent_attempts(self.seconds)


class Predictors(Question, frozen=True, kw_only=True):
    """`LogReader.predictors`."""

    def of(self, reader: LogReader) -> Any:
        """What was learnt."""
        return reader.predictors()


class Decision(Question, frozen=True, kw_only=True):
    """`LogReader.decision`."""

    decision_id: str

    def of(self, reader: LogReader) -> Any:
        """The decision."""
        return reader.decision(self.decision_id)


class Inputs(Question, frozen=True, kw_only=True):
    """`LogReader.inputs`."""

    decision_id: str

    def of(self, reader: LogReader) -> Any:
        """The inputs."""
        return reader.inputs(self.decision_id)


class Comparisons(Question, frozen=True, kw_only=True):
    """`LogReader.comparisons`."""

    limit: int

    def of(self, reader: LogReader) -> Any:
        """The runs."""
        return reader.comparisons(self.limit)


class Comparison(Question, frozen=True, kw_only=True):
    """`LogReader.comparison`."""

    run_id: str

    def of(self, reader: LogReader) -> Any:
        """The run."""
        return reader.comparison(self.run_id)


class Compared(Question, frozen=True, kw_only=True):
    """`LogReader.compared`."""

    run_id: str

    def of(self, reader: LogReader) -> Any:
        """The trials."""
        return reader.compared(self.run_id)


class Ask(Question, frozen=True, kw_only=True):
    """`LogReader.ask`."""

    LONG: ClassVar[bool] = True

    question: str
    since: datetime | None
    until: datetime | None
    by: str | None
    step: str | None
    timeout_s: float | None

    def of(self, reader: LogReader) -> Any:
        """The answer."""
        return reader.ask(
            self.question, since=self.since, until=self.until, by=self.by, step=self.step, timeout_s=self.timeout_s
        )


class SpentSince(Question, frozen=True, kw_only=True):
    """`LogReader.spent`."""

    since: datetime

    def of(self, reader: LogReader) -> Any:
        """The sums."""
        return reader.spent(self.since)


class Named(Question, frozen=True, kw_only=True):
    """`LogReader.rows`."""

    name: Name
    values: dict[str, Value]

    def of(self, reader: LogReader) -> Any:
        """The rows."""
        return reader.rows(self.name, self.values)


class Sql(Question, frozen=True, kw_only=True):
    """`LogReader.sql`."""

    LONG: ClassVar[bool] = True

    query: str
    max_rows: int
    timeout_s: float

    def of(self, reader: LogReader) -> Any:
        """The rows."""
        return reader.sql(self.query, max_rows=self.max_rows, timeout_s=self.timeout_s)


class InWindow(Question, frozen=True, kw_only=True):
    """`LogReader.window`. What it holds is the first answer; then come `Lines`, an empty one last."""

    window: Window


class Answer(Message, frozen=True, kw_only=True):
    """What a question came to."""

    value: Raw


class Lines(Message, frozen=True, kw_only=True):
    """Some more lines of a window."""

    lines: list[str]


class Failed(Message, frozen=True, kw_only=True):
    """Why a question has no answer, or rows were not taken."""

    kind: Literal["InvalidRequest", "QueryRefused", "LogError"]
    said: str
    param: str | None = None


First = (
    Hello
    | Listening
    | Decisions
    | RecentAttempts
    | Predictors
    | Decision
    | Inputs
    | Comparisons
    | Comparison
    | Compared
    | Ask
    | SpentSince
    | Named
    | Sql
    | InWindow
)
"""What a connection may begin with."""
Reply = Welcome | Committed | Answer | Lines | Failed
"""What the owner says."""

encode = msgspec.msgpack.Encoder().encode
first = msgspec.msgpack.Decoder(First).decode
rows = msgspec.msgpack.Decoder(Rows).decode
reply = msgspec.msgpack.Decoder(Reply).decode
flush = msgspec.msgpack.Decoder(Flush).decode
flushed = msgspec.msgpack.Decoder(Flushed).decode
