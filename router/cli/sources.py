"""Whom a report asks: the decision log here, or a running server over its own API."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from router.cli.client import get, post
from router.errors import RouterError
from router.explanation.told import explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.decision_log.queries import LogReader
    from router.sections import BudgetEntry


class LogSource:
    """The log of this machine. What budgets have spent by now only the server that spends knows."""

    def __init__(self, reader: LogReader, budgets: Sequence[BudgetEntry]) -> None:
        self._reader = reader
        self._budgets = budgets

    def ask(self, question: str, **asked: str | None) -> dict[str, Any]:
        """The answer to a named question; raises as `LogReader.ask` does."""
        times = {name: _moment(asked.pop(name, None)) for name in ("since", "until")}
        return self._reader.ask(question, **times, **asked)  # type: ignore[arg-type]  # its own names and types

    def select(self, query: str) -> list[list[Any]]:
        """The rows of a SELECT; raises as `LogReader.sql` does."""
        return self._reader.sql(query).rows

    def explained(self, decision_id: str) -> dict[str, Any]:
        """The explanation of a decision.

        Raises:
            RouterError: it is not in the log.
        """
        found = self._reader.decision(decision_id)
        if found is None:
            raise RouterError(f"No decision {decision_id!r} in the log.")
        told: dict[str, Any] = msgspec.to_builtins(explained(found))
        return told

    def budgets(self) -> list[dict[str, Any]]:
        """Every configured budget."""
        return [msgspec.to_builtins(entry) for entry in self._budgets]


class ServerSource:
    """A running server. Each method raises `RouterError` where it does not answer, or answers with an error."""

    def __init__(self, server: str) -> None:
        self._server = server

    def ask(self, question: str, **asked: str | None) -> dict[str, Any]:
        """The answer to a named question."""
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return get(self._server, f"/v1/analytics/{question}" + (f"?{query}" if query else ""))

    def select(self, query: str) -> list[list[Any]]:
        """The rows of a SELECT."""
        rows: list[list[Any]] = post(self._server, "/v1/analytics/sql", {"query": query})["rows"]
        return rows

    def explained(self, decision_id: str) -> dict[str, Any]:
        """The explanation of a decision."""
        told: dict[str, Any] = get(self._server, f"/v1/decisions/{quote(decision_id, safe='')}")["explanation"]
        return told

    def budgets(self) -> list[dict[str, Any]]:
        """Every budget, with what it has spent by now."""
        states: list[dict[str, Any]] = get(self._server, "/v1/system")["budgets"]
        return states


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
