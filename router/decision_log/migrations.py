"""How the database is opened and its tables and views come to be, step by step. Knows nothing of how rows get in.

A step is never edited once released: its name is kept in `nearfar_log.migrations`; a later step corrects it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb

from router.decision_log.arrivals import m0015_arrivals
from router.decision_log.cells import refresh
from router.decision_log.retention import owe_erasure
from router.decision_log.shapes import reshape
from router.errors import LogError, LogLocked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Step = Callable[[duckdb.DuckDBPyConnection], object]
    Allow = Callable[[duckdb.DuckDBPyConnection], object]

PUBLIC_VIEWS = (
    "decisions", "attempts", "candidates", "feedback", "shadows", "compare_runs", "compare_trials", "price_books",
    "policies", "nodes",
)  # fmt: skip
"""What users may query. The tables behind, in schema `nearfar_log`, may change; these keep their columns."""


def m0001_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Create the tables the rows go to.

    No primary keys: an index costs memory and time with every row, and each row has exactly one writer. What can come
    twice (a spilled row after a crash, a snapshot after a restart) is filtered when it is written.
    A column has the name of the row's field. NOT NULL is what makes a row with a missing value a rejected row.
    """
    con.execute("""
        CREATE TABLE nearfar_log.decision_rows (
            decision_id UUID NOT NULL, ts TIMESTAMP NOT NULL, node_id VARCHAR NOT NULL, boot_id UUID NOT NULL,
            seq BIGINT NOT NULL, schema_version SMALLINT NOT NULL, surface VARCHAR NOT NULL, request_id VARCHAR,
            mode VARCHAR NOT NULL, policy VARCHAR, policy_version VARCHAR, price_book VARCHAR, reason VARCHAR NOT NULL,
            task VARCHAR, model VARCHAR, input_tokens BIGINT, input_bytes BIGINT, output_tokens_est BIGINT,
            batch_items INTEGER NOT NULL, stream BOOLEAN NOT NULL, deadline_ms DOUBLE, max_cost_usd DOUBLE,
            max_latency_ms DOUBLE, min_quality DOUBLE, private BOOLEAN NOT NULL, payload_hash VARCHAR, inputs JSON,
            candidates STRUCT(
                candidate_id VARCHAR, backend VARCHAR, provider VARCHAR, model VARCHAR, device VARCHAR,
                eligible BOOLEAN, reason VARCHAR, warm BOOLEAN, queued INTEGER, load_ms DOUBLE, queue_ms DOUBLE,
                pred_ms DOUBLE, pred_source VARCHAR, pred_cost_usd DOUBLE, pred_cost_source VARCHAR,
                pred_quality DOUBLE, score DOUBLE)[] NOT NULL,
            chosen VARCHAR, decide_us BIGINT NOT NULL)""")
    con.execute("""
        CREATE TABLE nearfar_log.attempt_rows (
            decision_id UUID NOT NULL, attempt SMALLINT NOT NULL, ts TIMESTAMP NOT NULL, role VARCHAR NOT NULL,
            candidate_id VARCHAR NOT NULL, backend VARCHAR NOT NULL, provider VARCHAR NOT NULL, model VARCHAR NOT NULL,
            device VARCHAR NOT NULL, status VARCHAR NOT NULL, error_class VARCHAR, error VARCHAR,
            censored BOOLEAN NOT NULL, won BOOLEAN NOT NULL, total_ms DOUBLE NOT NULL, queue_ms DOUBLE, load_ms DOUBLE,
            service_ms DOUBLE, first_token_ms DOUBLE, batch_size INTEGER, prompt_tokens BIGINT,
            completion_tokens BIGINT, occupancy_ms DOUBLE, cost_usd DOUBLE, cost_source VARCHAR NOT NULL,
            provider_request_id VARCHAR)""")
    con.execute("""
        CREATE TABLE nearfar_log.outcome_rows (
            decision_id UUID NOT NULL, ts TIMESTAMP NOT NULL, status VARCHAR NOT NULL, error_class VARCHAR,
            error VARCHAR, backend VARCHAR, provider VARCHAR, model_served VARCHAR, device VARCHAR,
            attempts SMALLINT NOT NULL, latency_ms DOUBLE NOT NULL, overhead_ms DOUBLE NOT NULL, first_token_ms DOUBLE,
            prompt_tokens BIGINT, completion_tokens BIGINT, cost_usd DOUBLE, cost_source VARCHAR NOT NULL)""")
    con.execute(
        "CREATE TABLE nearfar_log.price_books (price_book VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, body JSON NOT NULL)"
    )
    con.execute("""
        CREATE TABLE nearfar_log.policies (
            policy_version VARCHAR NOT NULL, policy VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, body JSON NOT NULL)""")
    con.execute("""
        CREATE TABLE nearfar_log.nodes (
            boot_id UUID NOT NULL, node_id VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, hardware JSON NOT NULL,
            software JSON NOT NULL)""")


