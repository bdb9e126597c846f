"""Explanations of decisions that a real house made, and of rows that no house would make."""

import asyncio
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.types import Delta
from policies.base import seconds
from router.errors import RouterError
from router.explanation.told import explained
from router.explanation.values import Explanation
from router.section_of_routing import HedgingSettings
from router.sections import BudgetEntry
from tests.unit.router import virtual
from tests.unit.router.house import chat, chat_model, drained, embed, fake, opened, vector_model
from tests.unit.router.test_cascade_house import LARGE, ask, model, near
from tests.unit.router.test_cascade_house import house as cascade
from tests.unit.router.test_hedging import SLOW_MS, taught
from tests.unit.router.test_shadowing import both, ran

SECRET = "the-prompt-is-a-secret"


def told(call, *models, before=None, run=asyncio.run, **house_settings) -> Explanation:
    """The explanation of one call to a house with these models."""

    async def go() -> Explanation:
        async with opened(*models, **house_settings) as house:
            if before is not None:
                await before(house)
            try:
                came = replace(call, received=time.monotonic())  # by the clock that this runs on
                pieces = await drained(house.dispatcher.stream(came))
                decision_id = pieces[-1].decision_id
            except RouterError as error:
                decision_id = error.decision_id
            return explained(await house.row(decision_id))

    return run(go())


def two(**first):
    return chat_model(fake("a", **first), fake("b", near=True))


# --- what a house decides ---------------------------------------------------------------------------


def test_an_answer_is_explained_whole() -> None:
    """Who, out of how many, why not the other, what was predicted, what happened."""
    found = told(chat(prompt=SECRET), two())

    assert found.summary.startswith("fastest chose a:test/chat (far) out of 2 eligible candidates. It leads as")
    assert [("a:test/chat", "chosen"), ("b:test/chat", "eligible")] == [
        (each.candidate, each.verdict) for each in found.candidates
    ]
    figures = f"expected {seconds(found.candidates[0].predicted_ms / 1000)}, $0.00102"
    assert f"Chosen: the policy put it first; {figures}." == found.candidates[0].words
    assert (
        f"Eligible, but not first: {figures}, no slower and no dearer than a:test/chat. " in found.candidates[1].words
    )
    assert "ok" == found.happened.status
    assert [("primary", "ok", True)] == [(each.role, each.status, each.won) for each in found.happened.attempts]
    assert 0 <= found.happened.attempts[0].start_ms < found.happened.latency_ms
    assert ("a:test/chat", found.candidates[0].predicted_ms) == (
        found.prediction.candidate,
        found.prediction.predicted_ms,
    )
    assert "Nothing was left to chance: this choice was certain." == found.exploration.words
    assert 1.0 == found.exploration.propensity
    assert [("deadline_ms", True)] == [(limit.limit, limit.kept) for limit in found.limits]
    assert SECRET not in repr(found)


def test_regret_is_against_what_was_predicted_of_the_others() -> None:
    """The far side turned out slow: the near one would have been better, if its prediction is right."""
    found = told(chat(), two(latency_ms=60)).hindsight

    assert ("b:test/chat", "predicted", "the terms of fastest") == (found.best, found.basis, found.by)
    assert found.fastest.candidate == "b:test/chat"
    assert found.regret_s >= 0.058
    assert 0.0 == found.regret_usd
    assert "sooner" in found.words
    assert found.words.endswith("if what was predicted of it is right.")


def test_who_failed_is_no_better_choice() -> None:
    """The first one failed, so the fallback has nobody to be compared with; the words say who failed and how."""
    found = told(chat(), two(fail="RateLimited"))

    assert "b:test/chat answered after" in found.summary
    assert "Failed on the way: a:test/chat: it asked to wait (RateLimited)." in found.summary
    assert [("primary", "error"), ("fallback", "ok")] == [(e.role, e.status) for e in found.happened.attempts]
    assert "Asked as fallback, it answered after" in found.candidates[1].words
    assert ("b:test/chat", 0.0) == (found.hindsight.best, found.hindsight.regret_s)
    assert found.hindsight.late_s > 0
    assert "b:test/chat" == found.prediction.candidate


