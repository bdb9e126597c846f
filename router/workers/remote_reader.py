"""The read side of a log that another process owns: the same questions as `LogReader`'s, answered over a socket."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from router.decision_log.queries import LogReader, Spent
from router.decision_log.sql import SqlResult
from router.decision_log.windows import Found
from router.errors import InvalidRequest, LogError, QueryRefused, RouterError
from router.workers import messages
from router.workers.messages import Answer, Failed, Lines, encode
from router.workers.wire import REACHED_IN_S, Wire, reached

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from router.decision_log.named import Name
    from router.decision_log.queries import Value
    from router.decision_log.windows import Window
    from router.workers.messages import Question

Row = dict[str, Any]
T = TypeVar("T")
_ROW: Any = Row | None  # types to read by, which mypy takes for no types
_ANY: Any = Any


class RemoteReader(LogReader):
    """A reader whose questions the owner answers, each over a connection of its own. Every method blocks."""

    def __init__(self, owner: Path, sees: str | None = None) -> None:
        self._owner = owner
        self.sees = sees

    def decisions(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
        **filters: str | None,
    ) -> tuple[list[Row], str | None]:
        """As `LogReader.decisions`."""
        asked = messages.Decisions(
            sees=self.sees, filters=filters, since=since, until=until, limit=limit, cursor=cursor
        )
        return self._asked(asked, tuple[list[Row], str | None])

    def recent_attempts(self, seconds: float) -> list[tuple[str, str | None, float]]:
        """As `LogReader.recent_attempts`."""
        return self._asked(messages.RecentAttempts(seconds=seconds), list[tuple[str, str | None, float]])

    def predictors(self) -> dict[str, str]:
        """As `LogReader.predictors`."""
        return self._asked(messages.Predictors(), dict[str, str])

    def decision(self, decision_id: str) -> Row | None:
        """As `LogReader.decision`."""
        found: Row | None = self._asked(messages.Decision(sees=self.sees, decision_id=decision_id), _ROW)
        return found

    def inputs(self, decision_id: str) -> Any:
        """As `LogReader.inputs`."""
        return self._asked(messages.Inputs(sees=self.sees, decision_id=decision_id), _ANY)

    def comparisons(self, limit: int = 100) -> list[Row]:
        """As `LogReader.comparisons`."""
        return self._asked(messages.Comparisons(sees=self.sees, limit=limit), list[Row])

    def comparison(self, run_id: str) -> Row | None:
        """As `LogReader.comparison`."""
        found: Row | None = self._asked(messages.Comparison(sees=self.sees, run_id=run_id), _ROW)
        return found

    def compared(self, run_id: str) -> list[tuple[int, float | None]]:
        """As `LogReader.compared`."""
        return self._asked(messages.Compared(run_id=run_id), list[tuple[int, float | None]])

    def ask(
        self,
        question: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        by: str | None = None,
        step: str | None = None,
        timeout_s: float | None = None,
    ) -> Row:
        """As `LogReader.ask`."""
        asked = messages.Ask(
            sees=self.sees, question=question, since=since, until=until, by=by, step=step, timeout_s=timeout_s
        )
        return self._asked(asked, Row)

    def spent(self, since: datetime) -> list[Spent]:
        """As `LogReader.spent`."""
        return self._asked(messages.SpentSince(since=since), list[Spent])

    def rows(self, name: Name, values: Mapping[str, Value]) -> list[tuple[Any, ...]]:
        """As `LogReader.rows`."""
        return self._asked(messages.Named(sees=self.sees, name=name, values=dict(values)), list[tuple[Any, ...]])

    @contextlib.contextmanager
    def window(self, window: Window) -> Iterator[tuple[Found, Iterator[str]]]:
        """As `LogReader.window`."""
        with self._asking(messages.InWindow(sees=self.sees, window=window)) as wire:
            yield msgspec.msgpack.decode(_value(wire), type=Found), _lines(wire)

    def sql(self, query: str, *, max_rows: int = 10_000, timeout_s: float = 10.0) -> SqlResult:
        """As `LogReader.sql`."""
        asked = messages.Sql(sees=self.sees, query=query, max_rows=max_rows, timeout_s=timeout_s)
        return self._asked(asked, SqlResult)

    def _asked(self, question: Question, kind: type[T]) -> T:
        with self._asking(question) as wire:
            return msgspec.msgpack.decode(_value(wire), type=kind)

    @contextlib.contextmanager
    def _asking(self, question: Question) -> Iterator[Wire]:
        """Give the connection over which the answer comes.

        Raises:
            LogError: the owner cannot be reached, or ended before its answer did.
        """
        wire = reached(self._owner, REACHED_IN_S)
        try:
            wire.send(encode(question))
            yield wire
        except OSError as error:
            raise LogError("The process that owns the decision log ended; it is started again.") from error
        finally:
            wire.close()


def _value(wire: Wire) -> msgspec.Raw:
    """The next answer.

    Raises:
        InvalidRequest, QueryRefused, LogError: as the reader's method would.
        ConnectionError: the owner is gone, or says something else.
    """
    match _reply(wire):
        case Answer(value=value):
            return value
        case Failed() as failed:
            raise _error(failed)
        case other:
            raise ConnectionError(f"an answer was expected, and {type(other).__name__} came")


def _lines(wire: Wire) -> Iterator[str]:
    while True:
        match _reply(wire):
            case Lines(lines=[]):
                return
            case Lines(lines=lines):
                yield from lines
            case Failed() as failed:
                raise _error(failed)
            case other:
                raise ConnectionError(f"lines were expected, and {type(other).__name__} came")


def _reply(wire: Wire) -> messages.Reply:
    message = wire.receive()
    if message is None:
        raise ConnectionError("the owner of the log is gone")
    reply: messages.Reply = messages.reply(message)
    return reply


def _error(failed: Failed) -> RouterError:
    match failed.kind:
        case "InvalidRequest":
            return InvalidRequest(failed.said, param=failed.param)
        case "QueryRefused":
            return QueryRefused(failed.said)
        case "LogError":
            return LogError(failed.said)
