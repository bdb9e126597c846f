"""The router's tests run in an empty folder (no `nearfar.toml` is found, no log stays), and make logs quickly."""

import pytest

from router.decision_log import migrations
from tests.unit.schema import copied


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def new_logs(monkeypatch) -> None:
    monkeypatch.setattr(migrations, "migrate", copied)
