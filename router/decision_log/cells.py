"""Sums that answer every question of analytics: facts added up by hour and by what one may group by. SQL, no state.

All columns but the dimensions are sums, counts and histograms: cells of the same dimensions add up, and a decision that
was counted can be taken out again. So an answer is the same whether it was added up beforehand or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.decision_log.facts import BASELINES, DIMENSIONS, MEASURED, facts
from router.decision_log.histograms import histogram

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import duckdb

VERSION = "7"
"""Counted up whenever a sum here, or a fact, changes its meaning: then what is kept is added up anew."""

APART = ("policy", "tenant", "route", "intent")
"""Dimensions that are added up each by itself: all combinations of them would be as many as there are decisions."""

OWNED = tuple(name for name in APART if name != "tenant")
"""Dimensions that are added up for each tenant as well, beside the core: what a tenant may ask about its own."""

CORE = "core"
CELL_KEYS = ("hour", "dimension", "value", "near", "model", "task", "backend", "provider", "candidate", "chosen")
SAVING_KEYS = ("hour", "dimension", "value", "model", "task")
_CLUSTER_KEYS = ("hour", *DIMENSIONS, "cluster")
_OK = "status = 'ok'"
_SEEN = "first_ms IS NOT NULL"

CELL_SUMS = {
    "n": "count(*)",
    "ok": f"count(*) FILTER ({_OK})",
    "in_pages": f"count(*) FILTER ({_OK} AND backend = 'browser')",
    "failed": "count(*) FILTER (status = 'error')",
    "refused": "count(*) FILTER (status = 'refused')",
    "cancelled": "count(*) FILTER (status = 'cancelled')",
    "open": "count(*) FILTER (status = 'open')",
    "cost_usd": "sum(cost_usd)",
    "cost_known": "count(cost_usd)",
    "cost_unknown": "count(*) FILTER (status <> 'open' AND cost_usd IS NULL)",
    "prompt_tokens": "sum(prompt_tokens)",
    "completion_tokens": "sum(completion_tokens)",
    "speaking_ms": f"sum(observed_ms) FILTER ({_OK} AND completion_tokens > 0)",
    "spoken_tokens": f"sum(completion_tokens) FILTER ({_OK} AND completion_tokens > 0)",
    "occupancy_ms": "sum(occupancy_ms)",
    "occupancy_usd": "sum(occupancy_usd)",
    "charged_ms": "sum(occupancy_ms) FILTER (occupancy_usd IS NOT NULL)",
    "occupancy_n": f"count(occupancy_ms) FILTER ({_OK} AND near)",
    "answering_ms": f"sum(occupancy_ms) FILTER ({_OK} AND near)",
    "far_usd": "sum(all_far.usd)",
    "far_n": "count(all_far.usd)",
    "seen": f"count(*) FILTER ({_SEEN})",
    "log_ratio": f"sum(ln(first_ms / pred_ms)) FILTER ({_SEEN})",
    **{f"in_p{q}": f"count(*) FILTER ({_SEEN} AND first_ms <= p{q}_ms)" for q in (90, 95, 99)},
    "in_p50": f"count(*) FILTER ({_SEEN} AND first_ms <= pred_ms)",
    **{f"n_p{q}": f"count(*) FILTER ({_SEEN} AND p{q}_ms IS NOT NULL)" for q in (90, 95, 99)},
    "judged": "count(*) FILTER (judged)",
    "measured": "sum(measured)",
    "regret_ms": "sum(regret_ms) FILTER (judged)",
    "slower": "count(*) FILTER (judged AND regret_ms > 0)",
    "regret_usd": "sum(regret_usd) FILTER (judged)",
    "regret_usd_n": "count(regret_usd) FILTER (judged)",
    "dearer": "count(*) FILTER (judged AND regret_usd > 0)",
    "beaten": "count(*) FILTER (judged AND is_beaten)",
}
CELL_HISTOGRAMS = {f"{name}_hist": histogram(f"{name}_bucket") for name in MEASURED}
SAVING_SUMS = {
    "judged": "sum(judged)",
    "usd_n": "sum(usd_n)",
    "usd": "sum(usd)",
    "usd_clusters": "count(*) FILTER (usd_n > 0)",
    "usd_ss": "sum(usd * usd)",
    "usd_sn": "sum(usd * usd_n)",
    "usd_nn": "sum(usd_n * usd_n)",
    "ms_n": "sum(ms_n)",
    "ms": "sum(ms)",
    "ms_clusters": "count(*) FILTER (ms_n > 0)",
    "ms_ss": "sum(ms * ms)",
    "ms_sn": "sum(ms * ms_n)",
    "ms_nn": "sum(ms_n * ms_n)",
}
_BIGINTS = frozenset({"judged", "usd_n", "ms_n", "usd_nn", "ms_nn", "measured", "prompt_tokens", "completion_tokens",
    "spoken_tokens"})  # fmt: skip
"""Sums of whole numbers, which DuckDB would make HUGEINT or DECIMAL of."""


def cells(of_facts: str, dimensions: Sequence[str] = (CORE, *APART), *, owned: bool = False) -> str:
    """A query that adds up a query's facts into cells: one set for each of the dimensions, of each owner if `owned`."""
    owner, where, more = ("tenant AS owner, ", "WHERE tenant IS NOT NULL ", ("tenant",)) if owned else ("", "", ())
    return f"""
        SELECT {owner}{_keys(CELL_KEYS, dimensions)}, {_named(CELL_SUMS | CELL_HISTOGRAMS)} FROM ({of_facts}) {where}
        GROUP BY GROUPING SETS ({_sets(CELL_KEYS, dimensions, *more)})"""  # noqa: S608 - our own names


