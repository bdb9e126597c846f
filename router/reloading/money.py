"""Other budgets come into force, and nothing that was spent or set aside is forgotten, or may be spent once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.budgets import Budget, Budgets


def succeed(present: Budgets, others: Budgets, now: float) -> None:
    """Have the others' entries at once.

    Whose money was counted before is counted on, under its new limit. Others begin with what they know to be spent, and
    with what is set aside now (which is nothing where there were no budgets): an attempt that ended while that was
    read may be counted twice.
    """
    for budget in others.each:
        before = next((one.at(now) for one in present.each if _like(one, budget)), None)
        after = budget.at(now)
        if before is not None:
            after.book(spent=before.spent - after.spent, reserved=before.reserved - after.reserved)
        for reservation in present.held:
            if before in reservation.periods:
                reservation.periods.append(after)
            elif before is None and budget.concerns(reservation.charge):
                reservation.join(after)
    present.have(others.each)


def _like(one: Budget, other: Budget) -> bool:
    """Whether both count the same money."""
    return (one.entry.scope, one.entry.period) == (other.entry.scope, other.entry.period)
