"""What attempts teach: accounts that break together, and a restart that does not forget who was left alone."""

import asyncio
import time
from pathlib import Path

from msgspec.structs import replace

from backends.errors import Overloaded, PaymentRequired, RemoteError, Unauthorized
from backends.types import GenerationOutput, InferenceResult, Timings, Usage
from router.availability import THRESHOLD, Breakers
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.judgement import Judgement
from router.lessons import DeadlineTimeout, Impatient, Lessons, Start
from router.outcome import Attempt, Cost
from router.patience import LEAST, Patience
from router.quality import Quality
from router.section_of_routing import CascadeSettings, QualitySettings, RoutingSettings
from router.sections import (
    CandidateEntry,
    ModelEntry,
    ProviderSettings,
    Settings,
)
from router.settings import Secrets
from router.token_health import TokenHealth
from tests.unit.router.house import chat
from tests.unit.router.test_course import candidate, plan_of
from tests.unit.router.test_estimates import estimator

ONE, SAME, OTHER = (candidate(name) for name in ("one", "same", "other"))
ONE, SAME = (
    each.__class__(**{f: getattr(each, f) for f in each.__struct_fields__} | {"account": "token"})
    for each in (ONE, SAME)
)


def token() -> TokenHealth:
    return TokenHealth(lambda: "hf_x", {})


def fresh(health: TokenHealth) -> Lessons:
    judgement = Judgement(Quality(QualitySettings(), lambda _: None, time.time), CascadeSettings())
    return Lessons(estimator(), Breakers(), Patience(), health, judgement)


def taught(*errors: Exception | None) -> Lessons:
    lessons = fresh(token())
    for error in errors:
        lessons.learn(plan_of(ONE), ONE, failed(error), lessons.begin(ONE))
    return lessons


def failed(error: Exception | None) -> Attempt:
    """An attempt that ended so; without an error it was cancelled."""
    return Attempt(
        candidate_id=ONE.id, backend="remote", provider="p", model="m", device="remote", started_us=0, total_s=0.1,
        cost=Cost(0.0, "priced"), error=error,
    )  # fmt: skip


def answered() -> Attempt:
    result = InferenceResult(
        output=GenerationOutput(text="hi", finish_reason="stop"), usage=Usage(), timings=Timings(), provider="p",
        model="m", device="remote",
    )  # fmt: skip
    return replace(failed(None), result=result)


ENDS = [answered(), failed(None), failed(DeadlineTimeout("late"))] * 5


def refused(lessons: Lessons) -> list[bool]:
    return [lessons.refusal(each) is not None for each in (ONE, SAME, OTHER)]


def test_where_credits_are_gone_they_are_gone_for_the_whole_account() -> None:
    """A 402 and a 401 are about the key; nobody with that key is asked, others are."""
    assert [True, True, False] == refused(taught(PaymentRequired("gone", http_status=402)))
    assert [True, True, False] == refused(taught(Unauthorized("who?", http_status=401)))


def test_one_server_of_several_speaks_for_itself_alone() -> None:
    """While another can be asked, its failures and its wish to wait say nothing of the candidate."""
    error = Overloaded("busy", http_status=503, retry_after_s=60.0)
    error.replaceable = True

    assert [False] * 3 == refused(taught(*[error] * THRESHOLD))


def test_what_one_model_forbids_it_forbids_alone() -> None:
    """A 403 may be a licence nobody accepted; a failure is the candidate's own."""
    assert [True, False, False] == refused(taught(Unauthorized("gated", http_status=403)))
    assert [True, False, False] == refused(taught(*[RemoteError("x")] * THRESHOLD))


