"""The cascade through a real house: near answers that are sure go out, others are asked again elsewhere."""

import asyncio
import functools

import pytest

from backends.types import Delta
from router.outcome import Begun, Outcome
from router.patience import LEAST
from router.section_of_routing import CascadeSettings, HedgingSettings
from router.sections import AliasEntry, ModelEntry
from router.thresholds import Pair
from tests.unit.router import virtual
from tests.unit.router.house import PRICE, chat, drained, embed, fake, opened

SMALL, LARGE, LARGER = "test/small", "test/large", "test/larger"


def in_a_loop(test):
    """A test that is a coroutine, on a clock of its own."""

    @functools.wraps(test)
    def run(*given, **named) -> None:
        virtual.run(test(*given, **named))

    return run


def model(name: str, provider: str, *, quality=None, task: str = "text-generation", **script) -> ModelEntry:
    return ModelEntry(
        id=name, task=task, quality=quality, candidates=(fake(provider, model=name, price=PRICE, **script),)
    )


def near(confidence: float | None, **more) -> ModelEntry:
    script = {} if confidence is None else {"confidence": confidence}
    return model(SMALL, "a", near=True, **(script | more))


def house(*models: ModelEntry, **routing):
    """A house where `ask` stands for all these models."""
    alias = AliasEntry(name="ask", models=tuple(each.id for each in models))
    return opened(*models, aliases=(alias,), **({"policy": "cascade"} | routing))


def ask(**more):
    return chat(model="ask", **({"order": ()} | more))


def roles(row) -> list[tuple[str, str, bool, float | None]]:
    return [(a["role"], a["status"], a["won"], a["confidence"]) for a in row["attempts"]]


@in_a_loop
async def test_a_sure_answer_is_given() -> None:
    """Nobody else is asked, and its confidence is in the log."""
    async with house(near(0.9), model(LARGE, "b")) as one:
        outcome = await one.dispatcher.infer(ask())
        row = await one.row(outcome.decision_id)

    assert (SMALL, "") == (outcome.winner.model, outcome.note)
    assert [("primary", "ok", True, 0.9)] == roles(row)


@in_a_loop
async def test_an_unsure_answer_is_asked_again() -> None:
    """The far answer is given; both attempts have their rows, and the request costs both."""
    async with house(near(0.5), model(LARGE, "b")) as one:
        outcome = await one.dispatcher.infer(ask())
        row = await one.row(outcome.decision_id)

    assert LARGE == outcome.winner.model
    assert [("primary", "ok", False, 0.5), ("escalation", "ok", True, None)] == roles(row)
    assert row["cost_usd"] == pytest.approx(sum(a["cost_usd"] for a in row["attempts"]))
    assert all(a["cost_usd"] > 0 for a in row["attempts"])
    assert "with a confidence of 0.50, not 0.80: b:test/large was asked as well" in outcome.reason


@in_a_loop
async def test_where_nobody_else_answers_the_near_answer_is_given_after_all() -> None:
    """An answer that may be wrong is better than none, and says what it is."""
    async with house(near(0.5), model(LARGE, "b", fail="RemoteError"), model(LARGER, "c", fail="Overloaded")) as one:
        outcome = await one.dispatcher.infer(ask())
        row = await one.row(outcome.decision_id)

    assert ("ok", SMALL) == (outcome.status, outcome.winner.model)
    assert ["primary", "escalation", "escalation"] == [a["role"] for a in row["attempts"]]
    assert [True, False, False] == [a["won"] for a in row["attempts"]]
    assert "its answer is given after all" in outcome.reason


@in_a_loop
async def test_a_second_far_candidate_is_asked_where_the_first_fails() -> None:
    """Each once."""
    dear = model(LARGER, "c", quality=0.9)
    async with house(near(0.5, quality=0.6), model(LARGE, "b", fail="RemoteError", quality=0.8), dear) as one:
        outcome = await one.dispatcher.infer(ask())

    assert (LARGER, 3) == (outcome.winner.model, len(outcome.attempts))


