"""One embedding request, walked through the code: each stage once, in the order in which the design tells it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import httpx

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.sections import Settings
from router.settings import Secrets

if TYPE_CHECKING:
    from pathlib import Path

STAGES = (
    "router/http/openai.py:embeddings",
    "router/http/openai_schemas.py:embeddings_request",
    "router/candidates.py:for_request",
    "router/estimates.py:estimate",
    "policies/weighted.py:decide",
    "router/ledger.py:decided",
    "router/course.py:next",
    "router/runs.py:_whole",
    "backends/fake/backend.py:infer",
    "router/estimates.py:observe",
    "router/ledger.py:settle",
    "router/http/headers.py:of_outcome",
)


def test_an_embedding_request_passes_each_stage_once_in_order(tmp_path: Path) -> None:
    """From JSON to JSON: request, candidates, estimates, decision, row, attempt, backend, lesson, rows, headers."""
    walked: list[str] = []

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call":
            name = f"{'/'.join(frame.f_code.co_filename.split('/')[-3:])}:{frame.f_code.co_name}"
            walked.extend(stage for stage in STAGES if name.endswith(stage) and frame.f_lasti <= FIRST_CALL)

    async def ask() -> httpx.Response:
        app = create_app(Settings(), Secrets(), DecisionLog.open(tmp_path / "log.duckdb"))
        async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:  # type: ignore[arg-type]
            sys.setprofile(note)
            try:
                return await client.post(
                    "http://localhost/v1/embeddings", json={"model": "fake/embeddings", "input": "hello"}
                )
            finally:
                sys.setprofile(None)

    response = asyncio.run(ask())

    assert 200 == response.status_code
    assert list(STAGES) == walked


FIRST_CALL = 20
"""Instructions before a coroutine's first suspension: resuming one is reported as a call too, further on."""
