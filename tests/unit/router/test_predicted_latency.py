"""Predictions through the estimator's door: medians and quantiles of whole latencies, on processes that are known."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.types import Timings, Usage
from router.estimates import Asked
from router.sections import Price
from router.slate import Size
from tests.unit.router.test_estimates import candidate, estimator, observed, one, pasts, seconds, texts

FAR = candidate("remote", price=Price(output_per_1m_usd=1e6))


def request(dice: random.Random) -> Size:
    limit = dice.choice((64, 256, 1024))
    tokens = round(math.exp(dice.gauss(5, 1)))
    return Size(items=1, input_tokens=tokens, output_tokens=min(limit, 128), max_output_tokens=limit)


def run(level, seed: int, count: int = 900, sigma: float = 0.25, slow: float = 0.0):
    """Of each request the estimate and what it took: a lognormal far side, of which a share is four times as slow."""
    dice, estimates, found = random.Random(seed), estimator(), []
    for number in range(count):
        size = request(dice)
        tokens = min(size.max_output_tokens, max(1, round(150 * math.exp(0.5 * dice.gauss(0, 1)))))
        noise = math.exp(sigma * dice.gauss(0, 1)) * (4.0 if dice.random() < slow else 1.0)
        took = level(number) * (0.3 + 4e-5 * size.input_tokens + 0.01 * tokens) * noise
        [estimate] = estimates.estimate(size, [FAR], lambda _: None)
        found.append((estimate, took))
        usage = Usage(prompt_tokens=size.input_tokens, completion_tokens=tokens)
        estimates.observe(FAR, size, usage, Timings(service_s=took), took, Asked(predicted=estimate))
    return found


def off(found) -> float:
    """The median relative error."""
    errors = sorted(abs(estimate.latency_s - took) / took for estimate, took in found)
    return errors[len(errors) // 2]


def covered(found, name: str = "p95_s") -> float:
    return sum(took <= getattr(estimate.latency, name) for estimate, took in found) / len(found)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("slow", [0.0, 0.25])
def test_p95_covers_as_promised_and_the_median_lies_in_the_middle(seed, slow) -> None:
    """Whether replicas are alike or a quarter of them is slow, and although answers are as long as they please."""
    found = run(lambda _: 1.0, seed, slow=slow)[50:]

    assert 0.93 <= covered(found) <= 0.97
    assert pytest.approx(0.5, abs=0.06) == covered(found, "p50_s")
    assert covered(found, "p99_s") >= 0.975


@pytest.mark.parametrize("seed", range(3))
def test_a_far_side_that_slows_down_threefold_is_followed_within_fifty_requests(seed) -> None:
    """And back: the error is then what it was, and p95 has not been missed for long."""
    found = run(lambda number: 3.0 if 300 <= number < 600 else 1.0, seed)
    usual = off(found[100:300])

    assert off(found[350:600]) < 1.25 * usual
    assert off(found[650:]) < 1.25 * usual
    assert 0.93 <= covered(found[50:]) <= 0.97


@given(pasts())
def test_quantiles_never_cross_and_their_middle_is_what_is_predicted(given) -> None:
    """Whatever was seen: finite, rising, and None until a request was."""
    whom, size, past, _ = given
    estimates = estimator()
    assert (None, None) == (one(estimates, size, whom).latency, one(estimates, size, whom).first_token)
    for past_size, took in past:
        estimate = one(estimates, past_size, whom)
        timings = Timings(service_s=took, first_token_s=took / 2)
        estimates.observe(whom, past_size, Usage(), timings, took, Asked(predicted=estimate))
    estimate = one(estimates, size, whom)
    for found in filter(None, (estimate.latency, estimate.first_token)):
        assert 0 < found.p50_s <= found.p90_s <= found.p95_s <= found.p99_s < math.inf
    assert estimate.latency is None or estimate.latency.p50_s == estimate.latency_s


def test_a_calibration_alone_gives_no_quantiles() -> None:
    """It measured how long sizes take, on an idle machine: how far requests lie apart it cannot say."""
    from tests.unit.router.test_estimates import report_of

    estimates, size = estimator(), Size(items=1, input_tokens=100)
    estimates.learn_load(candidate(), report_of((size, 1.0)), "calibrated")
    assert one(estimates, size, candidate()).latency is None


@given(texts, st.lists(st.tuples(texts, seconds), max_size=6), st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_larger_request_is_never_predicted_to_be_faster(size, past, more_in, more_out) -> None:
    """After any past, in its median and in every quantile."""
    estimates = estimator()
    for past_size, took in past:
        observed(estimates, FAR, past_size, took)
    small = Size(items=1, input_tokens=size.input_tokens, output_tokens=size.output_tokens)
    output_tokens = None if size.output_tokens is None else size.output_tokens + more_out
    large = Size(items=1, input_tokens=size.input_tokens + more_in, output_tokens=output_tokens)
    before, after = one(estimates, small, FAR), one(estimates, large, FAR)

    assert before.latency_s <= after.latency_s * (1 + 1e-9)
    if before.latency is not None:
        assert before.latency.p99_s <= after.latency.p99_s * (1 + 1e-9)


def test_the_first_token_is_learnt_apart_from_the_whole() -> None:
    """A long answer begins no later than a short one, and a long prompt does."""
    estimates, dice = estimator(), random.Random(1)
    for _ in range(200):
        size = request(dice)
        tokens = dice.randint(1, size.max_output_tokens)
        first = 0.2 + 1e-3 * size.input_tokens
        usage = Usage(completion_tokens=tokens)
        timings = Timings(service_s=first + 0.02 * tokens, first_token_s=first)
        estimate = one(estimates, size, FAR)
        estimates.observe(FAR, size, usage, timings, first + 0.02 * tokens, Asked(predicted=estimate))

    def first_of(read: int, limit: int) -> float:
        size = Size(items=1, input_tokens=read, output_tokens=min(limit, 128), max_output_tokens=limit)
        return one(estimates, size, FAR).first_token.p50_s

    assert pytest.approx(0.3, rel=0.15) == first_of(100, 64)
    assert pytest.approx(first_of(100, 64), rel=0.15) == first_of(100, 1024)
    assert pytest.approx(1.2, rel=0.2) == first_of(1000, 64)


def test_time_outs_make_a_candidate_look_slower_and_never_faster() -> None:
    """They took longer than they were waited for; who left early says nothing."""
    estimates, size = estimator(), Size(items=1, input_tokens=100)
    for _ in range(30):
        observed(estimates, FAR, size, 1.0)
    before = one(estimates, size, FAR)
    asked = Asked(predicted=before)
    for _ in range(30):
        estimates.outlasted(FAR, size, 0.2, asked, silent=False)
    assert before == one(estimates, size, FAR)

    for _ in range(30):
        estimates.outlasted(FAR, size, 10.0, Asked(predicted=one(estimates, size, FAR)), silent=False)
    after = one(estimates, size, FAR)
    assert before.latency.p95_s < after.latency.p95_s
    assert before.latency_s < after.latency_s <= 10.0 * 1.05

    near = candidate()
    observed(estimates, near, size, 1.0)
    shadow = one(estimates, size, near)
    estimates.outlasted(near, size, 10.0, Asked(), silent=False)  # it waited, perhaps: nobody foresaw how long
    assert shadow == one(estimates, size, near)
    unknown = candidate("remote", name="unknown")
    estimates.outlasted(unknown, size, 10.0, Asked(), silent=False)
    assert "prior" == one(estimates, size, unknown).latency_source


def test_a_queue_that_was_foreseen_wrongly_is_put_right_in_the_whole() -> None:
    """The backend said half of what was waited: the prediction doubles it, and its parts still add up."""
    estimates, size, waiting = estimator(), Size(items=1, input_tokens=100), candidate(queue_s=1.0)
    for _ in range(60):
        predicted = one(estimates, size, waiting)
        timings = Timings(queue_s=2.0, service_s=0.01, device_s=0.01)
        estimates.observe(waiting, size, Usage(), timings, 2.01, Asked(predicted=predicted))
    estimate = one(estimates, size, waiting)

    assert pytest.approx(2.01, rel=0.02) == estimate.latency_s
    assert pytest.approx(estimate.latency_s) == estimate.load_s + estimate.queue_s + estimate.service_s
    assert pytest.approx(2.0, rel=0.05) == estimate.correction


def test_what_intents_want_is_how_long_answers_are_and_what_they_cost() -> None:
    """The median says how long one takes, the mean what all of them cost; another candidate's lengths are a start."""
    estimates, size = estimator(), Size(items=1, input_tokens=10, output_tokens=128, max_output_tokens=1000)
    for number in range(40):
        for intent, tokens in (("code", 400 if number % 4 else 800), ("chat", 20)):
            usage, took = Usage(completion_tokens=tokens), 0.02 * tokens
            estimates.observe(FAR, size, usage, Timings(service_s=took), took, Asked(intent))

    def of(intent: str | None, whom=FAR):
        [estimate] = estimates.estimate(size, [whom], lambda _: None, intent)
        return estimate

    assert [400, 20] == [estimates.expected_output_tokens(FAR, size, intent) for intent in ("code", "chat")]
    assert (pytest.approx(500.0), pytest.approx(20.0)) == (of("code").cost_usd, of("chat").cost_usd)
    assert of("code").latency_s > 5 * of("chat").latency_s
    assert 400 == estimates.expected_output_tokens(candidate("remote", name="new"), size, "code")


