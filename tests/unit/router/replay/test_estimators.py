"""Price, errors and quality of another policy: right where the log carries them, refused where it does not."""

import contextlib
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec
import pytest
from msgspec.structs import replace

from router.decision_log.keeping import Keeper
from router.decision_log.windows import Window
from router.errors import InvalidRequest
from router.replay import audit, estimators
from router.replay.evidence import weigh
from router.replay.logged import Logged, Tried, read, traffic
from router.replay.replayed import DEAREST, Asked, Clock, judged, replay
from router.replay.targets import LOGGED, ORACLE, Target, target
from router.replay.verdict import Figure, Replay
from tests.unit.router.replay import logs

sys.path.append(str(Path(__file__).parents[4] / "benchmarks"))
import replay_worlds as worlds


def second(_: worlds.Prompt) -> int:
    return 1


def by_price(prompt: worlds.Prompt) -> int:
    return 1 if prompt.predicted_usd[0] < 0.0016 else 0


def threshold(prompt: worlds.Prompt) -> int:
    return 1 if prompt.predicted_usd[0] < 0.0013 else 0


def replayed(log: list[Logged], name: str = "cheapest", **asked) -> dict[str, Figure]:
    """The best figure of each quantity."""
    answer = judged(traffic(log), [target(name)], Asked(policy=name, **asked), Clock())
    return {figure.quantity: figure for figure in answer.verdicts[0].figures}


def greedy_log(count: int, epsilon: float = 0.2, *, seed: int = 1, wrong: float = 1.0) -> list[Logged]:
    rng = random.Random(seed)
    return worlds.Logger(by_price, epsilon, wrong).log(worlds.made_up(count, rng), rng)


class Table(NamedTuple):
    """Prompts that logs draw from, with replacement, so that they are the whole truth; and who prefers what of them."""

    prompts: list[worlds.Prompt]
    greedy: Callable[[worlds.Prompt], int]
    pick: Callable[[worlds.Prompt], int]


MADE_UP = Table(worlds.made_up(20_000, random.Random(0)), by_price, threshold)


def covered(table: Table, logs_: int, count: int, epsilon: float) -> dict[tuple[str, str], float]:
    """Of this many logs the share in which each method's interval holds the truth, by quantity."""
    held: dict[tuple[str, str], list[bool]] = {}
    true = {
        "price": sum(p.usd[table.pick(p)] for p in table.prompts) / len(table.prompts),
        "quality": sum(p.right[table.pick(p)] for p in table.prompts) / len(table.prompts),
    }
    for n in range(logs_):
        rng = random.Random(n)
        prompts = rng.choices(table.prompts, k=count)
        log = traffic(worlds.Logger(table.greedy, epsilon).log(prompts, rng))
        weighed = weigh(log.requests, [{str(table.pick(p)): 1.0} for p in prompts])
        for quantity, truth in true.items():
            case = estimators.evidence(log, weighed, quantity)
            if audit.objection(log.requests) or estimators.objection(case):
                continue
            for figure in estimators.figures(case, anytime=False):
                held.setdefault((quantity, figure.method), []).append(figure.low <= truth <= figure.high)
    assert all(len(hits) >= 0.98 * logs_ for hits in held.values())
    assert 6 == len(held)
    return {which: sum(hits) / len(hits) for which, hits in held.items()}


def hold(found: dict[tuple[str, str], float]) -> None:
    """93 to 97 %, give or take what 500 logs leave open (2 standard errors are 0.02 there); IPS holds at every look."""
    for (_, method), share in found.items():
        assert share >= 0.93 - 0.01, found
        assert method == "ips" or share <= 0.97 + 0.01, found


def test_intervals_hold_the_truth_in_a_few_logs() -> None:
    """Nominal 95 % over 30 logs: at least 25 hold it, which 95 % does with a probability of 99.7 %."""
    found = covered(MADE_UP, 30, 1200, 0.2)

    assert all(share >= 25 / 30 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("count", "epsilon"), [(2000, 0.2), (4000, 0.1)])