@in_a_loop
async def test_a_stream_is_held_until_it_is_judged() -> None:
    """Of an unsure answer nothing goes out; of a sure one all of it, as it was said."""
    async with house(near(0.5), model(LARGE, "b")) as one:
        pieces = await drained(one.dispatcher.stream(ask(stream=True)))
    begun, *deltas, outcome = pieces

    assert isinstance(begun, Begun)
    assert isinstance(outcome, Outcome)
    assert (LARGE, 2) == (begun.model, begun.attempts)
    assert all(isinstance(delta, Delta) for delta in deltas)
    assert outcome.result.output.text == "".join(delta.text for delta in deltas)

    async with house(near(0.9), model(LARGE, "b")) as one:
        begun, *deltas, outcome = await drained(one.dispatcher.stream(ask(stream=True)))

    assert (SMALL, SMALL) == (begun.model, outcome.winner.model)
    assert outcome.result.output.text == "".join(delta.text for delta in deltas) != ""


@in_a_loop
async def test_a_stream_that_nobody_else_answers_is_the_near_one() -> None:
    """What was held goes out after all, once."""
    async with house(near(0.5), model(LARGE, "b", fail="RemoteError")) as one:
        begun, *deltas, outcome = await drained(one.dispatcher.stream(ask(stream=True)))

    assert ("ok", SMALL) == (outcome.status, begun.model)
    assert outcome.result.output.text == "".join(delta.text for delta in deltas) != ""


@in_a_loop
async def test_a_far_stream_that_breaks_is_no_near_answer() -> None:
    """Text of the far one has gone out: the end is an error, never another text behind it."""
    async with house(near(0.5), model(LARGE, "b", fail_after_tokens=2), on_stream_failure="error") as one:
        *_, outcome = await drained(one.dispatcher.stream(ask(stream=True)))

    assert ("error", None) == (outcome.status, outcome.winner)


@in_a_loop
async def test_an_answer_without_confidence_is_asked_again_unless_it_may_be_kept() -> None:
    """What is not known is not sure; the setting says what becomes of it."""
    async with house(near(None), model(LARGE, "b")) as one:
        asked = await one.dispatcher.infer(ask())
    async with house(near(None), model(LARGE, "b"), cascade=CascadeSettings(unsaid="keep")) as one:
        kept = await one.dispatcher.infer(ask())

    assert (LARGE, SMALL) == (asked.winner.model, kept.winner.model)
    assert "a confidence of unknown" in asked.reason


@in_a_loop
async def test_the_same_model_is_not_asked_twice() -> None:
    """A far place of the near model would say the same."""
    both = ModelEntry(
        id=SMALL,
        task="text-generation",
        candidates=(fake("a", near=True, confidence=0.2), fake("b")),
    )
    async with opened(both, policy="cascade") as one:
        outcome = await one.dispatcher.infer(chat(model=SMALL, order=()))

    assert ["primary"] == [attempt.role for attempt in outcome.attempts]


@in_a_loop
async def test_who_cannot_answer_in_time_is_not_asked() -> None:
    """The near answer is given at once where the far one is expected after the deadline."""
    async with house(near(0.5), model(LARGE, "b", latency_ms=300)) as one:
        await one.dispatcher.infer(chat(model=LARGE, order=()))  # learns that it takes 300 ms
        outcome = await one.dispatcher.infer(ask(deadline_ms=250))

    assert (SMALL, 1) == (outcome.winner.model, len(outcome.attempts))


@in_a_loop
async def test_both_answers_keep_to_what_the_request_may_cost() -> None:
    """The far one is passed over where the near one's cost leaves too little."""
    async with house(near(0.5), model(LARGE, "b")) as one:
        cost = (await one.dispatcher.plan(ask())).estimates[0].cost_usd
        outcome = await one.dispatcher.infer(ask(max_cost_usd=1.5 * cost))

    assert (SMALL, 1) == (outcome.winner.model, len(outcome.attempts))


