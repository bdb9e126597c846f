"""The owner's book of money: what each router was granted of a budget. Arithmetic alone, exact; knows no wire.

Whatever was granted and not given back counts as spent, whoever holds it and for how long: so the sum of what is really
spent can exceed no limit, whatever is lost, doubled or late, and whoever dies. A router that dies takes what it held
with it, until the period is over. That is little: it holds no more ahead than its spending of `cluster.hold_s` seconds,
and no more than its fair part of half of what nobody holds.
"""

from __future__ import annotations

from fractions import Fraction

from msgspec import Struct

from router.cluster.wire import NONE, Row

SCARCE_S = 3.0
_NANO = 10**9


class Holding(Struct):
    """What one start of a router holds of an account."""

    node: str
    granted: Fraction = NONE
    returned: Fraction = NONE
    spent: Fraction = NONE
    earlier: Fraction = NONE
    reserved: Fraction = NONE  # for display alone

    @property
    def committed(self) -> Fraction:
        """What nobody else may spend."""
        return max(self.granted - self.returned, self.spent) + self.earlier


class Account:
    """A budget in one of its periods."""

    def __init__(self, limit: Fraction) -> None:
        self.limit = limit
        self.holdings: dict[str, Holding] = {}
        self._scarce_until = 0.0

    @property
    def room(self) -> Fraction:
        """What nobody holds and nobody has spent."""
        return max(NONE, self.limit - sum((held.committed for held in self.holdings.values()), NONE))

    def scarce(self, now: float) -> bool:
        """Whether somebody went without a moment ago: then nobody should hold anything ahead."""
        return now < self._scarce_until

    def report(self, holder: str, node: str, row: Row, *, newest: bool) -> Holding:
        """Take in what a router says of itself; the holding, to be written down.

        What its log remembers counts where no start of the same router has ever held anything of the account: else it
        was counted when it was granted.
        """
        held = self.holdings.get(holder)
        if held is None:
            known = any(other.node == node for other in self.holdings.values())
            held = self.holdings[holder] = Holding(node, earlier=NONE if known else row.earlier)
        held.returned = max(held.returned, row.returned)
        held.spent = max(held.spent, row.spent)
        if newest:
            held.reserved = row.reserved
        return held

    def grant(self, holder: str, row: Row, routers: int, now: float) -> None:
        """Grant what is needed, as far as there is room; and ahead, to each a fair part of half of what is left.

        What would help nobody is not granted, for somebody else may lack no more than that. Where others hold ahead
        what is missing, nobody holds anything ahead for a while: what is given back then goes to whoever needs it.
        """
        held = self.holdings[holder]
        most = held.granted + self.room
        if most >= row.needed:
            ahead = NONE if self.scarce(now) else _rounded((most - row.needed) / (2 * routers))
            held.granted = max(held.granted, min(row.wanted, row.needed + ahead))
        elif most >= row.enough:
            held.granted = most
        elif most + self._idle(but=holder) >= row.enough:
            self._scarce_until = now + SCARCE_S

    def _idle(self, but: str) -> Fraction:
        """What all others hold and have not even reserved."""
        others = (held for name, held in self.holdings.items() if name != but)
        return sum((max(NONE, h.granted - h.returned - h.spent - h.reserved) for h in others), NONE)


def _rounded(usd: Fraction) -> Fraction:
    """Down to a billionth of a dollar, so that halving for ever makes no fraction unwieldy."""
    return Fraction(int(usd * _NANO), _NANO)
