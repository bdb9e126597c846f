"""The routes of the configuration as rules: which one a call falls under, and what its routing is then. Pure.

The first rule that matches decides. What it sets and what the request sets are both kept: of two limits the stricter,
of two sets of providers those in both. Where only one can be had (policy, order), the request's own word counts.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from router.sections import MatchEntry, UseEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from router.request import Routing

AUTO = "auto"  # the name that leaves the model to the rules
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES = 24 * 60
WHOLE_WEEK = (1 << len(DAYS) * MINUTES) - 1


class Facts(Struct, frozen=True, kw_only=True):
    """What a rule may look at.

    Attributes:
        name: The model or alias asked for, or `auto`.
        is_alias: Whether that is an alias.
        intent: What the prompt wants; None where nobody judged it.
        input_tokens: Estimated; None where the input has none.
        at: When; with its zone.
    """

    task: str
    name: str
    at: datetime
    is_alias: bool = False
    tenant: str = ""
    tags: frozenset[str] = frozenset()
    intent: str | None = None
    input_tokens: int | None = None


class Window(Struct, frozen=True):
    """Times of the week: bit n of `minutes` is the n-th minute since Monday began in `zone`."""

    minutes: int
    zone: str

    def holds(self, at: datetime) -> bool:
        """Whether it is such a time."""
        local = at.astimezone(_zone(self.zone))
        return bool(self.minutes >> (local.weekday() * MINUTES + local.hour * 60 + local.minute) & 1)


class Rule(Struct, frozen=True, kw_only=True):
    """A route, ready to be matched: None where it does not look.

    Attributes:
        names: The candidates it gives: an alias, or models; empty leaves the request's own.
        replaces: Whether that is so for a model that the request named; else only for `auto`.
    """

    name: str
    use: UseEntry
    tasks: frozenset[str] | None = None
    models: tuple[str, ...] | None = None
    aliases: frozenset[str] | None = None
    tenants: frozenset[str] | None = None
    tags: frozenset[str] | None = None
    intents: frozenset[str] | None = None
    least_tokens: int | None = None
    most_tokens: int | None = None
    window: Window | None = None
    names: tuple[str, ...] = ()
    replaces: bool = False

    @property
    def sized(self) -> bool:
        """Whether it looks at the size of the input."""
        return self.least_tokens is not None or self.most_tokens is not None


def rule_of(name: str, match: MatchEntry, use: UseEntry, task: str | None) -> Rule:
    """The rule that a route is; `task` is that of the candidates it gives, to which it is bound then.

    Raises:
        ValueError: the hours are none, or nobody knows the zone.
    """
    tasks = _names(match.task)
    if task is not None:
        tasks = frozenset({task}) if tasks is None else tasks & {task}
    models = _names(match.model)
    return Rule(
        name=name,
        use=use,
        tasks=tasks,
        models=None if models is None else tuple(sorted(models)),
        aliases=_names(match.alias),
        tenants=_names(match.tenant),
        tags=_names(match.tag),
        intents=_names(match.intent),
        least_tokens=match.min_input_tokens,
        most_tokens=match.max_input_tokens,
        window=_window(match),
        names=use.names,
        replaces=match.model is not None or match.alias is not None,
    )


def matches(rule: Rule, facts: Facts) -> bool:
    """Whether a call falls under a rule."""
    return (
        _among(rule.tasks, facts.task)
        and (rule.models is None or any(fnmatchcase(facts.name, pattern) for pattern in rule.models))
        and (rule.aliases is None or (facts.is_alias and facts.name in rule.aliases))
        and _among(rule.tenants, facts.tenant)
        and (rule.tags is None or not rule.tags.isdisjoint(facts.tags))
        and _among(rule.intents, facts.intent)
        and _sized(rule, facts.input_tokens)
        and (rule.window is None or rule.window.holds(facts.at))
    )


def first_match(rules: Sequence[Rule], facts: Facts) -> Rule | None:
    """The rule that decides; None where none matches."""
    return next((rule for rule in rules if matches(rule, facts)), None)


def merged(routing: Routing, use: UseEntry) -> Routing:
    """How a request is routed under a rule: no looser than either of them says."""
    within = list(routing.within)
    if routing.backend != "any" and use.backend not in {"any", routing.backend}:
        within.append((use.backend,))
    if routing.only and use.only:
        within.append(use.only)
    return replace(
        routing,
        policy=routing.policy or use.policy,
        backend=use.backend if routing.backend == "any" else routing.backend,
        only=routing.only or use.only,
        ignore=tuple(dict.fromkeys((*routing.ignore, *use.ignore))),
        order=routing.order or use.order,
        max_cost_usd=_stricter(min, routing.max_cost_usd, use.max_cost_usd),
        max_latency_ms=_stricter(min, routing.max_latency_ms, use.max_latency_ms),
        deadline_ms=_stricter(min, routing.deadline_ms, use.deadline_ms),
        min_quality=_stricter(max, routing.min_quality, use.min_quality),
        private=routing.private or use.private,
        within=tuple(within),
    )


def covers(earlier: Rule, later: Rule) -> bool:
    """Whether the earlier rule takes every call that the later one would: True only where that is certain."""
    return (
        _within(later.tasks, earlier.tasks)
        and _covers_names(earlier, later)
        and _within(later.tenants, earlier.tenants)
        and _within(later.tags, earlier.tags)
        and _within(later.intents, earlier.intents)
        and _covers_sizes(earlier, later)
        and _covers_times(earlier.window, later.window)
    )


def _among(allowed: frozenset[str] | None, value: str | None) -> bool:
    return allowed is None or value in allowed


def _sized(rule: Rule, tokens: int | None) -> bool:
    if not rule.sized:
        return True
    return tokens is not None and (rule.least_tokens or 0) <= tokens and not _over(tokens, rule.most_tokens)


def _over(tokens: int, most: int | None) -> bool:
    return most is not None and tokens > most


def _stricter(choose: Callable[[float, float], float], one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)


def _within(inner: Collection[str] | None, outer: Collection[str] | None) -> bool:
    return outer is None or (inner is not None and set(inner) <= set(outer))


def _covers_names(earlier: Rule, later: Rule) -> bool:
    """By the name asked for, at which `models` and `aliases` both look."""
    given = [names for names in (later.models, later.aliases) if names is not None]
    by_pattern = (
        earlier.models is None
        or "*" in earlier.models
        or any(all(any(_covers_glob(p, name) for p in earlier.models) for name in names) for names in given)
    )
    by_alias = earlier.aliases is None or (later.aliases is not None and later.aliases <= earlier.aliases)
    return by_pattern and by_alias


def is_glob(pattern: str) -> bool:
    """Whether it stands for more than one name."""
    return any(character in pattern for character in "*?[")


def _covers_glob(pattern: str, name: str) -> bool:
    """Whether a pattern matches all that another one (or a name) does."""
    if name == pattern or not is_glob(name):
        return name == pattern or fnmatchcase(name, pattern)
    beginning = pattern[:-1]
    return pattern.endswith("*") and not is_glob(beginning) and name.startswith(beginning)


def _covers_sizes(earlier: Rule, later: Rule) -> bool:
    if not earlier.sized:
        return True
    if not later.sized or (later.least_tokens or 0) < (earlier.least_tokens or 0):
        return False
    return earlier.most_tokens is None or not (later.most_tokens is None or later.most_tokens > earlier.most_tokens)


def _covers_times(earlier: Window | None, later: Window | None) -> bool:
    if earlier is None or earlier.minutes == WHOLE_WEEK:
        return True
    return later is not None and earlier.zone == later.zone and earlier.minutes | later.minutes == earlier.minutes


def _names(given: str | tuple[str, ...] | None) -> frozenset[str] | None:
    return None if given is None else frozenset({given} if isinstance(given, str) else given)


def _window(match: MatchEntry) -> Window | None:
    """The times of a match; None where it names none."""
    _zone(match.zone)
    if match.hours is None and match.days is None:
        return None
    begin, end = (0, MINUTES) if match.hours is None else _hours(match.hours)
    lasts = end - begin if begin < end else end - begin + MINUTES
    minutes = 0
    for day in DAYS if match.days is None else match.days:
        from_then_on = ((1 << lasts) - 1) << (DAYS.index(day) * MINUTES + begin)
        minutes |= (
            from_then_on | from_then_on >> len(DAYS) * MINUTES
        ) & WHOLE_WEEK  # Sunday's night is Monday's morning
    return Window(minutes, match.zone)


@cache
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # also where the system has no time zone database
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name!r}; names are those of the IANA's database, as Europe/Paris") from error


def _hours(hours: str) -> tuple[int, int]:
    """When they begin and end, in minutes since midnight."""
    first, _, last = hours.partition("-")
    try:
        begin, end = _minute(first), MINUTES if last == "24:00" else _minute(last)
    except ValueError as error:
        raise ValueError(f'hours are {hours!r}, but are written as "09:00-18:00"') from error
    if begin == end:
        raise ValueError(f"hours of {hours!r} are none: they end when they begin")
    return begin, end


def _minute(text: str) -> int:
    clock = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 -- a time of day has no zone
    return clock.hour * 60 + clock.minute
