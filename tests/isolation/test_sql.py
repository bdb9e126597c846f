"""SQL that a tenant brings: whatever it tries, it reads its own rows, even were the check of names not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from router.decision_log import isolated, sql
from router.decision_log.columns import VIEWS
from router.errors import QueryRefused
from tests.isolation.world import MINE, OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.decision_log.log import DecisionLog
    from router.decision_log.queries import LogReader
    from tests.isolation.world import World

ALLOWED = [
    "SELECT * FROM decisions",
    "SELECT * FROM main.decisions",
    'SELECT * FROM "decisions" WHERE tenant IS NOT NULL OR true',
    f"SELECT * FROM decisions WHERE tenant = '{OTHERS[:5]}' || '{OTHERS[5:]}'",
    "SELECT d FROM decisions d",
    "SELECT decisions FROM decisions",
    "SELECT COLUMNS(*) FROM decisions",
    "SELECT #1, #2 FROM decisions",
    "SELECT * FROM decisions d(a, b, c)",
    "WITH decisions AS (SELECT * FROM decisions) SELECT * FROM decisions",
    "WITH decisions AS MATERIALIZED (SELECT * FROM main.decisions) SELECT tenant, request_id FROM decisions",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t, decisions",
    "SELECT (SELECT string_agg(tenant || request_id, ',') FROM decisions)",
    "SELECT * FROM decisions d, LATERAL (SELECT * FROM attempts a WHERE a.decision_id = d.decision_id) l",
    "SELECT * FROM decisions NATURAL JOIN attempts",
    "SELECT * FROM decisions RIGHT JOIN attempts USING (decision_id)",
    "SELECT * FROM decisions FULL JOIN feedback USING (decision_id)",
    "SELECT * FROM (FROM decisions UNION ALL BY NAME FROM feedback)",
    "FROM decisions ANTI JOIN (SELECT decision_id FROM decisions) USING (decision_id)",
    "SELECT tenant, count(*) FROM decisions GROUP BY ALL",
    "SELECT tenant, row_number() OVER (ORDER BY ts) FROM decisions QUALIFY true",
    "SUMMARIZE decisions",
    "DESCRIBE decisions",
    "SELECT * FROM (DESCRIBE decisions)",
    "SELECT * FROM attempts",
    "SELECT * FROM candidates",
    "SELECT * FROM feedback",
    "SELECT * FROM shadows",
    "SELECT * FROM decisions TABLESAMPLE 100%",
    "SELECT tenant /* \" ' */ -- ;\n FROM decisions;",
    "FROM decisions SELECT list(request_id), min(error), max(reason)",
]
TRICKS = [
    "SELECT * FROM nearfar_log.decisions",
    "SELECT * FROM nearfar_log.decision_rows",
    "SELECT * FROM log.nearfar_log.decision_rows",
    "SELECT * FROM log.main.decisions",
    "SELECT * FROM log.decisions",
    "SELECT * FROM memory.main.decisions",
    "SELECT * FROM temp.decisions",
    "SELECT * FROM temp.main.ended",
    "SELECT * FROM incoming",
    "SELECT * FROM con",
    "SELECT * FROM sees",
    "SELECT * FROM own_rows",
    "SELECT * FROM query('SELECT * FROM log.main.decisions')",
    "SELECT * FROM query_table('log.main.decisions')",
    "SELECT * FROM query_table(['decisions', 'nearfar_log.settled'], true)",
    "SELECT * FROM duckdb_tables()",
    "SELECT * FROM duckdb_views()",
    "SELECT * FROM duckdb_columns()",
    "SELECT * FROM duckdb_databases()",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_logs()",
    "SELECT * FROM duckdb_variables()",
    "SELECT * FROM duckdb_prepared_statements()",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM pragma_table_info('decisions')",
    "SELECT * FROM pragma_storage_info('decisions')",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM information_schema.views",
    "SELECT * FROM pg_catalog.pg_views",
    "SELECT * FROM sqlite_master",
    "SELECT getvariable('nearfar')",
    "SELECT current_setting('allowed_paths')",
    "SELECT getenv('HOME')",
    "SELECT * FROM read_csv('{path}')",
    "SELECT * FROM read_text('{path}')",
    "SELECT * FROM read_blob('{path}')",
    "SELECT * FROM read_json('{path}')",
    "SELECT * FROM parquet_scan('{path}')",
    "SELECT * FROM '{path}'",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM sniff_csv('{path}')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM decisions'))",
    "ATTACH '{path}' AS other",
    "ATTACH '{path}' AS other (READ_ONLY)",
    "COPY (SELECT * FROM decisions) TO '{folder}/out.csv'",
    "COPY decisions FROM '{path}'",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET GLOBAL allowed_directories = ['{folder}']",
    "RESET memory_limit",
    "USE log",
    "PRAGMA database_list",
    "PRAGMA show_tables",
    "SHOW ALL TABLES",
    "SHOW DATABASES",
    "PREPARE p AS SELECT * FROM log.main.decisions",
    "EXECUTE p",
    "CREATE MACRO decisions() AS TABLE SELECT * FROM log.main.decisions",
    "CREATE OR REPLACE VIEW decisions AS SELECT * FROM log.main.decisions",
    "CALL pragma_database_list()",
    "EXPLAIN ANALYZE SELECT * FROM log.main.decisions",
    "SELECT 1; SELECT * FROM log.main.decisions",
    "WITH t AS (SELECT * FROM nearfar_log.settled) SELECT * FROM t",
    "WITH RECURSIVE decisions AS (SELECT * FROM log.main.decisions UNION ALL SELECT * FROM decisions) FROM decisions",
    "SELECT (SELECT count(*) FROM nearfar_log.decision_rows)",
    "SELECT list_transform([1], lambda x: (SELECT max(request_id) FROM nearfar_log.decision_rows))",
    "SELECT * FROM decisions WHERE EXISTS (SELECT 1 FROM nearfar_log.settled)",
    "SELECT * FROM decisions ORDER BY (SELECT 1 FROM nearfar_log.cells LIMIT 1)",
    "SELECT * FROM decisions POSITIONAL JOIN nearfar_log.decision_rows",
    "SELECT * FROM decisions, LATERAL (SELECT * FROM nearfar_log.attempt_rows) l",
    "FROM nearfar_log.decision_rows",
    "TABLE nearfar_log.decision_rows",
    "SUMMARIZE nearfar_log.decision_rows",
    "DESCRIBE nearfar_log.decision_rows",
    "SELECT * FROM '\u200bdecisions'",
]


@pytest.fixture
def mine(world: World) -> LogReader:
    """The log as a tenant may see it."""
    world.app.state.services.log.flush()
    return world.app.state.services.log.reader(MINE)


def _filled(world: World, query: str) -> str:
    return query.replace("{path}", str(world.log_path)).replace("{folder}", str(world.log_path.parent))


def _told(world: World, tenant: str | None, query: str) -> Any:
    return world.ask(tenant, "POST", "/v1/analytics/sql", json={"query": query})


@pytest.mark.parametrize("query", ALLOWED)
def test_what_may_be_asked_is_answered_from_ones_own_rows(world: World, query: str) -> None:
    """However the rows are named, joined and taken apart."""
    answer = _told(world, MINE, query)

    assert 200 == answer.status_code, answer.text
    assert OTHERS not in answer.text.replace(OTHERS[:5] + "'", "")
    assert not [one for one in world.ids[OTHERS] if one in answer.text]


@pytest.mark.parametrize("query", TRICKS)
def test_a_trick_is_refused(world: World, query: str) -> None:
    """With words that name none of the others, and no file."""
    answer = _told(world, MINE, _filled(world, query))

    assert (400, "query_refused") == (answer.status_code, answer.json()["error"]["code"])
    assert OTHERS not in answer.text
    if "{path}" not in query and "{folder}" not in query:  # what the sender said itself it may hear again
        assert str(world.log_path.parent) not in answer.text


@pytest.fixture(scope="module")
def own_rows(world: World) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database as a tenant's query has it, with all that there is to read."""
    log: DecisionLog = world.app.state.services.log
    log.flush()
    with duckdb.connect(":memory:", config=isolated._CONFIG) as made, log.cursor() as con:
        isolated.collect(con, made, MINE, isolated.Reads(set(VIEWS), None), 60.0)
        yield made