def m0002_node(con: duckdb.DuckDBPyConnection) -> None:
    """Give this log a name of its own: random, because a host name says more about its owner than a log needs."""
    con.execute("CREATE TABLE nearfar_log.meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL)")
    con.execute("INSERT INTO nearfar_log.meta VALUES ('node_id', uuid()::VARCHAR)")


def m0003_views(con: duckdb.DuckDBPyConnection) -> None:
    """Create what users query. A decision without outcome is `open`: still running, or lost with its process."""
    con.execute("""
        CREATE VIEW main.decisions AS SELECT
            decision_id, d.ts, o.backend, o.provider, o.device, d.model, o.model_served, d.task, d.policy,
            coalesce(o.status, 'open') AS status, o.latency_ms, o.first_token_ms, o.overhead_ms, o.cost_usd,
            o.cost_source, o.attempts, o.prompt_tokens, o.completion_tokens, d.reason, d.surface, d.stream,
            o.error_class, o.error, d.mode, d.chosen, d.policy_version, d.price_book, d.request_id, d.input_tokens,
            d.input_bytes, d.output_tokens_est, d.batch_items, d.deadline_ms, d.max_cost_usd, d.max_latency_ms,
            d.min_quality, d.private, d.payload_hash, d.decide_us, o.ts AS ended, d.node_id, d.boot_id, d.seq,
            d.schema_version
        FROM nearfar_log.decision_rows d LEFT JOIN nearfar_log.outcome_rows o USING (decision_id)""")
    con.execute("CREATE VIEW main.attempts AS SELECT * FROM nearfar_log.attempt_rows")
    con.execute("""
        CREATE VIEW main.candidates AS
        SELECT decision_id, ts, c.*, c.candidate_id IS NOT DISTINCT FROM chosen AS chosen
        FROM (SELECT decision_id, ts, chosen, unnest(candidates) AS c FROM nearfar_log.decision_rows)""")
    for name in ("price_books", "policies", "nodes"):
        con.execute(f"CREATE VIEW main.{name} AS SELECT * FROM nearfar_log.{name}")  # noqa: S608 - names from the line above


def m0004_media_and_intents(con: duckdb.DuckDBPyConnection) -> None:
    """What a prompt wants, and where an attempt's time went. A view keeps the columns it was made with: made anew."""
    for column in ("intent VARCHAR", "intent_probability DOUBLE"):
        con.execute(f"ALTER TABLE nearfar_log.decision_rows ADD COLUMN {column}")
    for column in ("pre_ms DOUBLE", "post_ms DOUBLE", "images BIGINT", "audio_s DOUBLE"):
        con.execute(f"ALTER TABLE nearfar_log.attempt_rows ADD COLUMN {column}")
    con.execute("""
        CREATE OR REPLACE VIEW main.decisions AS SELECT
            decision_id, d.ts, o.backend, o.provider, o.device, d.model, o.model_served, d.task, d.policy,
            coalesce(o.status, 'open') AS status, o.latency_ms, o.first_token_ms, o.overhead_ms, o.cost_usd,
            o.cost_source, o.attempts, o.prompt_tokens, o.completion_tokens, d.reason, d.surface, d.stream,
            o.error_class, o.error, d.mode, d.chosen, d.policy_version, d.price_book, d.request_id, d.input_tokens,
            d.input_bytes, d.output_tokens_est, d.batch_items, d.deadline_ms, d.max_cost_usd, d.max_latency_ms,
            d.min_quality, d.private, d.payload_hash, d.decide_us, o.ts AS ended, d.node_id, d.boot_id, d.seq,
            d.schema_version, d.intent, d.intent_probability
        FROM nearfar_log.decision_rows d LEFT JOIN nearfar_log.outcome_rows o USING (decision_id)""")
    con.execute("CREATE OR REPLACE VIEW main.attempts AS SELECT * FROM nearfar_log.attempt_rows")


