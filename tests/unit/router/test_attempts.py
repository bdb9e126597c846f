"""The walk down a ranking: who is tried, when it ends, and that it always leaves exactly one outcome behind."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from backends.errors import BackendError
from backends.fake import FakeBackend
from backends.types import Delta, InferenceRequest, InferenceResult, Target
from router.errors import AllAttemptsFailed, DeadlineExceeded
from router.outcome import Begun, Outcome
from tests.unit.router import virtual
from tests.unit.router.house import (
    CHAT,
    VECTORS,
    House,
    chat,
    chat_model,
    drained,
    embed,
    fake,
    opened,
    vector_model,
)

FOREVER_MS = 3_600_000
ELSEWHERE = ("Overloaded", "OutOfMemory", "ModelNotFound", "Timeout", "RateLimited", "Unauthorized", "RemoteError")
NOWHERE = ("ContextLengthExceeded", "ContentRefused", "InvalidInput")


def run(go):
    return asyncio.run(go())


def tried(outcome: Outcome) -> list[str]:
    return [attempt.candidate_id.partition(":")[0] for attempt in outcome.attempts]


async def counts(house: House) -> tuple[int, int, int]:
    """How many decisions, outcomes and attempts the log has."""
    [row] = await house.select(
        "SELECT count(*), count(*) FILTER (status <> 'open'), (SELECT count(*) FROM attempts) FROM decisions"
    )
    return row


# --- whom to try ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", ELSEWHERE)
def test_the_next_in_the_ranking_takes_over(error, stream) -> None:
    """In order, until one answers; nobody after that one is asked."""

    async def go() -> None:
        candidates = (fake("a", fail=error), fake("b", fail=error), fake("c"), fake("d"))
        async with opened(chat_model(*candidates)) as house:
            [*_, outcome] = await drained(house.dispatcher.stream(chat(stream=stream)))
            row = await house.row(outcome.decision_id)

        assert ("ok", ["a", "b", "c"]) == (outcome.status, tried(outcome))
        assert outcome.winner is outcome.attempts[2]
        assert [error, error, None] == [attempt["error_class"] for attempt in row["attempts"]]
        assert [1, 2, 3] == [attempt["attempt"] for attempt in row["attempts"]]

    run(go)


@pytest.mark.parametrize("error", NOWHERE)
def test_what_another_candidate_cannot_help_is_not_passed_on(error) -> None:
    """A refused content is not routed around, and a wrong request stays wrong."""

    async def go() -> None:
        async with opened(chat_model(fake("a", fail=error), fake("b"))) as house:
            outcome = await house.dispatcher.infer(chat())

        assert ("error", ["a"]) == (outcome.status, tried(outcome))
        assert isinstance(outcome.error, AllAttemptsFailed)
        assert [error] == [type(attempt.error).__name__ for attempt in outcome.error.attempts]

    run(go)


def test_when_everybody_fails_the_outcome_carries_every_failure() -> None:
    """In the order in which they happened; the row says the same."""

    async def go() -> None:
        async with opened(chat_model(fake("a", fail="Overloaded"), fake("b", fail="RateLimited"))) as house:
            outcome = await house.dispatcher.infer(chat())
            row = await house.row(outcome.decision_id)

        assert isinstance(outcome.error, AllAttemptsFailed)
        assert ["Overloaded", "RateLimited"] == [type(attempt.error).__name__ for attempt in outcome.error.attempts]
        assert ("error", "AllAttemptsFailed", 2) == (row["status"], row["error_class"], row["outcome"]["attempts"])
        assert (None, None, None) == (row["backend"], row["provider"], row["model_served"])

    run(go)


def test_without_fallbacks_one_is_tried() -> None:
    """`allow_fallbacks: false` means the first or nobody."""

    async def go() -> None:
        async with opened(chat_model(fake("a", fail="Overloaded"), fake("b"))) as house:
            outcome = await house.dispatcher.infer(chat(allow_fallbacks=False))

        assert ("error", ["a"]) == (outcome.status, tried(outcome))

    run(go)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_more_are_tried_than_configured(limit) -> None:
    """`routing.max_attempts` bounds the chain."""

    async def go() -> None:
        candidates = [fake(name, fail="Overloaded") for name in "abcd"]
        async with opened(chat_model(*candidates), max_attempts=limit) as house:
            assert limit == len((await house.dispatcher.infer(chat())).attempts)

    run(go)


def test_embeddings_never_fall_back_into_another_vector_space() -> None:
    """Vectors of another model look the same and mean nothing beside the others."""

    async def go() -> None:
        candidates = (fake("a", fail="Overloaded"), fake("b", model="another", fail=""), fake("c"))
        async with opened(vector_model(*candidates)) as house:
            outcome = await house.dispatcher.infer(embed())
            assert ("ok", ["a", "c"]) == (outcome.status, tried(outcome))
            assert VECTORS == outcome.result.model
        async with opened(vector_model(*candidates[:2])) as house:
            outcome = await house.dispatcher.infer(embed())
            assert ("error", ["a"]) == (outcome.status, tried(outcome))

    run(go)


def test_other_tasks_fall_back_to_another_model() -> None:
    """A generated text needs no common space."""

    async def go() -> None:
        async with opened(chat_model(fake("a", fail="Overloaded"), fake("b", model="another"))) as house:
            outcome = await house.dispatcher.infer(chat())

        assert ("ok", ["a", "b"], "another") == (outcome.status, tried(outcome), outcome.result.model)

    run(go)


def test_a_target_that_recovers_is_used_again() -> None:
    """One failure does not bar a candidate: the next request begins with it."""

    async def go() -> None:
        async with opened(chat_model(fake("a", fail="Overloaded", fail_times=1), fake("b"))) as house:
            first, second = [await house.dispatcher.infer(chat()) for _ in range(2)]

        assert (["a", "b"], ["a"]) == (tried(first), tried(second))

    run(go)


def test_a_candidate_that_keeps_failing_is_left_alone() -> None:
    """After three failures in a row its breaker refuses it, and the row says why."""

    async def go() -> None:
        async with opened(chat_model(fake("a", fail="RemoteError"), fake("b"))) as house:
            outcomes = [await house.dispatcher.infer(chat()) for _ in range(4)]
            row = await house.row(outcomes[-1].decision_id)

        assert [["a", "b"]] * 3 + [["b"]] == [tried(outcome) for outcome in outcomes]
        assert "circuit breaker open" in row["candidates"][0]["reason"]
        assert 3 == house.fake.calls["infer"] - 4

    run(go)


# --- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("break_off", [{"fail_after_tokens": 2}, {"fail_after_tokens": 2, "fail": "Overloaded"}])
def test_after_the_first_piece_nobody_takes_over(break_off) -> None:
    """What has gone out cannot be taken back: the stream ends with an error, and no second voice."""

    async def go() -> None:
        async with opened(chat_model(fake("a", **break_off), fake("b"))) as house:
            begun, *deltas, outcome = await drained(house.dispatcher.stream(chat(stream=True)))
            row = await house.row(outcome.decision_id)

        assert ("a", 1) == (begun.provider, begun.attempts)
        assert 2 == len(deltas)
        assert ("error", ["a"], None) == (outcome.status, tried(outcome), outcome.result)
        assert "error" == row["status"]

    run(go)


@pytest.mark.parametrize("tokens", [0, 1, 3])
def test_a_truncated_stream_is_never_a_success(tokens) -> None:
    """A stream that ends without its result is an error, whatever it said; before the first piece others may try."""

    async def go() -> None:
        async with opened(chat_model(fake("a", truncate_after_tokens=tokens))) as house:
            *pieces, outcome = await drained(house.dispatcher.stream(chat(stream=True)))
            row = await house.row(outcome.decision_id)
        async with opened(chat_model(fake("a", truncate_after_tokens=tokens), fake("b"))) as house:
            [*_, other] = await drained(house.dispatcher.stream(chat(stream=True)))

        assert tokens == sum(isinstance(piece, Delta) for piece in pieces)
        assert ("error", None, "RemoteError") == (outcome.status, outcome.result, row["attempts"][0]["error_class"])
        assert (("error", ["a"]) if tokens else ("ok", ["a", "b"])) == (other.status, tried(other))

    run(go)


def test_a_stream_says_who_serves_then_speaks_then_ends() -> None:
    """One `Begun`, the pieces, one outcome that holds the whole text; a failed attempt before is counted."""

    async def go() -> None:
        async with opened(chat_model(fake("a", fail="Overloaded"), fake("b", tokens=5))) as house:
            pieces = await drained(house.dispatcher.stream(chat(stream=True)))

        assert [Begun, *[Delta] * 5, Outcome] == [type(piece) for piece in pieces]
        begun, *deltas, outcome = pieces
        assert ("b", 2) == (begun.provider, begun.attempts)
        assert "".join(delta.text for delta in deltas) == outcome.result.output.text

    run(go)


def test_an_empty_text_is_an_answer() -> None:
    """A stream without a single piece ends with its outcome all the same."""

    async def go() -> None:
        async with opened(chat_model(fake("a", tokens=0))) as house:
            [outcome] = await drained(house.dispatcher.stream(chat(stream=True)))

        assert ("ok", "") == (outcome.status, outcome.result.output.text)

    run(go)


# --- the deadline ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_the_deadline_ends_a_hanging_attempt(stream) -> None:
    """One deadline for the whole chain: nobody else is tried when it is over, and the time is a lower bound."""

    async def go() -> None:
        async with opened(chat_model(fake("a", latency_ms=FOREVER_MS), fake("b"))) as house:
            [outcome] = await drained(house.dispatcher.stream(chat(stream=stream, deadline_ms=200.0)))
            row = await house.row(outcome.decision_id)

        assert ("error", ["a"]) == (outcome.status, tried(outcome))
        assert isinstance(outcome.error, DeadlineExceeded)
        assert ("error", "DeadlineExceeded", 200.0) == (row["status"], row["error_class"], row["deadline_ms"])
        assert ("error", "DeadlineTimeout", True) == tuple(
            row["attempts"][0][key] for key in ("status", "error_class", "censored")
        )
        assert (None, "unknown") == (row["cost_usd"], row["cost_source"])

    virtual.run(go())


def test_the_deadline_counts_from_when_the_request_came() -> None:
    """A request that waited too long before it was looked at is not begun."""

    async def go() -> None:
        async with opened() as house:
            call = chat(deadline_ms=1000.0)
            late = call.__class__(
                request=call.request, routing=call.routing, surface="test", received=call.received - 2
            )
            outcome = await house.dispatcher.infer(late)
            row = await house.row(outcome.decision_id)

        assert ("error", []) == (outcome.status, tried(outcome))
        assert isinstance(outcome.error, DeadlineExceeded)
        assert (0, 0.0) == (house.fake.calls["infer"], row["cost_usd"])

    run(go)


def test_the_deadline_ends_a_stream_that_has_begun() -> None:
    """What was said stays said; the end is an error."""

    async def go() -> None:
        # the first piece needs no pause of its own, the second would come in an hour
        async with opened(chat_model(fake("a")), backend=Stalling()) as house:
            begun, delta, outcome = await drained(house.dispatcher.stream(chat(stream=True, deadline_ms=500.0)))

        assert (Begun, Delta, "error") == (type(begun), type(delta), outcome.status)
        assert isinstance(outcome.error, DeadlineExceeded)

    virtual.run(go())


def test_an_impatient_sender_takes_nothing_from_the_others() -> None:
    """Three requests with an impossible deadline must not close a healthy candidate to everybody."""

    async def go() -> None:
        async with opened(chat_model(fake("a", latency_ms=300))) as house:
            for _ in range(3):
                await house.dispatcher.infer(chat(deadline_ms=100.0))
            assert "ok" == (await house.dispatcher.infer(chat())).status

    virtual.run(go())


def test_an_answer_of_two_attempts_was_heard_when_its_first_word_went_out() -> None:
    """What the sender waited for the first word, failed attempts included."""

    async def go() -> None:
        async with opened(chat_model(fake("a", latency_ms=50, fail="RemoteError"), fake("b"))) as house:
            [*_, outcome] = await drained(house.dispatcher.stream(chat(stream=True)))

        assert outcome.latency_s >= outcome.first_token_s > 0.04 > outcome.winner.first_token_s

    virtual.run(go())


# --- a sender that goes away ----------------------------------------------------------------------


async def until_called(house: House, method: str) -> None:
    """Return when the backend is at work. It tells nobody, so it is looked at between the loop's turns."""
    while not house.fake.calls[method]:  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_request_is_settled_once(stream) -> None:
    """The attempt and the outcome are `cancelled`, the work is stopped, and the cost is unknown, not 0."""

    async def go() -> None:
        async with opened(chat_model(fake("a", latency_ms=FOREVER_MS), fake("b"))) as house:
            task = asyncio.create_task(drained(house.dispatcher.stream(chat(stream=stream))))
            await until_called(house, "stream" if stream else "infer")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            row = await house.only_row()
            [status] = [c.status for c in house.services.finder.of_model(chat_model(fake("a", latency_ms=FOREVER_MS)))]

            assert (1, 1, 1) == await counts(house)
        assert ("cancelled", None, None) == (row["status"], row["error_class"], row["cost_usd"])
        [attempt] = row["attempts"]
        assert ("cancelled", None, True, False) == tuple(
            attempt[key] for key in ("status", "error_class", "censored", "won")
        )
        assert 0 == status.queued

    run(go)


