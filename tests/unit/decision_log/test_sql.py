"""What users' SQL may do: look at the views, and nothing else."""

import contextlib
import re
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision_log import sql
from router.decision_log.log import DecisionLog
from router.errors import QueryRefused
from tests.unit.decision_log.conftest import make_decision

HOSTILE = [
    "",
    "select 1; select 2",
    "drop view decisions",
    "insert into nearfar_log.meta values ('a', 'b')",
    "delete from decisions",
    "update nearfar_log.meta set value = 'x'",
    "create table t (a int)",
    "attach '/tmp/x.db'",
    "copy decisions to '/tmp/x.csv'",
    "install httpfs",
    "load httpfs",
    "set memory_limit = '1TB'",
    "pragma database_list",
    "checkpoint",
    "call duckdb_settings()",
    "explain analyze select 1",
    "pivot decisions on backend using count(*)",
    "select * from (pivot decisions on backend using count(*))",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/*')",
    "select * from glob('/*')",
    "select * from '/etc/passwd'",
    'select * from "/etc/passwd"',
    "select * from sniff_csv('/etc/passwd')",
    "select * from parquet_metadata('/tmp/x.parquet')",
    "select * from nearfar_log.decision_rows",
    "select inputs from LOG.Decision_Rows",
    "select * from nearfar.nearfar_log.decision_rows",
    "select * from nearfar.main.decisions",
    "select * from duckdb_settings()",
    "select * from duckdb_databases()",
    "select * from duckdb_databases",
    "select * from information_schema.tables",
    "select * from pg_catalog.pg_class",
    "select * from pg_class",
    "select * from sqlite_master",
    "show tables",
    "show databases",
    "show all tables",
    "select * from (show tables)",
    "describe nearfar_log.decision_rows",
    "summarize nearfar_log.meta",
    "select current_setting('temp_directory')",
    "select CURRENT_SETTING('temp_directory')",
    "select \"current_setting\"('temp_directory')",
    "select main.current_setting('temp_directory')",
    "select 'temp_directory'.current_setting()",
    "select getvariable('x')",
    "select getenv('HOME')",
    "select current_database()",
    "select current_catalog",
    "select current_user",
    "select current_query()",
    "select version()",
    "select pg_get_viewdef(1)",
    "select * from pragma_database_size()",
    "select * from query('select * from nearfar_log.meta')",
    "select * from query_table('nearfar_log.meta')",
    "select * from json_execute_serialized_sql('{}')",
    "select * from seq_scan('meta')",
    "select * from test_all_types()",
    "select write_log('x')",
    "select sleep_ms(100000)",
    "select nextval('x')",
    "select repeat('x', 1000000000)",
    "select list_resize([1], 200000000)",
    "select range(1000000000)",
    "select list_transform([1], lambda x: current_setting('temp_directory'))",
    "select sum(current_setting('threads')::int) over () from decisions",
    "select 1 from decisions order by current_setting('temp_directory')",
    "select 1 from decisions where exists (select 1 from nearfar_log.meta)",
    "select 1 from decisions join nearfar_log.meta on true",
    "select 1 union all select value from nearfar_log.meta",
    "with c as (select value from nearfar_log.meta) select * from c",
    "with duckdb_settings as (select * from duckdb_settings) select * from duckdb_settings",
    "select * from (with duckdb_settings as (select 1) select * from duckdb_settings), duckdb_settings",
    "with a as (select * from pg_class), pg_class as (select 1) select * from a",
    "with recursive c as (select 1 a union all select a from c, nearfar_log.meta) select * from c",
    "select (select value from nearfar_log.meta limit 1)",
    "select * from unnest((select list(value) from nearfar_log.meta))",
    "select * from range((select count(*) from nearfar_log.meta))",
    "select $1",
    "select " + "(" * 3000 + "1" + ")" * 3000,
    "select " + "+".join(["1"] * 20_000),
    "select 1 --" + "x" * 60_000,
    "select * from decisions for update",
]

FRIENDLY = [
    "select 1",
    "select count(*) from decisions",
    "from decisions",
    "table attempts",
    "values (1), (2)",
    "summarize decisions",
    "describe decisions",
    "select * from main.decisions d join Candidates c using (decision_id) left join attempts a using (decision_id)",
    "with a as (select backend, cost_usd from decisions), b as (select * from a) select sum(cost_usd) from b",
    "with recursive c as (select 1 n union all select n + 1 from c where n < 5) select max(n) from c",
    "select date_trunc('hour', ts) h, quantile_cont(latency_ms, 0.95) from decisions group by all order by h -- why",
    "select row_number() over (partition by backend order by ts) from decisions qualify true",
    "select body->>'$.a', body::json->'b' from price_books",
    "select * from range(3) r(n), unnest([1, 2]) u(x), generate_series(1, 2)",
    "select d.*, n from decisions d, lateral (select count(*) n from attempts a where a.decision_id = d.decision_id)",
    "select columns('cost.*') from decisions",
    "select count(*) from decisions where ts > now() - interval 1 day and ts < current_timestamp",
    "select (select max(ts) from attempts), current_date",
    "select list_transform([1, 2], lambda x: x + 1)",
    "select backend, count(*) filter (status = 'ok') from decisions group by rollup (backend)",
    "select * from decisions order by ts desc limit 5 offset 1;",
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecisionLog]:
    """One log with one decision, for queries that must leave it as it is."""
    log = DecisionLog.open(tmp_path_factory.mktemp("kept") / "nearfar.duckdb")
    log.append(make_decision())
    log.flush()
    yield log
    log.close()


@pytest.mark.parametrize("query", HOSTILE, ids=lambda q: q[:60])
def test_hostile_sql_is_refused_and_changes_nothing(kept: DecisionLog, query: str) -> None:
    """SQL that is not one SELECT over the views is refused by name, and the refusal says nothing about this machine.

    Whatever is sent, the log's own tables stay as they are.
    """
    before = kept._con.cursor().execute("select * from nearfar_log.meta").fetchall()
    with pytest.raises(QueryRefused) as refusal:
        kept.reader().sql(query, timeout_s=2)
    assert str(kept._path.parent) not in str(refusal.value)
    assert "/root" not in str(refusal.value)
    assert before == kept._con.cursor().execute("select * from nearfar_log.meta").fetchall()


@pytest.mark.parametrize("query", FRIENDLY)
def test_ordinary_sql_runs(kept: DecisionLog, query: str) -> None:
    """Joins, windows, expressions with names, and functions that look at the rows alone are all allowed."""
    assert [] != kept.reader().sql(query).columns


def test_any_text_is_answered_or_refused() -> None:
    """No text makes the guard fail in another way than by refusing."""

    @given(st.text(max_size=200))
    def asked(text: str) -> None:
        with contextlib.suppress(QueryRefused):
            sql.check(con, text)

    with contextlib.closing(duckdb.connect(":memory:")) as con:
        asked()


def test_the_refusal_names_the_thing_and_the_views(log: DecisionLog) -> None:
    """A refused user learns what was wrong and what there is."""
    with pytest.raises(QueryRefused, match=r"log\.meta cannot be read.*decisions, attempts, candidates"):
        log.reader().sql("select * from nearfar_log.meta")


def test_duckdbs_own_complaint_reaches_the_user(log: DecisionLog) -> None:
    """A wrong column is reported in DuckDB's words."""
    with pytest.raises(QueryRefused, match="nope"):
        log.reader().sql("select nope from decisions")


def test_new_functions_of_duckdb_are_looked_at() -> None:
    """Every function whose name smells of the machine is refused, or was judged harmless here."""
    smell = re.compile(
        r"setting|getenv|variable|pragma|duckdb|secret|^read_|^current_|sleep|_sql$|catalog|database|schema"
    )
    con = duckdb.connect(":memory:")
    called = "('scalar', 'aggregate', 'macro')"
    query = f"select distinct function_name from duckdb_functions() where function_type in {called}"
    names = {name for (name,) in con.execute(query).fetchall()}
    con.close()
    assert set() == {n for n in names if smell.search(n) and not sql._SECRETIVE.match(n)} - sql._HARMLESS


def test_a_long_query_is_stopped(log: DecisionLog) -> None:
    """A query past its time is stopped and says so."""
    with pytest.raises(QueryRefused, match=r"longer than 0\.2 s"):
        log.reader().sql("select count(*) from range(100000) a, range(100000) b, range(1000) c", timeout_s=0.2)


def test_a_hungry_query_is_stopped(log: DecisionLog) -> None:
    """A query past the memory limit is stopped, without advice to raise the limit."""
    with pytest.raises(QueryRefused, match="Out of Memory") as refusal:
        log.reader().sql("select list(range) from range(500000000)")
    assert "SET" not in str(refusal.value)


def test_rows_past_the_limit_are_cut_and_said_so(log: DecisionLog) -> None:
    """A result with more rows than asked for is cut, and marked; one that fits is not."""
    cut = log.reader().sql("from range(5)", max_rows=4)
    assert (4, True) == (len(cut.rows), cut.truncated)
    assert not log.reader().sql("from range(5)", max_rows=5).truncated


def test_results_are_json_values(log: DecisionLog) -> None:
    """Times, ids, decimals, bytes, NaN and nested values come out as JSON can say them."""
    query = """select timestamp '2026-01-02 03:04:05' a, timestamptz '2026-01-02 03:04:05+00' b, 1.5::decimal(4,2) c,
        'nan'::double d, uuid '3f2b1c8a-0000-7000-8000-000000000000' e, [{'x': date '2026-01-02'}] f, 'a'::blob g,
        interval 2 minutes h, map {1: 'x'} i, 170141183460469231731687303715884105727::hugeint j"""
    assert [
        "2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:05.000000Z", 1.5, None, "3f2b1c8a-0000-7000-8000-000000000000",
        [{"x": "2026-01-02"}], "YQ==", 120.0, {"1": "x"}, 170141183460469231731687303715884105727,
    ] == log.reader().sql(query).rows[0]  # fmt: skip