def m0005_far_usage(con: duckdb.DuckDBPyConnection) -> None:
    """What a far side says it used, in our units and in its own words, and where an answer was joined."""
    for column in ("cached_tokens BIGINT", "compute_ms DOUBLE", "usage_raw JSON", "from_char BIGINT"):
        con.execute(f"ALTER TABLE nearfar_log.attempt_rows ADD COLUMN {column}")
    con.execute("CREATE OR REPLACE VIEW main.attempts AS SELECT * FROM nearfar_log.attempt_rows")


def m0006_predictions(con: duckdb.DuckDBPyConnection) -> None:
    """What was predicted in full, with which probability each choice was made, and what was learnt afterwards.

    Attempts that nobody waited for (`shadow`) are rows like others; no view hides them.
    """
    for column in (
        "near BOOLEAN", "code VARCHAR", "p90_ms DOUBLE", "p95_ms DOUBLE", "p99_ms DOUBLE", "first_token_ms DOUBLE",
        "first_token_p95_ms DOUBLE", "propensity DOUBLE",
    ):  # fmt: skip
        con.execute(f"ALTER TABLE nearfar_log.decision_rows ADD COLUMN candidates.element.{column}")
    for column in (
        "tenant VARCHAR", "session VARCHAR", "route VARCHAR", "explore_rate DOUBLE", "draw DOUBLE", "explored BOOLEAN",
        "propensity DOUBLE",
    ):  # fmt: skip
        con.execute(f"ALTER TABLE nearfar_log.decision_rows ADD COLUMN {column}")
    for column in (
        "cost_occupancy_usd DOUBLE", "cost_marginal_usd DOUBLE", "cost_amortised_usd DOUBLE", "energy_j DOUBLE",
        "energy_source VARCHAR", "confidence DOUBLE",
    ):  # fmt: skip
        con.execute(f"ALTER TABLE nearfar_log.attempt_rows ADD COLUMN {column}")
    con.execute("""
        CREATE TABLE nearfar_log.feedback (
            decision_id UUID NOT NULL, ts TIMESTAMP NOT NULL, source VARCHAR NOT NULL, metric VARCHAR NOT NULL,
            value DOUBLE NOT NULL, label VARCHAR, weight DOUBLE NOT NULL)""")
    con.execute("""
        CREATE TABLE nearfar_log.shadows (
            decision_id UUID NOT NULL, attempt SMALLINT NOT NULL, ts TIMESTAMP NOT NULL, candidate_id VARCHAR NOT NULL,
            reference VARCHAR NOT NULL, metric VARCHAR NOT NULL, agreement DOUBLE NOT NULL)""")
    con.execute("""
        CREATE TABLE nearfar_log.predictors (
            candidate_id VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, state JSON NOT NULL)""")


def m0007_views_of_predictions(con: duckdb.DuckDBPyConnection) -> None:
    """Make the views anew: a view keeps the columns it was made with."""
    con.execute("""
        CREATE OR REPLACE VIEW main.decisions AS SELECT
            decision_id, d.ts, o.backend, o.provider, o.device, d.model, o.model_served, d.task, d.policy,
            coalesce(o.status, 'open') AS status, o.latency_ms, o.first_token_ms, o.overhead_ms, o.cost_usd,
            o.cost_source, o.attempts, o.prompt_tokens, o.completion_tokens, d.reason, d.surface, d.stream,
            o.error_class, o.error, d.mode, d.chosen, d.policy_version, d.price_book, d.request_id, d.input_tokens,
            d.input_bytes, d.output_tokens_est, d.batch_items, d.deadline_ms, d.max_cost_usd, d.max_latency_ms,
            d.min_quality, d.private, d.payload_hash, d.decide_us, o.ts AS ended, d.node_id, d.boot_id, d.seq,
            d.schema_version, d.intent, d.intent_probability, d.tenant, d.session, d.route, d.explore_rate, d.draw,
            d.explored, d.propensity
        FROM nearfar_log.decision_rows d LEFT JOIN nearfar_log.outcome_rows o USING (decision_id)""")
    con.execute("""
        CREATE OR REPLACE VIEW main.candidates AS
        SELECT decision_id, ts, c.*, c.candidate_id IS NOT DISTINCT FROM chosen AS chosen
        FROM (SELECT decision_id, ts, chosen, unnest(candidates) AS c FROM nearfar_log.decision_rows)""")
    con.execute("CREATE OR REPLACE VIEW main.attempts AS SELECT * FROM nearfar_log.attempt_rows")
    for name in ("feedback", "shadows"):
        con.execute(f"CREATE VIEW main.{name} AS SELECT * FROM nearfar_log.{name}")  # noqa: S608 - names from above


