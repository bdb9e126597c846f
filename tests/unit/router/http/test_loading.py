"""Models are loaded and their memory is freed over HTTP; in a real house on fakes."""

from pathlib import Path

import pytest
from litestar.testing import TestClient

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.http import loading
from router.http.scopes import needed
from router.sections import LogSettings, Settings
from router.settings import Secrets
from tests.unit.router.house import CHAT, chat_model, fake

FAR = "test/far"
PATH = f"/v1/loaded/{CHAT}"


@pytest.fixture
def client(tmp_path: Path):
    settings = Settings(
        models=(chat_model(fake(near=True, load_ms=5)), chat_model(fake("b"), model=FAR)),
        log=LogSettings(path=str(tmp_path / "nearfar.duckdb")),
    )
    app = create_app(settings, Secrets(), DecisionLog.open(Path(":memory:")))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def is_loaded(client) -> bool:
    return client.get(f"/v1/models/{CHAT}").json()["nearfar"]["candidates"][0]["loaded"]


def test_a_model_is_loaded_once_and_its_memory_is_freed(client) -> None:
    """The second load costs nothing, the second unload frees nothing, and the state is told each time."""
    assert not is_loaded(client)
    first, second = client.put(PATH).json(), client.put(PATH).json()
    assert is_loaded(client)
    freed, again = client.delete(PATH).json(), client.delete(PATH).json()

    assert not is_loaded(client)
    assert (f"a:{CHAT}", True) == (first["candidates"][0]["candidate"], first["candidates"][0]["load_ms"] > 0)
    assert 0 == second["candidates"][0]["load_ms"]
    assert [[f"a:{CHAT}"], []] == [freed["freed"], again["freed"]]


def test_who_did_it_is_in_the_audit(client) -> None:
    """With how it ended."""
    client.put(PATH)
    client.delete(PATH)
    client.put(f"/v1/loaded/{FAR}")

    lines = client.get("/v1/audit").json()["data"]
    assert [
        ("models.load", FAR, "InvalidRequest"), ("models.unload", CHAT, "ok"), ("models.load", CHAT, "ok")
    ] == [(line["action"], line["subject"], line["result"]) for line in lines]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "model", "status", "words"),
    [
        ("PUT", FAR, 400, "no candidate that runs here"),
        ("PUT", "nobody/here", 404, "Unknown model"),
        ("DELETE", "nobody/here", 404, "Unknown model"),
    ],
)
def test_what_cannot_be_is_refused_in_words(client, method: str, model: str, status: int, words: str) -> None:
    """A far model is nowhere to be loaded."""
    answer = client.request(method, f"/v1/loaded/{model}")

    assert status == answer.status_code
    assert words in answer.json()["error"]["message"]


def test_weights_that_are_not_here_are_told(tmp_path: Path) -> None:
    """In the backend's own words."""
    settings = Settings(log=LogSettings(path=str(tmp_path / "nearfar.duckdb")))
    missing = {"id": "x/y", "task": "text-generation", "candidates": [{"backend": "local", "source": "/nowhere"}]}
    app = create_app(settings, Secrets(), DecisionLog.open(Path(":memory:")))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        client.post("/v1/models", json=missing)
        answer = client.put("/v1/loaded/x/y")

    assert answer.status_code in {502, 503}
    assert "x/y" in answer.json()["error"]["message"]


def test_a_disabled_model_is_not_loaded_but_may_be_freed(client) -> None:
    """It holds its memory until somebody frees it or the place is needed."""
    client.put(PATH)
    client.patch(f"/v1/models/{CHAT}", json={"enabled": False})

    assert 400 == client.put(PATH).status_code
    assert 200 == client.delete(PATH).status_code


def test_memory_and_load_are_told_as_they_are_now(client) -> None:
    """System Health looks at the machine each time."""
    told = client.get("/v1/system").json()

    assert 0 < told["now"]["ram_available_bytes"] <= told["hardware"]["ram_total_bytes"]
    assert 0 < told["now"]["process_bytes"]


def test_only_admins_may() -> None:
    """No table says otherwise."""
    for handler in (loading.load, loading.unload):
        assert ("admin",) == needed(next(iter(handler.http_methods)), next(iter(handler.paths)), handler.opt)