def test_without_an_answer_there_is_no_regret() -> None:
    """Every figure of hindsight is unknown, not 0, and the end is named."""
    found = told(chat(), chat_model(fake("a", fail="RemoteError"), fake("b", fail="ContentRefused")))

    assert "There was no answer after" in found.summary
    assert "every attempt failed (AllAttemptsFailed)" in found.happened.words
    assert "b:test/chat: it refused the content (ContentRefused)" in found.happened.words
    assert (None, None, None) == (found.hindsight.best, found.hindsight.regret_s, found.hindsight.regret_usd)
    assert found.prediction.observed_ms is None


def test_a_refusal_says_why_not_each() -> None:
    """Nothing eligible: every candidate has its reason, and nobody was asked."""
    found = told(chat(private=True, prompt=SECRET), chat_model(fake("a"), fake("b")))

    assert (
        "fastest had nobody to choose: 2 candidates, all rejected (2 private). "
        "The request was refused: nothing was eligible (NoCandidate)."
    ) == found.summary
    assert ["private", "private"] == [each.code for each in found.candidates]
    assert "Rejected: a is not on this machine, and this request is private: it may not leave it." == (
        found.candidates[0].words
    )
    assert found.prediction is None
    assert "private" in [limit.limit for limit in found.limits]
    assert SECRET not in repr(found)


def test_a_request_for_what_does_not_exist_is_explained() -> None:
    """It was turned away before a policy was asked."""
    found = told(chat(model="no/such"), two())

    assert found.summary.startswith("Refused before a policy was asked: Unknown model 'no/such'.")
    assert found.summary.endswith("The request was refused: there is no such model (UnknownModel).")
    assert [] == found.candidates


def test_a_budget_is_named_among_the_limits() -> None:
    """What the budget ruled out, with its figures."""
    budget = BudgetEntry(scope="global", period="day", limit_usd=0.0001, on_exceeded="near")
    found = told(chat(), two(), budgets=[budget])

    assert ["rejected", "chosen"] == [each.verdict for each in found.candidates]
    assert "budget" == found.candidates[0].code
    assert ["deadline_ms", "budget"] == [limit.limit for limit in found.limits]


def test_limits_say_whether_they_were_kept() -> None:
    """Each of the request's own limits, in words."""
    found = told(chat(max_cost_usd=1.0, max_latency_ms=60_000.0, deadline_ms=70_000.0), two())

    assert [
        "The whole answer within 70.0 s: kept.",
        "No more than 60.0 s expected: kept.",
        "No more than $1 expected: kept.",
    ] == [limit.words for limit in found.limits]


def test_a_stream_that_another_continued_is_told_so() -> None:
    """Who broke off, who went on; a part of an answer is not held against the prediction of a whole."""
    call = chat(stream=True, on_stream_failure="continue")
    found = told(call, two(fail_after_tokens=3))

    assert "The answer was continued by b:test/chat." in found.summary
    assert "failed in the middle of its answer" in found.happened.attempts[0].words
    assert "went on with the answer where it had broken off" in found.happened.attempts[1].words
    assert found.prediction.observed_ms is None
    assert "only a part of the answer" in found.prediction.words


def test_a_hedge_that_won_is_no_prediction_against_the_one_that_was_stopped() -> None:
    """The loser was stopped after longer than was predicted of it: that time is the least it can have taken."""

    async def teach(house) -> None:
        await taught(house, "test/vectors")

    found = told(
        embed(),
        vector_model(fake("a", latency_ms=SLOW_MS), fake("b", near=True)),
        before=teach,
        run=virtual.run,
        hedging=HedgingSettings(share=1.0),
    )

    assert [("primary", "cancelled"), ("hedge", "ok")] == [(e.role, e.status) for e in found.happened.attempts]
    assert "was asked first, and was stopped after" in found.happened.attempts[0].words
    assert ("measured", True) == (found.hindsight.fastest.basis, found.hindsight.fastest.at_least)
    assert found.hindsight.regret_s < 0.01