def m0010_settled(con: duckdb.DuckDBPyConnection) -> None:
    """Room for decisions that have come to their end, one row each, and for what they add up to.

    They follow from the tables that rows arrive in, so `shapes` and `cells` make them after the last step, and widen
    them after later ones. This step says since when there are any: an older Nearfar would look for rows in vain.
    """


def m0011_inputs(con: duckdb.DuckDBPyConnection) -> None:
    """Give stored inputs a table of their own, which no view shows: they are deleted sooner than their decisions."""
    con.execute("""
        CREATE TABLE nearfar_log.inputs (
            decision_id UUID NOT NULL, ts TIMESTAMP NOT NULL, tenant VARCHAR NOT NULL, body JSON NOT NULL)""")
    listed = con.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'nearfar_log'").fetchall()
    for table in {"decision_rows", "settled"}.intersection(name for (name,) in listed):
        if con.execute(f"SELECT 1 FROM nearfar_log.{table} WHERE inputs IS NOT NULL LIMIT 1").fetchall():  # noqa: S608
            owe_erasure(con)  # those of private requests are nowhere then, and must be in no free block either
        con.execute(f"""
            INSERT INTO nearfar_log.inputs SELECT decision_id, ts, coalesce(tenant, ''), inputs
            FROM nearfar_log.{table} WHERE inputs IS NOT NULL AND NOT private""")  # noqa: S608 - names from above
        con.execute(f"ALTER TABLE nearfar_log.{table} DROP COLUMN inputs")


def m0012_catalogs(con: duckdb.DuckDBPyConnection) -> None:
    """Under which catalogue a request was decided, and every one there was: no view, as it says where weights lie."""
    con.execute("ALTER TABLE nearfar_log.decision_rows ADD COLUMN catalog VARCHAR")
    con.execute("""
        CREATE TABLE nearfar_log.catalogs (
            catalog VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, author VARCHAR, change VARCHAR NOT NULL,
            body JSON NOT NULL)""")


def m0013_comparisons(con: duckdb.DuckDBPyConnection) -> None:
    """Runs that compare candidates, and their trials. Of rows that were written again the views show the newest."""
    con.execute("""
        CREATE TABLE nearfar_log.compare_runs (
            run_id UUID NOT NULL, ts TIMESTAMP NOT NULL, tenant VARCHAR, suite VARCHAR NOT NULL,
            digest VARCHAR NOT NULL, task VARCHAR NOT NULL, metric VARCHAR, reference VARCHAR, seed BIGINT NOT NULL,
            loads JSON NOT NULL, repeats INTEGER NOT NULL, warm_up INTEGER NOT NULL, inputs INTEGER NOT NULL,
            candidates JSON NOT NULL, budget_usd DOUBLE, planned INTEGER NOT NULL, started_us BIGINT NOT NULL,
            ended_us BIGINT, stopped VARCHAR, machine JSON NOT NULL)""")
    con.execute("""
        CREATE TABLE nearfar_log.compare_trials (
            run_id UUID NOT NULL, ts TIMESTAMP NOT NULL, tenant VARCHAR, number INTEGER NOT NULL, load INTEGER NOT NULL,
            block INTEGER NOT NULL, repeat INTEGER NOT NULL, input INTEGER NOT NULL, candidate VARCHAR NOT NULL,
            warm_up BOOLEAN NOT NULL, due_s DOUBLE NOT NULL, sent_s DOUBLE NOT NULL, first_token_s DOUBLE,
            total_s DOUBLE, queue_s DOUBLE, service_s DOUBLE, status VARCHAR NOT NULL, error VARCHAR,
            truncated BOOLEAN NOT NULL, input_tokens BIGINT, output_tokens BIGINT, cost_usd DOUBLE, cost_source VARCHAR,
            decision_id UUID, score DOUBLE)""")
    con.execute("""
        CREATE VIEW main.compare_runs AS
        SELECT * EXCLUDE (digest, started_us, ended_us), make_timestamp(started_us) AS started,
            make_timestamp(ended_us) AS ended
        FROM nearfar_log.compare_runs QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY ts DESC) = 1""")
    con.execute("""
        CREATE VIEW main.compare_trials AS SELECT * FROM nearfar_log.compare_trials
        QUALIFY row_number() OVER (PARTITION BY run_id, number ORDER BY ts DESC) = 1""")


def m0014_replicas(con: duckdb.DuckDBPyConnection) -> None:
    """Which of a candidate's servers an attempt went to."""
    con.execute("ALTER TABLE nearfar_log.attempt_rows ADD COLUMN replica VARCHAR")


