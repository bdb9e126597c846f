"""A run over a whole house of fakes: each trial a decision, nobody taught, money kept to, nothing asked twice."""

import asyncio
from collections import Counter
from itertools import groupby, pairwise

import pytest

from router.compare.kept import before, run_of
from router.compare.run import Trial
from router.compare.running import INTERRUPTED, Running
from router.decision_log.windows import Window
from router.errors import InvalidRequest, NoSuchResource
from router.sections import BudgetEntry
from tests.unit.router.compare.suites import candidate, made, on_a_loop, ran, suite
from tests.unit.router.house import CHAT, House, chat_model, fake, opened, vector_model

FREE = fake("c", price=None)


def two(**script) -> tuple:
    return (chat_model(fake("a"), fake("b", **script)),)


async def kept(house: House, run_id: str):
    await asyncio.to_thread(house.services.log.flush)
    return run_of(house.services.log.reader().comparison(run_id))


@on_a_loop
async def test_every_trial_is_a_decision_of_its_own() -> None:
    """Pinned to its candidate, tagged with the run, with a cost; the log has the run as it was."""
    async with opened(*two()) as house:
        run = await ran(house, suite())
        rows = await house.select(
            "SELECT decision_id::VARCHAR, chosen, mode, surface, request_id, attempts FROM decisions"
        )
        told = await kept(house, run.run_id)

    assert (10, None, 2) == (run.planned, run.stopped, run.inputs)
    assert list(range(10)) == [trial.number for trial in run.trials]
    assert {
        (trial.decision_id, f"{trial.candidate}:{CHAT}", "pinned", "compare", f"{run.run_id}/{trial.number}", 1)
        for trial in run.trials
    } == set(rows)
    assert {"ok"} == {trial.status for trial in run.trials}
    assert all(trial.cost_usd == pytest.approx(0.001 + trial.input_tokens / 1e6 + 8e-6) for trial in run.trials)
    assert all(0 <= trial.sent_s - trial.due_s and trial.first_token_s < trial.total_s for trial in run.trials)
    assert run == told


@on_a_loop
async def test_who_fails_is_asked_once_each_time_and_every_time() -> None:
    """No retry, no fallback, and no breaker that would hide what comes next; failures are told by their kind."""
    async with opened(*two(fail="RateLimited")) as house:
        run = await ran(house, suite(repeats=10, warm_up=0))
        tries = await house.select("SELECT count(*), count(DISTINCT decision_id) FROM attempts")
    assert [(40, 40)] == tries
    assert {("a", "ok", None): 20, ("b", "error", "RateLimited"): 20} == Counter(
        (trial.candidate, trial.status, trial.error) for trial in run.trials
    )


@on_a_loop
async def test_nothing_is_learnt_of_a_run() -> None:
    """Neither how long anybody takes, nor who must be left alone, nor who served whom last."""
    async with opened(*two(fail="RemoteError")) as house:
        lessons = house.services.lessons
        await ran(house, suite(repeats=10))

        assert [] == list(lessons.estimator.unsaved())
        assert all(lessons.refusal(one) is None for one in house.services.finder.every() if one.listed_as == CHAT)
        assert 0 == lessons.admission.near_in_flight
        assert {0} == {state.in_flight for state in lessons.admission.states()} | {0}


@on_a_loop
async def test_a_replay_of_the_log_reads_none_of_it() -> None:
    """What was pinned was no policy's choice: to count it as one would be wrong about every policy."""
    async with opened(*two()) as house:
        await ran(house, suite())
        await asyncio.to_thread(house.services.log.flush)
        with house.services.log.reader().window(Window()) as (found, _):
            assert 0 == found.held


@on_a_loop
async def test_a_run_stops_before_its_budget_is_passed() -> None:
    """A trial may cost what it can cost at most; so much is set aside before it is sent."""
    async with opened(*two()) as house:
        run = await ran(house, suite(repeats=50, budget_usd=0.0105))

    spent = sum(trial.cost_usd for trial in run.trials)
    assert 0.009 < spent <= 0.0105
    assert run.stopped is not None
    assert run.stopped.startswith("budget_usd: $0.0")
    assert run.ended_at is not None


@on_a_loop
async def test_many_at_once_do_not_pass_the_budget_together() -> None:
    """What is under way is counted as well."""
    async with opened(*two(latency_ms=5)) as house:
        run = await ran(house, suite(repeats=50, concurrency=16, budget_usd=0.0105))

    assert sum(trial.cost_usd for trial in run.trials) <= 0.0105
    assert run.stopped is not None