@pytest.mark.parametrize("query", [*ALLOWED, *TRICKS])
def test_a_trick_that_passed_the_check_would_find_nothing(
    world: World, own_rows: duckdb.DuckDBPyConnection, query: str
) -> None:
    """Where it runs there are only its own rows: with no check at all, nothing of the others is to be had."""
    try:
        found = repr(sql.answered(own_rows.cursor(), _filled(world, query), 10_000, 10.0))
    except QueryRefused as refused:
        found = str(refused)

    assert OTHERS not in found.replace(OTHERS[:5] + "'", "")
    assert not [one for one in world.ids[OTHERS] if one in found]
    assert "nearfar_log" not in found.replace(query, "") or "does not exist" in found
    assert not (world.log_path.parent / "out.csv").exists()


def test_an_admin_reads_everybodys_rows(world: World) -> None:
    """Otherwise the tests above would prove nothing."""
    told = _told(world, None, "SELECT DISTINCT tenant FROM decisions").json()["rows"]

    assert {MINE, OTHERS} <= {tenant for (tenant,) in told}


@pytest.mark.parametrize("view", VIEWS)
def test_a_tenant_has_the_views_that_an_admin_has(world: World, view: str) -> None:
    """The same columns of the same types, whichever of them are asked for."""
    mine, everybodys = (_told(world, who, f"DESCRIBE {view}").json()["rows"] for who in (MINE, None))

    assert [row[:2] for row in everybodys] == [row[:2] for row in mine]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM decisions",
        "SELECT status, count(*) AS n FROM decisions GROUP BY status ORDER BY n, status",
        "SELECT d.STATUS, a.won FROM decisions d JOIN attempts a USING (decision_id) ORDER BY ALL",
        "SELECT x.task FROM (SELECT d FROM decisions AS d) t, LATERAL (SELECT t.d.task AS task) x ORDER BY ALL",
        "SELECT c, count(*) FROM decisions d(a, b, c) GROUP BY ALL ORDER BY ALL",
        "SELECT count(*) FROM candidates NATURAL JOIN decisions",
        "SELECT decisions.task FROM decisions ORDER BY ALL",
        "SELECT struct_extract(decisions, 'task') FROM decisions ORDER BY ALL",
        "SELECT body->>'local' IS NULL FROM price_books",
    ],
)
def test_columns_that_a_query_does_not_name_are_not_missed(world: World, mine: LogReader, query: str) -> None:
    """Only what it names is copied: its answer is that of a copy with all columns."""
    with_all = isolated.Reads(set(VIEWS), None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(isolated, "_reads", lambda tree: with_all)
        expected = mine.sql(query)

    assert expected == mine.sql(query)


def test_rows_that_do_not_fit_are_refused_with_what_helps(mine: LogReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant with more than fits beside the log is told to name fewer columns."""
    monkeypatch.setitem(isolated._CONFIG, "memory_limit", "1MB")
    with pytest.raises(QueryRefused, match="name fewer"):
        mine.sql("SELECT * FROM decisions JOIN candidates USING (decision_id) JOIN attempts USING (decision_id)")
