"""Thirty-two callers at once: everybody is answered, and a provider in trouble is not stormed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import SMOLLM
from tests.faults.asking import crowd
from tests.faults.house import alias
from tests.faults.scripts import TEXT
from tests.faults.test_matrix import CASES, Case

if TYPE_CHECKING:
    from tests.faults.conftest import House

CALLERS = 32
BODIES_OF_64_MB = {"endless", "bomb"}  # 32 of them at once fill this machine, not the router
CROWDED = [
    pytest.param(case, near, id=f"{case.script}-{case.mode}-{near}")
    for case in CASES
    for near in ("far", "near")
    if case.script not in BODIES_OF_64_MB
]


def check(faulty: House, case: Case, fallback: str, waves: int, most: int) -> None:
    """Waves of callers: all are answered; the far side has seen at most so many requests for each."""
    use = f"{case.mode}.{fallback}.crowd"
    model, stream = f"{case.script}.{use}", case.mode == "streamed"
    before = len(faulty.far.asked(model))
    told = [one for _ in range(waves) for one in crowd(faulty.url, alias(case.script, use), stream=stream)]

    assert [] == [one for one in told if not one.complete]
    assert CALLERS * waves == len({one.decision_id for one in told})
    if fallback == "far":
        assert {TEXT} == {one.text for one in told}
    else:
        assert [] == [one for one in told if one.models[-1] == SMOLLM and not one.text.strip()]
    assert len(faulty.far.asked(model)) - before <= most
    ids = ", ".join(f"'{one.decision_id}'" for one in told)
    assert [["ok", len(told)]] == faulty.server.sql(
        f"select status, count(*) from decisions where decision_id in ({ids}) group by status"
    )


@pytest.mark.parametrize(
    ("case", "fallback"),
    [
        (Case("overloaded", "buffered", "fallback", 1), "far"),
        (Case("cut", "streamed", "continuation", 1), "far"),
        (Case("reset", "streamed", "fallback", 2), "far"),
    ],
    ids=["overloaded", "cut", "reset"],
)
def test_an_outage_under_a_crowd_reaches_nobody(faulty: House, case: Case, fallback: str) -> None:
    """All 96 are answered; the first wave asks at most twice each, and the breaker keeps the others away."""
    check(faulty, case, fallback, waves=3, most=case.asked * CALLERS + 2)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "fallback"), CROWDED)
def test_every_fault_under_a_crowd(faulty: House, case: Case, fallback: str) -> None:
    """The matrix again, 32 callers at a time, twice; never more than two requests for each at the far side."""
    check(faulty, case, fallback, waves=2, most=2 * 2 * CALLERS)


@pytest.mark.slow
@pytest.mark.parametrize("use", ["streamed-far", "buffered-far", "streamed-near", "buffered-near"])
def test_a_provider_that_flaps_for_a_minute_never_shows(faulty: House, use: str) -> None:
    """Each of eight callers gets a whole answer every time; the breaker lets the provider in again, and it is used."""
    mode, _, fallback = use.partition("-")
    model = f"flapping.{use}"
    told = crowd(faulty.url, f"flapping-{use}", stream=mode == "streamed", callers=8, seconds=60.0)
    times = [request.at for request in faulty.far.asked(model)]

    assert [] == [one for one in told if not one.complete]
    assert {model, "paced" if fallback == "far" else SMOLLM} == {one.models[-1] for one in told}
    assert len(times) <= 2 * len(told)
    assert max(times) - min(times) > 30.0  # it was not given up after its first bad turn
    if fallback == "far":
        assert {TEXT} == {one.text for one in told}