def test_nominal_95_percent_covers_93_to_97(count, epsilon) -> None:
    """Over 500 logs with known truth: SNIPS and doubly robust, of price and quality."""
    hold(covered(MADE_UP, 500, count, epsilon))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nominal_95_percent_covers_93_to_97_over_a_real_reward_table(data) -> None:
    """RouteLLM's prompts, which a weak and a strong model both answered."""
    file = data / "routellm_weak_strong.parquet"
    rows = duckdb.sql(f"SELECT weak_correct, strong_correct, length(prompt) FROM read_parquet('{file}')").fetchall()
    every = worlds.table(*zip(*rows, strict=True))
    short = sorted(p.usd[0] for p in every)[len(every) // 2]

    hold(covered(Table(every, lambda p: int(p.usd[0] > short), lambda p: int(p.usd[0] > 1.2 * short)), 500, 2000, 0.2))


def test_below_the_stated_effective_sample_size_it_refuses() -> None:
    """Candidate 1 is the logger's favourite only some of the time: few requests say anything of it always."""
    log = greedy_log(300)
    answer = traffic(log)
    weighed = weigh(log, [{"0": 1.0}] * 300)

    said = estimators.objection(estimators.evidence(answer, weighed, "price"))

    assert weighed.ess(weighed.weights) < 200
    assert said is not None
    assert said.startswith("too little evidence: 300 requests say as much as")


def test_a_log_that_by_chance_lacks_the_rare_choices_is_not_richer_for_it() -> None:
    """Without one of the rare heavy weights all weights look alike; the propensities tell better."""
    log = [one for one in greedy_log(260, 0.05) if one.propensity > 0.5]
    weighed = weigh(log, [{"2": 0.5, one.chosen: 0.5} for one in log])

    assert len(log) > 200
    assert weighed.ess(weighed.weights) < 100


@pytest.mark.parametrize("wrong", [0.8, 1.2])
def test_propensities_wrong_by_a_fifth_are_caught(wrong) -> None:
    """What is left to chance is a fifth more, or less, than the log says."""
    said = [audit.objection(greedy_log(6000, 0.2, seed=seed, wrong=wrong)) for seed in range(3)]

    assert all(one is not None and one.startswith("wrong propensities") for one in said), said


def test_right_propensities_are_believed() -> None:
    """The same worlds, as they are."""
    assert [None] * 3 == [audit.objection(greedy_log(6000, 0.2, seed=seed)) for seed in range(3)]


def test_propensities_that_are_a_fifth_too_small_throughout_are_caught_at_once() -> None:
    """They do not add up to 1."""
    log = [
        replace(
            one,
            propensity=0.8 * one.propensity,
            slate=[replace(shown, propensity=0.8 * shown.propensity) for shown in one.slate],
        )
        for one in greedy_log(300)
    ]
    figures = replayed(log)

    assert "wrong propensities: at 300 of 300 decisions" in figures["price"].refusal
    assert figures["price"].estimate is None


def test_a_mean_weight_that_is_not_1_is_refused() -> None:
    """A log that keeps the decision's own propensity alone, a fifth too small: nothing else could tell."""
    log = [
        replace(one, propensity=0.8 * one.propensity, slate=[replace(shown, propensity=None) for shown in one.slate])
        for one in greedy_log(4000)
    ]
    said = estimators.objection(estimators.evidence(traffic(log), weigh(log, [{"1": 1.0}] * len(log)), "price"))

    assert said is not None
    assert said.startswith("the mean weight is 1.2")


def test_without_propensities_it_refuses() -> None:
    """A log from before they were kept, which says since when not."""
    figures = replayed([replace(one, propensity=None) for one in greedy_log(400)])

    assert figures["errors"].refusal.startswith("no propensities: 400 of 400 decisions")


def test_candidates_that_were_never_chosen_cannot_be_judged() -> None:
    """A log in which nothing was left to chance says so, and what that means."""
    rng = random.Random(1)
    log = worlds.Logger(second, 0.0).log(worlds.made_up(400, rng), rng)
    figures = replayed(log, "cheapest")

    assert figures["price"].refusal.startswith("unseen candidates: at 100% of the requests")
    assert "every logged decision was certain" in figures["price"].refusal


def test_the_logging_policy_itself_gets_the_observed_figures() -> None:
    """By name or as what it does, also from a few requests, and with nothing refused."""
    log = greedy_log(150)
    figures = replayed(log, LOGGED)

    assert sum(one.cost_usd for one in log) / 150 == pytest.approx(figures["price"].estimate)
    assert sum(one.score for one in log) / 150 == pytest.approx(figures["quality"].estimate)
    assert {"observed"} == {figure.method for figure in figures.values()}
    assert 0 == figures["price"].difference


def test_of_two_requests_no_price_is_below_nothing() -> None:
    """However little is known: what was observed has the same bounds as what is estimated."""
    log = [replace(one, cost_usd=usd) for one, usd in zip(greedy_log(2), (0.0, 1e-5), strict=True)]
    price = replayed(log, LOGGED)["price"]

    assert 0.0 == price.low == price.observed_low < price.estimate < price.high


def test_a_policy_that_decides_as_the_log_did_gets_the_observed_figures() -> None:
    """Nothing would have been different, latency included."""
    rng = random.Random(1)
    log = worlds.Logger(lambda p: min(range(3), key=lambda arm: p.predicted_usd[arm]), 0.0).log(
        worlds.made_up(150, rng), rng
    )
    figures = replayed(log, "cheapest")

    assert 100.0 == figures["latency_mean"].estimate == figures["latency_mean"].observed
    assert sum(one.cost_usd for one in log) / 150 == pytest.approx(figures["price"].estimate)
    assert {"observed"} == {figure.method for figure in figures.values()}


def test_missing_outcomes_are_counted_and_widen_the_interval() -> None:
    """Every tenth request never ended: the interval reaches as far as all of them failed, or none."""
    whole = greedy_log(1000)
    some = [replace(one, status=None, cost_usd=None) if n % 10 == 0 else one for n, one in enumerate(whole)]
    before, after = replayed(whole, "random")["errors"], replayed(some, "random")["errors"]

    assert (0, 100) == (before.missing, after.missing)
    assert after.high > before.high + 0.08
    assert any("100 outcomes are not known" in warning for warning in after.warnings)


def test_where_most_outcomes_are_missing_it_refuses() -> None:
    """A third of the costs is unknown."""
    log = [replace(one, cost_usd=None) if n % 3 == 0 else one for n, one in enumerate(greedy_log(900))]

    assert "300 of 900 costs are not known" in replayed(log, "random")["price"].refusal


def test_a_sender_who_left_is_neither_failure_nor_success() -> None:
    """It is missing among the errors."""
    log = [replace(one, status="cancelled") if n % 20 == 0 else one for n, one in enumerate(greedy_log(1000))]

    assert 50 == replayed(log, "random")["errors"].missing


def test_a_fallback_is_charged_to_the_policy_that_needed_it() -> None:
    """The cost of the whole request counts, not that of its first attempt."""
    log = [replace(one, cost_usd=1.0 if one.chosen == "0" else one.cost_usd) for one in greedy_log(3000)]
    case = estimators.evidence(traffic(log), weigh(log, [{"0": 1.0}] * 3000), "price")

    assert estimators.figures(case, anytime=False)[0].estimate == pytest.approx(1.0, rel=1e-3)


def test_where_the_policy_changed_while_it_logged_the_intervals_hold_at_every_look() -> None:
    """Two versions of one policy: IPS with a confidence sequence goes first, and is wider."""
    log = greedy_log(1000)
    learnt = [replace(one, version=str(n // 500)) for n, one in enumerate(log)]
    answer = judged(traffic(learnt), [target("random")], Asked(policy="random"), Clock())
    price = answer.verdicts[0].figures[0]
    plain = replayed(log, "random")["price"]

    assert (True, "ips") == (price.anytime, price.method)
    assert price.high - price.low > plain.high - plain.low
    assert any("greedy changed within the window" in warning for warning in answer.warnings)


def test_quality_is_of_the_answers_that_were_judged_and_says_so() -> None:
    """Half of them were."""
    log = [replace(one, score=None) if n % 2 else one for n, one in enumerate(greedy_log(2000))]
    quality = replayed(log, "random")["quality"]

    assert 1000 == quality.n
    assert any(warning.startswith("50% of the answers were judged") for warning in quality.warnings)


def test_a_request_s_session_is_its_cluster() -> None:
    """Sessions that are alike make the interval wider than their requests would alone."""
    rng = random.Random(2)
    log = worlds.Logger(by_price, 0.2).log(worlds.made_up(1500, rng, 10), rng)
    apart = [replace(one, session=None) for one in log]

    assert 150 == replayed(log, "random")["quality"].clusters
    wide, narrow = (replayed(one, "random")["quality"] for one in (log, apart))
    assert wide.high - wide.low > 1.1 * (narrow.high - narrow.low)


def test_what_the_log_ruled_out_for_good_stays_ruled_out() -> None:
    """A private request's far candidate may not be chosen; one that the logging policy alone rejected may."""
    near = logs.candidate("near", pred_cost_usd=0.5)
    hard = logs.candidate("far", pred_cost_usd=0.1, eligible=False, code="private", reason="private")
    soft = logs.candidate("far", pred_cost_usd=0.1, eligible=False, code="policy", reason="local-only")
    rows = [logs.decision(1, [near, hard], "near"), logs.decision(2, [near, soft], "near")]
    log = logs.filled(rows)
    try:
        with log.reader().window(Window()) as (_, lines):
            requests = [msgspec.json.decode(line, type=Logged) for line in lines]
    finally:
        log.close()

    assert [{"near": 1.0}, {"far": 1.0}] == [target("cheapest").choice(one) for one in requests]


def test_the_log_itself_gives_what_was_written_to_it() -> None:
    """Through the real log and back: costs, failures, scores, shadows, sessions."""
    rows = []
    for n in range(300):
        cheap = logs.candidate("near", pred_cost_usd=0.0001, propensity=0.5)
        dear = logs.candidate("far", pred_cost_usd=0.002, propensity=0.5)
        chosen = "near" if n % 2 else "far"
        one = logs.decision(n, [cheap, dear], chosen, propensity=0.5, session=f"s{n // 3}")
        cost = 0.0001 if chosen == "near" else 0.002
        rows += [one, logs.attempt(one, chosen, cost_usd=cost), logs.outcome(one, cost_usd=cost)]
        rows.append(logs.feedback(one, 1.0 if chosen == "far" else 0.5))
    log = logs.filled(rows)
    try:
        answer: Replay = replay(log.reader(), Window(), Asked(policy=LOGGED), Clock())
    finally:
        log.close()
    figures = {figure.quantity: figure for figure in answer.verdicts[0].figures}

    assert (300, 300, "session") == (answer.requests, answer.held, answer.clustered_by)
    assert 0.00105 == pytest.approx(figures["price"].estimate)
    assert 0.75 == pytest.approx(figures["quality"].estimate)
    assert 0.0 == figures["errors"].estimate
    assert 101.0 == pytest.approx(figures["latency_p50"].estimate)


def test_decisions_that_were_settled_are_read_like_new_ones() -> None:
    """The log moves what has ended into one table: a replay before and after says the same."""
    found = []
    for _ in ("new", "settled"):
        log = logs.filled([])
        try:
            for n in range(60):
                slate = [logs.candidate("near", propensity=0.5), logs.candidate("far", propensity=0.5)]
                one = logs.decision(n, slate, "near", propensity=0.5, decision_id=f"{n:08}-0000-7000-8000-000000000000")
                for row in (one, logs.attempt(one, "near", queue_ms=3.0), logs.outcome(one), logs.feedback(one, 0.5)):
                    log.append(row)
            log.flush()
            if found:
                with contextlib.closing(log.cursor()) as con:
                    assert 60 == Keeper(log.cursor).settle(
                        con, datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None), at_least=1
                    )
            found.append(read(log.reader(), Window(), lambda: None).requests)
        finally:
            log.close()

    assert 60 == len(found[0])
    assert found[0] == found[1]


def test_only_the_newest_are_read_and_it_says_so() -> None:
    """A window with more rows than may be read."""
    log = logs.filled([logs.decision(n, [logs.candidate("near")], "near") for n in range(50)])
    try:
        answer = replay(log.reader(), Window(max_rows=20), Asked(policy=LOGGED), Clock())
    finally:
        log.close()

    assert (20, 50) == (answer.requests, answer.held)
    assert "the window holds 50 decisions; the newest 20 are replayed" in answer.warnings
    assert answer.since.startswith("2025-10-09T12:00:00.03")


def test_an_empty_window_refuses_every_figure() -> None:
    """And breaks nothing."""
    log = logs.filled([])
    try:
        answer = replay(log.reader(), Window(), Asked(policy="fastest", baselines=True), Clock())
    finally:
        log.close()

    assert 0 == answer.requests
    assert all(figure.refusal for verdict in answer.verdicts for figure in verdict.figures)


def test_the_oracle_is_judged_by_shadows_alone() -> None:
    """What those not asked would have answered is known only where both were."""
    assert "only shadows tell" in replayed(greedy_log(900), "oracle")["price"].refusal


def test_shadows_stand_in_where_nothing_was_left_to_chance() -> None:
    """All went far; every fourth ran near too: all-near is judged by these, and quality is how well they agree."""
    rows = []
    for n in range(400):
        slate = [logs.candidate("near", pred_cost_usd=0.0001), logs.candidate("far", pred_cost_usd=0.002)]
        one = logs.decision(n, slate, "far")
        rows += [one, logs.attempt(one, "far", cost_usd=0.002), logs.outcome(one, cost_usd=0.002)]
        if n % 4 == 0:
            rows += [
                logs.attempt(one, "near", attempt=2, role="shadow", won=False, cost_usd=0.0001, total_ms=30.0),
                logs.shadow(one, "near", 0.9 if n % 8 else 0.7),
            ]
    log = logs.filled(rows)
    try:
        answer = replay(log.reader(), Window(), Asked(policy="all-near"), Clock())
    finally:
        log.close()
    figures = {figure.quantity: figure for figure in answer.verdicts[0].figures}

    assert ("paired", "paired") == (figures["price"].method, figures["quality"].method)
    assert 0.0001 == pytest.approx(figures["price"].estimate)
    assert 0.002 == pytest.approx(figures["price"].observed)
    assert -0.0019 == pytest.approx(figures["price"].difference)
    assert 0.8 == pytest.approx(figures["quality"].estimate)
    assert figures["quality"].low < 0.8 < figures["quality"].high
    assert 1.0 == figures["quality"].observed


def test_a_session_that_weighs_nearly_all_is_no_sample() -> None:
    """Nine requests of ten are of one session: there are many clusters, and they say as much as one would."""
    log = [replace(one, session="greedy" if n % 10 else f"s{n}") for n, one in enumerate(greedy_log(1500))]

    assert "too few groups of requests weigh anything" in replayed(log, "random")["price"].refusal


def test_the_upper_end_of_a_price_says_what_it_takes_for_granted() -> None:
    """The interval that holds at every look needs the largest price there can be, and knows the largest it saw."""
    watched = replayed(greedy_log(1500), "random", watched=True)

    assert DEAREST in watched["price"].warnings
    assert DEAREST not in watched["errors"].warnings


def paired_log(shadowed: set[int], count: int = 400) -> list[Logged]:
    """Half went far, which all-near would not do; near fails where it is asked in their place, far never does."""
    rows = []
    for n in range(count):
        one = logs.decision(n, [logs.candidate("near"), logs.candidate("far")], "near" if n % 2 else "far")
        rows += [one, logs.attempt(one, one.chosen), logs.outcome(one)]
        if n in shadowed:
            other, status = ("far", "ok") if n % 2 else ("near", "error")
            rows.append(logs.attempt(one, other, attempt=2, role="shadow", won=False, status=status))
    log = logs.filled(rows)
    try:
        return read(log.reader(), Window(), lambda: None).requests
    finally:
        log.close()


def test_shadows_stand_for_the_requests_at_which_the_target_disagrees_and_no_others() -> None:
    """How many requests were shadowed at which it agrees with the log changes nothing."""
    apart = set(range(0, 400, 8))  # a quarter of where it disagrees
    for agreeing in (set(), set(range(1, 400, 2))):
        errors = replayed(paired_log(apart | agreeing), "all-near")["errors"]
        assert ("paired", 0.5) == (errors.method, pytest.approx(errors.estimate))


def test_pairs_say_nothing_of_a_target_that_draws_its_first_choice() -> None:
    """Of equal shares none is the choice; the oracle, which has none either, is judged by pairs."""
    log = traffic(paired_log(set(range(400))))
    for name, there in (("random", False), (ORACLE, True)):
        verdict = judged(log, [target(name)], Asked(policy=name), Clock()).verdicts[0]
        assert there == any(figure.method == "paired" for figure in (*verdict.figures, *verdict.others))


def test_a_vote_that_was_replaced_no_longer_counts() -> None:
    """Of each source its last word, and the mean of the sources."""
    one = logs.decision(1, [logs.candidate("near")], "near")
    votes = [("user", 0.0, 1), ("user", 1.0, 2), ("judge", 0.5, 1)]
    said = [replace(logs.feedback(one, value), source=who, ts_us=one.ts_us + at) for who, value, at in votes]
    log = logs.filled([one, logs.attempt(one, "near"), logs.outcome(one), *said])
    try:
        (found,) = read(log.reader(), Window(), lambda: None).requests
    finally:
        log.close()

    assert 0.75 == found.score


def test_a_name_that_is_no_policy_is_refused_with_the_names_there_are() -> None:
    """The baselines among them."""
    with pytest.raises(InvalidRequest, match=r"all-near.*oracle") as error:
        target("no-such-policy")
    assert "policy" == error.value.param


def test_a_target_is_a_policy_or_a_baseline() -> None:
    """Only `random` spreads its choice."""
    log = greedy_log(1)[0]

    assert {"0": pytest.approx(1 / 3), "1": pytest.approx(1 / 3), "2": pytest.approx(1 / 3)} == Target(
        name="random"
    ).choice(log)
    assert 1 == len(target("all-far").choice(log))


@pytest.mark.parametrize("name", ["cascade", "budget"])
def test_a_policy_that_decides_by_what_the_log_does_not_show_is_refused(name) -> None:
    """What it would have seen after its first answer, or of a budget that was spent otherwise."""
    figures = replayed(greedy_log(300), name)

    assert figures["price"].refusal.startswith(name)
    assert figures["latency_mean"].refusal.startswith(name)


def test_answers_that_were_escalated_are_not_taken_for_first_answers() -> None:
    """A cascade's log says what a request cost in all, not what its near answer alone was worth."""
    on = Tried(candidate_id="1", role="escalation", status="ok", begun_ms=0.0, total_ms=1.0)
    log = [replace(one, attempts=[on]) if n % 10 == 0 else one for n, one in enumerate(greedy_log(300))]

    assert "10% of the requests went on to a better model" in replayed(log, "random")["price"].refusal
