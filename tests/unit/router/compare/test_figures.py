"""What was measured of each candidate: counts, rates, costs, quality."""

import pytest
from msgspec.structs import replace

from router.compare.figures import figures_of
from router.compare.intervals import Bounds
from router.compare.run import Closed, Open, Trial
from tests.unit.router.compare.runs import run, served, simulated


def trial(number: int, **about) -> Trial:
    told = {"repeat": 0, "input": number, "candidate": "a", "due_s": float(number), "sent_s": float(number)}
    return Trial(number=number, **told | {"total_s": 0.5, "status": "ok"} | about)


def figures(trials, **about):
    (found,) = figures_of(run(trials, candidates=(served("a"),), **about))
    return found


def test_what_failed_is_counted_by_kind_and_is_no_latency() -> None:
    """Nor is the warm-up."""
    found = figures([
        trial(0, warm_up=True, total_s=99.0),
        trial(1),
        trial(2, status="error", error="timeout", total_s=60.0),
        trial(3, status="error", error="timeout", total_s=60.0),
        trial(4, status="refused", error="overloaded", total_s=None),
    ])  # fmt: skip

    assert (4, 1, {"overloaded": 1, "timeout": 2}) == (found.trials, found.answered, found.errors)
    assert 0.5 == found.latency_s["p99"].value
    assert 0.75 == found.failed.value


def test_who_never_answered_has_no_latency_and_no_rate() -> None:
    """Unknown is not 0."""
    found = figures([trial(0, status="error", error="timeout", cost_usd=0.001)])

    assert ({}, None, None, None) == (found.latency_s, found.requests_per_s, found.tokens_per_s, found.cost_usd)
    assert 0.001 == found.spent_usd


def test_an_unknown_cost_is_counted_and_never_nothing() -> None:
    """The mean is over what is known."""
    found = figures([trial(0, cost_usd=0.002), trial(1, cost_usd=None), trial(2, cost_usd=0.004)])

    assert (0.003, 1, 0.006) == (found.cost_usd.value, found.unknown_cost, found.spent_usd)
    assert (None, 1, None) == ((none := figures([trial(0)])).cost_usd, none.unknown_cost, none.spent_usd)


def test_one_caller_s_rate_is_the_inverse_of_the_mean() -> None:
    """What failed took time as well, and is no answer."""
    trials = [trial(n, total_s=0.5, output_tokens=10) for n in range(9)]
    found = figures([*trials, trial(9, status="error", error="timeout", total_s=0.5)])

    assert 9 / 5 == pytest.approx(found.requests_per_s.value)
    assert ("output", 90 / 5) == (found.tokens, pytest.approx(found.tokens_per_s.value))


def test_several_callers_rate_is_over_their_block() -> None:
    """Four answers within a second are four a second, though each took one."""
    trials = [trial(n, due_s=0.0, sent_s=0.0, total_s=1.0) for n in range(4)]
    found = figures(trials, load=Closed(concurrency=4))

    assert Bounds(4.0) == found.requests_per_s


def test_an_open_loop_s_rate_is_what_was_asked() -> None:
    """From the first that was sent to the last that was answered, without an interval."""
    found = figures([trial(n) for n in range(10)], load=Open(rate_per_s=1.0))

    assert Bounds(10 / 9.5) == found.requests_per_s


def test_tokens_read_count_where_none_are_written() -> None:
    """And nothing is said where some are unknown."""
    assert "input" == figures([trial(n, input_tokens=5) for n in range(3)]).tokens
    unknown = figures([trial(0, output_tokens=5), trial(1)])
    assert (None, None) == (unknown.tokens, unknown.tokens_per_s)


def test_the_reference_is_right_by_definition() -> None:
    """It has no interval."""
    trials = [trial(n, score=0.9) for n in range(10)]

    assert Bounds(1.0) == figures(trials, reference="a", metric="cosine").quality
    assert 0.9 == pytest.approx(figures(trials, metric="cosine").quality.value)


def test_each_load_has_figures_of_its_own() -> None:
    """In the order of loads, then candidates."""
    one = simulated(1)
    two = tuple(replace(each, load=1) for each in one.trials)
    found = figures_of(replace(one, loads=(Closed(), Closed(concurrency=2)), trials=one.trials + two))

    assert [(0, "a"), (0, "b"), (1, "a"), (1, "b")] == [(each.load, each.candidate) for each in found]
