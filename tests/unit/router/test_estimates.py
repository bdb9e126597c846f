"""The estimates: a shape from physics, a factor from experience; always a duration, and the source is told."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.reports import LoadReport, Measurement
from backends.types import Status, Target, Task, Timings, Usage
from router.estimates import MAX_LEARNT, Asked, Estimator
from router.pricing import local_rates
from router.priors import prior_service_s
from router.sections import Price
from router.sizes import PRIOR_OUTPUT_TOKENS
from router.slate import Candidate, Size

RATES = local_rates(3.6, 2)  # a thousandth of a dollar a second


def estimator(*, runtime_started: bool = True) -> Estimator:
    return Estimator(RATES, runtime_started=lambda: runtime_started)


def candidate(
    backend: str = "local",
    *,
    name: str = "m",
    task: Task = Task.TEXT_GENERATION,
    parameters: int | None = 1_000_000,
    price: Price | None = None,
    **status,
) -> Candidate:
    state = Status(
        **({"loaded": True} | ({"device": "cpu", "dtype": "float32"} if backend == "local" else {}) | status)
    )
    return Candidate(
        id=f"{backend}:{name}",
        target=Target(backend=backend, provider=backend, model=name, task=task, parameters=parameters),
        near=backend == "local",
        status=state,
        price=price,
    )


def test_a_price_by_work_is_estimated_from_the_work_that_is_expected() -> None:
    """Seconds of compute as long as the answer takes, the steps that were asked, and no input that was cached."""
    drawing = Size(items=2, input_tokens=3, images=2, steps=5)
    estimates, task = estimator(), Task.TEXT_TO_IMAGE
    by_second = one(estimates, drawing, candidate("remote", task=task, price=Price(per_second_usd=0.5)))
    by_step = one(estimates, drawing, candidate("remote", task=task, price=Price(per_step_usd=0.25)))
    left_open = replace(drawing, steps=None)
    price = Price(input_per_1m_usd=2e6, cached_input_per_1m_usd=1e6)

    assert pytest.approx(0.5 * by_second.service_s) == by_second.cost_usd
    assert 0.25 * 10 == by_step.cost_usd
    assert None is one(estimates, left_open, candidate("remote", task=task, price=Price(per_step_usd=0.25))).cost_usd
    assert 6.0 == one(estimates, drawing, candidate("remote", task=task, price=price)).cost_usd


def one(estimates: Estimator, size: Size, whom: Candidate, refusal: str | None = None):
    [estimate] = estimates.estimate(size, [whom], lambda _: refusal)
    return estimate


def used(size: Size) -> Usage:
    return Usage(
        prompt_tokens=size.input_tokens,
        completion_tokens=size.output_tokens,
        images=size.images,
        pixel_steps=None
        if size.pixels is None or size.steps is None
        else (size.images or 1) * size.pixels * size.steps,
        audio_s=size.audio_s,
    )


def report_of(*measured: tuple[Size, float], load_s: float = 1.0) -> LoadReport:
    return LoadReport(
        load_s=load_s, measured=tuple(Measurement(usage=used(size), service_s=seconds) for size, seconds in measured)
    )


def observed(estimates: Estimator, whom: Candidate, size: Size, seconds: float, **timings: float) -> None:
    usage = used(size)
    estimates.observe(whom, size, usage, Timings(service_s=seconds, **timings), total_s=seconds)


tokens = st.integers(1, 100_000)
texts = st.builds(
    lambda i, o, cut: Size(items=1, input_tokens=i, output_tokens=o, max_output_tokens=None if o is None else o + cut),
    tokens,
    st.none() | tokens,
    st.integers(0, 1000),
)
drawings = st.builds(
    lambda n, pixels, steps: Size(items=n, input_tokens=9, images=n, pixels=pixels, steps=steps),
    st.integers(1, 10),
    st.none() | st.integers(1, 2**22),
    st.none() | st.integers(1, 200),
)
photos = st.integers(1, 100).map(lambda n: Size(items=n, input_tokens=None, images=n))
recordings = st.floats(0, 86_400).map(lambda s: Size(items=1, input_tokens=None, audio_s=s))
OF_TASK = {
    Task.TEXT_GENERATION: texts,
    Task.TEXT_TO_IMAGE: drawings,
    Task.IMAGE_CLASSIFICATION: photos,
    Task.AUTOMATIC_SPEECH_RECOGNITION: recordings,
}
seconds = st.floats(1e-6, 1e4)
candidates = st.builds(
    candidate,
    st.sampled_from(["local", "remote", "fake"]),
    task=st.sampled_from(list(OF_TASK)),
    parameters=st.none() | st.integers(1, 10**12),
    price=st.none()
    | st.builds(Price, per_image_usd=st.floats(0, 10), per_audio_minute_usd=st.none() | st.floats(0, 10)),
    loaded=st.booleans(),
    queued=st.integers(0, 1000),
    queue_s=st.none() | st.floats(0, 1e4),
    device=st.sampled_from(["cpu", "cuda:0", "remote"]),
    dtype=st.sampled_from([None, "float32", "bfloat16", "int4"]),
)


@st.composite
def pasts(draw):
    """A candidate, a size of its task, and what was seen of it before."""
    whom = draw(candidates)
    sizes = OF_TASK[whom.target.task]
    seen = st.lists(st.tuples(sizes, seconds), max_size=5)
    return whom, draw(sizes), draw(seen), draw(st.none() | seen.map(lambda given: report_of(*given)))


@given(pasts())
def test_an_estimate_is_always_a_positive_duration(given) -> None:
    """Whatever the task, and whatever was seen before: latency is the sum of its parts, finite and above 0."""
    whom, size, past, report = given
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
    estimates.learn_load(whom, report_of((size, nonsense), load_s=0.0))

    assert before == one(estimates, size, whom)


@given(st.sampled_from(["local", "remote"]), texts, seconds, seconds, seconds)
def test_what_was_seen_beats_a_calibration_and_that_beats_a_warm_up(backend, size, warm_s, measured_s, real_s) -> None:
    """Each source takes over from the weaker one and says its name; none gives way to a quick warm-up again."""
    estimates, whom = estimator(), candidate(backend)
    warm_up, calibration = report_of((size, warm_s)), report_of((size, measured_s))
    assert "prior" == one(estimates, size, whom).latency_source

    estimates.learn_load(whom, warm_up)
    warm = one(estimates, size, whom)
    assert ("warm-up", pytest.approx(warm_s)) == (warm.latency_source, warm.service_s)

    estimates.learn_load(whom, calibration, source="calibrated")
    calibrated = one(estimates, size, whom)
    assert ("calibrated", pytest.approx(measured_s)) == (calibrated.latency_source, calibrated.service_s)
    estimates.learn_load(whom, warm_up)
    assert calibrated == one(estimates, size, whom)

    observed(estimates, whom, size, real_s)
    real = one(estimates, size, whom)
    assert "observed" == real.latency_source
    assert min(measured_s, real_s) * (1 - 1e-9) <= real.service_s <= max(measured_s, real_s) * (1 + 1e-9)
    estimates.learn_load(whom, warm_up)
    assert real == one(estimates, size, whom)
    estimates.learn_load(whom, calibration, source="calibrated")
    assert calibrated == one(estimates, size, whom)


@given(st.sampled_from(["local", "remote"]), texts, seconds)
def test_the_first_observation_replaces_a_prior_outright(backend, size, real_s) -> None:
    """A guess deserves no weight beside a fact."""
    estimates, whom = estimator(), candidate(backend)
    observed(estimates, whom, size, real_s)

    assert pytest.approx(real_s) == one(estimates, size, whom).service_s


def test_a_report_that_measured_nothing_says_only_what_loading_takes() -> None:
    """The last load that was seen counts; a model that was loaded already says nothing."""
    estimates, whom, size = estimator(), candidate(loaded=False), Size(items=1, input_tokens=10)
    estimates.learn_load(whom, LoadReport(load_s=2.5), source="calibrated")
    assert (2.5, "prior") == (one(estimates, size, whom).load_s, one(estimates, size, whom).latency_source)

    estimates.learn_load(whom, LoadReport(load_s=3.5))
    estimates.learn_load(whom, LoadReport(load_s=0.0))
    assert 3.5 == one(estimates, size, whom).load_s


def test_a_measured_candidate_is_expected_to_take_what_was_measured() -> None:
    """At each size; between them on a line, and a later observation moves all of it."""
    estimates, whom = estimator(), candidate()
    small, middle, large = (Size(items=1, input_tokens=n) for n in (1_000, 2_000, 3_000))
    estimates.learn_load(whom, report_of((small, 1.0), (large, 5.0)))

    assert [1.0, 3.0, 5.0] == [pytest.approx(one(estimates, size, whom).service_s) for size in (small, middle, large)]
    before = [one(estimates, size, whom).service_s for size in (small, large)]
    observed(estimates, whom, middle, 3.0 * math.e)
    assert all(was < one(estimates, size, whom).service_s for was, size in zip(before, (small, large), strict=True))


@given(texts, seconds, seconds)
def test_each_observation_moves_the_estimate_towards_the_truth(size, first_s, truth_s) -> None:
    """Never past it, and there in the end, however far away it began."""
    estimates, whom = estimator(), candidate()
    observed(estimates, whom, size, first_s)

    def distance() -> float:
        return math.log(one(estimates, size, whom).service_s / truth_s)

    for _ in range(3):
        before = distance()
        observed(estimates, whom, size, truth_s)
        assert abs(distance()) <= abs(before) + 1e-9
        assert distance() * before >= -1e-9
    for _ in range(100):
        observed(estimates, whom, size, truth_s)
    assert pytest.approx(truth_s, rel=0.02) == one(estimates, size, whom).service_s


@given(
    st.builds(candidate, st.sampled_from(["local", "remote"]), parameters=st.none() | st.integers(1, 10**12)),
    texts,
    seconds,
    st.integers(0, 100_000),
)
def test_one_observation_informs_every_size(whom, size, took, more) -> None:
    """The factor is learnt, the shape stays: twice the prior at one size is twice the prior at any."""
    estimates = estimator()
    larger = Size(items=1, input_tokens=size.input_tokens + more)
    observed(estimates, whom, Size(items=1, input_tokens=size.input_tokens), took)
    factor = took / prior_service_s(whom, Size(items=1, input_tokens=size.input_tokens))

    assert pytest.approx(factor * prior_service_s(whom, larger)) == one(estimates, larger, whom).service_s
    assert took <= one(estimates, larger, whom).service_s * (1 + 1e-9)


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


def test_a_queue_that_the_backend_states_is_believed() -> None:
    """It knows what waits there; also that nothing does."""
    estimates, size = estimator(), Size(items=1, input_tokens=10)

    for whom in (candidate(queued=4, queue_s=0.25), candidate("remote", queued=4, queue_s=0.25)):
        assert 0.25 == one(estimates, size, whom).queue_s
    assert 0.0 == one(estimates, size, candidate(queued=4, queue_s=0.0)).queue_s


def test_a_requests_own_share_of_a_batch_is_what_is_learnt() -> None:
    """Else a full batch would make every request in it look slow."""
    estimates, whom, size = estimator(), candidate(), Size(items=1, input_tokens=10)
    observed(estimates, whom, size, 8.0, device_s=0.5)

    assert pytest.approx(0.5) == one(estimates, size, whom).service_s


def test_a_drawing_that_leaves_its_size_to_the_model_is_expected_as_the_model_had_it() -> None:
    """Each figure that was left open is learnt; one that was given is not overruled."""
    estimates, whom = estimator(), candidate(task=Task.TEXT_TO_IMAGE, parameters=10**9)
    opened, sized, stepped = (
        Size(items=1, input_tokens=5, images=1, **given) for given in ({}, {"pixels": 64 * 64}, {"steps": 50})
    )
    given = Size(items=1, input_tokens=5, images=1, pixels=512 * 512, steps=50)
    before = [one(estimates, size, whom).service_s for size in (opened, sized, stepped, given)]
    assert before[0] == before[3]

    def draw(size: Size, pixel_steps: int) -> None:
        usage = Usage(prompt_tokens=5, images=1, pixel_steps=pixel_steps)
        shape_s = prior_service_s(whom, Size(items=1, input_tokens=5, images=1, pixel_steps=pixel_steps))
        estimates.observe(whom, size, usage, Timings(service_s=shape_s), shape_s)  # just as fast as the prior says

    draw(opened, 64 * 64 * 4)
    assert pytest.approx(before[1:]) == [one(estimates, size, whom).service_s for size in (sized, stepped, given)]
    tiny = prior_service_s(whom, Size(items=1, input_tokens=5, images=1, pixel_steps=64 * 64 * 4))
    assert pytest.approx(tiny) == one(estimates, opened, whom).service_s

    draw(stepped, 64 * 64 * 50)
    assert one(estimates, stepped, whom).service_s < before[2]
    draw(given, 512 * 512 * 50)
    assert pytest.approx(before[3]) == one(estimates, given, whom).service_s


def test_far_media_is_estimated_at_its_own_prices() -> None:
    """By the image, and by the minute of sound; what nobody can count beforehand stays unknown."""
    size = Size(items=2, input_tokens=5, images=2)
    drawn = candidate("remote", task=Task.TEXT_TO_IMAGE, price=Price(per_image_usd=0.25))
    assert (0.5, "priced") == (one(estimator(), size, drawn).cost_usd, one(estimator(), size, drawn).cost_source)

    speech = Task.AUTOMATIC_SPEECH_RECOGNITION
    heard = Size(items=1, input_tokens=None, audio_s=30.0)
    assert (
        3.0 == one(estimator(), heard, candidate("remote", task=speech, price=Price(per_audio_minute_usd=6))).cost_usd
    )
    for unknown in (Price(output_per_1m_usd=1.0), Price(input_per_1m_usd=1.0)):
        assert one(estimator(), heard, candidate("remote", task=speech, price=unknown)).cost_usd is None
    tokens = Price(output_per_1m_usd=1.0)
    assert one(estimator(), size, candidate("remote", task=Task.TEXT_TO_IMAGE, price=tokens)).cost_usd is None


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
    assert size.output_tokens == estimates.expected_output_tokens(whom, size)

    for length in lengths:
        estimates.observe(whom, size, Usage(completion_tokens=length), Timings(), 1.0)
    expected = estimates.expected_output_tokens(whom, size)
    assert min(*lengths, limit) <= expected <= min(max(lengths), limit)
    assert estimates.expected_output_tokens(whom, Size(items=1, input_tokens=10)) is None


def test_what_is_learnt_is_bounded() -> None:
    """The candidate seen longest ago is forgotten for the newest."""
    estimates, size = estimator(), Size(items=1, input_tokens=10)
    for number in range(MAX_LEARNT + 1):
        observed(estimates, candidate(name=f"{number}"), size, 5.0)

    assert "prior" == one(estimates, size, candidate(name="0")).latency_source
    assert "observed" == one(estimates, size, candidate(name=f"{MAX_LEARNT}")).latency_source


CHAT = Size(items=1, input_tokens=10, output_tokens=10, max_output_tokens=10)


def test_a_far_line_takes_as_long_as_answers_do() -> None:
    """As many answers' times as are before it; in seconds where the engine foresees those; unknown adds nothing."""
    estimates = estimator()
    alone = one(estimates, CHAT, candidate("remote"))
    behind = one(estimates, CHAT, candidate("remote", queue_turns=3.0))

    assert 0.0 == alone.queue_s
    assert pytest.approx(3 * alone.service_s) == behind.queue_s
    assert pytest.approx(4 * alone.service_s) == behind.latency_s
    assert 0.5 == one(estimates, CHAT, candidate("remote", queue_turns=3.0, queue_s=0.5)).queue_s


