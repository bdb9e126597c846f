"""Where a comparison is not to be believed: each warning where it is due, and none where it is not."""

import math

import pytest
from msgspec.structs import replace

from router.compare.doubts import drift
from router.compare.figures import answers
from router.compare.report import report_of
from router.compare.run import Closed, Open
from tests.unit.router.compare.runs import served, simulated


def kinds(run) -> set[str]:
    return {doubt.kind for doubt in report_of(run).doubts}


def changed(run, change):
    return replace(run, trials=tuple(change(trial) for trial in run.trials))


def big(**about):
    """A run that is long enough, of one candidate near and one far."""
    run = simulated(1, inputs=40, repeats=20, load=Open(rate_per_s=10.0), **about)
    return replace(run, candidates=(served("a"), served("b", "remote")))


def test_a_long_run_in_an_open_loop_leaves_no_doubt() -> None:
    """So that each doubt below is its own."""
    assert set() == kinds(big())


@pytest.mark.parametrize(
    ("about", "kind"),
    [
        ({"stopped": "budget_usd"}, "stopped"),
        ({"ended_at": None}, "unfinished"),
        ({"planned": 5000}, "unfinished"),
        ({"loads": (Closed(),)}, "closed_loop"),
        ({"reference": "a"}, "reference"),
        ({"candidates": (served("a"), served("b"))}, "shared_machine"),
    ],
)
def test_a_doubt_of_the_run(about, kind) -> None:
    """How it ended, and how it asked."""
    run = big()

    assert kind not in kinds(run)
    assert kind in kinds(replace(run, **about))


@pytest.mark.parametrize(
    ("about", "kind"),
    [
        ({"truncated": True}, "truncated"),
        ({"status": "error", "error": "timeout"}, "failures"),
        ({"cost_usd": None}, "unknown_cost"),
        ({"cost_source": "estimated"}, "estimated_cost"),
        ({"cost_source": "cached"}, "cached"),
    ],
)
def test_a_doubt_of_one_answer(about, kind) -> None:
    """One of them is enough."""
    run = big()

    assert kind not in kinds(run)
    assert kind in kinds(replace(run, trials=(replace(run.trials[0], **about), *run.trials[1:])))


@pytest.mark.parametrize(
    ("inputs", "repeats", "expected"),
    [
        (1, 5, {"few_trials", "few_inputs", "few_units", "no_upper_end"}),
        (6, 10, {"few_inputs", "no_upper_end"}),
        (20, 1, {"few_trials", "no_upper_end"}),
    ],
)
def test_a_doubt_of_how_much_was_measured(inputs, repeats, expected) -> None:
    """Each names who."""
    found = kinds(simulated(1, inputs=inputs, repeats=repeats))

    assert expected == found & {"few_trials", "few_inputs", "few_units", "no_upper_end"}


def test_a_sender_that_is_late_says_so() -> None:
    """Where that is much beside the latency."""
    run = big()

    assert "late" in kinds(changed(run, lambda each: replace(each, sent_s=each.due_s + 0.01)))
    assert "late" not in kinds(changed(run, lambda each: replace(each, sent_s=each.due_s + 1e-5)))


def warmer(run, by: float):
    """The same, the slower the later."""
    end = max(trial.sent_s for trial in run.trials)
    return changed(run, lambda each: replace(each, total_s=each.total_s * math.exp(by * each.sent_s / end)))


def test_a_machine_that_gets_slower_is_seen() -> None:
    """By so much, from the first third to the last; inputs of different length in another order are no drift."""
    run = warmer(big(remembers=0.0), 0.6)
    found = drift([trial for trial in answers(run.trials) if trial.candidate == "a"])

    assert "drift" in kinds(run)
    assert 1.3 < found.factor < 1.7
    assert "became" in next(doubt.words for doubt in report_of(run).doubts if doubt.kind == "drift")


def test_a_machine_that_stays_as_it_is_does_not_drift() -> None:
    """In hardly any of sixty runs of independent trials, at 1 %."""
    runs = [simulated(seed, remembers=0.0, inputs=20, repeats=10) for seed in range(60)]
    found = [drift([trial for trial in answers(run.trials) if trial.candidate == "a"]) for run in runs]

    assert sum(each.p < 0.01 for each in found) <= 4


def test_few_trials_do_not_tell_of_drift() -> None:
    """Nor do inputs of which each was asked once: the longer may have come last."""
    assert drift(answers(simulated(1, inputs=2, repeats=5).trials)) is None
    assert drift([each for each in answers(simulated(1, inputs=60, repeats=1).trials) if each.candidate == "a"]) is None