@in_a_loop
async def test_a_cascade_without_a_near_or_a_second_candidate_still_answers() -> None:
    """It says in the reason what there is, and breaks nothing."""
    async with house(model(LARGE, "b")) as one:
        far = await one.dispatcher.infer(ask())
    async with house(near(0.1)) as one:
        alone = await one.dispatcher.infer(ask())

    assert (LARGE, SMALL) == (far.winner.model, alone.winner.model)
    assert "only eligible candidate" in far.reason
    assert "only eligible candidate" in alone.reason


@in_a_loop
async def test_whoever_goes_away_during_the_second_attempt_leaves_both_rows() -> None:
    """The near answer's cost is not lost with its sender."""
    async with house(near(0.5), model(LARGE, "b", latency_ms=60_000)) as one:
        asking = asyncio.create_task(one.dispatcher.infer(ask()))
        while one.fake.calls["infer"] < 2:  # noqa: ASYNC110 -- a count, not an event
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        row = await one.only_row()

    assert "cancelled" == row["status"]
    assert [("primary", "ok"), ("escalation", "cancelled")] == [(a["role"], a["status"]) for a in row["attempts"]]


@in_a_loop
async def test_the_threshold_is_learnt_from_what_is_said() -> None:
    """Answers of confidence 0.5 that turned out right are given from then on, and the reason says why."""
    async with house(near(0.5), model(LARGE, "b"), cascade=CascadeSettings(min_pairs=30)) as one:
        before = await one.dispatcher.infer(ask())
        for number in range(30):
            one.services.lessons.judgement.pair(SMALL, str(number), Pair(0.5, 1.0))
        after = await one.dispatcher.infer(ask())

    assert (LARGE, SMALL) == (before.winner.model, after.winner.model)
    assert "holds 90% right in 30 judged answers" in after.reason


@in_a_loop
async def test_an_escalated_request_teaches_what_the_near_answer_was_worth() -> None:
    """Both answers are at hand: they are compared without being asked for, the row names the near attempt."""
    async with house(near(0.5, quality=0.6), model(LARGE, "b", quality=0.9)) as one:
        outcome = await one.dispatcher.infer(ask())
        while one.services.lessons.judgement.quality.of(SMALL).source != "prior+agreement":  # noqa: ASYNC110
            await asyncio.sleep(0)
        rows = await one.select("SELECT decision_id::VARCHAR, attempt, candidate_id, reference, agreement FROM shadows")
        pairs = list(one.services.lessons.judgement._pairs[SMALL].values())

    assert [(outcome.decision_id, 1, f"a:{SMALL}", f"b:{LARGE}", 0.0)] == rows
    assert [(0.5, 0.0)] == pairs


@in_a_loop
async def test_vectors_are_never_asked_for_again() -> None:
    """Nothing in a vector says whether it is right."""
    small, large = (
        model(name, p, task="feature-extraction", near=p == "a") for name, p in ((SMALL, "a"), (LARGE, "b"))
    )
    async with house(small, large) as one:
        plan = await one.dispatcher.plan(embed("hello", model="ask", order=()))

    assert None is plan.decision.escalate_below


@in_a_loop
@pytest.mark.parametrize("told", [{"order": ("a",)}, {"session": "s"}])
async def test_a_near_model_that_is_never_sure_is_judged_wherever_it_stands(told) -> None:
    """Put first by the sender's order or by its session, it is asked, and asked again elsewhere."""
    async with house(near(0.99), model(LARGE, "b"), cascade=CascadeSettings(min_pairs=30)) as one:
        await one.dispatcher.infer(ask(session="s"))
        for number in range(100):
            one.services.lessons.judgement.pair(SMALL, str(number), Pair(0.99, 0.0))
        usual = await one.dispatcher.infer(ask())
        outcome = await one.dispatcher.infer(ask(**told))

    assert [(LARGE, 1), (LARGE, 2)] == [(each.winner.model, len(each.attempts)) for each in (usual, outcome)]
    assert ["primary", "escalation"] == [attempt.role for attempt in outcome.attempts]
    assert "a:test/small answered with a confidence of 0.99, and none is enough: b:test/large" in outcome.reason


