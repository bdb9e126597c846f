"""The sender's own page as a candidate: what it measured, nothing else, and only where its answers are the same."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.types import Status, Target, Task
from policies.constraints import apply
from policies.registry import create
from policies.types import Constraints
from router.browser import offers
from router.page import Ability, Page, Speed
from router.slate import Candidate, Size

MODEL, SPEECH = "test/vectors", "test/hears"
SPEED = Speed(per="text", p50_s=0.02, p95_s=0.05, samples=48)
ABLE = Ability(model=MODEL, task=Task.FEATURE_EXTRACTION, loaded=True, speed=SPEED, parity=0.9993)
HEARS = Ability(
    model=SPEECH,
    task=Task.AUTOMATIC_SPEECH_RECOGNITION,
    loaded=True,
    speed=Speed(per="window", p50_s=2.0, p95_s=3.0, samples=30),
)


def server(model=MODEL, task=Task.FEATURE_EXTRACTION, **fields) -> Candidate:
    target = Target(backend="local", provider="local", model=model, task=task, revision=fields.pop("revision", None))
    return Candidate(
        id=f"local:{model}", target=target, near=True, status=Status(device="cpu"), listed_as=model, quality=0.8,
        vector_space=f"{model}@default", **fields,
    )  # fmt: skip


def offered(ability=ABLE, *, page=None, origin=None, size=None):
    page = page or Page(abilities=(ability,))
    size = size or Size(items=3, input_tokens=60)
    [(candidate, estimate)] = offers(page, ability.task, [origin or server(ability.model, ability.task)], size)
    return candidate, estimate


def rejection(ability=ABLE, constraints=None, **given_) -> tuple[str, str] | None:
    _, estimate = offered(ability, **given_)
    _, rejected = apply([estimate], constraints or Constraints())
    return (rejected[0].code, rejected[0].reason) if rejected else None


def test_what_is_expected_is_what_the_page_measured() -> None:
    """Three texts take three times as long as one; it costs its operator nothing, and the source is named."""
    candidate, estimate = offered()

    assert ("browser:test/vectors", "browser", True) == (candidate.id, estimate.backend, estimate.near)
    assert (pytest.approx(0.06), 0.0, "client", "reported") == (
        estimate.latency_s, estimate.cost_usd, estimate.cost_source, estimate.latency_source,
    )  # fmt: skip
    assert (pytest.approx(0.06), pytest.approx(0.15)) == (estimate.latency.p50_s, estimate.latency.p95_s)
    assert estimate.latency.p50_s < estimate.latency.p90_s < estimate.latency.p95_s < estimate.latency.p99_s
    assert ("test/vectors@default", 0.8, "test/vectors") == (
        candidate.vector_space, candidate.quality, candidate.listed_as,
    )  # fmt: skip


def test_loading_is_part_of_the_latency() -> None:
    """As the page says, also in its quantiles."""
    _, estimate = offered(replace(ABLE, loaded=False, load_s=4.0))

    assert (4.0, pytest.approx(4.06)) == (estimate.load_s, estimate.latency_s)
    assert pytest.approx(4.15) == estimate.latency.p95_s


@pytest.mark.parametrize(
    "speed", [Speed(per="text", p50_s=0.02, p95_s=0.05, samples=19), Speed(per="text", p50_s=0.02, samples=1000)]
)
def test_of_few_samples_there_are_no_quantiles(speed: Speed) -> None:
    """The 95th percentile of fewer than twenty is only the largest of them."""
    assert offered(replace(ABLE, speed=speed))[1].latency is None


@pytest.mark.parametrize(
    ("per", "seconds"), [("request", 2.0), ("audio_s", 130.0), ("window", 6.0)]
)  # 65 s of sound are three windows of 30
def test_speech_is_measured_by_requests_seconds_or_windows(per: str, seconds: float) -> None:
    size = Size(items=1, input_tokens=None, audio_s=65.0)

    _, estimate = offered(replace(HEARS, speed=Speed(per=per, p50_s=2.0, samples=1)), size=size)

    assert pytest.approx(seconds) == estimate.latency_s


@pytest.mark.parametrize(
    ("ability", "code", "why"),
    [
        (replace(ABLE, speed=None), "unavailable", "has not measured"),
        (replace(ABLE, loaded=False), "unavailable", "how long that would take is unknown"),
        (replace(ABLE, speed=replace(SPEED, per="audio_s")), "unavailable", "how large the request is"),
        (replace(ABLE, parity=None), "unsupported", "not compared its vectors"),
        (replace(ABLE, parity=0.98999), "unsupported", "0.98999, less than 0.99"),
        (replace(ABLE, model="test/other"), "unsupported", "another model"),
    ],
)
def test_whoever_may_not_serve_is_told_why(ability: Ability, code: str, why: str) -> None:
    """Without a measured speed nobody guesses one: what is unknown may not serve, whatever the policy."""
    found = rejection(ability, origin=server())

    assert found is not None
    assert code == found[0]
    assert why in found[1]


def test_an_unknown_latency_is_not_a_number() -> None:
    """Never 0: it would win every race."""
    assert math.isnan(offered(replace(ABLE, speed=None))[1].latency_s)


def test_another_revision_is_another_model() -> None:
    """Where both are said."""
    assert rejection(replace(ABLE, revision="b"), origin=server(revision="a")) == (
        "unsupported", "the page runs the revision b, and a is asked for",
    )  # fmt: skip
    assert rejection(replace(ABLE, revision="a"), origin=server(revision="a")) is None


def test_a_page_that_is_short_of_memory_or_offline_loads_nothing() -> None:
    """What is loaded already needs neither."""
    cold = replace(ABLE, loaded=False, load_s=1.0, memory_bytes=600_000_000)
    short, offline = {"memory_bytes": 400_000_000}, {"online": False}

    assert rejection(cold, page=Page(abilities=(cold,), **short)) == (
        "does_not_fit", "does not fit this machine: in the page it needs 600 MB, and 400 MB are there",
    )  # fmt: skip
    assert "offline" in (rejection(cold, page=Page(abilities=(cold,), **offline)) or ("", ""))[1]
    warm = replace(cold, loaded=True)
    assert rejection(warm, page=Page(abilities=(warm,), **short, **offline)) is None


def test_speech_needs_no_common_vectors_and_its_quality_is_unknown() -> None:
    """A page's Whisper may be a smaller one than the catalogue's figure is of."""
    size = Size(items=1, input_tokens=None, audio_s=5.0)
    candidate, _ = offered(HEARS, size=size)

    assert rejection(HEARS, size=size) is None
    assert candidate.quality is None
    assert (rejection(HEARS, Constraints(min_quality=0.5), size=size) or ("",))[0] == "quality_unknown"


@pytest.mark.parametrize(
    ("constraints", "code"),
    [
        (Constraints(private=True), None),
        (Constraints(offline=True), None),
        (Constraints(backend="browser"), None),
        (Constraints(only=("browser",)), None),
        (Constraints(backend="local"), "excluded"),
        (Constraints(only=("local",)), "excluded"),
        (Constraints(ignore=("browser",)), "excluded"),
        (Constraints(max_latency_s=0.01), "too_slow"),
    ],
)
def test_limits_apply_to_it_as_to_any_other(constraints: Constraints, code: str | None) -> None:
    """A private request may stay in its sender's own page."""
    found = rejection(ABLE, constraints)

    assert code == (None if found is None else found[0])


