"""What was chosen before: the last winner of each kind of request, and each session's model. Bounded, in memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from policies.steady import kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Decision
    from router.request import Call, Routing
    from router.slate import Candidate

MAX_INCUMBENTS = 1000
MAX_SESSIONS = 10_000

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kind(NamedTuple):
    """Requests among which a choice is held: of one route, for one name, under one policy."""

    route: str | None
    task: str
    name: str
    policy: str


class _Recent(Generic[Key, Value]):
    """Values by key; the one that was put there longest ago goes when there are too many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def of(self, key: Key) -> Value | None:
        return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)


class Incumbents:
    """Who was put first the last time, for hysteresis (`policies.steady`)."""

    def __init__(self) -> None:
        self._recent: _Recent[Kind, str] = _Recent(MAX_INCUMBENTS)

    def of(self, kind: Kind, candidates: Sequence[Candidate]) -> str | None:
        """The incumbent, where it is a candidate now; a fallback of an alias that had to help out is none."""
        last = self._recent.of(kind)
        return next((c.id for c in candidates if c.id == last and not c.fallback), None)

    def chose(self, kind: Kind, routing: Routing, decision: Decision) -> None:
        """Remember who goes first now, unless that was left to chance, or is one sender's wish and nobody else's."""
        if decision.ranked and not decision.explored and not _wishes(routing):
            self._recent.put(kind, decision.ranked[0])


class Sessions:
    """Which model a sender's session is with. A session that is silent for `ttl_s` seconds is forgotten."""

    def __init__(self, ttl_s: float) -> None:
        self.ttl_s = ttl_s
        self._recent: _Recent[tuple[str, str, str], tuple[str, float]] = _Recent(MAX_SESSIONS)

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._recent)

    def model(self, call: Call, now: float) -> str | None:
        """The model that the call's session is with; None where it has none, or has not begun."""
        last = self._recent.of(_session(call)) if call.routing.session else None
        return last[0] if last is not None and now - last[1] <= self.ttl_s else None

    def kept(self, call: Call, decision: Decision, candidates: Sequence[Candidate], now: float) -> Decision:
        """The decision with the candidates of the session's model first, where one of them is eligible.

        A request that orders its providers itself is left in that order.
        """
        model = None if call.routing.order else self.model(call, now)
        return decision if model is None else kept(decision, _of(model, candidates), model)

    def among(
        self, call: Call, decision: Decision, candidates: Sequence[Candidate], now: float
    ) -> frozenset[str] | None:
        """The candidates of the model that the decision kept for the session; None where it kept none."""
        model = self.model(call, now)
        mine = frozenset() if model is None else _of(model, candidates)
        return mine if decision.ranked and decision.ranked[0] in mine else None

    def begun(self, call: Call, candidate: Candidate, now: float) -> None:
        """A session that is with nobody is with whoever is asked first: its next request may not wait for the end."""
        if self.model(call, now) is None:
            self.served(call, candidate, now)

    def served(self, call: Call, candidate: Candidate, now: float) -> None:
        """The call's session is with this candidate's model from now on; after a fallback's help where it was before.

        A fallback is asked when all others failed, which says nothing of the next request.
        """
        model = self.model(call, now) if candidate.fallback else candidate.listed_as
        if call.routing.session and model is not None:
            self._recent.put(_session(call), (model, now))


def _wishes(routing: Routing) -> bool:
    """Whether a request says itself who is to serve it, or who is not, or is with a session's model."""
    named = routing.order or routing.only or routing.ignore or routing.session
    return bool(named) or routing.private or routing.backend != "any"


def _of(model: str, candidates: Sequence[Candidate]) -> frozenset[str]:
    return frozenset(candidate.id for candidate in candidates if candidate.listed_as == model)


def _session(call: Call) -> tuple[str, str, str]:
    """One tenant's sessions are nobody else's, and those of other tasks are others."""
    return call.request.tenant, call.request.task.value, call.routing.session
