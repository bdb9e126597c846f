"""What is said of a server's memory: bytes a request, and nothing where a leak could not have been seen."""

import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from log_memory import SEEN_BYTES, Held, beside_the_log, faults_of
from soak import Sample

REQUESTS, SECONDS = 180_000, 600


def told(leak: float, noise: float = 4e6) -> dict:
    """Of a server that holds more with each request, and of whose size a write-ahead log is a part."""
    draw = random.Random(5)
    samples, held = [], []
    for at_s in range(0, SECONDS, 2):
        now = Held(log_bytes=at_s % 300 * 500_000, wal_bytes=at_s % 300 * 800_000)
        rest = 190e6 + draw.gauss(0, noise) + leak * REQUESTS * at_s / SECONDS
        samples.append(Sample(float(at_s), round(rest) + now.log_bytes, 13, 700))
        held.append(now)
    return beside_the_log(samples, held, REQUESTS)


def test_a_leak_of_a_hundred_bytes_a_request_is_a_fault():
    """The write-ahead log is none of it."""
    grows = told(SEEN_BYTES)

    assert grows["low"] < SEEN_BYTES < grows["high"]
    assert ["memory grows"] == faults_of(grows)
    assert [] == faults_of(told(0))


def test_a_run_in_which_no_leak_could_be_seen_proves_nothing():
    """Too uneven, or over before anything could be compared."""
    (uneven,), (short,) = faults_of(told(0, noise=40e6)), faults_of(None)

    assert uneven == short
    assert uneven.startswith("memory: too short or too uneven")


def test_nobody_asked_so_nothing_is_said():
    """Bytes a request of no requests are unknown."""
    samples, held = [Sample(float(at_s), 1, 1, 1) for at_s in range(600)], [Held(0, 0)] * 600

    assert beside_the_log(samples, held, 0) is None


@pytest.mark.parametrize("leak", [150, 500])
def test_a_larger_leak_is_told_as_large_as_it_is(leak: int):
    """Within its own interval."""
    grows = told(leak)

    assert grows["low"] < leak < grows["high"]
