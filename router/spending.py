"""The budgets as they stand at the start: with what the log remembers of their present periods."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backends.remote.provider import asked_for
from router.budgets import Budgets
from router.charges import Charge, asked_providers
from router.checks import far_targets

if TYPE_CHECKING:
    from router.catalog import Catalog
    from router.decision_log.taking import Log
    from router.sections import Settings


def spent_budgets(settings: Settings, catalog: Catalog, log: Log) -> Budgets:
    """The budgets, with what the log remembers of their present periods."""
    budgets = Budgets(settings.budgets, time.time)
    since = budgets.since()
    if since is not None:
        log.flush()  # also what a process that was killed had left in the spill file
        listed: dict[tuple[str, str], list[str]] = {}
        for entry, target in far_targets(catalog):
            listed.setdefault((target.provider, target.model), []).append(entry.id)
        for spent in log.reader().spent(datetime.fromtimestamp(since, UTC)):
            far = asked_for(spent.provider, catalog.providers)
            entries = listed.get((spent.provider, spent.model), listed.get((far, spent.model), []))
            charge = Charge(
                spent.tenant, (spent.asked_model, spent.model, *entries), asked_providers(spent.provider, far)
            )
            budgets.spend(charge, spent.usd, spent.day_s)
    return budgets