_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "storage_compatibility_version": "v1.5.0",  # DuckDB 1.5, supported until 2027, can read the file
    "autoinstall_known_extensions": False,  # a query never tries the network
    "autoload_known_extensions": False,
    "enable_external_access": False,  # nor any other file
    "python_enable_replacements": False,  # nor a variable of this process
    "checkpoint_threshold": "256MB",  # at the default of 16 MB commits stall for over a second at 5000 rows/s
    "memory_limit": "1GB",  # the machine is for models; bounds what a user's query can take as well
}


def connect(path: Path | None, *, allow: Allow | None = None) -> duckdb.DuckDBPyConnection:
    """Open the database file (None: one in memory), readable by its owner alone, and bring it to this version's shape.

    `allow` makes exceptions from the ban on files, for an export or for shipped segments.

    Raises:
        LogLocked: another process has it open.
        LogError: it cannot be opened for another reason; the message says which.
    """
    if path is not None and path.name.split(".")[0].lower() == "nearfar_log":
        # DuckDB names the catalogue after the file: `nearfar_log.x` could then be read in two ways, and it refuses
        raise LogError(f"The decision log cannot be called {path.name!r}: DuckDB needs a name other than its schema's.")
    try:
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = path is not None and not path.exists()
        con = _connected(path, allow)
        if path is not None and is_new:
            path.chmod(0o600)
    except (duckdb.Error, OSError) as error:
        raise _refusal(path.name if path else ":memory:", error) from error
    try:
        migrate(con)
        con.execute("SET GLOBAL TimeZone = 'UTC'")  # `now()` must compare with our timestamps, which are UTC
    except duckdb.Error as error:
        con.close()
        raise _refusal(path.name if path else ":memory:", error) from error
    except LogError:
        con.close()
        raise
    return con


def _connected(path: Path | None, allow: Allow | None) -> duckdb.DuckDBPyConnection:
    """DuckDB takes exceptions from the ban on files while there is none yet, and never after."""
    if allow is None:
        return duckdb.connect(str(path or ":memory:"), config=_CONFIG)
    con = duckdb.connect(str(path or ":memory:"), config=_CONFIG | {"enable_external_access": True})
    allow(con)
    con.execute("SET enable_external_access = false")
    return con


def first_line(error: Exception) -> str:
    """Return the part of an error that fits in a log line: DuckDB adds hints and the SQL below."""
    return str(error).strip().partition("\n")[0]


def _refusal(name: str, error: Exception) -> LogError:
    """Translate, leaving out where Python is installed, which DuckDB puts beside the process id."""
    message = first_line(error)
    if "Could not set lock" in message:
        found = re.search(r"\(PID (\d+)\)", message)
        owner = f" (PID {found[1]})" if found else ""
        return LogLocked(
            f"The decision log {name} is in use by another process{owner}. "
            "Reach that one with --server URL, or give this one another log.path."
        )
    return LogError(f"The decision log {name} cannot be opened: {message}")


STEPS: tuple[Step, ...] = (
    m0001_tables,
    m0002_node,
    m0003_views,
    m0004_media_and_intents,
    m0005_far_usage,
    m0006_predictions,
    m0007_views_of_predictions,
    m0010_settled,
    m0011_inputs,
    m0012_catalogs,
    m0013_comparisons,
    m0014_replicas,
    m0015_arrivals,
)


def migrate(con: duckdb.DuckDBPyConnection) -> None:
    """Bring the log to this version's shape: all missing steps, or none.

    Raises:
        LogError: the log was written by a newer nearfar, which may have changed what the columns mean.
    """
    con.execute("BEGIN")
    con.execute("CREATE SCHEMA IF NOT EXISTS nearfar_log")
    con.execute("CREATE TABLE IF NOT EXISTS nearfar_log.migrations (name VARCHAR NOT NULL, applied TIMESTAMP NOT NULL)")
    done = {name for (name,) in con.execute("SELECT name FROM nearfar_log.migrations").fetchall()}
    names = [step.__name__ for step in STEPS]
    if newer := sorted(done.difference(names)):
        con.execute("ROLLBACK")
        raise LogError(f"This decision log was written by a newer nearfar (it has {', '.join(newer)}); upgrade.")
    for name, step in zip(names, STEPS, strict=True):
        if name not in done:
            step(con)
            con.execute("INSERT INTO nearfar_log.migrations VALUES (?, now()::TIMESTAMP)", [name])
    if done != set(names):
        reshape(con)  # a step may have added columns, and these views are no part of any
    refresh(con)
    con.execute("COMMIT")