@on_a_loop
async def test_money_has_no_limit_where_a_price_is_not_known() -> None:
    """Unknown is not 0: with a limit it is refused, without one its cost stays unknown."""
    async with opened(chat_model(fake("a"), FREE)) as house:
        asked = suite(candidates=(candidate("a"), candidate("c")))
        with pytest.raises(InvalidRequest, match="what 'c' costs is not known"):
            await made(house, suite(candidates=(candidate("a"), candidate("c")), budget_usd=1.0))
        run = await ran(house, asked)

    assert {None} == {trial.cost_usd for trial in run.trials if trial.candidate == "c"}
    assert {"unknown"} == {trial.cost_source for trial in run.trials if trial.candidate == "c"}


@on_a_loop
async def test_in_an_open_loop_nobody_waits_for_an_answer_to_send() -> None:
    """All are under way before the first is answered, and each one's time counts from when it was due."""
    async with opened(*two(latency_ms=400)) as house:
        run = await ran(house, suite(repeats=3, warm_up=0, rate_per_s=2000, arrivals="constant"))

    slow = [trial for trial in run.trials if trial.candidate == "b"]
    assert max(trial.sent_s for trial in slow) < min(trial.due_s + trial.total_s for trial in slow)
    assert all(trial.total_s >= trial.sent_s - trial.due_s + 0.399 for trial in slow)
    gaps = [later.due_s - earlier.due_s for earlier, later in pairwise(run.trials)]
    assert all(gap == pytest.approx(1 / 2000) for gap in gaps)


@on_a_loop
async def test_so_many_callers_ask_one_candidate_at_a_time() -> None:
    """Never more than there are callers; a block is done before the next begins."""
    async with opened(*two(latency_ms=5)) as house:
        run = await ran(house, suite(repeats=12, warm_up=0, concurrency=3))

    blocks = [list(trials) for _, trials in groupby(run.trials, key=lambda trial: trial.block)]
    assert len(blocks) > 2
    assert all(1 == len({trial.candidate for trial in block}) for block in blocks)
    assert max(_at_once(run.trials)) <= 3
    assert 3 == max(_at_once([trial for trial in run.trials if trial.candidate == "b"]))
    for earlier, later in pairwise(blocks):
        assert max(map(_end, earlier)) <= min(trial.sent_s for trial in later)


@on_a_loop
async def test_a_run_that_was_interrupted_is_gone_on_with() -> None:
    """What was answered is not asked again, but for the warm-up; the whole is what the plan says."""
    async with opened(*two(latency_ms=2)) as house:
        asked = suite(repeats=6)
        parts, job = await made(house, asked)
        seen: list[Running] = []

        def tell(running: Running) -> None:
            if running.finished == 11:
                seen.append(running)
                task.cancel()

        task = asyncio.create_task(Running(parts, job, None, tell).go())
        with pytest.raises(asyncio.CancelledError):
            await task
        cut = await kept(house, seen[0].run.run_id)
        assert 11 <= len(cut.trials) < cut.planned
        assert INTERRUPTED == cut.stopped

        found = await asyncio.to_thread(before, house.services.log.reader(), cut.run_id, job.digest)
        whole = await Running(parts, job, found).go()
        told = await kept(house, cut.run_id)
        sent = Counter(row[0] for row in await house.select("SELECT request_id FROM decisions WHERE status = 'ok'"))

    assert (cut.run_id, cut.started_at, None) == (whole.run_id, whole.started_at, whole.stopped)
    assert list(range(whole.planned)) == [trial.number for trial in whole.trials]
    assert whole == told
    assert cut.counted == whole.counted[: len(cut.counted)]
    for trial in whole.trials:
        assert (2 if trial.warm_up else 1) == sent[f"{whole.run_id}/{trial.number}"]
    assert all(earlier.due_s <= later.due_s for earlier, later in pairwise(whole.counted))


