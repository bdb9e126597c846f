"""Slopes of sizes: what grows with requests is found on a saw-tooth, and what rises once is not."""

import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from slopes import Size, fitted, within_teeth

MINUTES, SAMPLE_S, CHECKPOINT_S, SETTLING_S = 10, 2, 300, 8
REQUESTS_A_S = 300
STEP = 12_000_000  # what a first checkpoint leaves with the allocators


def server(leak: float, seed: int = 0) -> list[Size]:
    """A server's sizes: noise, a settling now and then, a checkpoint, and so many bytes more with each request."""
    draw = random.Random(seed)
    sizes = []
    for at_s in range(0, MINUTES * 60, SAMPLE_S):
        size = 190e6 + draw.gauss(0, 4e6) + leak * REQUESTS_A_S * at_s
        size += STEP * (at_s >= CHECKPOINT_S) + 120e6 * (at_s % 30 < SETTLING_S)
        sizes.append(Size(float(at_s), round(size), round(at_s % CHECKPOINT_S * 0.8e6)))
    return sizes


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_bytes_a_request_are_found(seed: int):
    """The interval holds what was leaked, and not zero."""
    found, _ = within_teeth(server(100, seed), warm_s=MINUTES * 60 / 4)

    assert 0 < found["low"] < 100 * REQUESTS_A_S * 60 < found["high"]


def test_what_rises_once_at_a_checkpoint_is_told_as_two_levels_and_no_slope():
    """One line through both teeth would call it growth."""
    sizes = server(0)

    found, levels = within_teeth(sizes, warm_s=MINUTES * 60 / 4)
    plain = fitted([[(size.at_s / 60, size.rest_bytes) for size in sizes if size.at_s % 30 >= SETTLING_S]])

    assert found["low"] < 0 < found["high"]
    assert pytest.approx(STEP, abs=2e6) == levels[1] - levels[0]
    assert plain["low"] > 0


def test_just_after_a_checkpoint_nothing_is_compared():
    """What DuckDB says it holds is some seconds old then, and the difference may be anything."""
    odd = [size._replace(rest_bytes=0) if 300 <= size.at_s < 314 else size for size in server(0)]

    assert within_teeth(server(0), warm_s=150.0) == within_teeth(odd, warm_s=150.0)


def test_series_have_one_slope_and_levels_of_their_own():
    """Two parallel lines are met exactly; of a single point each nothing can be said."""
    lines = [[(x, 2.0 * x + level) for x in (0.0, 1.0, 2.0)] for level in (5.0, 50.0)]

    assert {"bytes_per_minute": 2.0, "low": 2.0, "high": 2.0, "points": 6} == pytest.approx(fitted(lines))
    assert fitted([line[:1] for line in lines]) is None
    assert fitted([]) is None


def test_a_run_too_short_for_a_tooth_says_nothing():
    """No slope, and no level."""
    assert (None, []) == within_teeth(server(100)[:3], warm_s=3.0)