def test_a_sender_that_went_away_is_told_of() -> None:
    """Cancelled: what happened until then, and no regret."""

    async def go() -> Explanation:
        async with opened(two(per_token_ms=20)) as house:
            pieces = house.dispatcher.stream(chat(stream=True))
            async for piece in pieces:
                if isinstance(piece, Delta):
                    break
            await pieces.aclose()
            return explained(await house.only_row())

    found = asyncio.run(go())
    assert found.happened.words.startswith("Its sender went away after")
    assert found.hindsight.regret_s is None
    assert "was stopped after" in found.happened.attempts[0].words


def test_an_open_decision_is_still_running_or_lost() -> None:
    """No outcome yet: nothing to compare."""

    async def go() -> Explanation:
        async with opened(two()) as house:
            plan = await house.dispatcher.plan(chat())
            house.dispatcher._ledger.decided(plan, house.dispatcher._planner.policy(chat()))
            return explained(await house.row(plan.decision_id))

    found = asyncio.run(go())
    assert "open" == found.status
    assert "It has not ended: it is still running, or was lost with its process." == found.happened.words
    assert "The request has not ended, so there is nothing to compare yet." == found.hindsight.words


def test_a_real_cascade_is_told() -> None:
    """The near answer was not sure enough, so the far one was given: both are told, and nothing is regretted."""

    async def go() -> Explanation:
        async with cascade(near(0.5), model(LARGE, "b")) as house:
            outcome = await house.dispatcher.infer(ask())
            return explained(await house.row(outcome.decision_id))

    found = asyncio.run(go())
    assert "b:test/large was asked to better the first answer, which was 50% sure." in found.summary
    assert ["primary", "escalation"] == [each.role for each in found.happened.attempts]
    assert ("b:test/large", 0.0) == (found.hindsight.best, found.hindsight.regret_s)


def test_a_real_shadow_is_told_with_its_agreement() -> None:
    """Run for comparison: what it took is measured, and how well it agrees is said."""

    async def go() -> Explanation:
        async with opened(both(), shadow=1.0) as house:
            outcome = await house.dispatcher.infer(chat())
            await ran(house)
            return explained(await house.row(outcome.decision_id))

    found = asyncio.run(go())
    shadow = found.happened.attempts[1]
    assert ("shadow", 1.0, False) == (shadow.role, shadow.agreement, shadow.won)
    assert shadow.words.endswith("another's answer was given, with which it agrees by 1.00 of 1.")
    assert shadow.took_ms == found.candidates[1].measured_ms
    assert "measured" == found.hindsight.fastest.basis


# --- rows as other parts will write them ------------------------------------------------------------


def candidate(name: str, **columns) -> dict:
    return {
        "candidate_id": name,
        "backend": "remote",
        "provider": name,
        "eligible": True,
        "near": False,
        "pred_ms": 100.0,
        "p90_ms": 150.0,
        "p95_ms": 180.0,
        "p99_ms": 300.0,
        "pred_cost_usd": 0.001,
        "pred_source": "observed",
        "score": 0.1,
        "propensity": 1.0,
    } | columns


def attempt(name: str, number: int = 1, **columns) -> dict:
    return {
        "attempt": number,
        "ts": f"2026-11-26T10:00:00.{number:03d}000Z",
        "role": "primary",
        "candidate_id": name,
        "status": "ok",
        "censored": False,
        "won": True,
        "total_ms": 120.0,
        "cost_usd": 0.001,
        "cost_source": "priced",
    } | columns


def row(candidates, attempts, **columns) -> dict:
    return {
        "decision_id": "0198",
        "ts": "2026-11-26T10:00:00.000000Z",
        "mode": "policy",
        "policy": "fastest",
        "policy_version": "fastest@1",
        "reason": "a is fastest.",
        "chosen": "a",
        "candidates": candidates,
        "attempts": attempts,
        "outcome": {"status": "ok", "latency_ms": 121.0, "overhead_ms": 1.0, "cost_usd": 0.001},
    } | columns