def test_a_stream_closed_in_the_middle_is_settled_once() -> None:
    """The client went away between two pieces."""

    async def go() -> None:
        async with opened(chat_model(fake("a"))) as house:
            async with aclosing(house.dispatcher.stream(chat(stream=True))) as pieces:
                assert isinstance(await anext(pieces), Begun)
                assert isinstance(await anext(pieces), Delta)
            row = await house.only_row()

            assert (1, 1, 1) == await counts(house)
        assert ("cancelled", "cancelled") == (row["status"], row["attempts"][0]["status"])
        assert {} == house.breakers.open(0.0)

    run(go)


def test_a_stream_closed_before_it_speaks_is_settled_once() -> None:
    """`Begun` is the first piece; closing there still leaves one row of each kind."""

    async def go() -> None:
        async with opened(chat_model(fake("a", fail="Overloaded"), fake("b"))) as house:
            pieces = house.dispatcher.stream(chat(stream=True))
            await anext(pieces)
            await pieces.aclose()
            row = await house.only_row()

            assert (1, 1, 2) == await counts(house)
        assert ["error", "cancelled"] == [attempt["status"] for attempt in row["attempts"]]

    run(go)


def test_a_stream_closed_after_its_outcome_stays_what_it_was() -> None:
    """The answer was complete; going away then cancels nothing."""

    async def go() -> None:
        async with opened(chat_model(fake("a"))) as house:
            pieces = house.dispatcher.stream(chat(stream=True))
            async for piece in pieces:
                if isinstance(piece, Outcome):
                    break
            await pieces.aclose()

            assert "ok" == (await house.only_row())["status"]
            assert (1, 1, 1) == await counts(house)

    run(go)


