"""The estimates: a shape from physics, a factor from experience; always a duration, and the source is told."""

import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from backends.types import (
    ClassificationInput,
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    LoadReport,
    Message,
    Status,
    Target,
    Task,
    Timings,
    Usage,
    ZeroShotInput,
)
from router.estimates import LEARNING_RATE, MAX_LEARNT, PRIOR_OUTPUT_TOKENS, Estimator, prior_service_s, size_of
from router.pricing import local_rates
from router.settings import Price
from router.slate import Candidate, Size

RATES = local_rates(3.6, 2)  # a thousandth of a dollar a second


def estimator(*, runtime_started: bool = True) -> Estimator:
    return Estimator(RATES, runtime_started=lambda: runtime_started)


def candidate(
    backend: str = "local", *, name: str = "m", parameters: int | None = 1_000_000, price: Price | None = None, **status
) -> Candidate:
    state = Status(
        **({"loaded": True} | ({"device": "cpu", "dtype": "float32"} if backend == "local" else {}) | status)
    )
    return Candidate(
        id=f"{backend}:{name}",
        target=Target(backend=backend, provider=backend, model=name, task=Task.TEXT_GENERATION, parameters=parameters),
        near=backend == "local",
        status=state,
        price=price,
    )


def one(estimates: Estimator, size: Size, whom: Candidate, refusal: str | None = None):
    [estimate] = estimates.estimate(size, [whom], lambda _: refusal)
    return estimate


def observed(estimates: Estimator, whom: Candidate, size: Size, seconds: float, **timings: float) -> None:
    usage = Usage(prompt_tokens=size.input_tokens, completion_tokens=size.output_tokens)
    estimates.observe(whom, size, usage, Timings(service_s=seconds, **timings), total_s=seconds)


tokens = st.integers(1, 100_000)
sizes = st.builds(
    lambda i, o, cut: Size(items=1, input_tokens=i, output_tokens=o, max_output_tokens=None if o is None else o + cut),
    tokens,
    st.none() | tokens,
    st.integers(0, 1000),
)
seconds = st.floats(1e-6, 1e4)
candidates = st.builds(
    candidate,
    st.sampled_from(["local", "remote", "fake"]),
    parameters=st.none() | st.integers(1, 10**12),
    loaded=st.booleans(),
    queued=st.integers(0, 1000),
    device=st.sampled_from(["cpu", "cuda:0", "remote"]),
    dtype=st.sampled_from([None, "float32", "bfloat16", "int4"]),
)
reports = st.builds(
    LoadReport, load_s=st.floats(0, 1e4), service_s=st.none() | seconds, input_tokens=tokens, output_tokens=tokens
)


@given(candidates, sizes, st.lists(st.tuples(sizes, seconds), max_size=5), st.none() | reports)
def test_an_estimate_is_always_a_positive_duration(whom, size, past, report) -> None:
    """Whatever was seen before: latency is the sum of its parts, finite and above 0."""
    estimates = estimator()
    if report is not None:
        estimates.learn_load(whom, report)
    for past_size, took in past:
        observed(estimates, whom, past_size, took)
    estimate = one(estimates, size, whom)

    assert 0 < estimate.latency_s < math.inf
    assert min(estimate.load_s, estimate.queue_s) >= 0 < estimate.service_s
    assert pytest.approx(estimate.load_s + estimate.queue_s + estimate.service_s) == estimate.latency_s
    assert estimate.cost_usd is None or 0 <= estimate.cost_usd < math.inf


@given(st.sampled_from([0.0, -1.0, math.nan, math.inf]))
def test_what_is_no_duration_teaches_nothing(nonsense) -> None:
    """A broken clock somewhere does not make a candidate ineligible for ever."""
    estimates, whom, size = estimator(), candidate(queued=3), Size(items=1, input_tokens=10, output_tokens=10)
    before = one(estimates, size, whom)
    observed(estimates, whom, size, nonsense)
    estimates.learn_load(whom, LoadReport(load_s=0.0, service_s=nonsense, input_tokens=10, output_tokens=10))

    assert before == one(estimates, size, whom)


@given(st.sampled_from(["local", "remote"]), sizes, seconds, seconds)
def test_a_warm_up_beats_the_prior_and_an_observation_the_warm_up(backend, size, warm_s, real_s) -> None:
    """Each source replaces the weaker one outright, and says its name; a later warm-up does not take over again."""
    estimates, whom = estimator(), candidate(backend)
    report = LoadReport(
        load_s=1.0, service_s=warm_s, input_tokens=size.input_tokens, output_tokens=size.output_tokens or 0
    )
    assert "prior" == one(estimates, size, whom).latency_source

    estimates.learn_load(whom, report)
    warm = one(estimates, size, whom)
    assert ("warm-up", pytest.approx(warm_s)) == (warm.latency_source, warm.service_s)

    observed(estimates, whom, size, real_s)
    real = one(estimates, size, whom)
    assert ("observed", pytest.approx(real_s)) == (real.latency_source, real.service_s)

    estimates.learn_load(whom, report)
    assert real == one(estimates, size, whom)


