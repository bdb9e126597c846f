"""The limits of one exchange with a far side: of its beginning, of its pauses, and of the whole. Knows no socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, TypeVar

from pyreqwest.exceptions import PyreqwestError

from backends.errors import Timeout
from backends.remote.errors import from_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends.remote.provider import Provider
    from backends.types import Limits

_BEHIND_S = 1.0

Phase = Literal["first-token", "idle", "total"]
_T = TypeVar("_T")


class ExchangeLimits:
    """The three limits of one exchange, begun now; also where pyreqwest's exceptions are translated.

    Each is the provider's own, or the request's where that is shorter.
    """

    def __init__(self, provider: Provider, asked: Limits) -> None:
        self.provider = provider
        self._seconds: dict[Phase, float] = {
            "first-token": _shorter(provider.first_token_timeout_s, asked.first_token_s),
            "idle": _shorter(provider.idle_timeout_s, asked.idle_s),
            "total": _shorter(provider.total_timeout_s, asked.total_s),
        }
        now = _now()
        self._first_token_at = now + self._seconds["first-token"]
        self._total_at = now + self._seconds["total"]

    def hurry(self) -> None:
        """Whatever comes now must come within a moment, however it is spread."""
        self._total_at = min(self._total_at, _now() + _BEHIND_S)

    def extend(self, seconds: float) -> None:
        """Move the total limit by time that was not the far side's."""
        self._total_at += seconds

    async def within(self, phase: Phase, begin: Callable[[], Awaitable[_T]]) -> _T:
        """What this begins is awaited to the phase's limit, or to the total one where that is nearer."""
        ends_at = self._total_at
        if phase == "first-token":
            ends_at = self._first_token_at
        elif phase == "idle":
            ends_at = _now() + self._seconds["idle"]
        if self._total_at < ends_at:
            phase, ends_at = "total", self._total_at
        try:
            async with asyncio.timeout_at(ends_at):
                return await begin()
        except PyreqwestError as error:  # first: some of these are TimeoutErrors, too
            raise from_client(error, self.provider.name) from error
        except TimeoutError as error:
            seconds = self._seconds[phase]
            msg = f"provider {self.provider.name}: nothing came within the {phase} limit of {seconds:.3g} s"
            raise Timeout(msg) from error


def _shorter(own_s: float, asked_s: float | None) -> float:
    return own_s if not asked_s or own_s < asked_s else asked_s


def _now() -> float:
    return asyncio.get_running_loop().time()
