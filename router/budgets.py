"""What may be spent far: reserved before an attempt and settled after it, by key, model, provider and altogether.

State and arithmetic, with the clock passed in. Nothing here waits, so on the event loop to look and to reserve are one
step: of any number of attempts at once exactly those are admitted that fit. Amounts are exact: cents add up to dollars.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from policies.base import dollars, known
from policies.types import Pacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.charges import Asked, Charge
    from router.sections import BudgetEntry

OnExceeded = Literal["near", "refuse", "warn"]
STRICTEST_FIRST: tuple[OnExceeded, ...] = ("refuse", "near", "warn")
_CLEARLY = 1e-9  # far more than floats are wrong by: what fits by as much need not be added up exactly


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


class Period:
    """One day or month of a budget. What was reserved in it is settled in it, however late.

    Attributes:
        held: What of the limit may be spent here: all of it, where no other router spends it too.
        taken: What is spent or reserved here, exactly.
        room_usd: The nearest float to what is left.
        share: The nearest float to the part of the limit that is taken; 1 where there is no money at all.
    """

    def __init__(self, starts_at: float, ends_at: float, limit: Fraction) -> None:
        self.starts_at, self.ends_at = starts_at, ends_at
        self.limit = self.held = limit
        self.spent = self.reserved = Fraction(0)
        self.book()

    @property
    def total(self) -> tuple[Fraction, Fraction]:
        """What is spent, and what is reserved."""
        return self.spent, self.reserved

    @property
    def told(self) -> str:
        """How it stands, for people."""
        return f"{dollars(float(self.taken), 6)} is spent or reserved"

    def book(self, *, spent: Fraction | int = 0, reserved: Fraction | int = 0) -> None:
        """Add to what is spent and reserved, or take away. Every decision reads the sums, and few change them."""
        self.spent += spent
        self.reserved += reserved
        self.taken = self.spent + self.reserved
        self.room_usd = float(self.held - self.taken)
        self.share = float(self.taken / self.limit) if self.limit else 1.0

    def holds(self, cost: float) -> bool:
        """Whether this much more fits; what costs nothing always does."""
        if cost == 0 or cost < self.room_usd * (1 - _CLEARLY):
            return True
        return self.taken + exact(cost) <= self.held

    def may_hold(self, cost: float) -> bool:
        """Whether this much more may fit before the period ends: what is set aside for others may come free."""
        return self.spent + exact(cost) <= self.limit


Opening = Callable[["BudgetEntry", float, float], Period]
"""Makes a budget's period of when it begins and when it ends (seconds since 1970)."""


class Reservation:
    """Money set aside for one attempt. It ends once: settled at what the attempt cost, or released."""

    def __init__(self, charge: Charge, amount: Fraction, held: set[Reservation]) -> None:
        """`held` are those that have not ended: this one is among them until it has."""
        self.charge = charge
        self.periods: list[Period] = []
        self._amount = amount
        self._held = held
        self._ended = False
        held.add(self)

    def join(self, period: Period) -> None:
        """Set it aside in this period, too."""
        period.book(reserved=self._amount)
        self.periods.append(period)

    def settle(self, usd: float | None) -> None:
        """Book what the attempt cost. An unknown cost leaves spent all that was reserved, which is the most it can be.

        Raises:
            RuntimeError: it ended before.
        """
        cost = known(usd)
        self._end(self._amount if cost is None else exact(cost))

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
        for period in self.periods:
            period.book(spent=cost, reserved=-self._amount)


class Budget:
    """One entry of the configuration, and its present period."""

    def __init__(self, entry: BudgetEntry, now: float) -> None:
        self.entry = entry
        self._kind, _, self._name = entry.scope.partition(":")
        self.open(_whole, now)

    def open(self, opening: Opening, now: float) -> None:
        """Begin the present period, and every later one, in this way."""
        self._opening = opening
        self._period = opening(self.entry, *bounds(self.entry.period, now))

    def concerns(self, charge: Charge) -> bool:
        """Whether it is spent from by whoever is charged so."""
        match self._kind:
            case "global":
                return True
            case "key":
                return self._name == charge.tenant
            case "model":
                return self._name in charge.models
            case _:
                return self._name in charge.providers

    def at(self, now: float) -> Period:
        """The present period; a clock that was set back does not bring an old one back."""
        if now >= self._period.ends_at:
            self._period = self._opening(self.entry, *bounds(self.entry.period, now))
        return self._period

    def holds(self, now: float, usd: float | None) -> bool:
        """Whether this much more fits; what costs nothing always does, what nobody knows never."""
        cost = known(usd)
        return cost is not None and self.at(now).holds(cost)

    def pacing(self, now: float) -> Pacing:
        """How much of it has gone, beside how much of its period has."""
        period = self.at(now)
        elapsed = (now - period.starts_at) / (period.ends_at - period.starts_at)
        return Pacing(period.share, min(1.0, max(0.0, elapsed)))

    def reason(self, now: float, usd: float | None) -> str:
        """Why this much more does not fit, for people."""
        entry, period, cost = self.entry, self.at(now), known(usd)
        whole = f"{dollars(entry.limit_usd, 6)} a {entry.period} ({entry.scope})"
        if cost is None:
            return f"price unknown, and the budget of {whole} counts known ones only: give it a price in the catalogue"
        return (
            f"over budget: of {whole}, {period.told} and this may cost {dollars(cost)}; the next {entry.period} begins "
            f"at {_utc(period.ends_at):%Y-%m-%d %H:%M} UTC"
        )


