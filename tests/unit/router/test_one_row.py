"""A bug behind an inference route: one request is still one row, and the sender learns nothing of the bug."""

import asyncio
import logging
from pathlib import Path

import httpx
import pytest

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.sections import Settings
from router.settings import Secrets


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a secret of the code")


@pytest.mark.parametrize(
    ("where", "method", "status"), [("backend", "infer", "error"), ("finder", "for_request", "refused")]
)
def test_a_bug_leaves_one_row_and_tells_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str, method: str, status: str
) -> None:
    """500 without the exception's words, exactly one decision, and where it broke in the process's log.

    The words are in neither: they may hold what was sent in.
    """

    async def ask() -> tuple[httpx.Response, list[list[object]]]:
        app = create_app(Settings(), Secrets(), DecisionLog.open(tmp_path / "bug.duckdb"))
        async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
            house = app.state.services
            setattr(house.backends["fake"] if where == "backend" else house.finder, method, broken)
            answer = await client.post(
                "http://localhost/v1/embeddings", json={"model": "fake/embeddings", "input": "x"}
            )
            await house.log.committed()
            return answer, house.log.reader().sql("select status, error_class from decisions").rows

    with caplog.at_level(logging.ERROR):
        answer, rows = asyncio.run(ask())

    assert (500, "Internal error.") == (answer.status_code, answer.json()["error"]["message"])
    assert [status] == [row[0] for row in rows]
    assert "ZeroDivisionError" in caplog.text
    assert "test_one_row.py" in caplog.text
    assert "a secret of the code" not in caplog.text
