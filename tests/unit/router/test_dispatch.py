"""The whole line: each request is decided once, and leaves exactly one decision and one outcome."""

import asyncio
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.types import Delta, InferenceRequest, Limits, Task
from router.errors import InvalidRequest, NoCandidate, UnknownModel
from router.outcome import Outcome
from tests.unit.router.house import (
    CHAT,
    VECTORS,
    Call,
    House,
    chat,
    chat_model,
    drained,
    embed,
    fake,
    opened,
    vector_model,
)


def run(go):
    return asyncio.run(go())


# --- refusals -------------------------------------------------------------------------------------


def test_nobody_eligible_is_a_refused_row_with_each_ones_reason() -> None:
    """Nothing is tried and nothing is spent; the error names every candidate."""

    async def go() -> None:
        async with opened(chat_model(fake("a"), fake("b"), fake("c", near=True, price=None))) as house:
            outcome = await house.dispatcher.infer(chat(private=True, max_cost_usd=1.0))
            row = await house.row(outcome.decision_id)

        assert ("refused", ()) == (outcome.status, outcome.attempts)
        assert isinstance(outcome.error, NoCandidate)
        expected = {f"a:{CHAT}": "private", f"b:{CHAT}": "private", f"c:{CHAT}": "price_unknown"}
        assert expected == {refusal.candidate_id: refusal.code for refusal in outcome.error.rejections}
        assert ("refused", "NoCandidate", None, 0.0) == (
            row["status"],
            row["error_class"],
            row["chosen"],
            row["cost_usd"],
        )
        assert ([], [False] * 3) == (row["attempts"], [c["eligible"] for c in row["candidates"]])
        assert all(c["reason"] for c in row["candidates"])
        assert {} == {method: n for method, n in house.fake.calls.items() if method in {"infer", "stream"}}

    run(go)


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_a_refused_row(stream) -> None:
    """The error names near ones and carries the id of the row."""

    async def go() -> None:
        async with opened() as house:
            with pytest.raises(UnknownModel, match=CHAT) as caught:
                await drained(house.dispatcher.stream(chat(model="test/chatt", stream=stream)))
            row = await house.only_row()

        assert caught.value.decision_id == row["decision_id"]
        assert ("refused", "refused", "UnknownModel") == (row["mode"], row["status"], row["error_class"])
        assert ("test/chatt", "text-generation", "test") == (row["model"], row["task"], row["surface"])

    run(go)


def test_an_unknown_policy_is_a_refused_row() -> None:
    """The error names the field at fault and the policies there are."""

    async def go() -> None:
        async with opened() as house:
            with pytest.raises(InvalidRequest, match="cheapest") as caught:
                await house.dispatcher.infer(chat(policy="cheap"))
            row = await house.only_row()

        assert ("routing.policy", row["decision_id"]) == (caught.value.param, caught.value.decision_id)
        assert "refused" == row["status"]

    run(go)


def test_a_model_of_another_task_is_a_refused_row() -> None:
    """A chat model makes no vectors."""

    async def go() -> None:
        async with opened() as house:
            with pytest.raises(InvalidRequest) as caught:
                await house.dispatcher.infer(embed(model=CHAT))

            assert (await house.only_row())["decision_id"] == caught.value.decision_id

    run(go)


def test_offline_nothing_far_is_eligible() -> None:
    """The configuration's word goes for every request."""

    async def go() -> None:
        async with opened(chat_model(fake("a"), fake("b", near=True)), offline=True) as house:
            outcome = await house.dispatcher.infer(chat())

        assert [f"b:{CHAT}"] == [attempt.candidate_id for attempt in outcome.attempts]
        assert ["offline"] == [rejection.code for rejection in outcome.plan.decision.rejections]

    run(go)


# --- decisions ------------------------------------------------------------------------------------