@pytest.mark.parametrize("policy", ["cheapest", "fastest", "balanced", "local-first", "local-only", "slo", "cascade"])
def test_every_policy_ranks_it_like_any_other_estimate(policy: str) -> None:
    """None of them knows of browsers; beside a dearer and slower one it comes first."""
    _, mine = offered(replace(ABLE, device="webgpu"))
    other = mine._replace(candidate_id="local:x", backend="local", provider="local", accelerated=False, latency_s=9.0,
                          service_s=9.0, cost_usd=0.1, latency=None)  # fmt: skip

    decision = create(policy).decide([other, mine], Constraints())

    assert "browser:test/vectors" == decision.ranked[0]
    assert policy != "local-first" or "in its sender's browser" in decision.reason


def test_other_tasks_and_doubles_are_no_candidates() -> None:
    """Only what is asked for, and each model once."""
    page = Page(abilities=(ABLE, HEARS, replace(ABLE, loaded=False)))

    found = offers(page, Task.FEATURE_EXTRACTION, [server()], Size(items=1, input_tokens=4))

    assert ["browser:test/vectors"] == [candidate.id for candidate, _ in found]
    assert found[0][0].status.loaded
    assert [] == offers(page, Task.TEXT_GENERATION, [server(task=Task.TEXT_GENERATION)], Size(items=1, input_tokens=4))


@given(
    speed=st.builds(
        lambda per, p50_s, more, samples: Speed(per=per, p50_s=p50_s, p95_s=p50_s + more, samples=samples),
        st.sampled_from(["request", "text", "token", "audio_s", "window"]),
        st.floats(1e-9, 86_400),
        st.floats(0, 86_400),
        st.integers(1, 10**9),
    ),
    load=st.none() | st.floats(0, 86_400),
    loaded=st.booleans(),
    tokens=st.none() | st.integers(0, 10**9),
    parity=st.none() | st.floats(-1.0001, 1.0001),
)
def test_whatever_a_page_says_is_ranked_only_with_a_latency(speed, load, loaded, tokens, parity) -> None:
    """Who is eligible has a duration and quantiles that never fall; nobody else raises anything."""
    ability = replace(ABLE, speed=speed, load_s=load, loaded=loaded, parity=parity)

    _, estimate = offered(ability, size=Size(items=2, input_tokens=tokens))
    eligible, rejected = apply([estimate], Constraints())

    assert 1 == len(eligible) + len(rejected)
    assert not eligible or (0 <= estimate.latency_s < math.inf and parity is not None and parity >= 0.99)
    assert estimate.latency is None or list(estimate.latency) == sorted(estimate.latency)
