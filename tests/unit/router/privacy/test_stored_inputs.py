"""Inputs in the log: nowhere unless asked for, then in a table of their own, for a tenant's eyes, until their day."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import httpx
import pytest
from litestar import Litestar
from msgspec.structs import replace

from router.access.gate import Sender
from router.app import create_app
from router.cli.console import opened_log
from router.decision_log.arrivals import STREAMS
from router.decision_log.keeping import Keeper
from router.decision_log.log import DecisionLog
from router.decision_log.record import InputRow
from router.decision_log.retention import Retention, forget_inputs
from router.errors import QueryRefused
from router.identity import ANYBODY, Identity
from router.sections import LogSettings, Settings
from router.settings import Secrets
from tests.unit.router.house import chat, chat_model, fake, opened

CANARY = "kestrel-40917 flies over the quarry"
STORING = LogSettings(store_inputs=True, inputs_retention_by_tenant={"never": 0.0, "short": 1.0})
ASK = "SELECT decision_id::VARCHAR, tenant, body FROM nearfar_log.inputs ORDER BY ts"


def stored(log: DecisionLog) -> list[tuple]:
    log.flush()
    return log.cursor().execute(ASK).fetchall()


def of_tenant(tenant: str, **routing):
    call = chat(prompt=CANARY, **routing)
    return replace(call, request=replace(call.request, tenant=tenant))


def test_inputs_are_stored_only_where_they_may_be() -> None:
    """Asked for by the configuration, of tenants that are kept at all, and never of a private request."""

    async def test() -> None:
        async with opened(chat_model(fake(near=True)), logged=STORING) as house:
            for call in (of_tenant("a"), of_tenant("never"), of_tenant("a", private=True), of_tenant("short")):
                await house.dispatcher.infer(call)
            assert ["a", "short"] == [tenant for _, tenant, _ in stored(house.services.log)]

    asyncio.run(test())


@pytest.mark.parametrize("view", ["decisions", "attempts", "candidates", "nodes"])
def test_no_view_shows_them(view) -> None:
    """Whatever a user selects, what was sent in is in none of it, and their table cannot be named."""

    async def test() -> None:
        async with opened(chat_model(fake(near=True)), logged=STORING) as house:
            await house.dispatcher.infer(of_tenant("a"))
            assert CANARY not in repr(await house.select(f"SELECT * FROM {view}"))
            for name in ("inputs", "nearfar_log.inputs", "main.inputs"):
                with pytest.raises(QueryRefused):
                    await house.select(f"SELECT * FROM {name}")

    asyncio.run(test())


@pytest.mark.parametrize(
    ("identity", "sees"),
    [
        (Identity("a", frozenset({"infer", "read"})), True),
        (Identity("boss", frozenset({"admin"})), True),
        (ANYBODY, True),
        (Identity("b", frozenset({"infer", "read"})), False),
        (Identity("", frozenset({"read"})), False),
    ],
)
def test_a_decision_shows_its_inputs_to_its_tenant_and_to_an_admin(tmp_path: Path, identity, sees) -> None:
    """To anybody else they are null, whether there are any or not."""

    async def ask(app: Litestar, who: Identity, method: str, path: str, **body) -> httpx.Response:
        async def sender(credential: str | None, address: str) -> Sender:
            return Sender(who)

        app.state.services.access.sender = sender
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
            return await client.request(method, f"http://localhost{path}", **body)

    async def test() -> None:
        app = create_app(Settings(log=STORING), Secrets(), DecisionLog.open(tmp_path / "log.duckdb"))
        async with app.lifespan():
            owner = Identity("a", frozenset({"infer", "read"}))
            made = await ask(app, owner, "POST", "/v1/embeddings", json={"model": "fake/embeddings", "input": CANARY})
            shown = await ask(app, identity, "GET", f"/v1/decisions/{made.headers['x-nearfar-decision-id']}")
            assert sees == (CANARY in shown.text)

    asyncio.run(test())


def test_inputs_go_on_their_day_and_from_the_file(tmp_path: Path) -> None:
    """Each tenant's after so many days, the decision stays; and then the words are nowhere in the folder."""
    path = tmp_path / "log.duckdb"
    log = DecisionLog.open(path)
    log._keeper.rest()
    now = datetime(2026, 1, 31, tzinfo=UTC)
    ids = [f"0197f000-0000-7000-8000-00000000000{nth}" for nth in range(4)]
    for decision_id, tenant, days in zip(ids, ("a", "a", "short", "short"), (31, 29, 2, 0.5), strict=True):
        ts_us = round((now - timedelta(days=days)).timestamp() * 1e6)
        log.append(InputRow(decision_id=decision_id, ts_us=ts_us, tenant=tenant, body=f'"{CANARY} {tenant} {days}"'))
    log.flush()
    some = Retention(inputs_days=30, inputs_by_tenant={"short": 1})
    with log.cursor() as con:
        assert forget_inputs(con, some, now.replace(tzinfo=None))
        assert not forget_inputs(con, some, now.replace(tzinfo=None))
    assert [ids[1], ids[3]] == sorted(decision_id for decision_id, _, _ in stored(log))

    keeper = Keeper(log.cursor, Retention(inputs_days=0.001))
    keeper._next_s = 0.0
    keeper.keep()
    assert [] == stored(log)
    log.close()
    for file in tmp_path.iterdir():
        assert CANARY.encode() not in file.read_bytes(), file.name