def test_a_dry_run_runs_and_logs_nothing() -> None:
    """The plan is what the request would get, and that is all."""

    async def go() -> None:
        async with opened(chat_model(fake("a"), fake("b"))) as house:
            plan = await house.dispatcher.plan(chat())

            assert [(0,)] == await house.select("SELECT count(*) FROM decisions")
            assert (0, 0) == (house.fake.calls["infer"], house.fake.calls["stream"])
        assert ([f"a:{CHAT}", f"b:{CHAT}"], 300.0) == (list(plan.decision.ranked), plan.deadline_s)

    run(go)


def test_the_requests_policy_and_deadline_go_before_the_settings() -> None:
    """What it does not say is left to the configuration."""

    async def go() -> None:
        async with opened(policy="fastest", deadline_ms=7000.0) as house:
            plain = await house.dispatcher.plan(chat())
            asked = await house.dispatcher.plan(chat(policy="local-first", deadline_ms=500.0))

        assert ("fastest", 7.0) == (plain.decision.policy, plain.deadline_s)
        assert ("local-first", 0.5) == (asked.decision.policy, asked.deadline_s)

    run(go)


def test_the_router_learns_from_what_it_saw() -> None:
    """The candidate that proves slow is tried last from then on."""

    async def go() -> None:
        async with opened(chat_model(fake("a", latency_ms=30), fake("b"))) as house:
            first = await house.dispatcher.plan(chat(order=()))
            await house.dispatcher.infer(chat(order=("a",)))
            second = await house.dispatcher.plan(chat(order=()))

        assert [f"a:{CHAT}", f"b:{CHAT}"] == list(first.decision.ranked)
        assert [f"b:{CHAT}", f"a:{CHAT}"] == list(second.decision.ranked)
        assert ["observed", "prior"] == [estimate.latency_source for estimate in second.estimates]

    run(go)


def test_the_task_of_a_model_is_told_or_the_model_is_unknown() -> None:
    """A request without a task takes its model's."""

    async def go() -> None:
        async with opened(vector_model()) as house:
            assert "feature-extraction" == await house.dispatcher.task_of(VECTORS)
            with pytest.raises(UnknownModel):
                await house.dispatcher.task_of("no/such")

    run(go)


# --- the books balance ----------------------------------------------------------------------------

ERRORS = ["Overloaded", "RateLimited", "Timeout", "ContentRefused", "RemoteError", "PaymentRequired"]
scripts = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"fail": st.sampled_from(ERRORS), "fail_times": st.integers(0, 2)}),
    st.fixed_dictionaries({"fail_after_tokens": st.integers(0, 9)}),
    st.fixed_dictionaries({"truncate_after_tokens": st.integers(0, 9)}),
    st.fixed_dictionaries({"latency_ms": st.just(3_600_000)}),
    st.fixed_dictionaries({"tokens": st.integers(0, 3), "near": st.booleans()}),
)
requests = st.fixed_dictionaries(
    {
        "stream": st.booleans(),
        "leave_after": st.none() | st.integers(0, 4),
        "routing": st.fixed_dictionaries(
            {"deadline_ms": st.sampled_from([15.0, 25.0])},
            optional={
                "allow_fallbacks": st.booleans(),
                "private": st.booleans(),
                "policy": st.sampled_from(["fastest", "cheapest", "no-such-policy"]),
            },
        ),
        "model": st.sampled_from([CHAT, CHAT, CHAT, "no/such-model"]),
    }
)


async def send(house: House, request: dict) -> str:
    """Send one request of the mix, perhaps leaving early; returns how it ended for its sender."""
    call = chat(model=request["model"], stream=request["stream"], **request["routing"])
    pieces = house.dispatcher.stream(call)
    try:
        for _ in range(100 if request["leave_after"] is None else request["leave_after"]):
            piece = await anext(pieces)
            if isinstance(piece, Outcome):
                return piece.status
    except (UnknownModel, InvalidRequest):
        return "refused"
    finally:
        await pieces.aclose()
    return "cancelled" if request["leave_after"] else "never began"


