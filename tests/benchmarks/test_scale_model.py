"""The capacity model: its two queues are what theory says they are, and the page is what the script says."""

import json
import sys
from pathlib import Path
from statistics import fmean

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import scale_inputs  # noqa: E402 - programs, not packages
import scale_model  # noqa: E402
import scale_queues  # noqa: E402
from scale_queues import Fleet, owned, waits  # noqa: E402


def figure(middle, low=None, high=None):
    return scale_inputs.Figure("a figure", low or middle, middle, high or middle, "nowhere")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_and_its_picture_are_what_the_script_says():
    """Whoever saves a result that it stands on runs `python benchmarks/scale_model.py`, or this fails."""
    given, assumed = scale_inputs.read(), scale_inputs.Assumed()
    text = scale_model.PAGE.read_text(encoding="utf-8")

    assert text == scale_model.renewed(text, scale_model.figures(given, assumed))
    assert scale_model.PICTURE.read_text(encoding="utf-8") == scale_model.picture(given, assumed)


def test_the_page_tells_the_results_as_they_are_saved():
    """The part that nothing is simulated for: a new measurement is noticed without waiting for the rest."""
    text = scale_model.PAGE.read_text(encoding="utf-8")
    given, assumed = scale_inputs.read(), scale_inputs.Assumed()

    for part in (scale_model.inputs(given), scale_model.assumptions(assumed), scale_model.capacity(given, assumed)):
        assert "\n\n".join(part) in text


def test_no_figure_stands_outside_the_marks():
    """What is written by hand says nothing that a new measurement could make false."""
    text = scale_model.PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(scale_model.BEGIN)
    _, _, after = rest.partition(scale_model.END)
    by_hand = (before + after).replace("results/scale_model.svg", "").replace("`cluster.wait_ms`", "")

    assert [] == [word for word in by_hand.split() if any(c.isdigit() for c in word)]


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_requests_wait_for_a_core_as_pollaczek_and_khinchine_say(busy):
    """The mean wait of a queue with Poisson arrivals, from the first two moments of its service times."""
    import math

    sigma = math.log(3.0) / scale_queues.Z99
    second_moment = math.exp(sigma * sigma)  # over the mean squared
    expected = busy * second_moment / (2 * (1 - busy))
    draws = [mean_wait(busy, seed) for seed in range(5)]

    assert expected == pytest.approx(fmean(draws), rel=0.1)


def mean_wait(busy, seed):
    """In service times."""
    return fmean(scale_queues.waited_s(busy, 1.0, 3.0, requests=60_000, seed=seed))


def test_waits_are_quantiles_in_milliseconds():
    """At an idle core nobody waits; at a busy one, the late ones long."""
    idle, busy = (waits(share, 0.001, 3.0, requests=20_000, seed=1) for share in (0.05, 0.9))

    assert (0.0, True) == (idle.p50_ms, idle.p99_ms < 3)
    assert 0 < busy.p50_ms < busy.p99_ms


def test_without_leases_each_request_is_two_messages():
    """One before it, one behind: what the owner cannot answer piles up."""
    found = owned(Fleet(10, 1000.0, 5, 10), 0.0, 0.001, seconds=1.0, seed=1)

    assert (2000.0, 2.0, 1.0, None) == (
        found.messages_per_s,
        found.utilisation,
        found.waiting_share,
        found.wait_ms_p99,
    )


def test_who_holds_enough_sends_only_what_it_sends_in_any_case():
    """Two messages a second and node, and hardly a request waits."""
    found = owned(Fleet(10, 2000.0, 1, 10), 30.0, 0.0005, seconds=2.0, seed=1)

    assert 20.0 == pytest.approx(found.messages_per_s, rel=0.1)
    assert found.waiting_share < 0.001


def test_many_small_tenants_everywhere_wait_and_gathered_do_not():
    """What a node hardly ever sees it holds nothing for."""
    everywhere = owned(Fleet(20, 1000.0, 500, 20), 30.0, 0.001, seconds=2.0, seed=1)
    gathered = owned(Fleet(20, 1000.0, 500, 1), 30.0, 0.001, seconds=2.0, seed=1)

    assert everywhere.waiting_share > 3 * gathered.waiting_share
    assert everywhere.messages_per_s > gathered.messages_per_s


def test_no_more_messages_wait_than_there_are_nodes():
    """However much is asked: so long a request waits at most, and the message under way before its own."""
    nodes, op_s = 20, 0.005
    found = owned(Fleet(nodes, 3000.0, 500, nodes), 1.0, op_s, seconds=1.0, seed=1)

    assert found.utilisation > 0.95
    assert 0 < found.wait_ms_p99 <= 1000 * 2 * nodes * op_s


def test_the_same_seed_gives_the_same_figures():
    """Or no test could say that the page is up to date."""
    fleet = Fleet(5, 300.0, 20, 5)

    assert owned(fleet, 5.0, 0.001, seconds=1.0, seed=7) == owned(fleet, 5.0, 0.001, seconds=1.0, seed=7)


def test_an_interval_follows_from_those_of_what_it_is_made_of():
    """Inside of what the extremes would give, around the middle; none where there is none."""
    found = scale_model.between([figure(2.0, 1.0, 4.0)], lambda ms: 1000 / ms)

    assert 250 < found.low < 500 == found.middle < found.high < 1000
    certain = scale_model.between([figure(2.0)], lambda ms: 1000 / ms)
    assert (500, 500, 500) == (certain.low, certain.middle, certain.high)


def test_what_is_used_up_is_found_between_two_fleets_or_behind_the_last():
    """By a straight line."""

    class At:
        def __init__(self, rate, share):
            self.rate, self.share = rate, share

    def share(each):
        return each.share

    assert 15.0 == scale_model.used_up([At(10.0, 0.5), At(20.0, 1.5)], share)
    assert 40.0 == scale_model.used_up([At(10.0, 0.25), At(20.0, 0.5)], share)


def test_a_result_that_is_gone_is_no_zero(tmp_path):
    """Nothing is made up for it."""
    (tmp_path / "router_overhead.json").write_text(json.dumps({"levels": []}))
    with pytest.raises((FileNotFoundError, KeyError)):
        scale_inputs.read(tmp_path)


def test_more_candidates_are_more_series():
    """Counted in what a house of fakes says of itself."""
    from scale_series import series_of

    assert 0 < series_of(2) < series_of(6)