@in_a_loop
async def test_each_near_model_is_judged_by_its_own_threshold() -> None:
    """Also where the policy would have asked another near one first."""
    other = model("test/third", "c", near=True, confidence=0.5, latency_ms=20)
    async with house(near(0.5), model(LARGE, "b"), other, cascade=CascadeSettings(min_pairs=30)) as one:
        for number in range(30):
            one.services.lessons.judgement.pair("test/third", str(number), Pair(0.5, 1.0))
        await one.dispatcher.infer(ask(session="s", only=("c",)))
        small, third = [await one.dispatcher.infer(ask(session=session)) for session in ("", "s")]

    assert [LARGE, "test/third"] == [outcome.winner.model for outcome in (small, third)]


@in_a_loop
async def test_what_goes_on_with_a_broken_stream_is_given_however_sure() -> None:
    """Its sender has the beginning already: an end that may be wrong is better than an error."""
    broken = model(LARGE, "b", fail_after_tokens=2)
    async with house(near(0.5), broken, model(LARGER, "c"), on_stream_failure="continue") as one:
        await one.dispatcher.infer(ask(session="s", only=("b",)))
        pieces = await drained(one.dispatcher.stream(ask(stream=True, session="s")))
    *told, outcome = pieces

    assert ("ok", SMALL) == (outcome.status, outcome.winner.model)
    assert ["primary", "continuation"] == [attempt.role for attempt in outcome.attempts]
    assert outcome.result.output.text == "".join(each.text for each in told if isinstance(each, Delta))


@in_a_loop
async def test_a_stream_is_not_held_where_nobody_could_be_asked_after_it() -> None:
    """A far place of the same model is nobody: what comes goes out at once, and nothing is said of escalation."""
    both = ModelEntry(
        id=SMALL, task="text-generation", candidates=(fake("a", near=True, confidence=0.2, latency_ms=50), fake("b"))
    )
    async with opened(both, policy="cascade") as one:
        stream = one.dispatcher.stream(chat(model=SMALL, order=(), stream=True))
        begun, _ = [await anext(stream), await anext(stream)]
        running = await one.only_row()
        *_, outcome = await drained(stream)

    assert isinstance(begun, Begun)
    assert "open" == running["status"]
    assert "" == outcome.note


@in_a_loop
async def test_who_lost_a_hedge_counts_for_what_a_request_may_cost() -> None:
    """Of three that were paid for only two would have kept to it: the third is not asked, and the note says so."""
    slow, fair = model(LARGE, "b", latency_ms=5_000), model(LARGER, "c")
    hedging = HedgingSettings(to="near", share=1.0, costly=True)
    async with house(near(0.5), slow, fair, hedging=hedging) as one:
        plan = await one.dispatcher.plan(ask(order=("b",)))
        for _ in range(LEAST):
            one.patience.observe(plan.ranked()[0], plan.size, 0.001)
        most = 2.5 * plan.estimates[0].cost_usd
        *_, outcome = await drained(one.dispatcher.stream(ask(order=("b",), stream=True, max_cost_usd=most)))

    assert [("primary", "cancelled"), ("hedge", "ok")] == [(each.role, each.status) for each in outcome.attempts]
    assert "as none could be asked, its answer is given after all" in outcome.reason


@in_a_loop
async def test_an_escalation_does_not_end_the_cascade_of_a_session() -> None:
    """The next request of it is asked near first again; its session is with the near model."""
    async with house(near(0.5), model(LARGE, "b")) as one:
        outcomes = [await one.dispatcher.infer(ask(session="s")) for _ in range(2)]

    assert [LARGE, LARGE] == [outcome.winner.model for outcome in outcomes]
    assert [["primary", "escalation"]] * 2 == [[a.role for a in outcome.attempts] for outcome in outcomes]