@given(sizes, seconds, seconds)
def test_each_observation_moves_the_estimate_towards_the_truth(size, first_s, truth_s) -> None:
    """By a fixed share of the distance in the logarithm: never past it, and there in the end."""
    estimates, whom = estimator(), candidate()
    observed(estimates, whom, size, first_s)

    def distance() -> float:
        return math.log(one(estimates, size, whom).service_s / truth_s)

    for _ in range(3):
        before = distance()
        observed(estimates, whom, size, truth_s)
        assert pytest.approx((1 - LEARNING_RATE) * before, abs=1e-9) == distance()
    for _ in range(100):
        observed(estimates, whom, size, truth_s)
    assert pytest.approx(truth_s, rel=1e-3) == one(estimates, size, whom).service_s


@given(candidates, sizes, seconds, st.integers(0, 100_000))
def test_one_observation_informs_every_size(whom, size, took, more) -> None:
    """The factor is learnt, the shape stays: twice the prior at one size is twice the prior at any."""
    assume(whom.target.backend != "fake")
    estimates = estimator()
    larger = Size(items=1, input_tokens=size.input_tokens + more)
    observed(estimates, whom, Size(items=1, input_tokens=size.input_tokens), took)
    factor = took / prior_service_s(whom, Size(items=1, input_tokens=size.input_tokens))

    assert pytest.approx(factor * prior_service_s(whom, larger)) == one(estimates, larger, whom).service_s
    assert took <= one(estimates, larger, whom).service_s * (1 + 1e-9)


@given(candidates, tokens, tokens, tokens, tokens)
def test_a_larger_request_is_never_expected_to_be_faster(whom, inputs, outputs, more_inputs, more_outputs) -> None:
    """The prior is monotone in both counts."""
    small = Size(items=1, input_tokens=inputs, output_tokens=outputs)
    large = Size(items=1, input_tokens=inputs + more_inputs, output_tokens=outputs + more_outputs)

    assert 0 < prior_service_s(whom, small) <= prior_service_s(whom, large)


def test_a_gpu_is_expected_to_be_faster_and_a_larger_model_slower() -> None:
    """The priors know that much of physics."""
    size = Size(items=1, input_tokens=1000, output_tokens=100)

    assert prior_service_s(candidate(device="cuda:0"), size) < prior_service_s(candidate(), size)
    assert prior_service_s(candidate(), size) < prior_service_s(candidate(parameters=10**9), size)
    assert prior_service_s(candidate(dtype="bfloat16"), size) < prior_service_s(candidate(), size)


def test_one_candidates_history_is_not_anothers() -> None:
    """What was seen far says nothing of near."""
    estimates, size = estimator(), Size(items=1, input_tokens=10)
    observed(estimates, candidate("remote"), size, 9.0)

    assert "prior" == one(estimates, size, candidate()).latency_source


def test_an_attempts_whole_time_stands_in_for_a_service_time_nobody_measured() -> None:
    """A far side's queue cannot be seen from here."""
    estimates, whom, size = estimator(), candidate("remote"), Size(items=1, input_tokens=10)
    estimates.observe(whom, size, Usage(), Timings(), total_s=7.0)

    assert pytest.approx(7.0) == one(estimates, size, whom).latency_s


def test_loading_is_paid_by_a_cold_near_candidate_only() -> None:
    """A measured load goes before the prior; the runtime's start is added while it has not started."""
    size = Size(items=1, input_tokens=10)

    assert 0.0 == one(estimator(), size, candidate()).load_s
    assert 0.0 == one(estimator(), size, candidate("remote", loaded=False)).load_s
    cold = candidate(loaded=False)
    assert one(estimator(), size, cold).load_s < one(estimator(runtime_started=False), size, cold).load_s
    assert (
        one(estimator(), size, cold).load_s < one(estimator(), size, candidate(loaded=False, parameters=10**9)).load_s
    )

    estimates = estimator()
    estimates.learn_load(cold, LoadReport(load_s=2.5))
    assert (2.5, "prior") == (one(estimates, size, cold).load_s, one(estimates, size, cold).latency_source)
    observed(estimates, cold, size, 0.1, load_s=3.5)
    assert 3.5 == one(estimates, size, cold).load_s
    observed(estimates, cold, size, 0.1, load_s=0.0)
    assert 3.5 == one(estimates, size, cold).load_s


