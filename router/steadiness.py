"""What was chosen before: the last winner of each kind of request, and each session's model. Bounded, in memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from policies.steady import kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Decision
    from router.request import Call
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
        return next((c.id for c in candidates if last is not None and c.id == last and not c.fallback), None)

    def chose(self, kind: Kind, decision: Decision) -> None:
        """Remember who goes first now, unless that was left to chance."""
        if decision.ranked and not decision.explored:
            self._recent.put(kind, decision.ranked[0])


class Sessions:
    """Which model a sender's session is with. A session that is silent for `ttl_s` seconds is forgotten."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._recent: _Recent[tuple[str, str, str], tuple[str, float]] = _Recent(MAX_SESSIONS)

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._recent)

    def model(self, call: Call, now: float) -> str | None:
        """The model that the call's session is with; None where it has none, or has not begun."""
        last = self._recent.of(_session(call)) if call.routing.session else None
        return last[0] if last is not None and now - last[1] <= self._ttl_s else None

    def kept(self, call: Call, decision: Decision, candidates: Sequence[Candidate], now: float) -> Decision:
        """The decision with the candidates of the session's model first, where one of them is eligible."""
        model = self.model(call, now)
        if model is None:
            return decision
        return kept(decision, {c.id for c in candidates if c.listed_as == model}, model)

    def among(self, call: Call, candidates: Sequence[Candidate], now: float) -> set[str] | None:
        """The candidates of the session's model, to which chance is kept; None where there is no such model."""
        model = self.model(call, now)
        return None if model is None else {c.id for c in candidates if c.listed_as == model}

    def served(self, call: Call, candidate: Candidate, now: float) -> None:
        """The call's session is with this candidate's model from now on."""
        if call.routing.session:
            self._recent.put(_session(call), (candidate.listed_as, now))


def _session(call: Call) -> tuple[str, str, str]:
    """One tenant's sessions are nobody else's, and those of other tasks are others."""
    return call.request.tenant, call.request.task.value, call.routing.session