def test_cancelling_says_nothing_about_the_candidate() -> None:
    """Impatient senders do not open a breaker."""

    async def go() -> None:
        async with opened(chat_model(fake("a"))) as house:
            for _ in range(5):
                async with aclosing(house.dispatcher.stream(chat(stream=True))) as pieces:
                    await anext(pieces)
            assert "ok" == (await house.dispatcher.infer(chat())).status

    run(go)


# --- backends that break their promises -----------------------------------------------------------


class Broken(FakeBackend):
    """Raises what no backend may raise; streams do so after the first piece."""

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        raise ZeroDivisionError

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Delta | InferenceResult, None]:
        yield Delta("well")
        raise ZeroDivisionError


class Stalling(FakeBackend):
    """Says one word and never another."""

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Delta | InferenceResult, None]:
        yield Delta("well")
        await asyncio.Event().wait()


class Lingering(FakeBackend):
    """Answers, and then never ends."""

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Delta | InferenceResult, None]:
        yield await self.infer(request, target)
        await asyncio.Event().wait()


class Chattering(FakeBackend):
    """Breaks after its result."""

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Delta | InferenceResult, None]:
        yield await self.infer(request, target)
        raise BackendError("the connection broke after the last byte")


@pytest.mark.parametrize("stream", [False, True])
def test_a_bug_in_a_backend_still_closes_the_row(stream) -> None:
    """The exception goes up as it is, and the log has one decision, one outcome and one attempt, all errors."""

    async def go() -> None:
        async with opened(chat_model(fake("a"), fake("b")), backend=Broken()) as house:
            with pytest.raises(ZeroDivisionError):
                await drained(house.dispatcher.stream(chat(stream=stream)))
            row = await house.only_row()

            assert (1, 1, 1) == await counts(house)
        assert ("error", "error") == (row["status"], row["attempts"][0]["status"])
        assert "internal error" == row["attempts"][0]["error"]
        assert f"a:{CHAT}" == row["attempts"][0]["candidate_id"]

    run(go)