def test_a_near_queue_is_waited_for() -> None:
    """Each request ahead takes what requests took so far; a far queue cannot be seen."""
    estimates, size = estimator(), Size(items=1, input_tokens=10)
    alone = one(estimates, size, candidate())
    assert pytest.approx(4 * alone.service_s) == one(estimates, size, candidate(queued=4)).queue_s
    assert 0.0 == one(estimates, size, candidate("remote", queued=4)).queue_s

    observed(estimates, candidate(), size, 0.5)
    assert pytest.approx(2.0) == one(estimates, size, candidate(queued=4)).queue_s


def test_near_costs_occupancy_and_far_its_price() -> None:
    """Waiting and loading are not charged; an unknown price stays unknown."""
    size = Size(items=1, input_tokens=1_000_000, output_tokens=100)
    near = one(estimator(), size, candidate(loaded=False, queued=3))
    assert (pytest.approx(near.service_s / 1000), "occupancy") == (near.cost_usd, near.cost_source)

    far = one(estimator(), size, candidate("remote", price=Price(input_per_1m_usd=2.0)))
    assert (2.0, "priced") == (far.cost_usd, far.cost_source)
    unknown = one(estimator(), size, candidate("remote"))
    assert (None, "unknown") == (unknown.cost_usd, unknown.cost_source)


def test_an_estimate_says_who_and_why_not() -> None:
    """Its status and its breaker both make a candidate unavailable; a GPU here is accelerated, one far is not ours."""
    size = Size(items=1, input_tokens=10)

    assert "breaker" == one(estimator(), size, candidate(), refusal="breaker").unavailable
    assert "gone" == one(estimator(), size, candidate(unavailable="gone"), refusal="breaker").unavailable
    assert "big" == one(estimator(), size, candidate(does_not_fit="big")).does_not_fit
    flags = [
        one(estimator(), size, c).accelerated for c in (candidate(device="cuda:0"), candidate(), candidate("remote"))
    ]
    assert [True, False, False] == flags


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20), st.integers(1, 5000))
def test_answers_are_expected_as_long_as_they_were(lengths, limit) -> None:
    """A running mean of what was seen, within the request's own limit, and at least one token."""
    estimates, whom = estimator(), candidate("remote")
    size = Size(items=1, input_tokens=10, output_tokens=min(limit, PRIOR_OUTPUT_TOKENS), max_output_tokens=limit)
    assert size.output_tokens == estimates.expected_output_tokens(whom.id, size)

    for length in lengths:
        estimates.observe(whom, size, Usage(completion_tokens=length), Timings(), 1.0)
    expected = estimates.expected_output_tokens(whom.id, size)
    assert min(*lengths, limit) <= expected <= min(max(lengths), limit)
    assert estimates.expected_output_tokens(whom.id, Size(items=1, input_tokens=10)) is None


def test_what_is_learnt_is_bounded() -> None:
    """The candidate seen longest ago is forgotten for the newest."""
    estimates, size = estimator(), Size(items=1, input_tokens=10)
    for number in range(MAX_LEARNT + 1):
        observed(estimates, candidate(name=f"{number}"), size, 5.0)

    assert "prior" == one(estimates, size, candidate(name="0")).latency_source
    assert "observed" == one(estimates, size, candidate(name=f"{MAX_LEARNT}")).latency_source


def size_for(payload, task: Task = Task.FEATURE_EXTRACTION) -> Size:
    return size_of(InferenceRequest(task=task, model="m", payload=payload))


@given(st.lists(st.text(max_size=50), max_size=5), st.text(max_size=50))
@example([], "")
def test_a_size_grows_with_its_texts(texts, another) -> None:
    """Every text has some tokens, also an empty one; labels of a zero-shot request are read too."""
    less, more = size_for(EmbeddingInput(texts=tuple(texts))), size_for(EmbeddingInput(texts=(*texts, another)))

    assert (len(texts), len(texts) + 1) == (less.items, more.items)
    assert less.input_tokens < more.input_tokens
    assert less == size_for(ClassificationInput(texts=tuple(texts)))
    assert less.input_tokens < size_for(ZeroShotInput(texts=tuple(texts), candidate_labels=(another,))).input_tokens
    assert less.output_tokens is None


def test_a_generation_is_expected_to_end_before_its_limit() -> None:
    """A high limit is not what most answers need; a low one is."""
    long, short = (size_for(GenerationInput(prompt="hello", max_tokens=n)) for n in (100_000, 5))

    assert (PRIOR_OUTPUT_TOKENS, 100_000) == (long.output_tokens, long.max_output_tokens)
    assert (5, 5) == (short.output_tokens, short.max_output_tokens)


def test_a_prompt_and_a_chat_of_the_same_text_are_as_large() -> None:
    """The empty prompt is a prompt too."""
    chat = size_for(GenerationInput(messages=(Message("user", "hello " * 20),)))

    assert chat.input_tokens == size_for(GenerationInput(prompt="hello " * 20)).input_tokens
    assert 0 < size_for(GenerationInput(prompt="")).input_tokens
