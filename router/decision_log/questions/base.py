"""What a question of analytics is: what may be asked of it, and from which sums its answer comes.

Whole hours come from the sums kept in `nearfar_log.cells`; what has not been settled yet, and the parts of hours at
both ends of the range, are added up from the rows when the question is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
from msgspec import Struct

from router.decision_log import cells
from router.decision_log.facts import facts
from router.decision_log.histograms import quantiles
from router.decision_log.tenancy import own, own_sums

if TYPE_CHECKING:
    from collections.abc import Mapping

HOUR = timedelta(hours=1)
GROUPS: dict[str, str] = {
    "backend": "backend",
    "model": "model",
    "task": "task",
    "policy": "value",
    "day": "hour::DATE",
    "candidate": "candidate",
    "tenant": "value",
    "route": "value",
    "intent": "value",
}
SIDE = "CASE WHEN backend = 'browser' THEN 'browser' WHEN near THEN 'near' WHEN NOT near THEN 'far' END"


GROUPED = {
    "backend": "Which backend answered; null where nobody did.",
    "model": "Which model was asked for.",
    "task": "Which task.",
    "policy": "Which policy decided; null where a request was refused before.",
    "day": "Which UTC day the decision was made.",
    "candidate": "Which candidate answered; null where nobody did.",
    "tenant": "Whose requests; null where nobody was named.",
    "route": "Which configured route was taken; null for none.",
    "intent": "What the prompt wanted, by `routing.intents`; null where that is off.",
    "side": "`near`, `far` or `browser`: where the answer came from; null where nobody answered.",
}


class Asked(Struct, frozen=True, kw_only=True):
    """One question as it was asked. Times are UTC without a zone; `since` is inclusive, `until` is not.

    `sees` is whose decisions count: one tenant's, or with None everybody's. There is no default: whoever changes what
    is asked does so by `msgspec.structs.replace`, and so forgets nobody.
    """

    sees: str | None
    since: datetime | None = None
    until: datetime | None = None
    by: str | None = None
    step: str | None = None

    @property
    def slot(self) -> str:
        """How finely the sums must tell times apart."""
        return "minute" if self.step == "minute" else "hour"


class Question(Struct, frozen=True, kw_only=True):
    """A named question.

    Attributes:
        says: What it answers, in a sentence or two.
        by: What its rows may be grouped by; the first is what they are when nobody says.
        columns: What each column of a row means, units included.
        answer: Makes the rows, and whatever else belongs to the answer.
        steps: Whether its rows follow each other in time, and so may be asked by step.
    """

    name: str
    says: str
    by: tuple[str, ...]
    columns: dict[str, str]
    answer: Callable[[duckdb.DuckDBPyConnection, Asked], dict[str, Any]]
    steps: bool = False


def in_range(asked: Asked) -> str:
    """The condition that a decision lies in the range, and may be seen."""
    return f"{_within(asked.since, asked.until, 'ts')} AND {own(asked.sees)}"


def _within(since: datetime | None, until: datetime | None, column: str) -> str:
    tests = [
        *([f"{column} >= {_literal(since)}"] if since else []),
        *([f"{column} < {_literal(until)}"] if until else []),
    ]
    return " AND ".join(tests) or "true"


def cells_in(asked: Asked, *, judged: bool = False) -> str:
    """A query of all cells in the range, those kept and those added up now, that tell the groups asked for apart.

    Hindsight (regret, and what far would have cost) is part of the new ones only where it is wanted: `judged`.
    """
    sets = [_dimension(asked)]
    if asked.slot != "hour" or asked.sees == "":  # of nobody's decisions no sums are kept: nobody has asked for them
        return cells.cells(facts(whole_in(asked), asked.slot, judged=judged), sets)
    live, kept = _live_and_kept(asked)
    kept += f" AND dimension = '{sets[0]}' AND {own_sums(asked.sees, sets[0])}"
    return f"SELECT * FROM nearfar_log.cells WHERE {kept} UNION ALL BY NAME FROM ({cells.cells(facts(live, judged=judged), sets)})"  # noqa: E501, S608


def savings_in(asked: Asked) -> str:
    """A query of all sums of savings in the range, those kept and those added up now."""
    sets = [_dimension(asked)]
    if asked.sees == "":
        return cells.folded(cells.compared(facts(whole_in(asked))), sets)
    live, kept = _live_and_kept(asked)
    open_clusters = f"SELECT *, NULL::UUID AS single FROM nearfar_log.clusters WHERE {kept} AND {own(asked.sees)}"  # noqa: S608
    parts = f"{open_clusters} UNION ALL BY NAME FROM ({cells.compared(facts(live))})"
    kept += f" AND dimension = '{sets[0]}' AND {own_sums(asked.sees, sets[0])}"
    return f"SELECT * FROM nearfar_log.savings WHERE {kept} UNION ALL BY NAME FROM ({cells.folded(parts, sets)})"  # noqa: S608


def _dimension(asked: Asked) -> str:
    return asked.by if asked.by in cells.APART else cells.CORE


def whole_in(asked: Asked) -> str:
    """A query of all whole decisions in the range, the older ones first as a rule."""
    where = in_range(asked)
    return (
        f"SELECT * FROM nearfar_log.settled WHERE {where} UNION ALL BY NAME SELECT * FROM nearfar_log.hot WHERE {where}"  # noqa: S608
    )


def grouped(
    relation: str, keys: Mapping[str, str], sums: Mapping[str, str], of: Mapping[str, Mapping[str, float]]
) -> str:
    """A query that adds up a relation of cells: one row per combination of keys, in their order.

    Args:
        relation: A query of cells.
        keys: Name -> expression to group by.
        sums: Name -> aggregate over the cells of a group.
        of: Histogram column -> name -> quantile that is wanted of it.
    """
    names = [f'"{name}"' for name in keys]
    told = ", ".join(f"{expression} AS {name}" for name, expression in zip(names, keys.values(), strict=True))
    # cells that were taken out again leave groups of nothing behind
    added = ", ".join(f"{value} AS {name}" for name, value in sums.items())
    parts = [f"SELECT {', '.join(names)}, {added} FROM told GROUP BY ALL HAVING sum(n) > 0"]  # noqa: S608
    parts += [quantiles("told", histogram, names, wanted) for histogram, wanted in of.items()]
    joined = "sums0"
    for n in range(1, len(parts)):
        same = " AND ".join(f"sums0.{name} IS NOT DISTINCT FROM sums{n}.{name}" for name in names)
        joined += f" LEFT JOIN sums{n} ON {same}"
    columns = ", ".join(["sums0.*", *(f"sums{n}.{name}" for n, w in enumerate(of.values(), 1) for name in w)])
    withs = ", ".join(f"sums{n} AS ({part})" for n, part in enumerate(parts))
    order = ", ".join(f"sums0.{name} NULLS LAST" for name in names)
    return f"""
        WITH given AS ({relation}), told AS MATERIALIZED (SELECT {told}, * FROM given), {withs}
        SELECT {columns} FROM {joined} ORDER BY {order}"""  # noqa: S608


def _live_and_kept(asked: Asked) -> tuple[str, str]:
    """A query of the whole decisions to add up now, and the condition of the hours whose sums are kept."""
    where = in_range(asked)
    live = f"SELECT * FROM nearfar_log.hot WHERE {where}"  # noqa: S608
    first, last = _hours(asked)
    edges = [f"ts < {_literal(first)}"] if first else []
    edges += [f"ts >= {_literal(last)}"] if last else []
    if edges:
        live += f" UNION ALL BY NAME SELECT * FROM nearfar_log.settled WHERE {where} AND ({' OR '.join(edges)})"  # noqa: S608
    return live, _within(first, last, "hour")


def _hours(asked: Asked) -> tuple[datetime | None, datetime | None]:
    """The first whole hour in the range, and the end of the last; equal when there is none."""
    first = asked.since and -(-(asked.since - datetime.min) // HOUR) * HOUR + datetime.min  # noqa: DTZ901 - without zone
    last = asked.until and _floor(asked.until)
    return (first, max(first, last)) if first and last else (first, last)


def _floor(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _literal(moment: datetime) -> str:
    return f"TIMESTAMP '{moment.isoformat(sep=' ')}'"
