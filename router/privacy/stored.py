"""The inputs of a request as a row of the log, where they may be kept at all. Asks nobody, keeps nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from router.decision_log.record import InputRow

if TYPE_CHECKING:
    from router.sections import LogSettings
    from router.slate import Plan


def stored_input(plan: Plan, settings: LogSettings) -> InputRow | None:
    """The row; None unless the configuration asks for it, for this tenant, and never of what is private."""
    call = plan.call
    days = settings.inputs_retention_by_tenant.get(call.request.tenant, settings.inputs_retention_days)
    if not settings.store_inputs or call.routing.private or not days:
        return None
    body = msgspec.json.encode(call.request.payload).decode()
    return InputRow(decision_id=plan.decision_id, ts_us=plan.ts_us, tenant=call.request.tenant, body=body)
