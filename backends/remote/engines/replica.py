"""One server of a provider: how it is, as far as anybody knows, and whether it should be asked. Opens no connection.

What it says of itself (its engine's health) rules it out until it says otherwise. What requests saw of it (nobody
there, a wish to wait, broken answers) rules it out for a while only, and then one request at a time tries it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from backends.backoff import pause_s
from backends.errors import Overloaded, RateLimited, RemoteError, Unavailable

if TYPE_CHECKING:
    from backends.errors import BackendError
    from backends.remote.client import Connections
    from backends.remote.engines.dialects import Load

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
SILENCES = 2

State = Literal["ready", "unknown", "paused", "unready", "draining"]


class ReplicaState(Struct, frozen=True, kw_only=True):
    """A server's state, for people; None where it is not known.

    Attributes:
        replica: How the log calls it: a number within its provider.
        address: Where it is, for operators only.
        why: What is wrong with it, or with what is known of it.
        in_flight: Requests of ours that it works on.
        waiting, running, cache: As it said last, unless that is too long ago.
    """

    provider: str
    engine: str | None
    replica: str
    address: str
    state: State
    why: str | None = None
    in_flight: int = 0
    waiting: float | None = None
    running: float | None = None
    cache: float | None = None


class Replica:
    """A server, by the number that it has within its provider.

    Attributes:
        connections: How it is asked.
        address: Where it is.
        draining: It is no longer one of its provider's: what is under way ends there, and nothing begins.
        in_flight: Requests of ours that are under way there.
    """

    def __init__(self, number: str, address: str, connections: Connections) -> None:
        self.number = number
        self.address = address
        self.connections = connections
        self.draining = False
        self.in_flight = 0
        self._asked = False
        self._silences = 0
        self._unready: str | None = None
        self._why_unread: str | None = None
        self._load: Load | None = None
        self._load_until = 0.0
        self._in_flight_then = 0
        self._failures = 0
        self._paused_until = 0.0
        self._why_paused = ""

    # --- what it says of itself -----------------------------------------------------------------

    def says(self, unready: str | None, *, sure: bool = True) -> None:
        """It was asked whether it can serve: why not, or None; not `sure` where it answered, and did not say."""
        self._asked, self._unready, self._silences = sure, unready, 0

    def silent(self, why: str) -> None:
        """It was asked, and said nothing in time: once that may be a busy moment, and twice in a row it is not."""
        self._silences += 1
        if self._silences >= SILENCES:
            self._asked, self._unready = True, why

    def tells(self, load: Load, until: float) -> None:
        """It was asked what it has to do; that is worth nothing after `until`."""
        self._load, self._load_until, self._in_flight_then = load, until, self.in_flight
        self._why_unread = None if load.known else "it tells no load under its engine's names"

    def unread(self, why: str) -> None:
        """It was asked what it has to do, and nobody can tell. What it said before is true until it is too old."""
        self._why_unread = why

    def load(self, now: float) -> Load | None:
        """What it said last; None where it never did, or that is too long ago."""
        return self._load if now < self._load_until else None

    # --- what requests saw ----------------------------------------------------------------------

    def answered(self) -> None:
        """A request was answered."""
        self._failures, self._paused_until = 0, 0.0

    def failed(self, error: BackendError, now: float) -> None:
        """A request failed; what is not the server's fault changes nothing.

        Whoever says when to come back is believed; else each failure in a row doubles the pause.
        """
        if not speaks_against(error):
            return
        self._failures += 1
        pause = error.retry_after_s or pause_s(self._failures, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._paused_until = now + pause
        self._why_paused = type(error).__name__

    # --- whether to ask it ----------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether it may be asked at all, be it for want of anybody better."""
        return not self.draining and self._unready is None

    @property
    def paused_until(self) -> float:
        """When it should be tried again."""
        return self._paused_until

    @property
    def unready(self) -> str | None:
        """Why it says that it cannot serve; None where it can, or nobody asked."""
        return self._unready

    def able(self, now: float) -> bool:
        """Whether a request may go there. After failures one at a time tries it."""
        return self.usable and now >= self._paused_until and not (self._failures and self.in_flight)

    def outstanding(self, now: float) -> float | None:
        """Everything it has to do by now, others' requests too; None where nobody knows."""
        load = self.load(now)
        if load is None or not load.known:
            return None
        return max(float(self.in_flight), load.outstanding + self.in_flight - self._in_flight_then)

    def turns(self, now: float) -> float | None:
        """How many answers' time a request that comes now would wait for its turn; None where nobody knows.

        As many are answered in the time of one as it works on at once. What came since it was asked waits only where
        others did already.
        """
        load = self.load(now)
        if load is None or load.waiting is None:
            return None
        since = max(0, self.in_flight - self._in_flight_then) if load.waiting else 0
        return (load.waiting + since) / max(1.0, load.together or 1.0)

    def together(self, now: float) -> float:
        """How many it works on at once; where it does not say, as many as are known here, one at least."""
        load = self.load(now)
        told = None if load is None else load.together
        return max(1.0, float(self.in_flight) if told is None else told)

    def state(self, provider: str, engine: str | None, now: float) -> ReplicaState:
        """How it is, for people."""
        load = self.load(now)
        state, why = self._state(now)
        return ReplicaState(
            provider=provider,
            engine=engine,
            replica=self.number,
            address=self.address,
            state=state,
            why=why,
            in_flight=self.in_flight,
            waiting=None if load is None else load.waiting,
            running=None if load is None else load.running,
            cache=None if load is None else load.cache,
        )

    def _state(self, now: float) -> tuple[State, str | None]:
        if self.draining:
            return "draining", "its name no longer leads there"
        if self._unready is not None:
            return "unready", self._unready
        if now < self._paused_until:
            return "paused", f"{self._why_paused}; tried again in {self._paused_until - now:.0f} s"
        return ("ready" if self._asked else "unknown"), self._why_unread


def speaks_against(error: BackendError) -> bool:
    """Whether another server could do better: nobody is there, it broke, or it says itself that it has too much to do.

    A full queue of our own, an input that nobody can take, a key or a limit of the request are the same everywhere.
    """
    if isinstance(error, Overloaded | RateLimited):
        return error.http_status is not None
    if isinstance(error, RemoteError):
        return error.http_status is None or error.http_status >= 500
    return isinstance(error, Unavailable)