def _kept_cells(of_facts: str) -> str:
    """A query of the cells that are kept: everybody's together, which have no owner, and each tenant's own."""
    return f"{cells(of_facts)} UNION ALL BY NAME {cells(of_facts, (CORE, *OWNED), owned=True)}"


def compared(of_facts: str) -> str:
    """A query of what each baseline would have cost and taken more than what was done, by cluster.

    A cluster is what one session, or else one tenant, asked within an hour; `single` tells those of neither apart.
    """
    keys = ", ".join(_CLUSTER_KEYS)
    saved = ", ".join(
        f"{name}.usd - cost_usd AS {name}_usd, {name}.ms - observed_ms AS {name}_ms" for name in map(_column, BASELINES)
    )
    sums = ", ".join(
        f"count({name}) AS {name}_n, coalesce(sum({name}), 0) AS {name}"
        for name in (f"{_column(baseline)}_{unit}" for baseline in BASELINES for unit in ("usd", "ms"))
    )
    return f"""
        SELECT {keys}, CASE WHEN cluster IS NULL THEN decision_id END AS single, count(*) AS judged, {sums}
        FROM (SELECT {keys}, decision_id, {saved} FROM ({of_facts}) WHERE judged) GROUP BY {keys}, single"""  # noqa: S608


def folded(parts: str, dimensions: Sequence[str] = (CORE, *APART), *, owned: bool = False) -> str:
    """A query that adds up clusters, parts of the same one first, into what an interval needs of them; see `cells`."""
    owner, where, more = ("tenant AS owner, ", "WHERE tenant IS NOT NULL", ("tenant",)) if owned else ("", "", ())
    structs = ", ".join(
        f"{{'baseline': '{baseline}', 'usd': {name}_usd, 'usd_n': {name}_usd_n, 'ms': {name}_ms, 'ms_n': {name}_ms_n}}"
        for baseline, name in ((baseline, _column(baseline)) for baseline in BASELINES)
    )
    whole = ", ".join(
        f"sum({name}_{part})::{kind} AS {name}_{part}"
        for name in map(_column, BASELINES)
        for part, kind in (("usd", "DOUBLE"), ("usd_n", "BIGINT"), ("ms", "DOUBLE"), ("ms_n", "BIGINT"))
    )
    keys = ", ".join((*SAVING_KEYS, *(("owner",) if owned else ())))
    sets = _sets(SAVING_KEYS, dimensions, "cluster", "single", *more)
    return f"""
        WITH clustered AS (
            SELECT {owner}{_keys(SAVING_KEYS, dimensions)}, cluster, single, sum(judged)::BIGINT AS judged, {whole}
            FROM ({parts}) {where} GROUP BY GROUPING SETS ({sets}) HAVING sum(judged) <> 0)
        SELECT {keys}, baseline, {_named(SAVING_SUMS)}
        FROM (SELECT {keys}, judged, unnest([{structs}], max_depth := 2) FROM clustered)
        GROUP BY {keys}, baseline"""  # noqa: S608