def test_the_hubs_token_is_judged_by_whom_it_is_sent_to() -> None:
    """A refusal or an answer there counts; what was cancelled, and whoever uses another key, says nothing."""
    hub = {"huggingface": ProviderSettings(name="huggingface", protocol="openai", base_url="http://127.0.0.1:9/v1",
                                           api_key_env="HF_TOKEN")}  # fmt: skip
    lessons = fresh(TokenHealth(lambda: "hf_x", hub))
    seen = []
    for provider, error in (
        ("gpu-box", Unauthorized("no", http_status=401)),
        ("huggingface", PaymentRequired("gone", http_status=402)),
        ("huggingface", None),
        ("together", Unauthorized("no", http_status=401)),
    ):
        asked = replace(ONE, target=replace(ONE.target, provider=provider))
        lessons.learn(plan_of(asked), asked, failed(error), lessons.begin(asked))
        seen.append(lessons.token.state().state)

    assert ["unknown", "exhausted", "exhausted", "invalid"] == seen


def test_another_key_is_another_chance() -> None:
    """For the whole account whose key it is, and for nobody else."""
    lessons = taught(Unauthorized("who?", http_status=401))
    lessons.learn(plan_of(OTHER), OTHER, failed(PaymentRequired("gone")), lessons.begin(OTHER))
    before = refused(lessons)
    lessons.rekeyed([ONE, SAME, OTHER], {"nobody"})
    unchanged = refused(lessons)
    keyed = replace(ONE, target=replace(ONE.target, provider="rekeyed"))
    lessons.rekeyed([keyed, SAME, OTHER], {"rekeyed"})

    assert ([True, True, True], [True, True, True], [False, False, True]) == (before, unchanged, refused(lessons))


def test_what_is_our_own_haste_or_our_own_full_pool_is_no_fault_of_the_candidate() -> None:
    """A deadline, time that the next candidate needs, connections that are all in use."""
    for error in (DeadlineTimeout("over"), Impatient("enough"), Overloaded("all connections are in use")):
        assert [False] * 3 == refused(taught(*[error] * THRESHOLD))
    assert [True, False, False] == refused(taught(*[Overloaded("busy", http_status=503)] * THRESHOLD))


def test_our_own_haste_teaches_no_patience() -> None:
    """Twenty senders with an impossible deadline do not make everybody impatient."""
    lessons = taught(*[DeadlineTimeout("over")] * LEAST)

    assert lessons.patience.limit_s(ONE, plan_of(ONE).size) is None


def test_a_probe_that_speaks_lets_the_next_one_follow() -> None:
    """It may speak for a minute; nobody need wait for its end."""
    lessons = taught(*[RemoteError("x")] * THRESHOLD)
    later = time.monotonic() + 100

    assert lessons.breakers.begin(ONE.id)
    assert lessons.breakers.refusal(ONE.id, later) is not None
    lessons.heard(Start(frozenset({ONE.id}), 0))
    assert lessons.breakers.refusal(ONE.id, later) is None


def test_what_was_asked_with_the_old_key_says_nothing_of_the_new() -> None:
    """Neither its refusal, which came late, nor its answer; who was asked afterwards is believed."""
    hub = {"one": ProviderSettings(name="one", protocol="openai", base_url="http://127.0.0.1:9/v1",
                                   api_key_env="HF_TOKEN")}  # fmt: skip
    seen = []
    gone, no = PaymentRequired("gone", http_status=402), Unauthorized("no", http_status=403)
    for late in (Unauthorized("who?", http_status=401), gone, no, None):
        health = TokenHealth(lambda: "hf_x", hub)
        lessons = fresh(health)
        before = lessons.begin(ONE)
        lessons.rekeyed([ONE, SAME, OTHER], {"one"})
        lessons.learn(plan_of(ONE), ONE, answered() if late is None else failed(late), before)
        seen.append((refused(lessons), lessons.token.state().state))
        after = lessons.begin(ONE)
        lessons.learn(plan_of(ONE), ONE, failed(Unauthorized("who?", http_status=401)), after)
        lessons.learn(plan_of(ONE), ONE, answered(), before)
        seen.append((refused(lessons)[1:], lessons.token.state().state))

    assert [([False, False, False], "unknown"), ([True, False], "invalid")] * 4 == seen


def test_a_failure_with_the_old_key_is_the_candidates_own_all_the_same() -> None:
    """Who is broken is so whatever the key; and a probe that was under way ends."""
    lessons = taught(*[RemoteError("x")] * (THRESHOLD - 1))
    begun = lessons.begin(ONE)
    lessons.rekeyed([SAME], {"same"})
    lessons.learn(plan_of(ONE), ONE, failed(RemoteError("x")), begun)

    assert [True, False, False] == refused(lessons)


