"""Unit tests make logs quickly."""

import pytest

from router.decision_log import migrations
from tests.unit.schema import copied


@pytest.fixture(autouse=True)
def new_logs(monkeypatch) -> None:
    monkeypatch.setattr(migrations, "migrate", copied)
