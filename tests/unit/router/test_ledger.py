"""The rows of a request, and what it cost."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import errors
from backends.types import Delta, GenerationOutput, InferenceResult, Status, Target, Task, Timings, Usage
from router.decision_log.log import DecisionLog
from router.errors import InvalidRequest, LogError
from router.http.metrics import Metrics
from router.ledger import Ledger, new_decision_id
from router.near_costs import NearCosts
from router.outcome import Cost, Said, total_cost
from router.pricing import local_rates
from router.rows import Refused
from router.sections import LogSettings, Price
from router.slate import Candidate, Size
from tests.unit.router.house import CHAT, chat, chat_model, drained, embed, fake, opened, vector_model

RATES = local_rates(3.6, 2)  # a thousandth of a dollar a second
NEVER_RAN = (
    errors.ContextLengthExceeded, errors.InvalidInput, errors.ModelNotFound, errors.OutOfMemory, errors.Overloaded,
    errors.Unavailable,
)  # fmt: skip


@pytest.fixture
def log():
    log = DecisionLog.open(Path(":memory:"))
    yield log
    log.close()


@pytest.fixture
def ledger(log) -> Ledger:
    return Ledger(log, NearCosts(RATES), ("book", "{}"), LogSettings(), Metrics())


def place(backend: str, price: Price | None = None, device: str = "cpu") -> Candidate:
    target = Target(backend=backend, provider=backend, model="m", task=Task.TEXT_GENERATION)
    return Candidate(
        id=f"{backend}:m", target=target, near=backend == "local", status=Status(device=device), price=price
    )


def answer(
    *, service_s: float | None = None, device_s: float | None = None, batch_size: int = 1, **usage
) -> InferenceResult:
    return InferenceResult(
        output=GenerationOutput("x", "stop"),
        usage=Usage(**usage),
        timings=Timings(service_s=service_s, device_s=device_s),
        provider="p",
        model="m",
        device="cpu",
        batch_size=batch_size,
    )


def said(busy_s: float | None, *, pieces: int = 0, input_tokens: int = 5) -> Said:
    return Said(busy_s=busy_s, pieces=pieces, size=Size(items=1, input_tokens=input_tokens))


def known(cost: Cost) -> tuple[float | None, str]:
    """What a near attempt cost, whatever is known besides on which basis."""
    return cost.usd, cost.source


# --- prices ---------------------------------------------------------------------------------------


def test_a_near_answer_costs_its_share_of_the_device(ledger) -> None:
    """Measured seconds, divided among those who shared the batch."""
    assert (pytest.approx(0.002), "measured") == known(ledger.price(place("local"), answer(service_s=2.0)))
    assert (pytest.approx(0.0005), "measured") == known(
        ledger.price(place("local"), answer(service_s=2.0, batch_size=4))
    )


def test_a_near_answer_costs_what_it_held_the_device_by_itself(ledger) -> None:
    """Its own share, where the backend tells it, is not guessed from the batch; a time nobody took is no 0."""
    told = answer(service_s=2.0, device_s=0.25, batch_size=4)

    assert (pytest.approx(0.00025), "measured") == known(ledger.price(place("local"), told))
    assert (None, "unknown") == known(ledger.price(place("local"), answer()))


def test_far_media_costs_by_the_image_and_by_the_minute(ledger) -> None:
    """What the answer holds is charged, and a length nobody measured makes it unknown."""
    price = Price(per_image_usd=0.5, per_audio_minute_usd=6.0)

    assert Cost(None, "unknown") == ledger.price(place("remote", price), answer(images=2))
    assert Cost(4.0, "priced") == ledger.price(place("remote", price), answer(images=2, audio_s=30.0))


def test_what_a_provider_declares_goes_before_what_we_compute(ledger) -> None:
    """Also when it declares nothing to pay, and when nobody priced it here."""
    price = Price(per_request_usd=1.0)

    assert Cost(1.0, "priced") == ledger.price(place("remote", price), answer())
    assert Cost(0.25, "declared") == ledger.price(place("remote", price), answer(declared_cost_usd=0.25))
    assert Cost(0.0, "declared") == ledger.price(place("remote", price), answer(declared_cost_usd=0.0))
    assert Cost(0.5, "declared") == ledger.price(place("remote"), answer(declared_cost_usd=0.5))


def test_who_served_sets_the_price_where_a_router_chose(ledger) -> None:
    """Known by its name in the answer; where none says so the router's own price stands, of somebody unpriced none."""
    dear, cheap = Price(per_request_usd=3.0), Price(per_request_usd=1.0)
    router = msgspec.structs.replace(place("remote", dear), served_prices={"p": cheap})
    silent, other = (msgspec.structs.replace(answer(), provider=name) for name in (router.target.provider, "q"))

    assert [Cost(1.0, "priced"), Cost(3.0, "priced"), Cost(None, "unknown")] == [
        ledger.price(router, a) for a in (answer(), silent, other)
    ]
    assert Cost(3.0, "priced") == ledger.price(place("remote", dear), other)