def test_a_restart_remembers_who_was_left_alone() -> None:
    """For as long as the pause still lasts; then one request probes."""
    lessons, now = fresh(token()), time.monotonic()
    for _ in range(THRESHOLD):
        lessons.remember(ONE, "RemoteError", now)
    lessons.remember(OTHER, "PaymentRequired", now - 3600)

    assert [True, False, False] == refused(lessons)
    assert {"other"} == lessons.begin(OTHER).probes
    assert lessons.refusal(OTHER) is not None


def test_a_success_before_the_restart_closes_what_failures_had_opened() -> None:
    """In the order in which it happened; a class nobody knows any more teaches nothing."""
    lessons, now = fresh(token()), time.monotonic()
    for error_class in (*["RemoteError"] * THRESHOLD, None, "NoSuchError"):
        lessons.remember(ONE, error_class, now)

    assert [False, False, False] == refused(lessons)


def test_a_house_opened_again_on_its_log_leaves_a_dead_provider_alone(tmp_path: Path) -> None:
    """Nobody listens there: after three failures and a restart the next request is refused without asking."""
    settings = Settings(
        providers=(ProviderSettings(name="dead", protocol="openai", base_url="http://127.0.0.1:9/v1"),),
        models=(
            ModelEntry(
                id="test/chat",
                task="text-generation",
                candidates=(CandidateEntry(backend="remote", provider="dead"),),
            ),
        ),
        routing=RoutingSettings(policy="fastest"),
    )

    async def go() -> str:
        path = tmp_path / "log.duckdb"
        async with open_house(settings, Secrets(), DecisionLog.open(path)) as house:
            for _ in range(THRESHOLD):
                await house.dispatcher.infer(chat(order=()))
        async with open_house(settings, Secrets(), DecisionLog.open(path)) as house:
            outcome = await house.dispatcher.infer(chat(order=()))
            return str(outcome.error)

    assert "circuit breaker open" in asyncio.run(go())


def test_a_stream_that_took_no_time_is_an_answer_and_ends_its_probe() -> None:
    """A coarse clock may see nothing pass: no estimate follows from that, and no answer hangs on it."""
    lessons = fresh(token())
    at_once = replace(answered().result, timings=Timings(service_s=0.0, first_token_s=0.0))
    lessons.learn(plan_of(ONE), ONE, answered(), start := lessons.begin(ONE))
    lessons.ended(ONE, start)
    for _ in range(THRESHOLD):
        lessons.breakers.failed(ONE.id, RemoteError("x"), -1000.0)
    start = lessons.begin(ONE)
    lessons.learn(plan_of(ONE), ONE, replace(answered(), result=at_once), start)

    assert frozenset({ONE.id}) == start.probes
    assert {} == lessons.breakers.open(time.monotonic())


def test_a_slow_reader_is_no_slow_candidate() -> None:
    """Whether it read to the end, left, or read until the deadline came: admission and quantiles do not move."""

    def learnt(**readers: object) -> tuple[float, object]:
        lessons = fresh(token())
        for attempt in [answered()] * 20 + [replace(each, waited_s=0.1, **readers) for each in ENDS]:
            lessons.learn(plan_of(ONE), ONE, attempt, lessons.begin(ONE))
        size = plan_of(ONE).size
        return lessons.admission._limits[ONE.id].usual, lessons.estimator.estimate(size, [ONE], lambda _: None)

    assert learnt() == learnt(total_s=1000.0)


def test_what_an_attempt_held_is_given_back_whatever_was_learnt() -> None:
    """Where learning broke down, the probe and the count would stay taken for ever."""
    lessons = fresh(token())
    for _ in range(THRESHOLD):
        lessons.breakers.failed(ONE.id, RemoteError("x"), -1000.0)
    start = lessons.begin(ONE)
    taken = lessons.refusal(ONE)
    lessons.ended(ONE, start)

    assert taken is not None
    assert (None, []) == (lessons.refusal(ONE), lessons.admission.states())