def test_inputs_that_go_with_their_decisions_go_from_the_file_too(tmp_path: Path) -> None:
    """Decisions may be kept for a shorter time than inputs are; and a process may end between the two steps."""
    path = tmp_path / "log.duckdb"
    log = DecisionLog.open(path)
    log._keeper.rest()
    old_us = round((datetime.now(UTC) - timedelta(days=9)).timestamp() * 1e6)
    log.append(
        InputRow(decision_id="0197f000-0000-7000-8000-000000000000", ts_us=old_us, tenant="a", body=f'"{CANARY}"')
    )
    log.flush()
    with log.cursor() as con:
        con.execute(
            "INSERT INTO nearfar_log.decision_rows (decision_id, ts, node_id, boot_id, seq, schema_version, surface, "
            "mode, reason, batch_items, stream, private, candidates, decide_us) VALUES (uuid(), ?, 'n', uuid(), 1, 1, "
            "'s', 'policy', 'r', 1, false, false, [], 1)",
            [datetime.fromtimestamp(old_us / 1e6, UTC).replace(tzinfo=None)],
        )
        Keeper(log.cursor, Retention(days=7)).forget(con, datetime.now(UTC).replace(tzinfo=None))
        owed = "SELECT value FROM nearfar_log.meta WHERE key = 'erasure'"
        assert [("owed",)] == con.execute(owed).fetchall()
    assert [] == stored(log)
    keeper = Keeper(log.cursor, Retention(days=7))  # of the process that comes after
    keeper._next_s = 0.0
    keeper.keep()
    assert [] == log.cursor().execute(owed).fetchall()
    log.close()
    for file in tmp_path.iterdir():
        assert CANARY.encode() not in file.read_bytes(), file.name


def test_a_refused_row_of_inputs_is_written_nowhere(tmp_path: Path, caplog) -> None:
    """The file of refused rows is kept for ever: it says that there was one, and nothing of it."""
    log = DecisionLog.open(tmp_path / "log.duckdb")
    log.append(InputRow(decision_id="no id", ts_us=0, tenant="a", body=f'"{CANARY}"'))
    log.append(InputRow(decision_id="0197f000-0000-7000-8000-000000000000", ts_us=0, tenant="a", body=CANARY))
    log.flush()
    rejected = (tmp_path / "log.duckdb.rejected.jsonl").read_text()

    assert 2 == log.stats().rejected == len(rejected.splitlines())
    assert CANARY not in rejected + caplog.text
    log.close()


def test_inputs_that_an_older_version_stored_move_to_their_table(tmp_path: Path) -> None:
    """They are read as before, go on their day, and those of private requests are gone."""
    path = tmp_path / "log.duckdb"
    DecisionLog.open(path).close()
    con = duckdb.connect(str(path))
    con.execute("DELETE FROM nearfar_log.migrations WHERE name >= 'm0011'")
    for view in ("compare_runs", "compare_trials"):
        con.execute(f"DROP VIEW {view}")
    for table in ("inputs", "catalogs", "compare_runs", "compare_trials", "shipped"):
        con.execute(f"DROP TABLE nearfar_log.{table}")
    for table in set(STREAMS.values()) - {"catalogs", "compare_runs", "compare_trials"}:
        con.execute(f"ALTER TABLE nearfar_log.{table} DROP COLUMN arrival")
    con.execute("ALTER TABLE nearfar_log.decision_rows DROP COLUMN catalog")
    con.execute("ALTER TABLE nearfar_log.attempt_rows DROP COLUMN replica")
    for table in ("decision_rows", "settled"):
        con.execute(f"ALTER TABLE nearfar_log.{table} ADD COLUMN inputs JSON")
    for nth, private in enumerate((False, True)):
        con.execute(
            "INSERT INTO nearfar_log.decision_rows (decision_id, ts, node_id, boot_id, seq, schema_version, surface, "
            "mode, reason, batch_items, stream, private, candidates, decide_us, tenant, inputs) "
            "VALUES (?, now()::TIMESTAMP, 'n', uuid(), 1, 1, 's', 'policy', 'r', 1, false, ?, [], 1, 'a', '[\"x\"]')",
            [f"0197f000-0000-7000-8000-00000000000{nth}", private],
        )
    con.close()
    log = DecisionLog.open(path)

    assert [("0197f000-0000-7000-8000-000000000000", "a", '["x"]')] == stored(log)
    assert ["x"] == log.reader("a").inputs("0197f000-0000-7000-8000-000000000000")
    assert log.reader("b").inputs("0197f000-0000-7000-8000-000000000000") is None
    assert log.reader().inputs("no id") is None
    assert 2 == len(log.reader().decisions()[0])
    log.close()


def test_the_configured_days_reach_the_keeper(tmp_path: Path) -> None:
    """What the settings say of inputs is what the log's upkeep does."""
    log = opened_log(Settings(log=replace(STORING, path=str(tmp_path / "log.duckdb"), inputs_retention_days=7.0)))
    assert Retention(inputs_days=7.0, inputs_by_tenant={"never": 0.0, "short": 1.0}) == log._keeper._kept
    log.close()