def test_another_price_book_is_for_what_is_decided_from_then_on(ledger, log) -> None:
    """Earlier rows keep theirs; the same book again writes nothing."""
    ids = []
    for book in ("book", "other", "other"):
        ledger.reprice((book, "{}"))
        ids.append(ledger.refused(Refused(error=InvalidRequest("no"), surface="cli")))
    log.flush()

    assert ["book", "other", "other"] == [log.reader().decision(decision_id)["price_book"] for decision_id in ids]
    assert [("book",), ("other",)] == [
        tuple(row) for row in log.reader().sql("SELECT price_book FROM price_books ORDER BY 1").rows
    ]


def test_an_answer_without_a_price_has_an_unknown_cost(ledger) -> None:
    """And so has one whose charged tokens nobody counted."""
    assert Cost(None, "unknown") == ledger.price(place("remote"), answer(prompt_tokens=5))
    by_token = Price(output_per_1m_usd=1.0)
    assert Cost(None, "unknown") == ledger.price(place("remote", by_token), answer(prompt_tokens=5))


@pytest.mark.parametrize("kind", NEVER_RAN)
def test_a_near_refusal_before_the_device_costs_nothing(ledger, kind) -> None:
    """The queue is not the device."""
    assert (0.0, "measured") == known(ledger.price_unanswered(place("local"), kind("no"), said(10.0)))


@pytest.mark.parametrize("error", [None, errors.Timeout("no"), errors.BackendError("bug")])
def test_a_near_failure_costs_the_time_it_held_the_device(ledger, error) -> None:
    """Cancelled, too slow or broken: the device was busy."""
    assert (pytest.approx(0.01), "measured") == known(ledger.price_unanswered(place("local"), error, said(10.0)))


def test_a_near_request_that_may_never_have_had_its_turn_costs_nobody_knows_what(ledger) -> None:
    """Time in the queue is not device time: without a sign of life the cost is unknown, not measured."""
    assert (None, "unknown") == known(ledger.price_unanswered(place("local"), None, said(None)))


def test_a_far_refusal_costs_nothing_and_a_far_silence_nobody_knows_what(ledger) -> None:
    """After a timeout, a broken stream or a cancellation the provider may charge."""
    for kind in (errors.RateLimited, errors.Overloaded, errors.Unauthorized, errors.ModelNotFound):
        assert Cost(0.0, "priced") == ledger.price_unanswered(place("remote"), kind("no"), said(1.0))
    for error in (None, errors.Timeout("no"), errors.RemoteError("no")):
        assert Cost(None, "unknown") == ledger.price_unanswered(place("remote"), error, said(1.0))


def test_a_bug_after_a_far_request_was_sent_costs_nobody_knows_what(ledger) -> None:
    """What an unforeseen exception left behind at the provider cannot be told: unknown is not zero."""
    assert Cost(None, "unknown") == ledger.price_unanswered(
        place("remote"), errors.RemoteError("internal error"), said(1.0)
    )


@pytest.mark.parametrize("error", [None, errors.Timeout("no"), errors.RemoteError("no"), errors.RateLimited("no")])
def test_text_that_came_is_paid_as_an_estimate(ledger, error) -> None:
    """A cut, a stall or a client that left ends what the provider bills no sooner than the text that came."""
    price = Price(input_per_1m_usd=1e6, cached_input_per_1m_usd=1e5, output_per_1m_usd=2e6, per_request_usd=0.5)
    cost = ledger.price_unanswered(place("remote", price), error, said(None, pieces=3, input_tokens=7))

    assert Cost(0.5 + 7.0 + 6.0, "estimated") == cost


def test_text_that_came_at_no_known_price_costs_nobody_knows_what(ledger) -> None:
    """Nor does it where the price is by what only a whole answer tells."""
    for price in (None, Price(per_second_usd=1.0)):
        assert Cost(None, "unknown") == ledger.price_unanswered(place("remote", price), None, said(None, pieces=3))


def test_an_answer_that_does_not_say_what_was_cached_is_priced_as_if_nothing_was(ledger) -> None:
    """It is the most it can have cost, and called an estimate; a count makes it exact."""
    price = Price(input_per_1m_usd=2e6, cached_input_per_1m_usd=1e6)

    assert Cost(20.0, "estimated") == ledger.price(place("remote", price), answer(prompt_tokens=10))
    assert Cost(16.0, "priced") == ledger.price(place("remote", price), answer(prompt_tokens=10, cached_tokens=4))
    assert Cost(None, "unknown") == ledger.price(place("remote", price), answer())


