"""What is refused before anything is fetched, and how a fetch that fails is told; in a real house on fakes."""

from pathlib import Path

import pytest
from litestar.testing import TestClient

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.http import pulling
from router.http.scopes import needed
from router.section_of_routing import RoutingSettings
from router.sections import CandidateEntry, LogSettings, ModelEntry, Settings
from router.settings import Secrets
from tests.unit.router.house import CHAT, chat_model, fake

GONE = ModelEntry(
    id="x/gone", task="text-generation", candidates=(CandidateEntry(backend="local", source="/nowhere/at/all"),)
)


def opened(folder: Path, *, offline: bool) -> TestClient:
    settings = Settings(
        models=(chat_model(fake()), GONE),
        log=LogSettings(path=str(folder / "nearfar.duckdb")),
        routing=RoutingSettings(offline=offline),
    )
    app = create_app(settings, Secrets(), DecisionLog.open(Path(":memory:")))
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.mark.parametrize(
    ("model", "offline", "status", "words"),
    [
        (CHAT, False, 400, "no candidate that runs here"),
        ("nobody/here", False, 404, "Unknown model"),
        ("x/gone", True, 400, "offline"),
    ],
)
def test_what_cannot_be_fetched_is_refused_in_words(
    tmp_path: Path, model: str, offline: bool, status: int, words: str
) -> None:
    """And stands in the audit as refused."""
    with opened(tmp_path, offline=offline) as client:
        answer = client.post("/v1/pulls", json={"model": model})
        line = client.get("/v1/audit").json()["data"][0]

    assert (status, "models.pull", model) == (answer.status_code, line["action"], line["subject"])
    assert words in answer.json()["error"]["message"]
    assert "ok" != line["result"]


def test_a_failure_is_the_last_event(tmp_path: Path) -> None:
    """In the words of whoever looked; the model may be asked for again."""
    with opened(tmp_path, offline=False) as client:
        told = [client.post("/v1/pulls", json={"model": "x/gone"}).text for _ in range(2)]

    for text in told:
        assert "event: error" in text
        assert "the directory configured for 'x/gone' does not exist" in text
        assert "event: done" not in text


def test_only_admins_may() -> None:
    """No table says otherwise."""
    assert ("admin",) == needed("POST", "/v1/pulls", pulling.pull.opt)