def _kept_savings(parts: str) -> str:
    """A query of the sums of savings that are kept, as `_kept_cells`."""
    return f"FROM ({folded(parts)}) UNION ALL BY NAME FROM ({folded(parts, (CORE, *OWNED), owned=True)})"


def refresh(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of sums if there are none, or anew if they were made by other rules. That takes a while."""
    if con.execute("SELECT value FROM nearfar_log.meta WHERE key = 'cells'").fetchall() == [(VERSION,)]:
        return
    for table, made in (
        ("TEMP TABLE fact", facts("FROM nearfar_log.hot LIMIT 0")),  # once: DuckDB takes long to understand it
        ("TEMP TABLE parts", compared("FROM fact")),
        ("TABLE nearfar_log.cells", _kept_cells("FROM fact")),
        ("TABLE nearfar_log.clusters", "SELECT * EXCLUDE (single) FROM parts"),
        ("TABLE nearfar_log.savings", _kept_savings("FROM parts")),
    ):
        con.execute(f"CREATE OR REPLACE {table} AS FROM ({made}) WITH NO DATA")
    con.execute("DROP TABLE parts")
    con.execute("DROP TABLE fact")
    con.execute("DELETE FROM nearfar_log.meta WHERE key IN ('cells', 'folded')")
    con.execute("INSERT INTO nearfar_log.meta VALUES ('cells', ?), ('folded', '-infinity')", [VERSION])
    days = con.execute("SELECT DISTINCT ts::DATE FROM nearfar_log.settled ORDER BY 1").fetchall()
    for (day,) in days:  # one by one: the memory it takes does not grow with the log
        add(con, f"SELECT * FROM nearfar_log.settled WHERE ts::DATE = DATE '{day}'")  # noqa: S608


def add(con: duckdb.DuckDBPyConnection, source: str) -> None:
    """Count whole decisions in."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE fact AS {facts(source)}")
    con.execute(f"INSERT INTO nearfar_log.cells BY NAME FROM ({_kept_cells('FROM fact')})")
    _add_savings(con, "*", "*")