@given(st.lists(st.none() | st.floats(0, 1e6)))
def test_one_unknown_makes_the_sum_unknown(amounts) -> None:
    """Else it is the sum; no attempt at all cost nothing."""
    total = total_cost(tuple(Cost(a, "unknown" if a is None else "priced") for a in amounts))

    assert (None in amounts) == (total.usd is None) == (total.source == "unknown")
    assert total.usd is None or pytest.approx(sum(amounts)) == total.usd
    assert amounts or total == Cost(0.0, "measured")


@given(st.lists(st.tuples(st.floats(0, 1e6), st.sampled_from(["measured", "declared", "priced", "estimated"]))))
def test_one_estimate_makes_the_sum_an_estimate(parts) -> None:
    """Else the last attempt's source is the whole's."""
    sources = [source for _, source in parts]
    expected = "estimated" if "estimated" in sources else (sources or ["measured"])[-1]

    assert expected == total_cost(tuple(Cost(usd, source) for usd, source in parts)).source


# --- rows -----------------------------------------------------------------------------------------


def run(go):
    return asyncio.run(go())


def test_the_row_of_a_decision_says_what_was_decided_and_of_what() -> None:
    """Sizes, limits, candidates with estimates and scores, and the snapshots it names."""

    async def go() -> None:
        models = chat_model(fake("a"), fake("b", price=None))
        async with opened(models, policy="cheapest") as house:
            call = chat(prompt="x" * 40, max_latency_ms=5000.0, deadline_ms=9000.0)
            row = await house.row((await house.dispatcher.infer(call)).decision_id)

        assert (CHAT, "text-generation", "test", 1) == (row["model"], row["task"], row["surface"], row["batch_items"])
        assert ("cheapest", f"a:{CHAT}", "ok") == (row["policy"], row["chosen"], row["status"])
        assert (12, 8) == (row["input_tokens"], row["output_tokens_est"])
        assert (5000.0, 9000.0, None) == (row["max_latency_ms"], row["deadline_ms"], row["max_cost_usd"])
        one, other = row["candidates"]
        assert (True, None, True) == (one["eligible"], one["reason"], one["chosen"])
        assert (False, None, None) == (other["eligible"], other["pred_cost_usd"], other["score"])
        assert "price unknown" in other["reason"]
        assert f"{CHAT}@a:{CHAT}" in row["price_book_body"]["remote"]
        assert "cheapest" == row["policy_body"]["policy"]

    run(go)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_stream_that_broke_or_was_left_is_paid_for_the_text_that_came(leaves) -> None:
    """Three words of it: the row of the attempt and of the request say so, as an estimate."""

    async def go() -> None:
        async with opened(chat_model(fake(tokens=9) if leaves else fake(fail_after_tokens=3))) as house:
            pieces = house.dispatcher.stream(chat(prompt="x" * 20, stream=True, allow_fallbacks=False))
            came = 0
            async with aclosing(pieces):
                async for piece in pieces:
                    came += isinstance(piece, Delta)
                    if leaves and came == 3:
                        break
            row = await house.only_row()

        expected = (pytest.approx(0.001 + 7 * 1e-6 + 3 * 2e-6), "estimated")
        assert ("cancelled" if leaves else "error", *expected) == (row["status"], row["cost_usd"], row["cost_source"])
        assert [expected] == [(attempt["cost_usd"], attempt["cost_source"]) for attempt in row["attempts"]]

    run(go)


def test_each_policy_has_a_snapshot_of_its_own() -> None:
    """A decision by one policy is not explained by another's parameters."""

    async def go() -> None:
        async with opened() as house:
            for policy in ("fastest", "cheapest"):
                outcome = await house.dispatcher.infer(chat(policy=policy))
                assert policy == (await house.row(outcome.decision_id))["policy_body"]["policy"]

    run(go)


def test_inputs_are_not_in_the_log_unless_asked_for() -> None:
    """A keyed hash shows which inputs were equal, within one installation, and nothing else."""

    async def rows(house) -> list[dict]:
        calls = [chat(prompt="a secret plan"), chat(prompt="a secret plan"), chat(prompt="another")]
        return [await house.row((await house.dispatcher.infer(call)).decision_id) for call in calls]

    async def go() -> None:
        hashes = []
        for _ in range(2):
            async with opened() as house:
                one, same, other = await rows(house)
                stored = house.services.log.cursor().execute("SELECT * FROM nearfar_log.inputs").fetchall()
            assert one["payload_hash"] == same["payload_hash"] != other["payload_hash"]
            assert [] == stored
            assert "secret" not in repr([one, same, other])
            hashes.append(one["payload_hash"])
        assert hashes[0] != hashes[1]

    run(go)


