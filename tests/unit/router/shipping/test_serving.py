"""Servers that ship, and one whose pages show what all of them have shipped."""

import re
from pathlib import Path

from litestar.testing import TestClient

from router.app import create_app
from router.cli.console import opened_log
from router.sections import LogSettings, Settings, ShipSettings
from router.settings import Secrets
from router.shipping.checking import checked
from router.shipping.places import place_of
from tests.e2e.command import here
from tests.unit.router.house import CHAT, chat_model, fake

HELLO = {"model": CHAT, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


def server(folder: Path, to: Path, **log: str) -> TestClient:
    ship = ShipSettings(to=str(to), every_s=3600.0)  # so that only its end ships
    settings = Settings(models=(chat_model(fake()),), log=LogSettings(path=str(folder / "n.duckdb"), ship=ship, **log))
    return TestClient(create_app(settings, Secrets(), opened_log(settings)), base_url="http://127.0.0.1")


def asked(client: TestClient, requests: int) -> list[str]:
    answers = [client.post("/v1/chat/completions", json=HELLO) for _ in range(requests)]
    assert {200} == {answer.status_code for answer in answers}
    return [answer.headers["x-nearfar-decision-id"] for answer in answers]


def test_what_servers_decide_is_on_the_pages_of_one_that_reads_all(tmp_path: Path) -> None:
    """Each ships to its end; the third asks nobody, shows all, and says how its own log is shipped."""
    shared = tmp_path / "shared"
    ids = []
    for name in ("one", "two"):
        with server(tmp_path / name, shared) as client:
            ids += asked(client, 2)
            assert "folder" == client.get("/v1/system").json()["shipping"]["kind"]
    with server(tmp_path / "three", shared, read_from="segments") as client:
        listed = client.get("/v1/decisions").json()["data"]
        one = client.get(f"/v1/decisions/{ids[0]}").json()
        summary = client.get("/v1/analytics/summary?by=model").json()["rows"]
        nodes = client.post("/v1/analytics/sql", json={"query": "SELECT count(*) FROM nodes"}).json()["rows"]
        metrics = client.get("/metrics").text

    assert sorted(ids) == sorted(row["decision_id"] for row in listed)
    assert (ids[0], 1, "ok") == (one["decision_id"], len(one["attempts"]), one["status"])
    assert [(CHAT, 4)] == [(row["model"], row["requests"]) for row in summary]
    assert [[2]] == nodes
    assert "nearfar_log_shipping_lag_seconds" in metrics
    assert [] == [each for each in checked(place_of(str(shared))) if each.missing or each.doubled]


def test_a_server_that_ships_nothing_says_so(tmp_path: Path) -> None:
    """Null, and no figure that looks like one."""
    settings = Settings(models=(chat_model(fake()),), log=LogSettings(path=str(tmp_path / "n.duckdb")))
    with TestClient(create_app(settings, Secrets(), opened_log(settings)), base_url="http://127.0.0.1") as client:
        assert client.get("/v1/system").json()["shipping"] is None
        assert "nearfar_log_shipping_lag_seconds NaN" in client.get("/metrics").text


def test_a_server_serves_while_the_place_is_away_and_says_so(tmp_path: Path) -> None:
    """Nothing waits for it; the doctor finds what waits here, and whether the place can be read."""
    mount = tmp_path / "mount"
    with server(tmp_path, mount / "shared") as client:
        asked(client, 3)
    environment = {"NEARFAR_LOG__PATH": str(tmp_path / "n.duckdb"), "NEARFAR_LOG__SHIP__TO": str(mount / "shared")}
    away = here(tmp_path, "doctor", "--json", **environment)
    mount.mkdir()
    shipped = here(tmp_path, "log", "ship", **environment)
    there = here(tmp_path, "doctor", "--json", **environment)

    assert "The folder of shipped segments is not there." in away.stdout
    assert "segments (" in away.stdout
    assert 0 == shipped.exit_code
    assert re.search(r"folder: [1-9]\d* segments there; 0 segments \(0 B\) wait here", there.stdout)
    assert 3 == next(each.rows for each in checked(place_of(str(mount / "shared"))) if each.table == "decisions")
