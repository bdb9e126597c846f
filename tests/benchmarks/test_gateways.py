"""Figures of two gateways are compared round by round, and goals say what they say."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import gateway_peers
import gateways
from gateways import DIRECT, LITELLM, LITELLM_WIDE, NEARFAR, PORTKEY, WIDE, Cell
from load import Measurement

CLEAN = {"sent": 10, "decisions": 10, "rows_lost": 0}


def cell(number, name, concurrency, ms, rps, errors=0):
    return Cell(number, name, concurrency, 100, ms, 2 * ms, rps, 120, errors, None if name == DIRECT else 1.0)


ROUNDS = [
    *(cell(number, DIRECT, 1, 0.1 * number, 9000.0) for number in (1, 2)),
    *(cell(number, NEARFAR, 1, 0.1 * number + 0.5 * number, 900.0) for number in (1, 2)),
    *(cell(number, PORTKEY, 1, 0.1 * number + 3.0, 300.0) for number in (1, 2)),
    *(cell(number, NEARFAR, 16, 8.0, 1000.0 * number) for number in (1, 2)),
    *(cell(number, WIDE, 16, 4.0, 1500.0 + 500.0 * number) for number in (1, 2)),
    *(cell(number, PORTKEY, 16, 30.0, 500.0) for number in (1, 2)),
    cell(1, LITELLM, 16, 300.0, 40.0),  # it has no second round
]


def test_added_latency_is_the_difference_within_a_round():
    """A machine that is slower in one round is so for both."""
    found = {each["what"]: each for each in gateways.goals(ROUNDS)}
    p50 = found["added at 1 caller, p50 ms"]

    assert {"median": 0.75, "min": 0.5, "max": 1.0} == pytest.approx(p50["value"])
    assert p50["met"] is True
    assert {"median": 3.0, "min": 3.0, "max": 3.0} == pytest.approx(p50["against"][PORTKEY])
    assert {LITELLM: None, LITELLM_WIDE: None} == {name: p50["against"][name] for name in (LITELLM, LITELLM_WIDE)}


def test_ratios_of_requests_are_taken_round_by_round_and_of_nobody_there_is_none():
    """Who was not measured in a round has no part in it; who never was is not measured."""
    found = {each["what"].removeprefix("requests/s at 16 callers, "): each for each in gateways.goals(ROUNDS)}

    assert {"median": 3.0, "min": 2.0, "max": 4.0} == found["Nearfar, times Portkey"]["value"]
    assert {"median": 25.0, "min": 25.0, "max": 25.0} == found["Nearfar, times LiteLLM"]["value"]
    assert {"median": 4.5, "min": 4.0, "max": 5.0} == found[f"{WIDE}, times Portkey"]["value"]
    assert (None, None) == tuple(found[f"{WIDE}, times {LITELLM_WIDE}"][field] for field in ("value", "met"))


def test_errors_of_ours_and_rows_that_are_missing_are_faults_and_a_peer_s_errors_are_told():
    """A peer that fails makes its own figures worth nothing, not ours."""
    broken = [*ROUNDS, cell(3, NEARFAR, 16, 1.0, 1.0, errors=2), cell(3, PORTKEY, 16, 1.0, 1.0, errors=7)]

    assert [] == gateways.faults(ROUNDS, {NEARFAR: Measurement(), WIDE: Measurement()}, CLEAN, [0, 0])
    assert ["3 requests failed", "rows_lost: 4", "Nearfar ended with 1"] == gateways.faults(
        broken, {NEARFAR: Measurement(errors=1), WIDE: Measurement()}, CLEAN | {"rows_lost": 4}, [1, 0]
    )


def test_a_peer_that_is_not_installed_is_not_there(tmp_path):
    """And its version is the one that is locked, whatever is installed elsewhere."""
    assert gateway_peers.litellm(LITELLM, 1, "http://127.0.0.1:1", tmp_path, tmp_path) is None
    assert gateway_peers.portkey("http://127.0.0.1:1", tmp_path) is None
    lines = (gateway_peers.LOCKS / "litellm.txt").read_text(encoding="utf-8").splitlines()
    assert f"litellm=={gateway_peers.locked('litellm')}" in lines
