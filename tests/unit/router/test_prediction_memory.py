"""What was learnt outlives the process: through a real log on disk, for the same candidate only, a row for each."""

import asyncio
import logging
from pathlib import Path

import pytest
from hypothesis import given
from msgspec.structs import replace

from router.decision_log.log import DecisionLog
from router.house import open_house
from router.outcome import Outcome
from router.prediction.memory import VERSION
from router.sections import RoutingSettings, Settings
from router.settings import Secrets
from router.slate import Size
from tests.unit.router.house import chat, chat_model, drained, fake
from tests.unit.router.test_estimates import candidate, estimator, observed, one, pasts, report_of

SIZE = Size(items=1, input_tokens=100, output_tokens=20, max_output_tokens=50)


def taught(whom, past):
    estimates = estimator()
    for size, took in past:
        observed(estimates, whom, size, took)
    return estimates


def again(estimates, whom):
    """Another process that takes in what this one saved."""
    fresh = estimator()
    fresh.restore(dict(estimates.unsaved()))
    return fresh


@given(pasts())
def test_what_is_restored_predicts_the_same(given) -> None:
    """To the last digit: the state is all there is."""
    whom, size, past, report = given
    estimates = estimator()
    if report is not None:
        estimates.learn_load(whom, report, source="calibrated")
    for past_size, took in past:
        observed(estimates, whom, past_size, took)

    before = one(estimates, size, whom)
    assert before == one(again(estimates, whom), size, whom)


@pytest.mark.parametrize("change", [{"device": "cuda:0"}, {"parameters": 2_000_000}, {"dtype": "float16"}])
def test_another_candidate_of_the_same_name_begins_anew(change) -> None:
    """Other weights or another device: what was learnt says nothing of it."""
    estimates = taught(candidate(), [(SIZE, 5.0)])

    assert "observed" == one(again(estimates, candidate()), SIZE, candidate()).latency_source
    assert "prior" == one(again(estimates, candidate()), SIZE, candidate(**change)).latency_source


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', f'{{"version": {VERSION + 1}}}', '{"version": 1, "same": 3, "state": 4}']
)
def test_a_state_that_cannot_be_read_is_left_aside_and_said_so(text, caplog) -> None:
    """An older or newer nearfar wrote it, or the file is broken: the candidate begins anew."""
    estimates = estimator()
    estimates.restore({candidate().id: text})
    with caplog.at_level(logging.INFO, "nearfar.prediction"):
        assert "prior" == one(estimates, SIZE, candidate()).latency_source

    [said] = caplog.records
    assert candidate().id in said.getMessage()


def test_what_was_observed_beats_the_calibration_it_grew_from_and_gives_way_to_another() -> None:
    """At the start of a process the calibration is read again; it must not undo what was learnt since."""
    size = Size(items=1, input_tokens=100)
    calibration, other = report_of((size, 1.0)), report_of((size, 2.0))
    estimates = estimator()
    estimates.begin_with(candidate(), calibration)
    observed(estimates, candidate(), size, 1.5)
    learnt = one(estimates, size, candidate())

    same = again(estimates, candidate())
    same.begin_with(candidate(), calibration)
    assert learnt == one(same, size, candidate())
    estimates = taught(candidate(), [])
    observed(same, candidate(), size, 1.5)
    anew = again(same, candidate())
    anew.begin_with(candidate(), other)
    assert ("calibrated", pytest.approx(2.0)) == (
        one(anew, size, candidate()).latency_source, one(anew, size, candidate()).service_s,
    )  # fmt: skip


def test_only_what_is_new_is_saved_again() -> None:
    """A house that nobody asks writes nothing."""
    estimates = taught(candidate(), [(SIZE, 5.0)])
    assert [candidate().id] == [candidate_id for candidate_id, _ in estimates.unsaved()]
    assert [] == list(estimates.unsaved())

    observed(estimates, candidate(), SIZE, 5.0)
    assert [candidate().id] == [candidate_id for candidate_id, _ in estimates.unsaved()]


def test_what_a_router_lists_may_change_without_moving_what_was_learnt() -> None:
    """Factors stay in relation to the listing that they were learnt with, also over a restart."""
    whom = candidate("remote")
    listed = replace(whom, first_token_s=0.2, tokens_per_s=100.0)
    relisted = replace(whom, first_token_s=0.9, tokens_per_s=7.0)
    estimates = taught(listed, [(SIZE, 5.0)])

    assert one(estimates, SIZE, listed) == one(estimates, SIZE, relisted)
    assert one(estimates, SIZE, listed) == one(again(estimates, listed), SIZE, relisted)


def house(path: Path):
    settings = Settings(models=(chat_model(fake(first_token_ms=4.0)),), routing=RoutingSettings(policy="fastest"))
    return open_house(settings, Secrets(), DecisionLog.open(path))


async def asked(services, count: int) -> list[Outcome]:
    return [await services.dispatcher.infer(chat(max_tokens=3 + n % 5)) for n in range(count)]


def test_a_house_that_opens_again_predicts_as_it_did(tmp_path) -> None:
    """Through the log on disk: the source, the figure and its quantiles, and one row however often it was saved."""
    path = tmp_path / "log.duckdb"

    async def lived() -> tuple:
        async with house(path) as services:
            [found] = (await services.dispatcher.plan(chat())).estimates
            await asked(services, 12)
            [left] = (await services.dispatcher.plan(chat())).estimates
            return found, left

    lives = [asyncio.run(lived()) for _ in range(3)]
    assert ["prior", "observed", "observed"] == [found.latency_source for found, _ in lives]
    assert [left for _, left in lives[:2]] == [found for found, _ in lives[1:]]
    assert lives[-1][1].latency is not None

    log = DecisionLog.open(path)
    rows = log.cursor().execute("SELECT candidate_id FROM nearfar_log.predictors").fetchall()
    states = log.reader().predictors()
    log.close()
    assert [(lives[0][0].candidate_id,)] == rows
    assert [lives[0][0].candidate_id] == list(states)


def test_quantiles_reach_the_log(tmp_path) -> None:
    """Of the whole and, for streams, of the first piece; the middle is what was predicted."""

    async def last_row() -> dict:
        async with house(tmp_path / "log.duckdb") as services:
            for _ in range(4):
                *_, outcome = await drained(services.dispatcher.stream(chat(stream=True)))
            await asyncio.to_thread(services.log.flush)
            [row] = services.log.reader().decision(outcome.decision_id)["candidates"]
            return row

    row = asyncio.run(last_row())
    assert 0 < row["pred_ms"] <= row["p90_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert 0 < row["first_token_ms"] <= row["first_token_p95_ms"]