class Budgets:
    """All budgets of one router. Used from one thread; `clock` gives seconds since 1970, UTC.

    Attributes:
        each: The strictest first.
        held: What is reserved and has not ended.
        widen: Where other routers spend the same money, and only a part of it is held here: has more of it brought, if
            there is any, before somebody is refused. None where all of it is here.
    """

    def __init__(self, entries: Sequence[BudgetEntry], clock: Callable[[], float]) -> None:
        self._clock = clock
        self.held: set[Reservation] = set()
        ordered = sorted(entries, key=lambda entry: STRICTEST_FIRST.index(entry.on_exceeded))
        self.have([Budget(entry, clock()) for entry in ordered])
        self.widen: Callable[[Asked], Awaitable[None]] | None = None

    def have(self, each: list[Budget]) -> None:
        """Have these from now on."""
        self.each = each
        self._binding = [budget for budget in self.each if budget.entry.on_exceeded != "warn"]
        self._daily = [budget for budget in self.each if budget.entry.period == "day"]

    def share(self, opening: Opening, widen: Callable[[Asked], Awaitable[None]]) -> None:
        """Spend from now on what `opening` says may be spent here. Nothing may be reserved yet."""
        now, self.widen = self._clock(), widen
        for budget in self.each:
            budget.open(opening, now)

    def __len__(self) -> int:
        """How many there are; none makes it false."""
        return len(self.each)

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

    def lacking(self, asked: Asked) -> dict[Period, list[float]]:
        """By period, what they cost of whom some do not fit in; nothing where everybody fits in."""
        now = self._clock()
        found: dict[Period, list[float]] = {}
        for charge, usd in asked.values():
            cost = known(usd)
            if cost is None:
                continue
            for period in (budget.at(now) for budget in self._binding if budget.concerns(charge)):
                if not period.holds(cost):
                    found.setdefault(period, []).append(cost)
        return found

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
        made = Reservation(charge, exact(known(usd) or 0.0), self.held)
        for budget in self._of(charge):
            made.join(budget.at(now))
        return made

    def spend(self, charge: Charge, usd: float, at: float) -> None:
        """Book what was spent at that time (seconds since 1970) without a reservation: what a log remembers."""
        now = self._clock()
        for budget in self._of(charge):
            period = budget.at(now)
            if period.starts_at <= at < period.ends_at:
                period.book(spent=exact(usd))

    def since(self) -> float | None:
        """When the longest of the present periods began (seconds since 1970): what was spent before no longer counts.

        None when there are no budgets.
        """
        now = self._clock()
        return min((budget.at(now).starts_at for budget in self.each), default=None)

    def states(self) -> list[BudgetState]:
        """Every budget as it stands, the strictest first."""
        now = self._clock()
        return [_state(budget.entry, budget.at(now)) for budget in self.each]

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

    def _of(self, charge: Charge) -> Iterator[Budget]:
        return (budget for budget in self.each if budget.concerns(charge))


def _whole(entry: BudgetEntry, starts_at: float, ends_at: float) -> Period:
    """A period of which all that the entry allows may be spent here."""
    return Period(starts_at, ends_at, exact(entry.limit_usd))


def exact(usd: float) -> Fraction:
    """The amount as it is written in decimals: ten times a tenth is one, which it is not in binary."""
    return Fraction(repr(float(usd)))


def bounds(period: Literal["day", "month"], now: float) -> tuple[float, float]:
    """When the period of this instant begins, and when it ends (seconds since 1970)."""
    begins = _utc(now).replace(hour=0, minute=0, second=0, microsecond=0)
    ends = begins + timedelta(days=1)
    if period == "month":
        begins = begins.replace(day=1)
        ends = (begins + timedelta(days=32)).replace(day=1)
    return begins.timestamp(), ends.timestamp()


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _state(entry: BudgetEntry, period: Period) -> BudgetState:
    spent, reserved = period.total
    return BudgetState(
        scope=entry.scope,
        period=entry.period,
        on_exceeded=entry.on_exceeded,
        limit_usd=entry.limit_usd,
        spent_usd=float(spent),
        reserved_usd=float(reserved),
        resets_at=f"{_utc(period.ends_at):%Y-%m-%dT%H:%M:%SZ}",
    )
