"""Whoever does not sit and wait goes last near: not begun while others are served, and not before them in the queue."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from tests.unit.router import virtual
from tests.unit.router.house import chat, chat_model, embed, fake, opened, vector_model
from tests.unit.router.test_overload import until

SLOW_MS = 150


def run(go):
    """On a clock of its own: no deadline is missed because the machine is busy."""
    return virtual.run(go())


def background(call):
    """The same call, for which nobody sits and waits."""
    return replace(call, request=replace(call.request, background=True))


def test_it_begins_near_when_nobody_is_served_there() -> None:
    """It waits for the request under way, and its own clock begins afterwards."""

    async def go() -> None:
        async with opened(chat_model(fake("n", near=True, latency_ms=SLOW_MS))) as house:
            standby = house.services.finder.standby
            real = asyncio.create_task(house.dispatcher.infer(chat()))
            await until(lambda: standby.busy)
            asked = time.monotonic()
            patient = asyncio.create_task(house.dispatcher.infer(background(chat())))
            first, second = await real, await patient
            begun_us = [outcome.winner.started_us for outcome in (first, second)]

        assert ("ok", "ok") == (first.status, second.status)
        assert begun_us[1] - begun_us[0] >= first.winner.total_s * 1e6
        assert second.plan.call.received > asked
        assert not standby.busy

    run(go)


def test_its_own_kind_does_not_keep_it_waiting() -> None:
    """Nor does it keep anybody else waiting: near is busy only with those who wait."""

    async def go() -> None:
        async with opened(chat_model(fake("n", near=True, latency_ms=SLOW_MS))) as house:
            patient = [asyncio.create_task(house.dispatcher.infer(background(chat()))) for _ in range(3)]
            await until(lambda: house.services.lessons.admission.near_in_flight == 3)
            busy = house.services.finder.standby.busy
            await asyncio.gather(*patient)

        assert not busy

    run(go)


def test_it_goes_far_at_once() -> None:
    """What runs far takes nothing from whoever is served near."""

    async def go() -> None:
        models = chat_model(fake("n", near=True, latency_ms=3_600_000)), vector_model(fake("a"))
        async with opened(*models) as house:
            real = asyncio.create_task(house.dispatcher.infer(chat()))
            await until(lambda: house.services.finder.standby.busy)
            outcome = await house.dispatcher.infer(background(embed()))
            real.cancel()
            await asyncio.wait([real])

            assert "ok" == outcome.status
            assert not house.services.finder.standby.busy

    run(go)


def test_a_wait_that_is_given_up_has_its_row() -> None:
    """A batch that is stopped meanwhile leaves a row for the line that never began."""

    async def go() -> None:
        async with opened(chat_model(fake("n", near=True, latency_ms=3_600_000))) as house:
            real = asyncio.create_task(house.dispatcher.infer(chat()))
            await until(lambda: house.services.finder.standby.busy)
            patient = asyncio.create_task(house.dispatcher.infer(background(chat())))
            await asyncio.sleep(0.01)
            for task in (patient, real):
                task.cancel()
                await asyncio.wait([task])
            rows = await house.select("SELECT status FROM decisions ORDER BY ts")

        assert [("cancelled",), ("refused",)] == sorted(rows)

    run(go)


@pytest.mark.parametrize(("interruptible", "status"), [(True, "cancelled"), (False, "ok")])
def test_what_holds_the_device_for_long_gives_way(interruptible, status) -> None:
    """Its row says so; one that was stopped often enough goes on beside the request that came."""

    async def go() -> None:
        async with opened(chat_model(fake("n", near=True, latency_ms=SLOW_MS))) as house:
            call = background(chat())
            call = replace(call, request=replace(call.request, interruptible=interruptible))
            patient = asyncio.create_task(house.dispatcher.infer(call))
            await until(lambda: house.services.lessons.admission.near_in_flight == 1)
            real = await house.dispatcher.infer(chat())
            await asyncio.wait([patient])
            rows = await house.select("SELECT status FROM decisions ORDER BY ts")

        assert "ok" == real.status
        assert interruptible == patient.cancelled()
        assert [(status,), ("ok",)] == rows

    run(go)


def test_what_is_quick_is_not_stopped() -> None:
    """It would have ended by itself before it could be asked again."""

    async def go() -> None:
        async with opened(vector_model(fake("n", near=True, latency_ms=SLOW_MS))) as house:
            call = background(embed())
            call = replace(call, request=replace(call.request, interruptible=True))
            patient = asyncio.create_task(house.dispatcher.infer(call))
            await until(lambda: house.services.lessons.admission.near_in_flight == 1)
            await house.dispatcher.infer(embed())

            assert "ok" == (await patient).status

    run(go)