def test_inputs_are_in_the_log_when_asked_for(log) -> None:
    """`log.store_inputs` keeps the payload as JSON."""

    async def go() -> None:
        async with opened(vector_model()) as house:
            plan = await house.dispatcher.plan(embed("keep me"))
            policy = house.dispatcher._planner.policy(plan.call)
        ledger = Ledger(log, NearCosts(RATES), ("book", "{}"), LogSettings(store_inputs=True), Metrics())
        ledger.decided(plan, policy)
        log.flush()
        assert ["keep me"] == log.reader().inputs(plan.decision_id)["texts"]
        assert "open" == log.reader().decision(plan.decision_id)["status"]

    run(go)


def test_a_refusal_is_a_whole_request_in_the_log(ledger, log) -> None:
    """It has a decision and an outcome, nothing was spent, and what is not known stays NULL."""
    decision_id = ledger.refused(Refused(error=InvalidRequest("no such field"), surface="/v1/inference"))
    log.flush()
    row = log.reader().decision(decision_id)

    assert ("refused", "refused", "no such field") == (row["mode"], row["status"], row["reason"])
    assert ("InvalidRequest", "no such field", 0, 0.0) == (
        row["error_class"],
        row["error"],
        row["outcome"]["attempts"],
        row["cost_usd"],
    )
    assert (None, None, None, None) == (row["model"], row["task"], row["policy"], row["input_tokens"])
    assert ([], []) == (row["candidates"], row["attempts"])


def test_the_rows_of_a_request_carry_its_figures() -> None:
    """Attempts are numbered and named by role; only the last one won; the outcome repeats its figures."""

    async def go() -> None:
        async with opened(chat_model(fake("a", fail="Overloaded"), fake("b", tokens=4))) as house:
            [*_, outcome] = await drained(house.dispatcher.stream(chat(stream=True)))
            row = await house.row(outcome.decision_id)

        first, second = row["attempts"]
        assert [(1, "primary", "error", False), (2, "fallback", "ok", True)] == [
            (a["attempt"], a["role"], a["status"], a["won"]) for a in (first, second)
        ]
        assert ("Overloaded", 0.0, "priced") == (first["error_class"], first["cost_usd"], first["cost_source"])
        assert (None, None, None) == (first["service_ms"], first["prompt_tokens"], first["first_token_ms"])
        assert (2, 4) == (second["prompt_tokens"], second["completion_tokens"])
        assert row["latency_ms"] >= row["first_token_ms"] > second["first_token_ms"] > 0  # the sender waited for both
        assert pytest.approx(0.001 + 2e-6 + 8e-6) == second["cost_usd"] == row["cost_usd"]
        assert row["latency_ms"] >= row["overhead_ms"] >= 0
        assert 2 == row["outcome"]["attempts"]
        # One clock says when an attempt began, another how long it took: they agree to some microseconds.
        assert row["latency_ms"] + 0.1 >= row["overhead_ms"] + first["total_ms"] + second["total_ms"]

    run(go)


def test_decision_ids_are_ordered_by_time() -> None:
    """UUIDv7: sorting by id is sorting by age."""
    ids = [new_decision_id() for _ in range(100)]

    assert sorted(set(ids)) == ids
    assert {"7"} == {decision_id[14] for decision_id in ids}


def test_in_strict_durability_an_answer_waits_for_the_disk(tmp_path) -> None:
    """When `acknowledged` returns every row is committed; a log that cannot commit says so."""
    log = DecisionLog.open(tmp_path / "strict.duckdb", durability="strict")
    ledger = Ledger(log, NearCosts(RATES), ("book", "{}"), LogSettings(durability="strict"), Metrics())
    decision_id = ledger.refused(Refused(error=InvalidRequest("no"), surface="cli"))
    try:
        asyncio.run(ledger.acknowledged())
        assert 0 == log.stats().queued
        assert "refused" == log.reader().decision(decision_id)["status"]
    finally:
        log.close()
    ledger.refused(Refused(error=InvalidRequest("too late"), surface="cli"))
    with pytest.raises(LogError):
        asyncio.run(ledger.acknowledged())


def test_in_batch_durability_an_answer_waits_for_nothing(ledger, log) -> None:
    """Not even for a log that is closed."""
    log.close()

    assert asyncio.run(ledger.acknowledged()) is None