@on_a_loop
async def test_what_was_spent_before_a_run_was_cut_off_stays_spent() -> None:
    """The cap is the run's, not a sitting's; what was sent twice was paid twice."""
    async with opened(*two()) as house:
        parts, job = await made(house, suite(repeats=50, budget_usd=0.0105))
        run = await Running(parts, job).go()
        await asyncio.to_thread(house.services.log.flush)
        found = await asyncio.to_thread(before, house.services.log.reader(), run.run_id, job.digest)
        again = Running(parts, job, found)
        spent_usd = again.spent_usd
        whole = await again.go()

    assert spent_usd == pytest.approx(sum(trial.cost_usd for trial in run.trials))
    assert len(run.trials) == len(whole.trials)
    assert whole.stopped is not None
    assert whole.stopped.startswith("budget_usd")


@on_a_loop
async def test_another_suite_is_not_gone_on_with() -> None:
    """Nor the same one with other inputs, nor a run that there is none of."""
    async with opened(*two()) as house:
        run = await ran(house, suite())
        await asyncio.to_thread(house.services.log.flush)
        reader = house.services.log.reader()
        _, other = await made(house, suite(inputs=("hello there", "good evening")))
        with pytest.raises(InvalidRequest, match="begin a new run"):
            before(reader, run.run_id, other.digest)
        for unknown in ("01980000-0000-7000-8000-000000000000", "nonsense"):
            with pytest.raises(NoSuchResource):
                before(reader, unknown, other.digest)


@on_a_loop
async def test_a_run_is_its_tenants() -> None:
    """Another one has no such run, and an admin sees all."""
    async with opened(*two()) as house:
        run = await ran(house, suite())
        await asyncio.to_thread(house.services.log.flush)
        log = house.services.log

        assert log.reader("").comparison(run.run_id) is not None
        assert log.reader("acme").comparison(run.run_id) is None
        assert [] == log.reader("acme").comparisons()
        assert [run.run_id] == [row["run_id"] for row in log.reader().comparisons()]


@on_a_loop
async def test_outputs_are_scored_against_what_is_expected_or_the_reference() -> None:
    """Of vectors: two fakes of one model say the same, one of fewer dimensions cannot be compared."""
    vectors = vector_model(fake("a"), fake("b"), fake("c", dimensions=8))
    async with opened(vectors) as house:
        asked = suite(
            task="feature-extraction",
            parameters={},
            candidates=tuple(candidate(name, model=vectors.id) for name in "abc"),
            metric="cosine",
            reference="a",
        )
        run = await ran(house, asked)
        told = await kept(house, run.run_id)

    scores = {name: {trial.score for trial in run.trials if trial.candidate == name} for name in "abc"}
    assert {None} == scores["c"]
    assert [pytest.approx(1.0)] == list({round(score, 6) for score in scores["b"]})
    assert "a" == run.reference
    assert run == told


@on_a_loop
async def test_a_candidate_that_need_not_be_is_left_out() -> None:
    """It is named with why; one that must be there ends the whole before anything is sent."""
    async with opened(*two()) as house:
        nobody = candidate("nobody", required=False)
        _, job = await made(house, suite(candidates=(candidate("a"), candidate("b"), nobody)))
        assert {"nobody"} == set(job.left_out)
        with pytest.raises(InvalidRequest, match=r"candidates\[1\]: 'nobody' cannot be asked"):
            await made(house, suite(candidates=(candidate("a"), candidate("nobody"))))
        with pytest.raises(InvalidRequest, match="fewer than two"):
            await made(house, suite(candidates=(candidate("a"), nobody)))
        with pytest.raises(InvalidRequest, match="which of them is meant"):
            await made(house, suite(candidates=(candidate("a"), candidate("b", provider=None))))
        assert [(0,)] == await house.select("SELECT count(*) FROM decisions")


@on_a_loop
async def test_a_price_that_a_budget_cannot_pay_refuses_the_trial_and_nothing_is_sent() -> None:
    """The house's own budgets hold for a comparison as for anybody."""
    async with opened(*two(), budgets=[BudgetEntry(limit_usd=0.005)]) as house:
        run = await ran(house, suite(repeats=10, warm_up=0))
        sent = await house.select("SELECT count(*) FROM attempts")

    refused = [trial for trial in run.trials if trial.status == "refused"]
    assert len(run.trials) - len(refused) == sent[0][0] <= 5
    assert {"NoCandidate", "BudgetExceeded"} >= {trial.error for trial in refused} != set()


def _end(trial: Trial) -> float:
    return trial.due_s + trial.total_s


def _at_once(trials) -> list[int]:
    """How many were under way as each was sent, itself included."""
    return [sum(other.sent_s <= trial.sent_s < _end(other) for other in trials) for trial in trials]
