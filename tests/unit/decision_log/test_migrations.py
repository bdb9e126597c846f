"""Opening old, new and foreign files."""

from pathlib import Path

import duckdb
import pytest

from router.decision_log import migrations
from router.decision_log.log import DecisionLog
from router.decision_log.migrations import PUBLIC_VIEWS, STEPS
from router.errors import LogError
from tests.unit import schema

COLUMNS = "schema_name, table_name, column_name, data_type, is_nullable"
SAME = (
    f"SELECT {COLUMNS} FROM duckdb_columns() WHERE NOT internal ORDER BY ALL",
    "SELECT key, value FROM nearfar_log.meta WHERE key <> 'node_id' ORDER BY ALL",
    "SELECT name FROM nearfar_log.migrations ORDER BY ALL",
)


@pytest.fixture(autouse=True)
def new_logs() -> None:
    """Here they are made step by step."""


def test_steps_are_applied_once(path: Path) -> None:
    """Opening again applies nothing; the names of the steps are kept, in order."""
    for _ in range(2):
        log = DecisionLog.open(path)
        names = log._con.cursor().execute("select name from nearfar_log.migrations order by name").fetchall()
        log.close()
    assert [(step.__name__,) for step in STEPS] == names


def test_a_newer_log_is_refused(path: Path) -> None:
    """A log with a step this version does not know is left alone."""
    DecisionLog.open(path).close()
    con = duckdb.connect(str(path))
    con.execute("insert into nearfar_log.migrations values ('m9999_future', now()::timestamp)")
    con.close()
    with pytest.raises(LogError, match=r"newer nearfar.*m9999_future"):
        DecisionLog.open(path)


def test_duckdb_15_can_read_the_file(path: Path) -> None:
    """The file says that it is in the format of DuckDB 1.5, which is supported longest."""
    log = DecisionLog.open(path)
    (tags,) = log._con.cursor().execute(
        "select tags['storage_version'] from duckdb_databases() where database_name = 'nearfar'"
    ).fetchall()  # fmt: skip
    log.close()
    assert ("v1.5.0+",) == tags


def test_a_renamed_file_still_opens(path: Path, rows) -> None:
    """The views do not depend on the file's name, which DuckDB uses as the catalogue's."""
    log = DecisionLog.open(path)
    log.append(rows["decision"](1))
    log.close()
    other = DecisionLog.open(path.rename(path.with_name("main.duckdb")))
    for view in PUBLIC_VIEWS:
        other.reader().sql(f"select * from {view}")
    assert 1 == len(other.reader().decisions()[0])
    other.close()


def test_what_other_tests_make_by_one_script_is_what_the_steps_make() -> None:
    """Every column of every table and view, the steps' names, and what else is kept of the log itself."""

    def made(make) -> list[list[tuple]]:
        with migrations._connected(None, None) as con:
            make(con)
            return [con.execute(query).fetchall() for query in SAME]

    assert made(migrations.migrate) == made(schema.copied)
