"""Who is quicker, cheaper and better, in figures and in words."""

import pytest
from msgspec.structs import replace

from router.compare.pairs import pairs_of
from router.compare.run import Closed
from router.compare.words import verdict
from tests.unit.router.compare.runs import simulated


def found(run, measure="latency"):
    return next(pair for pair in pairs_of(run) if pair.measure == measure)


def changed(run, change):
    return replace(run, trials=tuple(change(trial) for trial in run.trials))


def test_a_ratio_is_found_and_said() -> None:
    """The quicker first, whoever stands first in the suite."""
    slow, quick = (found(simulated(1, factors={"a": a, "b": b})) for a, b in ((1.5, 1.0), (1.0, 1.5)))

    assert slow.low < 1.5 < slow.high
    assert 1.4 < slow.value < 1.6
    assert verdict(slow).startswith("b is quicker: a takes ")
    assert verdict(quick).startswith("a is quicker: b takes ")
    assert " % longer (" in verdict(slow)


def test_many_times_as_long_is_said_so() -> None:
    """Not in percent."""
    assert " times as long (" in verdict(found(simulated(1, factors={"a": 1.0, "b": 7.0})))


def test_no_difference_says_what_would_have_been_seen() -> None:
    """A difference of that size is shown in four of five runs: the intervals are that narrow."""
    pair = found(simulated(2))

    assert not pair.differs
    assert 1.03 < pair.least < 1.2
    assert "no difference shown (p = " in verdict(pair)
    assert verdict(pair).endswith(" % would have been seen")


def test_inputs_are_what_is_independent() -> None:
    """Where there are enough; else single pairs, of which with eight there are enough."""
    many, few, none = (found(simulated(1, inputs=n, repeats=k)) for n, k in ((8, 5), (4, 5), (2, 3)))

    assert [("input", 8), ("pair", 20), ("pair", 6)] == [(pair.unit, pair.units) for pair in (many, few, none)]
    assert (None, None, None) == (none.p, none.low, none.least)
    assert "a and b: not tested on 6 pairs, 8 are the least" == verdict(none)


def test_of_several_callers_whole_blocks_are_compared() -> None:
    """Chance ordered the blocks, not what was in them."""
    run = simulated(1, inputs=10, repeats=9, load=Closed(concurrency=4))
    blocks = changed(run, lambda trial: replace(trial, block=2 * trial.repeat + (trial.candidate == "b")))

    assert ("block", 9, 90) == ((pair := found(blocks)).unit, pair.units, pair.pairs)


def test_only_what_both_answered_is_compared() -> None:
    """A failure is no latency."""
    run = changed(
        simulated(1), lambda each: replace(each, status="error") if (each.candidate, each.input) == ("a", 3) else each
    )

    assert (95, 19) == ((pair := found(run)).pairs, pair.units)


def test_money_is_compared_where_both_are_known() -> None:
    """By inputs; cheaper is said first."""

    def priced(each):
        cost = (2e-6 if each.candidate == "a" else 1e-6) * (1 + each.input) if each.input else None
        return replace(each, cost_usd=cost)

    pair = found(changed(simulated(1), priced), "cost")

    assert ("input", 19) == (pair.unit, pair.units)
    assert sum(range(2, 21)) * 1e-6 / 19 == pytest.approx(pair.value)
    assert verdict(pair).startswith("b is cheaper than a by $0.011")


def test_the_same_cost_each_time_is_said_so() -> None:
    """There is nothing that would have been seen: it was."""
    pair = found(changed(simulated(1), lambda each: replace(each, cost_usd=1e-6)), "cost")

    assert "a and b: the same cost each time" == verdict(pair)


def test_quality_is_better_where_it_is_higher() -> None:
    """In points of the score."""
    run = changed(
        simulated(1), lambda each: replace(each, score=0.9 if each.candidate == "a" else 0.8 + each.input / 1e3)
    )

    assert verdict(found(run, "quality")).startswith("a is better than b by 9.0 points (")


def test_the_reference_is_not_compared_in_quality() -> None:
    """It is right by definition."""
    run = changed(simulated(1), lambda each: replace(each, score=1.0))

    assert {"latency", "cost", "quality"} == {pair.measure for pair in pairs_of(run)}
    assert {"latency", "cost"} == {pair.measure for pair in pairs_of(replace(run, reference="a"))}


def test_p_values_are_corrected_within_a_measure() -> None:
    """Six pairs of four candidates."""
    pairs = [pair for pair in pairs_of(simulated(1, factors=dict.fromkeys("abcd", 1.0))) if pair.measure == "latency"]

    assert 6 == len(pairs)
    assert all(pair.p <= pair.p_holm <= min(1.0, 6 * pair.p) and pair.family == 6 for pair in pairs)
    assert min(pairs, key=lambda pair: pair.p).p_holm == pytest.approx(min(1.0, 6 * min(pair.p for pair in pairs)))


def test_the_same_run_says_the_same() -> None:
    """Every draw is of a fixed seed."""
    assert pairs_of(simulated(4)) == pairs_of(simulated(4))