@settings(max_examples=settings.default.max_examples // 3)  # a house each
@given(st.lists(scripts, min_size=1, max_size=3), st.lists(requests, min_size=1, max_size=6), st.booleans())
def test_requests_are_decision_rows_are_outcome_rows(behaviours, mix, together) -> None:
    """Whatever candidates and senders do: one decision, one outcome and one row per attempt each, and they agree."""

    async def go() -> None:
        async with opened(chat_model(*(fake(name, **s) for name, s in zip("abc", behaviours, strict=False)))) as house:
            if together:
                ended = await asyncio.gather(*(send(house, request) for request in mix))
            else:
                ended = [await send(house, request) for request in mix]
            began = sorted(status for status in ended if status != "never began")
            rows = await house.select(
                "SELECT d.status, d.attempts, d.cost_usd, count(a.attempt), count(a.attempt) FILTER (a.won), "
                "count(*) FILTER (a.attempt IS NOT NULL AND a.cost_usd IS NULL) "
                "FROM decisions d LEFT JOIN attempts a USING (decision_id) "
                "GROUP BY decision_id, d.status, d.attempts, d.cost_usd"
            )

            assert began == sorted(row[0] for row in rows)
            for status, attempts, cost, attempt_rows, won, unknown in rows:
                assert attempts == attempt_rows
                assert (status == "ok") == (won == 1)
                assert (cost is None) == (unknown > 0)
            assert list(range(1, len(rows) + 1)) == sorted(
                row[0] for row in await house.select("SELECT seq FROM decisions")
            )
            stats = house.services.log.stats()
            assert (0, 0) == (stats.rejected, stats.queued)

    run(go)


@settings(max_examples=settings.default.max_examples // 5)  # two houses each
@given(st.text(max_size=40), st.integers(0, 12), st.integers(1, 12), st.booleans())
def test_streamed_and_buffered_cost_the_same(prompt, tokens, limit, failing_first) -> None:
    """The same request has the same text, usage, attempts and cost, however it is answered."""

    async def go() -> None:
        first = fake("a", fail="Overloaded") if failing_first else fake("a", tokens=tokens)
        outcomes = []
        for stream in (False, True):
            async with opened(chat_model(first, fake("b", tokens=tokens))) as house:
                call = chat(prompt=prompt, max_tokens=limit, stream=stream)
                pieces = await drained(house.dispatcher.stream(call))
                outcomes.append(pieces[-1])
        buffered, streamed = outcomes

        assert buffered.cost == streamed.cost
        assert buffered.cost.usd is not None
        assert (buffered.result.output, buffered.result.usage) == (streamed.result.output, streamed.result.usage)
        assert [a.cost for a in buffered.attempts] == [a.cost for a in streamed.attempts]
        text = "".join(piece.text for piece in pieces if isinstance(piece, Delta))
        assert streamed.result.output.text == text

    run(go)


@pytest.mark.parametrize("call", [chat(), embed()], ids=["chat", "embed"])
def test_every_task_goes_down_the_same_line(call: Call) -> None:
    """Buffered tasks leave the same rows as generations."""

    async def go() -> None:
        async with opened(chat_model(), vector_model()) as house:
            outcome = await house.dispatcher.infer(
                call.__class__(request=call.request, routing=call.routing, surface="cli", received=time.monotonic())
            )
            row = await house.row(outcome.decision_id)

        assert ("ok", "cli", call.request.task.value) == (row["status"], row["surface"], row["task"])

    run(go)


def test_a_request_is_never_changed_on_its_way() -> None:
    """What the backend got is what the sender asked, with the instant after which nobody waits."""

    async def go() -> None:
        async with opened() as house:
            call = chat(prompt="hello")
            await house.dispatcher.infer(call)

            [seen] = house.fake.history
            assert call.request == msgspec.structs.replace(seen, deadline=None, limits=Limits())
            assert time.monotonic() < seen.deadline
            assert Task.TEXT_GENERATION == seen.task
            assert isinstance(seen, InferenceRequest)

    run(go)