@pytest.mark.parametrize("backend", [Lingering, Chattering])
def test_what_a_backend_does_after_its_result_changes_nothing(backend) -> None:
    """A complete answer is the end: nobody is waited for, and the attempt has no error beside its result."""

    async def go() -> None:
        async with opened(chat_model(fake("a"), fake("b")), backend=backend()) as house:
            [outcome] = await drained(house.dispatcher.stream(chat(stream=True, deadline_ms=500.0)))

        assert ("ok", ["a"], None) == (outcome.status, tried(outcome), outcome.attempts[0].error)

    virtual.run(go())


@pytest.mark.parametrize("broken", ["stay", "price"])
def test_a_bug_beside_a_backend_leaves_nothing_under_way(broken) -> None:
    """A shadow would wait for ever for a near attempt that ended, and a probe would stay the only one."""

    async def go() -> None:
        async with opened(chat_model(fake("a", near=True))) as house:
            lessons, ledger = house.services.lessons, house.dispatcher._ledger
            for _ in range(3):
                house.breakers.failed("a:test/chat", BackendError("x"), -1000.0)

            def fail(*_args):
                raise KeyError(broken)

            setattr(ledger, broken, fail)
            with pytest.raises(KeyError):
                await house.dispatcher.infer(chat())

            assert 0 == lessons.admission.near_in_flight
            assert all("probe is under way" not in why for why in house.breakers.open(0.0).values())

    run(go)


def test_the_readers_time_is_not_the_candidates() -> None:
    """A pause between two pieces is in the attempt's whole time, and not in what it waited for the candidate."""
    pause_s = 0.1

    async def go() -> Outcome:
        async with opened(chat_model(fake("a", tokens=3))) as house:
            async for piece in house.dispatcher.stream(chat(stream=True)):
                if isinstance(piece, Begun):
                    await asyncio.sleep(pause_s)
        assert isinstance(piece, Outcome)
        return piece

    [attempt] = run(go).attempts

    assert 0 < attempt.candidates_s <= attempt.total_s - pause_s


def test_many_at_once_are_settled_one_by_one() -> None:
    """Requests that run together do not mix up their rows."""

    async def go() -> None:
        async with opened(chat_model(fake("a", latency_ms=1, fail="Overloaded"), fake("b", latency_ms=1))) as house:
            outcomes = await asyncio.gather(*(house.dispatcher.infer(chat(prompt=f"{n}")) for n in range(20)))
            rows = await house.select("SELECT status, attempts FROM decisions")

        assert 20 == len({outcome.decision_id for outcome in outcomes})
        assert [("ok", 2)] * 20 == rows

    run(go)