def test_chance_is_named_with_its_draw() -> None:
    """An explored decision says that chance chose, how often it does, and how likely this choice was."""
    slate = [candidate("a", score=0.4, propensity=0.025), candidate("b", score=0.1, propensity=0.975)]
    found = explained(row(slate, [attempt("a")], explore_rate=0.05, draw=0.03, explored=True, propensity=0.025))

    assert (
        "Chance chose, which drew 0.0300: it decides 5.00 % of requests, among eligible candidates only. "
        "This choice had a probability of 2.50 %."
    ) == found.exploration.words
    assert found.exploration.words in found.summary
    assert "Chosen: chance put it first" in found.candidates[0].words
    assert "Its score is the better one: chance put a first." in found.candidates[1].words


@pytest.mark.parametrize(
    ("took_ms", "within", "words"),
    [
        (99.0, "p50", "within the middle of its prediction"),
        (120.0, "p90", "within its 90 % bound"),
        (180.0, "p95", "within its 95 % bound"),
        (200.0, "p99", "within its 99 % bound but beyond the 95 % one"),
        (301.0, "beyond", "beyond its 99 % bound"),
    ],
)
def test_a_prediction_says_which_bound_held(took_ms, within, words) -> None:
    """The first bound that was not exceeded."""
    found = explained(row([candidate("a")], [attempt("a", total_ms=took_ms)])).prediction

    assert (within, took_ms) == (found.within, found.observed_ms)
    assert words in found.words
    assert pytest.approx(took_ms / 100 - 1) == found.off_by


def test_a_shadow_measures_what_else_could_have_been() -> None:
    """Nobody waited for it; its time counts instead of its prediction, and is called measured."""
    shadow = attempt("b", 2, role="shadow", won=False, total_ms=20.0, cost_usd=0.0001)
    found = explained(row([candidate("a"), candidate("b", pred_ms=500.0)], [attempt("a"), shadow]))

    assert ("b", "measured") == (found.hindsight.best, found.hindsight.basis)
    assert (pytest.approx(0.1), pytest.approx(0.0009)) == (found.hindsight.regret_s, found.hindsight.regret_usd)
    assert "100 ms sooner and $0.0009 cheaper, as measured." in found.hindsight.words
    assert "For comparison alone: b." in found.happened.words
    assert "nobody waited for it" in found.happened.attempts[1].words


def test_a_shadow_of_unknown_cost_measures_none() -> None:
    """What was predicted of its price is no measurement, and no regret comes of it."""
    shadow = attempt("b", 2, role="shadow", won=False, total_ms=500.0, cost_usd=None)
    found = explained(row([candidate("a"), candidate("b", pred_cost_usd=0.0)], [attempt("a"), shadow]))

    assert (None, None) == (found.hindsight.cheapest, found.hindsight.regret_usd)


def test_a_cascade_is_told_as_one() -> None:
    """The first answer was not sure enough: another bettered it, and the first is no better choice for its speed."""
    attempts = [
        attempt("a", won=False, confidence=0.62, total_ms=10.0),
        attempt("b", 2, role="escalation", total_ms=110.0),
    ]
    found = explained(row([candidate("a", near=True), candidate("b")], attempts))

    assert "b was asked to better the first answer, which was 62% sure." in found.summary
    assert "a was asked first, and answered after 10.0 ms, 62% sure of it; another's answer was given." == (
        found.happened.attempts[0].words
    )
    assert ("b", 0.0) == (found.hindsight.best, found.hindsight.regret_s)


def test_best_is_in_the_policys_own_terms() -> None:
    """The same figures: `fastest` regrets the time, `cheapest` the money, `balanced` by the weights it had."""
    slate = [candidate("a"), candidate("b", pred_ms=60.0, p90_ms=90.0, p95_ms=90.0, p99_ms=90.0, pred_cost_usd=0.005)]
    weights = "Balanced(weights=Weights(latency={}, cost={}, quality=1.0, lateness=4.0))"

    def best(policy: str, parameters: str = "") -> str | None:
        body = {"policy": policy, "parameters": parameters}
        return explained(row(slate, [attempt("a")], policy=policy, policy_body=body)).hindsight.best

    assert "b" == best("fastest")
    assert "a" == best("cheapest")
    assert "b" == best("balanced", weights.format(1.0, 0.001))
    assert "a" == best("balanced", weights.format(0.001, 1.0))
    assert "b" == best("budget", "Budget(second_usd=1.0, quality_usd=0.01, gain=20.0)")
    assert "a" == best("budget", "Explorer(policy=Budget(second_usd=1e-06, quality_usd=0.01, gain=20.0), epsilon=0.05)")
    assert "a" == best("slo", "Slo(target=0.9)")
    assert best("of-another-version") is None


