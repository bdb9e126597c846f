"""The report and the explanation, asked of a running server, as a person would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e.command import here
from tests.e2e.test_cli import nearfar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.conftest import Server


def test_a_server_is_reported_and_its_decisions_explained(serve: Callable[..., Server], tmp_path: Path) -> None:
    """`nearfar report --server URL --html FILE` and `nearfar explain --server URL`, over every question there is."""
    server = serve('[[budgets]]\nscope = "global"\nperiod = "day"\nlimit_usd = 1.0\n')
    for text in ("one", "two", "three"):
        answer = server.post("/v1/embeddings", {"model": "fake/embeddings", "input": text})
        assert 200 == answer.status, answer.body

    report = nearfar(tmp_path, "report", "--server", server.url, "--html", "report.html", "--json")
    explain = here(tmp_path, "explain", "--server", server.url, "--json")
    missing = here(tmp_path, "explain", "no-such-decision", "--server", server.url)

    assert (0, 0) == (report.returncode, explain.exit_code), report.stderr + explain.stderr
    found, page = json.loads(report.stdout), (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [("fake", 3, 3)] == [(row["backend"], row["requests"], row["ok"]) for row in found["rows"]]
    assert [("global", 1.0)] == [(each["scope"], each["limit_usd"]) for each in found["budgets"]]
    assert "fake:fake/embeddings" in page
    assert answer.headers["x-nearfar-decision-id"] == json.loads(explain.stdout)["decision_id"]
    assert (1, True) == (missing.exit_code, "No decision" in missing.stderr)