def take_out(con: duckdb.DuckDBPyConnection, source: str) -> None:
    """Count whole decisions out again that were counted in."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE fact AS {facts(source)}")
    keys = ", ".join((*CELL_KEYS, "owner"))
    others = f"{keys}, {', '.join(CELL_HISTOGRAMS)}"
    maps = ", ".join(
        f"map(map_keys({h}), list_transform(map_values({h}), lambda n: -n)) AS {h}" for h in CELL_HISTOGRAMS
    )
    taken = f"{keys}, -COLUMNS(* EXCLUDE ({others})), {maps}"
    con.execute(f"INSERT INTO nearfar_log.cells BY NAME SELECT {taken} FROM ({_kept_cells('FROM fact')})")  # noqa: S608
    of_clusters, of_sums = ", ".join(_CLUSTER_KEYS), ", ".join((*SAVING_KEYS, "owner", "baseline"))
    _add_savings(
        con, f"{of_clusters}, -COLUMNS(* EXCLUDE ({of_clusters}))", f"{of_sums}, -COLUMNS(* EXCLUDE ({of_sums}))"
    )


def fold(con: duckdb.DuckDBPyConnection, until: datetime) -> None:
    """Add up the clusters of the hours before `until`: they are complete, and who they were is forgotten."""
    old = f"SELECT *, NULL::UUID AS single FROM nearfar_log.clusters WHERE hour < TIMESTAMP '{until}'"  # noqa: S608
    con.execute(f"INSERT INTO nearfar_log.savings BY NAME FROM ({_kept_savings(old)})")
    con.execute("DELETE FROM nearfar_log.clusters WHERE hour < ?", [until])
    con.execute("UPDATE nearfar_log.meta SET value = ? WHERE key = 'folded'", [str(until)])


def mend(con: duckdb.DuckDBPyConnection) -> None:
    """Add up the savings of an hour anew whose clusters have changed since they were folded."""
    hours = con.execute(
        "SELECT DISTINCT hour FROM nearfar_log.clusters "
        "WHERE hour < (SELECT value::TIMESTAMP FROM nearfar_log.meta WHERE key = 'folded')"
    ).fetchall()
    for (hour,) in hours:
        for table in ("clusters", "savings"):
            con.execute(f"DELETE FROM nearfar_log.{table} WHERE hour = ?", [hour])  # noqa: S608
        of_it = f"SELECT * FROM nearfar_log.settled WHERE date_trunc('hour', ts) = TIMESTAMP '{hour}'"  # noqa: S608
        con.execute(f"CREATE OR REPLACE TEMP TABLE parts AS FROM ({compared(facts(of_it))})")
        con.execute(f"INSERT INTO nearfar_log.savings BY NAME FROM ({_kept_savings('FROM parts')})")
        con.execute("DROP TABLE parts")


def _add_savings(con: duckdb.DuckDBPyConnection, as_clusters: str, as_sums: str) -> None:
    """Clusters may go on, and are kept apart until their hour is over; of decisions of no cluster only the sums are."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE parts AS FROM ({compared('FROM fact')})")
    together = "SELECT * EXCLUDE (single) FROM parts WHERE single IS NULL"
    con.execute(f"INSERT INTO nearfar_log.clusters BY NAME SELECT {as_clusters} FROM ({together})")  # noqa: S608
    alone = _kept_savings("SELECT * FROM parts WHERE single IS NOT NULL")
    con.execute(f"INSERT INTO nearfar_log.savings BY NAME SELECT {as_sums} FROM ({alone})")  # noqa: S608
    con.execute("DROP TABLE parts")
    con.execute("DROP TABLE fact")


def _column(baseline: str) -> str:
    return baseline.replace("-", "_")


def _sets(keys: Sequence[str], dimensions: Sequence[str], *more: str) -> str:
    """For GROUP BY GROUPING SETS: what tells the cells of each dimension apart."""
    core = [key for key in keys if key not in {"hour", "dimension", "value"}]
    near = ["near"] if "near" in keys else []
    sets = [("hour", *(core if name == CORE else (*near, name)), *more) for name in dimensions]
    return ", ".join(f"({', '.join(names)})" for names in sets)


def _keys(keys: Sequence[str], dimensions: Sequence[str]) -> str:
    """The keys as the grouping sets give them: a column that is no part of a set is NULL there."""
    apart = [name for name in dimensions if name != CORE]
    named = " ".join(f"WHEN grouping({name}) = 0 THEN '{name}'" for name in apart)
    values = " ".join(f"WHEN grouping({name}) = 0 THEN {name}" for name in apart)
    told = {
        "dimension": f"CASE {named} ELSE '{CORE}' END AS dimension" if apart else f"'{CORE}' AS dimension",
        "value": f"CASE {values} END AS value" if apart else "NULL::VARCHAR AS value",
    }
    plain = {"hour", "near"} if CORE not in dimensions else set(keys)
    return ", ".join(told.get(key) or (key if key in plain else f"NULL AS {key}") for key in keys)


def _named(sums: dict[str, str]) -> str:
    return ", ".join(
        f"({value})::BIGINT AS {name}" if name in _BIGINTS or value.startswith("count") else f"{value} AS {name}"
        for name, value in sums.items()
    )
