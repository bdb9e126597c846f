"""Whether the hub's token is good for inference: from asking the hub, which spends nothing, and from what requests saw.

Nobody asks by itself: `check` is called by somebody who wants to know. The token is in no sentence.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from backends.errors import PaymentRequired, Unauthorized
from backends.remote import hub
from backends.remote.provider import asked_for
from router.settings import HUB_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backends.errors import BackendError
    from router.sections import ProviderSettings

TokenStateName = Literal["not_configured", "invalid", "valid", "valid_no_inference", "exhausted", "unknown"]

STATES: tuple[TokenStateName, ...] = (
    "not_configured",
    "invalid",
    "valid",
    "valid_no_inference",
    "exhausted",
    "unknown",
)
RED = frozenset({"invalid", "valid_no_inference", "exhausted"})
TOKENS_PAGE = "https://huggingface.co/settings/tokens"
BILLING_PAGE = "https://huggingface.co/settings/billing"
CACHED_S = 600.0  # the hub limits this question hard
HUB_TIMEOUT_S = 10.0

_NOT_CONFIGURED = "no token: set HF_TOKEN or log in with the hub's own command"
_NOT_CHECKED = "configured, not checked yet"
_OFFLINE = "offline: the hub is not asked"
_INVALID = "a request was refused: the hub's router does not accept the token"
_FORBIDDEN = "a request was refused: the token may not call inference providers, or not for this model"
_EXHAUSTED = "a request was refused: the credits are gone"
_ANSWERED = "a request was answered"
_STILL_EXHAUSTED = "the token is valid; whether there are credits again, the next request shows"


class TokenReport(Struct, frozen=True, kw_only=True):
    """The token's state for people and programs.

    Attributes:
        since: When this state began, ISO time.
        checked_at: When the hub was last asked, ISO time; None when it never was.
        link: Where the state can be changed.
    """

    state: TokenStateName
    detail: str
    since: str
    checked_at: str | None
    link: str

    @property
    def red(self) -> bool:
        """True when requests that need the token will fail."""
        return self.state in RED


class TokenHealth:
    """What is known of the token. `observe` and `state` cost microseconds and ask nobody."""

    def __init__(
        self,
        token: Callable[[], str | None],
        providers: Mapping[str, ProviderSettings],
        *,
        offline: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Know a token.

        Args:
            token: The token of this instant.
            providers: All far sides by name; those that read the hub's token are concerned, and who stands behind them.
            offline: The hub is never asked.
            clock: Seconds since 1970.
        """
        self._token = token
        self.become(providers)
        self._offline = offline
        self._clock = clock
        self._asking = asyncio.Lock()
        self._answers = 0
        self._checked: float | None = None
        self._known: tuple[TokenStateName, str] = ("unknown", _NOT_CHECKED)
        self._silence = ""  # why the hub could not say, when it was asked last
        self._since = clock()

    def become(self, providers: Mapping[str, ProviderSettings]) -> None:
        """Know these far sides from now on."""
        self._direct = frozenset(providers)
        self._hub = frozenset(name for name, entry in providers.items() if entry.api_key_env == HUB_TOKEN)

    def concerns(self, provider: str) -> bool:
        """True when asking this provider uses the hub's token."""
        return asked_for(provider, self._direct) in self._hub

    def observe(self, error: BackendError | None) -> None:
        """A request with this token was answered, or failed so. What says nothing about the token changes nothing."""
        if error is None:
            if self._known[0] != "valid" or self._silence:
                self._set("valid", _ANSWERED)
        elif isinstance(error, PaymentRequired):
            self._set("exhausted", _EXHAUSTED)
        elif isinstance(error, Unauthorized) and self._token():
            forbidden = error.http_status == 403
            self._set("valid_no_inference" if forbidden else "invalid", _FORBIDDEN if forbidden else _INVALID)

    def forget(self) -> None:
        """Another token is in use: nothing is known of it."""
        self._checked = None
        self._set("unknown", _NOT_CHECKED)

    def state(self) -> TokenReport:
        """The state as known now."""
        state, detail = self._known if self._token() else ("not_configured", _NOT_CONFIGURED)
        if self._silence and state != "not_configured":
            detail = self._silence if state == "unknown" else f"{detail} ({self._silence})"
        return TokenReport(
            state=state,
            detail=detail,
            since=_iso(self._since),
            checked_at=None if self._checked is None else _iso(self._checked),
            link=BILLING_PAGE if state == "exhausted" else TOKENS_PAGE,
        )

    async def check(self, *, force: bool = False) -> TokenReport:
        """Ask the hub, unless it was asked in the last ten minutes; who asks at the same time shares one question."""
        token, answers = self._token(), self._answers
        if not token:
            return self.state()
        if self._offline:
            return replace(self.state(), detail=_OFFLINE)
        async with self._asking:
            if token != self._token():  # another one came while this waited: nobody needs to know of the old one
                return self.state()
            recent = self._checked is not None and self._clock() - self._checked < CACHED_S
            if not (self._answers > answers or (recent and not force)):
                found = await asyncio.to_thread(hub.whoami, token, HUB_TIMEOUT_S)
                if token == self._token():  # another one may have come meanwhile
                    self._answers += 1
                    self._checked = self._clock()
                    self._judge(found)
        return self.state()

    def _judge(self, found: hub.TokenState) -> None:
        """Take over what the hub says; it does not know about credits, and its silence undoes nothing that is known."""
        if found.state == "unknown":
            self._silence = found.detail
        elif found.state == "valid" and self._known[0] == "exhausted":
            self._set("exhausted", _STILL_EXHAUSTED)
        else:
            self._set(found.state, found.detail)

    def _set(self, state: TokenStateName, detail: str) -> None:
        if state != self._known[0]:
            self._since = self._clock()
        self._known, self._silence = (state, detail), ""


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
