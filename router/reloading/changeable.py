"""What of the configuration can change while a server runs, and what waits for its next start. Values only.

A section or a field that is not named here waits: whoever adds one and has nothing else to do is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from router.section import Section
from router.toml_lines import LoadedSettings

if TYPE_CHECKING:
    from router.sections import Settings

WHOLE = frozenset({"providers", "models", "aliases", "routes", "budgets"})
FIELDS = {
    "auth": frozenset({"requests_per_minute", "tokens_per_minute", "concurrency"}),
    "routing": frozenset({
        "policy", "weights", "slo_target", "worth", "hysteresis", "session_ttl_s", "deadline_ms", "max_attempts",
        "on_stream_failure", "hedging", "queue_share", "admission", "exploration", "shadow", "cascade",
    }),
    "local": frozenset({
        "rate_usd_per_hour", "cost_mode", "electricity_usd_per_kwh", "carbon_g_per_kwh", "credits_per_usd",
    }),
}  # fmt: skip


class Taken(NamedTuple):
    """A configuration as far as it can be taken over by a server that runs.

    Attributes:
        settings: What it runs by, with all that can change as it was read.
        changed: What of it is otherwise than before, such as `routing.policy` or `budgets`.
        waiting: What was read otherwise than it runs by, and needs a start.
    """

    settings: Settings
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def taken(running: Settings, read: Settings) -> Taken:
    """What a server that runs by one configuration can take over of another."""
    sections: dict[str, Any] = {}
    changed: list[str] = []
    waiting: list[str] = []
    for name in type(read).__struct_fields__:
        before, after = getattr(running, name, None), getattr(read, name)
        if name == "budgets" and before != after and running.cluster.state is not None:
            sections[name] = before
            waiting.append(name)  # the owner has granted parts of the present ones
            continue
        if before == after or name in WHOLE or not isinstance(before, Section):
            sections[name] = after
            changed += [name] if before != after and name in WHOLE else []
            continue
        movable = {field: getattr(after, field) for field in FIELDS.get(name, ()) if _differs(before, after, field)}
        sections[name] = msgspec.structs.replace(before, **movable)
        changed += [f"{name}.{field}" for field in movable]
        waiting += [f"{name}.{field}" for field in _differing(before, after) if field not in movable]
    return Taken(type(read)(**sections), tuple(changed), tuple(waiting))


def told(settings: Settings) -> str:
    """Where settings were read from, for people."""
    return settings.source.file if isinstance(settings, LoadedSettings) else "the environment"


def _differs(before: Section, after: Section, field: str) -> bool:
    return bool(getattr(before, field) != getattr(after, field))


def _differing(before: Section, after: Section) -> list[str]:
    return [field for field in type(after).__struct_fields__ if _differs(before, after, field)]
