"""What must not happen at the backend's door: figures that are of another model, errors that are not ours."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import msgspec
import pytest

from backends.errors import Unavailable
from backends.local import residency
from tests.unit.backends.local.machinery import HANG_S
from tests.unit.backends.local.test_backend import (  # noqa: F401 -- fixtures
    REQUEST,
    asking,
    parrot,
    target,
    within,
    workers,
)
from tests.unit.backends.local.test_model_source import model, safetensors
from tests.unit.backends.local.test_near_core_cache import until


@pytest.fixture
def other(tmp_path, target):  # noqa: F811 -- the fixture
    """A second target of the same kind, in files of its own."""
    directory = model(tmp_path / "other", {"model.safetensors": safetensors()})
    return msgspec.structs.replace(target, model="other/model", source=str(directory))


@pytest.fixture
def crowded(monkeypatch):
    """Turns that a test can wait for."""
    monkeypatch.setattr(residency, "TURN", 0.0)  # the first load also imports torch
    monkeypatch.setattr(residency, "LEAST_TURN_S", 0.05)
    monkeypatch.setattr(residency, "MOST_GRACE_S", 0.01)


async def room_for_one(backend, *targets):
    """Leave the models' budget what one of them needs."""
    for each in targets:
        await backend.prepare(each)
    needed = max(backend.status(each).memory_bytes for each in targets)
    backend._machine.cache._budgets = {"cpu": needed}


def test_a_load_that_waits_for_its_place_reports_what_it_paid(tmp_path, target, other, parrot, crowded):  # noqa: F811
    """The model was there when it was asked for, and had to go before its turn came: it was loaded anew."""

    async def check(backend):
        await room_for_one(backend, target, other)
        await backend.load(target)
        parrot.running.clear()
        parrot.may_go_on.clear()
        running = asyncio.create_task(backend.infer(REQUEST, target))
        assert await asyncio.to_thread(parrot.running.wait, HANG_S)
        waiting = asyncio.create_task(backend.infer(REQUEST, other))
        cache = backend._machine.cache
        key = backend._looked_at[target].key
        await until(lambda: cache.peek(key).draining)
        loading = asyncio.create_task(backend.load(target))
        await asyncio.sleep(0)
        parrot.may_go_on.set()
        await asyncio.gather(running, waiting)
        report = await loading

        assert report.load_s > 0
        assert None is not report.first_s
        assert 2 == backend.status(target).loads

    within(check, tmp_path)


def test_a_waiting_model_counts_its_queue(tmp_path, target, other, parrot, crowded):  # noqa: F811
    """Who waits for a place is queued, and the other's turn is a wait."""

    async def check(backend):
        await room_for_one(backend, target, other)
        parrot.may_go_on.clear()
        running = asyncio.create_task(backend.infer(REQUEST, target))
        assert await asyncio.to_thread(parrot.running.wait, HANG_S)
        waiting = [asyncio.create_task(backend.infer(REQUEST, other)) for _ in range(3)]
        await asyncio.sleep(0)
        held_since = time.perf_counter()
        assert 3 == backend.status(other).queued
        key = backend._looked_at[target].key
        await until(lambda: backend._machine.cache.peek(key).draining)

        assert backend.status(target).loaded
        assert backend.status(target).queue_s >= residency.LEAST_TURN_S
        held_s = time.perf_counter() - held_since
        parrot.may_go_on.set()
        _, *waited = await asyncio.gather(running, *waiting)
        assert min(result.timings.queue_s for result in waited) >= held_s
        assert (0, 0) == (backend.status(target).queued, backend.status(other).queued)

    within(check, tmp_path)


def test_two_thorough_loads_at_once_take_turns(tmp_path, target, parrot):  # noqa: F811
    """Neither drops the model under the other's measurement, and ordinary requests are served meanwhile."""

    async def check(backend):
        reports = await asyncio.gather(
            backend.load(target, thorough=True),
            backend.load(target, thorough=True),
            *(backend.infer(asking("a b"), target) for _ in range(5)),
        )

        assert [2, 2] == [len(report.measured) for report in reports[:2]]
        assert ["ab"] * 5 == [result.output.text for result in reports[2:]]

    within(check, tmp_path)


def test_figures_that_cannot_be_kept_are_given_all_the_same(tmp_path, target, parrot, caplog):  # noqa: F811
    """A full or read-only disk costs the next start only; no half-written file stays."""
    (tmp_path / "calibration").write_text("in the way")

    async def check(backend):
        with caplog.at_level(logging.WARNING, "nearfar"):
            report = await backend.load(target, thorough=True)

        assert report == backend.calibration(target)
        assert "cannot be kept" in caplog.text
        assert str(tmp_path) not in caplog.text

    within(check, tmp_path)


def test_a_failed_write_leaves_no_half_file(tmp_path, target, parrot, monkeypatch, caplog):  # noqa: F811
    """The unfinished file is taken away again."""

    def full(_self, _target):
        raise OSError("no space left on device")

    async def check(backend):
        monkeypatch.setattr(Path, "replace", full)
        await backend.load(target, thorough=True)

    within(check, tmp_path)
    assert [] == [file for file in (tmp_path / "calibration").rglob("*") if file.is_file()]
    assert "cannot be kept" in caplog.text


def test_closing_while_a_thorough_load_runs(tmp_path, target, parrot):  # noqa: F811
    """It is told, and nothing stays."""

    async def check(backend):
        await backend.load(target)
        parrot.running.clear()
        parrot.may_go_on.clear()
        running = asyncio.create_task(backend.infer(REQUEST, target))
        assert await asyncio.to_thread(parrot.running.wait, HANG_S)
        loading = asyncio.create_task(backend.load(target, thorough=True))
        await asyncio.sleep(0.01)
        await backend.aclose()
        outcomes = await asyncio.wait_for(asyncio.gather(running, loading, return_exceptions=True), HANG_S)

        assert [Unavailable] * 2 == [type(outcome) for outcome in outcomes]
        assert [] == workers()

    within(check, tmp_path)


def test_a_status_costs_microseconds(tmp_path, target, parrot):  # noqa: F811
    """It opens no file and waits for no lock: it can be asked while the model is busy and its queue is full."""

    async def check(backend):
        await backend.load(target)
        parrot.running.clear()
        parrot.may_go_on.clear()
        tasks = [asyncio.create_task(backend.infer(REQUEST, target)) for _ in range(60)]
        await asyncio.sleep(0)
        assert 60 == backend.status(target).queued
        loop = asyncio.get_running_loop()
        costs = []
        for _ in range(50):
            started = loop.time()
            backend.status(target)
            costs.append(loop.time() - started)

        assert min(costs) < 0.0005  # the least of fifty: another process may have had the core in between
        parrot.may_go_on.set()
        await asyncio.gather(*tasks)

    within(check, tmp_path)