def test_an_unknown_cost_is_not_free() -> None:
    """Neither regret nor a better choice comes of a price that nobody knows."""
    slate = [candidate("a"), candidate("b", pred_cost_usd=None)]
    found = explained(row(slate, [attempt("a")], policy="cheapest"))

    assert ("a", None, None) == (found.hindsight.best, found.hindsight.cheapest, found.hindsight.regret_usd)
    assert "cost unknown" in found.candidates[1].words


def test_no_text_of_the_far_side_comes_through() -> None:
    """An error's message may hold anything; only the name of its class is told, and only if it is a name."""
    lost = [attempt("a", status="error", won=False, error=SECRET, error_class="RateLimited")]
    odd = [attempt("a", status="error", won=False, error=SECRET, error_class=f"<b>{SECRET}</b>")]
    failed = {"outcome": {"status": "error", "error_class": "AllAttemptsFailed", "error": SECRET, "latency_ms": 1.0}}

    assert SECRET not in repr(explained(row([candidate("a")], lost, **failed)))
    assert SECRET not in repr(
        [each.words for each in explained(row([candidate("a")], odd, **failed)).happened.attempts]
    )


# --- any row ----------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
NUMBER = st.none() | st.floats() | st.integers(-5, 10**6)
NAME = st.sampled_from(["a", "b", "c"])


def some(columns: dict) -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries({}, optional=columns)


NUMBERS = ("pred_ms", "p90_ms", "p95_ms", "p99_ms", "pred_cost_usd", "pred_quality", "score", "load_ms", "queue_ms")
CANDIDATES = some({"candidate_id": NAME, "eligible": st.booleans(), "near": ANYTHING} | dict.fromkeys(NUMBERS, NUMBER))
ATTEMPTS = some({
    "attempt": st.integers(0, 9) | st.none(), "candidate_id": NAME, "won": st.booleans(), "censored": st.booleans(),
    "role": st.sampled_from(["primary", "fallback", "hedge", "continuation", "escalation", "shadow", "new"]),
    "status": st.sampled_from(["ok", "error", "cancelled", "new"]), "total_ms": NUMBER, "cost_usd": NUMBER,
    "confidence": NUMBER, "ts": ANYTHING, "error_class": ANYTHING,
})  # fmt: skip
ROWS = some({
    "policy": st.sampled_from(["fastest", "cheapest", "balanced", "local-first", "slo", "budget", "gone"]),
    "reason": ANYTHING, "chosen": NAME | st.none(), "mode": ANYTHING, "candidates": st.lists(CANDIDATES, max_size=4),
    "attempts": st.lists(ATTEMPTS, max_size=4), "explore_rate": NUMBER, "draw": NUMBER, "deadline_ms": NUMBER,
    "max_cost_usd": NUMBER, "max_latency_ms": NUMBER, "min_quality": NUMBER, "propensity": NUMBER,
    "policy_body": ANYTHING | st.fixed_dictionaries({"parameters": st.sampled_from(["x(target=2)", "y(gain=..)"])}),
    "outcome": some({"status": st.sampled_from(["ok", "error", "refused", "cancelled", "new"]), "latency_ms": NUMBER,
                     "cost_usd": NUMBER, "overhead_ms": NUMBER}),
})  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS | st.dictionaries(st.sampled_from(["candidates", "attempts", "outcome", "ts", "policy"]), ANYTHING))
def test_any_row_is_explained(found) -> None:
    """Rows of other versions, and broken ones: there is always a summary, and no regret is negative."""
    explanation = explained(found)

    assert explanation.summary
    assert all(each.words for each in explanation.candidates)
    for regret in (explanation.hindsight.regret_s, explanation.hindsight.regret_usd):
        assert regret is None or regret >= 0
