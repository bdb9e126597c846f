"""What may be spent far: reserved before an attempt and settled after it, by key, model, provider and altogether.

State and arithmetic, with the clock passed in. Nothing here waits, so on the event loop to look and to reserve are one
step: of any number of attempts at once exactly those are admitted that fit. Amounts are exact: cents add up to dollars.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from policies.base import dollars, known
from policies.types import Pacing
from router.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from backends.types import InferenceRequest
    from router.sections import BudgetEntry
    from router.slate import Candidate

OnExceeded = Literal["near", "refuse", "warn"]
STRICTEST_FIRST: tuple[OnExceeded, ...] = ("refuse", "near", "warn")


_CLEARLY = 1e-9  # far more than floats are wrong by: what fits by as much need not be added up exactly


class Charge(Struct, frozen=True):
    """Whom an attempt is charged to.

    Attributes:
        tenant: Whose request it carries.
        models: Every name of its model: as it was asked for, the catalogue's and the provider's own.
        providers: Who is asked, and the router through which it is.
    """

    tenant: str
    models: tuple[str, ...]
    providers: tuple[str, ...]


Asked = dict[str, tuple[Charge, float | None]]
"""By far candidate: whom asking it is charged to, and what a budget must have left for it; None where nobody knows."""


class Exceeded(Struct, frozen=True, kw_only=True):
    """A budget that an attempt does not fit into. `reason` says it to people: figures, and when it begins anew."""

    scope: str
    period: Literal["day", "month"]
    limit_usd: float
    on_exceeded: OnExceeded
    reason: str


class BudgetState(Struct, frozen=True, kw_only=True):
    """A budget at this moment. `resets_at` is when its period ends: ISO 8601, UTC."""

    scope: str
    period: Literal["day", "month"]
    on_exceeded: OnExceeded
    limit_usd: float
    spent_usd: float
    reserved_usd: float
    resets_at: str


class _Period:
    """One day or month of a budget. What was reserved in it is settled in it, however late.

    Attributes:
        taken: What is spent or reserved, exactly.
        room_usd: The nearest float to what is left.
        share: The nearest float to the part that is taken; 1 where there is no money at all.
    """

    def __init__(self, starts_at: datetime, ends_at: datetime, limit: Fraction) -> None:
        self.starts_at, self.ends_at = starts_at.timestamp(), ends_at.timestamp()
        self._limit = limit
        self.spent = self.reserved = Fraction(0)
        self.book()

    def book(self, *, spent: Fraction | int = 0, reserved: Fraction | int = 0) -> None:
        """Add to what is spent and reserved, or take away. Every decision reads the sums, and few change them."""
        self.spent += spent
        self.reserved += reserved
        self.taken = self.spent + self.reserved
        self.room_usd = float(self._limit - self.taken)
        self.share = float(self.taken / self._limit) if self._limit else 1.0


class Reservation:
    """Money set aside for one attempt. It ends once: settled at what the attempt cost, or released."""

    def __init__(self, charge: Charge, periods: Sequence[_Period], amount: Fraction, held: set[Reservation]) -> None:
        """`held` are those that have not ended, this one among them until it has."""
        self.charge = charge
        self._periods = list(periods)
        self._amount = amount
        self._held = held
        self._ended = False
        held.add(self)
        for period in periods:
            period.book(reserved=amount)

    def follow(self, before: _Period, after: _Period) -> None:
        """Be settled in `after` too, where `before` has this money: all that was counted there was counted on."""
        if before in self._periods:
            self._periods.append(after)

    def join(self, period: _Period) -> None:
        """Be set aside in this period too."""
        period.book(reserved=self._amount)
        self._periods.append(period)

    def settle(self, usd: float | None) -> None:
        """Book what the attempt cost. An unknown cost leaves spent all that was reserved, which is the most it can be.

        Raises:
            RuntimeError: it ended before.
        """
        cost = known(usd)
        self._end(self._amount if cost is None else _exact(cost))

    def release(self) -> None:
        """Give everything back: the attempt cost nothing.

        Raises:
            RuntimeError: it ended before.
        """
        self._end(Fraction(0))

    def _end(self, cost: Fraction) -> None:
        if self._ended:
            raise RuntimeError("this reservation was settled or released before")
        self._ended = True
        self._held.discard(self)
        for period in self._periods:
            period.book(spent=cost, reserved=-self._amount)


class _Budget:
    """One entry of the configuration, and its present period."""

    def __init__(self, entry: BudgetEntry, now: float) -> None:
        self.entry = entry
        self.limit = _exact(entry.limit_usd)
        self._kind, _, self._name = entry.scope.partition(":")
        self._period = _Period(*_bounds(entry.period, now), self.limit)

    def concerns(self, charge: Charge) -> bool:
        match self._kind:
            case "global":
                return True
            case "key":
                return self._name == charge.tenant
            case "model":
                return self._name in charge.models
            case _:
                return self._name in charge.providers

    def like(self, other: _Budget) -> bool:
        """Whether both count the same money."""
        return (self.entry.scope, self.entry.period) == (other.entry.scope, other.entry.period)

    def count_on(self, period: _Period) -> _Period:
        """Begin with what was counted in a period of the same money; the period that goes on."""
        own = self._period
        own.starts_at, own.ends_at = period.starts_at, period.ends_at
        own.spent, own.reserved = period.spent, period.reserved
        own.book()
        return own

    def at(self, now: float) -> _Period:
        """The present period; a clock that was set back does not bring an old one back."""
        if now >= self._period.ends_at:
            self._period = _Period(*_bounds(self.entry.period, now), self.limit)
        return self._period

    def holds(self, now: float, usd: float | None) -> bool:
        """Whether this much more fits; what costs nothing always does, what nobody knows never."""
        cost = known(usd)
        if cost is None:
            return False
        period = self.at(now)
        if cost == 0 or cost < period.room_usd * (1 - _CLEARLY):
            return True
        return period.taken + _exact(cost) <= self.limit

    def pacing(self, now: float) -> Pacing:
        period = self.at(now)
        elapsed = (now - period.starts_at) / (period.ends_at - period.starts_at)
        return Pacing(period.share, min(1.0, max(0.0, elapsed)))

    def reason(self, now: float, usd: float | None) -> str:
        entry, period, cost = self.entry, self.at(now), known(usd)
        whole = f"{dollars(entry.limit_usd, 6)} a {entry.period} ({entry.scope})"
        if cost is None:
            return f"price unknown, and the budget of {whole} counts known ones only: give it a price in the catalogue"
        return (
            f"over budget: of {whole}, {dollars(float(period.taken), 6)} is spent or reserved and this may cost "
            f"{dollars(cost)}; the next {entry.period} begins at {_utc(period.ends_at):%Y-%m-%d %H:%M} UTC"
        )


class Budgets:
    """All budgets of one router. Used from one thread; `clock` gives seconds since 1970, UTC."""

    def __init__(self, entries: Sequence[BudgetEntry], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: set[Reservation] = set()
        ordered = sorted(entries, key=lambda entry: STRICTEST_FIRST.index(entry.on_exceeded))
        self._arrange([_Budget(entry, clock()) for entry in ordered])

    def _arrange(self, budgets: list[_Budget]) -> None:
        self._budgets = budgets
        self._binding = [budget for budget in self._budgets if budget.entry.on_exceeded != "warn"]
        self._daily = [budget for budget in self._budgets if budget.entry.period == "day"]

    def become(self, other: Budgets) -> None:
        """Have another's entries from now on.

        Whose money was counted before is counted on, under its new limit. Others begin with what the other one knows to
        be spent, and with what is set aside now, which is nothing where there were no budgets: an attempt that ended
        while the log was read may be counted twice.
        """
        now = self._clock()
        for budget in other._budgets:
            before = next((each.at(now) for each in self._budgets if each.like(budget)), None)
            after = budget.at(now) if before is None else budget.count_on(before)
            for reservation in tuple(self._held):
                if before is not None:
                    reservation.follow(before, after)
                elif budget.concerns(reservation.charge):
                    reservation.join(after)
        self._arrange(other._budgets)

    def __len__(self) -> int:
        """How many there are; none makes it false."""
        return len(self._budgets)

    @property
    def daily(self) -> bool:
        """Whether any has the period of a day: what the policy `budget` paces itself by."""
        return bool(self._daily)

    def pacings(self, asked: Asked) -> dict[str, Pacing]:
        """By name: of the daily budgets that the charge concerns, the one whose money goes fastest against the clock.

        What is reserved counts as spent. Whoever no daily budget concerns is left out.
        """
        now = self._clock()
        paced = [(budget, budget.pacing(now)) for budget in self._daily]
        paced.sort(key=lambda each: each[1].elapsed - each[1].spent)  # the fastest first
        found: dict[str, Pacing] = {}
        for name, (charge, _) in asked.items():
            for budget, pacing in paced:
                if budget.concerns(charge):
                    found[name] = pacing
                    break
        return found

    def refusal(self, charge: Charge, usd: float | None) -> Exceeded | None:
        """The strictest budget that an attempt of this cost does not fit into; None when it may be made.

        An unknown cost (None) fits into no budget that could refuse it. Changes nothing.
        """
        return self._refusal(self._clock(), charge, usd)

    def refusals(self, asked: Asked) -> dict[str, Exceeded]:
        """Who of these is refused, and by which budget, as `refusal` says."""
        now = self._clock()
        found = ((name, self._refusal(now, charge, usd)) for name, (charge, usd) in asked.items())
        return {name: refused for name, refused in found if refused is not None}

    def warnings(self, charge: Charge, usd: float | None) -> list[str]:
        """What the soft budgets have to say of an attempt of this cost; they refuse nothing."""
        now, soft = self._clock(), [b for b in self._of(charge) if b.entry.on_exceeded == "warn"]
        return [budget.reason(now, usd) for budget in soft if not budget.holds(now, usd)]

    def reserve(self, charge: Charge, usd: float | None) -> Reservation | Exceeded:
        """Set the money aside in every budget that the charge concerns, or in none of them.

        An unknown cost, where only soft budgets (or none) are concerned, sets nothing aside.
        """
        now = self._clock()
        refused = self._refusal(now, charge, usd)
        if refused is not None:
            return refused
        periods = [b.at(now) for b in self._of(charge)]
        return Reservation(charge, periods, _exact(known(usd) or 0.0), self._held)

    def spend(self, charge: Charge, usd: float, at: float) -> None:
        """Book what was spent at that time (seconds since 1970) without a reservation: what a log remembers."""
        now = self._clock()
        for budget in self._of(charge):
            period = budget.at(now)
            if period.starts_at <= at < period.ends_at:
                period.book(spent=_exact(usd))

    def since(self) -> float | None:
        """When the longest of the present periods began (seconds since 1970): what was spent before no longer counts.

        None when there are no budgets.
        """
        now = self._clock()
        return min((budget.at(now).starts_at for budget in self._budgets), default=None)

    def states(self) -> list[BudgetState]:
        """Every budget as it stands, the strictest first."""
        now = self._clock()
        return [_state(budget.entry, budget.at(now)) for budget in self._budgets]

    def _refusal(self, now: float, charge: Charge, usd: float | None) -> Exceeded | None:
        for budget in self._binding:
            if budget.concerns(charge) and not budget.holds(now, usd):
                entry = budget.entry
                return Exceeded(
                    scope=entry.scope,
                    period=entry.period,
                    limit_usd=entry.limit_usd,
                    on_exceeded=entry.on_exceeded,
                    reason=budget.reason(now, usd),
                )
        return None

    def _of(self, charge: Charge) -> Iterator[_Budget]:
        return (budget for budget in self._budgets if budget.concerns(charge))


def charge_of(request: InferenceRequest, candidate: Candidate) -> Charge:
    """Whom asking this candidate would be charged to."""
    models = tuple(dict.fromkeys((request.model, candidate.listed_as, candidate.target.model)))
    return Charge(request.tenant, models, asked_providers(candidate.target.provider, candidate.through))


def asked_providers(provider: str, through: str) -> tuple[str, ...]:
    """Every name under which asking a provider is charged: whoever is paid by a router is paid from its budget."""
    return tuple(dict.fromkeys((provider, through or provider)))


def check_scopes(
    entries: Sequence[BudgetEntry], models: Collection[str], providers: Collection[str], *, keys: bool = False
) -> None:
    """See that each budget can bind something, and none is there twice. `keys`: whether senders have names at all.

    Raises:
        SettingsError: naming the scope that is malformed, unknown or repeated.
    """
    known_names = {"model": models, "provider": providers}
    for entry in entries:
        kind, colon, name = entry.scope.partition(":")
        if not (entry.scope == "global" or (kind in {"key", *known_names} and colon and name)):
            forms = "global, key:NAME, model:ID, provider:NAME"
            raise SettingsError(f"budgets: {entry.scope!r} is no scope; one of {forms}.")
        if kind == "key" and not keys:
            raise SettingsError(
                f"budgets: {entry.scope!r}: auth.mode is 'none', so nobody has a key and it would bind nobody."
            )
        if kind in known_names and name not in known_names[kind]:
            there_are = ", ".join(sorted(known_names[kind]))
            raise SettingsError(f"budgets: {entry.scope!r}: unknown {kind} {name!r}; there are: {there_are}.")
    kinds = [(entry.scope, entry.period, entry.on_exceeded) for entry in entries]
    for scope, period, on_exceeded in kinds:
        if kinds.count((scope, period, on_exceeded)) > 1:
            raise SettingsError(f"budgets: {scope!r} has two budgets a {period} that {on_exceeded}.")


def _exact(usd: float) -> Fraction:
    """The amount as it is written in decimals: ten times a tenth is one, which it is not in binary."""
    return Fraction(repr(float(usd)))


def _bounds(period: Literal["day", "month"], now: float) -> tuple[datetime, datetime]:
    today = _utc(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return today, today + timedelta(days=1)
    first = today.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _state(entry: BudgetEntry, period: _Period) -> BudgetState:
    return BudgetState(
        scope=entry.scope,
        period=entry.period,
        on_exceeded=entry.on_exceeded,
        limit_usd=entry.limit_usd,
        spent_usd=float(period.spent),
        reserved_usd=float(period.reserved),
        resets_at=f"{_utc(period.ends_at):%Y-%m-%dT%H:%M:%SZ}",
    )