def test_cold_starts_have_quantiles_once_a_load_was_measured_and_their_own_after_some() -> None:
    """What a load takes is not noise of a loaded model."""
    estimates, size, cold, warm = estimator(), Size(items=1, input_tokens=100), candidate(loaded=False), candidate()
    for _ in range(20):
        observed(estimates, warm, size, 0.1)
    assert one(estimates, size, cold).latency is None

    for number in range(12):
        predicted = one(estimates, size, cold)
        assert number == 0 or predicted.latency.p50_s > 1.5
        timings = Timings(load_s=3.0, service_s=0.1)
        estimates.observe(cold, size, Usage(), timings, 3.1, Asked(predicted=predicted))
    assert pytest.approx(3.1, rel=0.1) == one(estimates, size, cold).latency.p50_s
    assert pytest.approx(0.1, rel=0.1) == one(estimates, size, warm).latency.p50_s


def test_coverage_is_told_by_candidate() -> None:
    """Of those that had a prediction."""
    estimates, size = estimator(), Size(items=1, input_tokens=100)
    observed(estimates, FAR, size, 1.0)
    assert {} == estimates.coverage()

    predicted = one(estimates, size, FAR)
    for took in (1.0, 1.0, 100.0):
        estimates.observe(FAR, size, Usage(), Timings(service_s=took), took, Asked(predicted=predicted))
    assert {FAR.id: (3, 2)} == estimates.coverage()