def test_a_far_line_that_was_foreseen_is_not_learnt_as_service() -> None:
    """Else it would count twice from then on: who waited three turns of a second took one of the four."""
    estimates = estimator()
    idle, busy = candidate("remote", queue_turns=0.0), candidate("remote", queue_turns=3.0)
    for _ in range(50):
        for far, seconds in ((idle, 1.0), (busy, 4.0)):
            asked = Asked(predicted=one(estimates, CHAT, far))
            estimates.observe(far, CHAT, used(CHAT), Timings(service_s=seconds), seconds, asked)

    assert pytest.approx(1.0, rel=0.05) == one(estimates, CHAT, idle).latency_s
    assert pytest.approx(4.0, rel=0.05) == one(estimates, CHAT, busy).latency_s


def test_a_line_that_was_seen_is_as_it_was_seen() -> None:
    """Where the engine says how long a request waited, the rest is its service, whatever was foreseen."""
    estimates, far = estimator(), candidate("remote", queue_turns=9.0)
    timings = Timings(queue_s=3.0, service_s=1.0)
    estimates.observe(far, CHAT, used(CHAT), timings, 4.0, Asked(predicted=one(estimates, CHAT, far)))

    assert pytest.approx(1.0) == one(estimates, CHAT, candidate("remote")).service_s


def test_who_shares_a_servers_time_shares_its_price() -> None:
    """Alone it is all one's own."""
    price = Price(per_second_usd=0.5)
    estimates = estimator()
    alone = one(estimates, CHAT, candidate("remote", price=price))
    shared = one(estimates, CHAT, candidate("remote", price=price, together=8.0))

    assert pytest.approx(0.5 * alone.service_s) == alone.cost_usd
    assert pytest.approx(alone.cost_usd / 8) == shared.cost_usd
