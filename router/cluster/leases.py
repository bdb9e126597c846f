"""A router's side of money: what it holds of each budget, so that it decides and reserves alone and at once.

Of what the owner granted it gives back what it does not use. A lease needs no renewal, because the owner never gives it
to another; a router that has not heard of the owner for too long (`cluster.survive_s`) spends nothing of it any more.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from policies.base import dollars
from router.budgets import Period, exact
from router.cluster.wire import NONE, AccountId, BudgetId, Granted, Row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.budgets import Budgets
    from router.charges import Asked
    from router.sections import BudgetEntry

HALF_LIFE_S = 5.0  # of what is known of how fast money goes
KEPT_S = 2 * 86_400.0  # after its end: whoever is heard of no sooner has lost what it held
_NANO = 10**9


class Lease(Period):
    """A period of a budget, of which this router may spend what it holds. A soft budget refuses nobody.

    Attributes:
        own_limit: What this router's configuration allows; what holds is `limit`, the owner's.
        heard: Whether the owner has said anything of it.
        room: What the owner could still grant when it was last heard.
    """

    def __init__(self, account: AccountId, starts_at: float, ends_at: float, limit: Fraction) -> None:
        self.account = account
        self.own_limit = limit
        self.earlier = self.returned = self.room = NONE
        self.heard = False
        self._granted = self._booked = self._asked = NONE
        self._least: Fraction | None = None
        self._others = NONE, NONE
        self._per_s, self._measured_at = 0.0, 0.0
        self._scarce = False
        self._told_all: bool | None = False  # None: with the exchange that is under way
        self._why = "the owner of the budgets has said nothing yet"
        super().__init__(starts_at, ends_at, limit)
        self._hold()

    @property
    def free(self) -> Fraction:
        """What is held, and neither spent nor reserved."""
        return self._granted - self.returned - self.taken

    @property
    def total(self) -> tuple[Fraction, Fraction]:
        """What is spent by all routers, and what is reserved."""
        spent, reserved = self._others
        return self.spent + spent, self.reserved + reserved

    def remember(self, usd: Fraction) -> None:
        """So much was spent in this period before this process began."""
        self.earlier = usd
        self._others = usd, NONE
        self._hold()

    @property
    def told(self) -> str:
        """How it stands, for people."""
        spent, reserved = self.total
        said = f"{dollars(float(spent + reserved), 6)} is spent or reserved, {dollars(max(0.0, self.room_usd), 6)} of "
        return f"{said}the rest is held here{f' ({self._why})' if self._why else ''},"

    def may_hold(self, cost: float) -> bool:
        """Whether this much more may fit: others may give back what they hold of it, and the owner may answer."""
        return self.total[0] + exact(cost) <= self.limit

    def book(self, *, spent: Fraction | int = 0, reserved: Fraction | int = 0) -> None:
        """Add to what is spent and reserved here, or take away."""
        super().book(spent=spent, reserved=reserved)
        self._booked += max(NONE, Fraction(reserved))
        self.share = float(sum(self.total, NONE) / self.limit) if self.limit else 1.0

    def lack(self, costs: list[float]) -> bool:
        """Somebody goes without, who has the choice of these. Whether the owner may have what is missing."""
        least, most = exact(min(costs)), exact(max(costs))
        self._least = least if self._least is None else min(self._least, least)
        waits = not self.heard or self.room + self.free >= least
        self._asked = self._asked + most if waits else max(self._asked, most)  # of those who do not wait, one will do
        return waits

    def row(self, now: float, mono: float, hold_s: float) -> Row:
        """What the owner should know, at this instant; what is not used is given back with it."""
        over = now >= self.ends_at
        self._told_all = None if over and not self.reserved else False
        if self.account.on_exceeded == "warn":  # whom it refuses nothing, it need not be granted anything
            return Row(account=self.account, spent=self.spent, reserved=self.reserved, earlier=self.earlier)
        self._measure(mono)
        asked, least = (NONE, NONE) if over else (self._asked, self._least or NONE)
        ahead = NONE if over or self._scarce else Fraction(round(self._per_s * hold_s * _NANO), _NANO)
        if self._scarce or (not asked and self.free > 2 * ahead):  # somewhat more than enough is not worth a word
            self.give_back(but=ahead)
        self._asked, self._least = NONE, None
        used = self.returned + self.taken
        return Row(
            account=self.account,
            spent=self.spent,
            reserved=self.reserved,
            returned=self.returned,
            needed=used + asked,
            enough=used + least,
            wanted=used + asked + ahead,
            earlier=self.earlier,
        )

    def give_back(self, but: Fraction = NONE) -> None:
        """Keep what is under way, and so much."""
        if self.free > but:
            self.returned += self.free - but
            self._hold()

    def apply(self, granted: Granted) -> None:
        """Take in what the owner said. It may be old: what was granted once stays so."""
        self.heard, self.limit, self.room = True, granted.limit, granted.room
        self._granted = max(self._granted, granted.granted)
        self._others = granted.spent, granted.reserved
        self._scarce = granted.scarce
        if self._told_all is None:
            self._told_all = True
        self._why = ""
        self._hold()

    def close(self, why: str) -> None:
        """Spend nothing more of it, until the owner is heard again."""
        self._why = why
        self._hold()

    def settled(self, now: float) -> bool:
        """Whether nothing of it matters any more to anybody: it is over, and the owner has heard the last of it."""
        return now >= self.ends_at + KEPT_S or (now >= self.ends_at and self._told_all is True)

    def _hold(self) -> None:
        if self.account.on_exceeded == "warn":
            self.held = self.limit - sum(self._others, NONE)
        else:
            self.held = self._granted - self.returned
            if self._why:
                self.held = min(self.held, self.taken)
        super().book()
        self.share = float(sum(self.total, NONE) / self.limit) if self.limit else 1.0

    def _measure(self, mono: float) -> None:
        """How fast money is set aside, the last seconds counting most."""
        elapsed = mono - self._measured_at
        if elapsed <= 0:
            return
        weight = 1.0 if not self._measured_at else 1 - 0.5 ** (elapsed / HALF_LIFE_S)
        self._per_s += weight * (float(self._booked + self._asked) / elapsed - self._per_s)
        self._booked, self._measured_at = NONE, mono


class Leases:
    """All of this router's leases, those of periods that are over until they are settled."""

    def __init__(self, budgets: Budgets, hold_s: float, remembered: Mapping[BudgetId, float]) -> None:
        self._budgets = budgets
        self._hold_s = hold_s
        self._remembered = dict(remembered)
        self.leases: dict[AccountId, Lease] = {}

    def opened(self, entry: BudgetEntry, starts_at: float, ends_at: float) -> Lease:
        """A period of a budget that begins, or is there at the start: then with what the log remembers of it."""
        account = AccountId(entry.scope, entry.period, entry.on_exceeded, int(starts_at))
        lease = Lease(account, starts_at, ends_at, exact(entry.limit_usd))
        lease.remember(exact(self._remembered.pop(account.budget, 0.0)))
        self.leases[account] = lease
        return lease

    def lacking(self, asked: Asked) -> bool:
        """Take in who goes without. True where it is worth waiting for the owner: it may have what is missing."""
        lacking = self._budgets.lacking(asked).items()
        waits = [isinstance(lease, Lease) and lease.lack(costs) for lease, costs in lacking]  # each hears of it
        return bool(waits) and all(waits)

    def rows(self, now: float, mono: float) -> list[Row]:
        """What the owner should know of each. Begins the periods that it is time for."""
        self._budgets.since()
        for account in [account for account, lease in self.leases.items() if lease.settled(now)]:
            del self.leases[account]
        return [lease.row(now, mono, self._hold_s) for lease in self.leases.values()]

    def apply(self, rows: list[Granted]) -> None:
        """Take in what the owner said."""
        for granted in rows:
            lease = self.leases.get(granted.account)
            if lease is not None:
                lease.apply(granted)

    def close(self, why: str) -> None:
        """Spend nothing more, until the owner is heard again."""
        for lease in self.leases.values():
            lease.close(why)

    def give_all_back(self) -> None:
        """Keep nothing but what is under way."""
        for lease in self.leases.values():
            lease.give_back()
