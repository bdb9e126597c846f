"""A near attempt in the log: what it cost on three bases, the energy it took, and where each figure comes from."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from msgspec.structs import replace

from backends.fake import FakeBackend
from backends.types import Delta, InferenceRequest, InferenceResult, Status, Target
from router.http.system import report
from router.sections import CandidateEntry, LocalSettings, Price
from tests.unit.router.house import CHAT, House, chat, chat_model, drained, fake, opened
from tests.unit.router.test_shadowing import ran

LOCAL = LocalSettings(rate_usd_per_hour=3.6, electricity_usd_per_kwh=3.6, watts=100.0, carbon_g_per_kwh=500.0)
BASES = ("cost_occupancy_usd", "cost_marginal_usd", "cost_amortised_usd", "energy_j", "energy_source")


class Near(FakeBackend):
    """The fake in the place of the near side: each request holds a CPU for half a second, as it says."""

    name = "local"
    near = True

    def status(self, target: Target) -> Status:
        return replace(super().status(target), device="cpu")

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        return _timed(await super().infer(request, target))

    async def stream(self, request: InferenceRequest, target: Target):
        async with aclosing(super().stream(request, target)) as pieces:
            async for piece in pieces:
                yield replace(piece, service_s=0.25) if isinstance(piece, Delta) else _timed(piece)


def _timed(result: InferenceResult) -> InferenceResult:
    return replace(result, device="cpu", timings=replace(result.timings, service_s=2.0, device_s=0.5), batch_size=4)


def near(**script) -> CandidateEntry:
    return CandidateEntry(backend="local", source="nowhere", script=script)


@asynccontextmanager
async def near_house(*candidates: CandidateEntry, local: LocalSettings = LOCAL, **routing) -> AsyncIterator[House]:
    async with opened(chat_model(*(candidates or (near(),))), local=local, **routing) as house:
        house.services.backends["local"] = Near()
        yield house


def run(go) -> None:
    asyncio.run(go())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("mode", "usd"), [("occupancy", 0.0005), ("marginal", 0.00005)])
def test_a_near_attempt_has_all_three_bases_and_its_energy(mode, usd, stream) -> None:
    """Half a second of a device at 3.6 $ an hour and 100 W at 3.6 $ a kWh; the mode says which one is its cost."""

    async def go() -> None:
        async with near_house(local=replace(LOCAL, cost_mode=mode)) as house:
            [*_, outcome] = await drained(house.dispatcher.stream(chat(stream=stream)))
            row = await house.row(outcome.decision_id)

        [attempt] = row["attempts"]
        assert pytest.approx((0.0005, 0.00005)) == (attempt["cost_occupancy_usd"], attempt["cost_marginal_usd"])
        assert attempt["cost_amortised_usd"] > 0
        assert (50.0, "watts") == (attempt["energy_j"], attempt["energy_source"])
        assert (pytest.approx(usd), "measured") == (attempt["cost_usd"], attempt["cost_source"])
        assert (pytest.approx(usd), "measured") == (row["cost_usd"], row["cost_source"])
        [candidate] = row["candidates"]
        assert mode == candidate["pred_cost_source"]
        assert pytest.approx(500.0 * 50 / 3.6e6) == attempt["carbon_g"]

    run(go)


def test_the_mode_changes_what_a_near_request_is_expected_to_cost() -> None:
    """By as much as the rate of an hour is more than the electricity of one."""

    async def expected(mode: str) -> float:
        async with near_house(local=replace(LOCAL, cost_mode=mode)) as house:
            row = await house.row((await house.dispatcher.infer(chat())).decision_id)
        return row["candidates"][0]["pred_cost_usd"]

    async def go() -> None:
        assert pytest.approx(10.0) == await expected("occupancy") / await expected("marginal")

    run(go)


def test_the_mode_decides_who_is_cheaper() -> None:
    """Far costs more than the electricity of a machine that is on anyway, and less than holding the machine."""

    async def plan(mode: str, far_usd: float):
        far = fake(price=Price(per_request_usd=far_usd))
        async with near_house(near(), far, local=replace(LOCAL, cost_mode=mode), policy="cheapest") as house:
            return await house.dispatcher.plan(chat(order=()))

    async def go() -> None:
        near_usd = (await plan("occupancy", 1.0)).estimate(f"local:{CHAT}").cost_usd
        for mode, first in (("occupancy", "a"), ("marginal", "local")):
            assert f"{first}:{CHAT}" == (await plan(mode, near_usd / 3)).decision.ranked[0]

    run(go)


def test_a_failed_attempt_costs_on_all_bases_what_it_is_known_to_have_held() -> None:
    """What never came to the device cost nothing; what may have been there costs nobody knows what."""

    async def go() -> None:
        for kind, expected in (("OutOfMemory", (0.0, 0.0, 0.0, 0.0, "watts")), ("Timeout", (None,) * 5)):
            async with near_house(near(fail=kind), fake()) as house:
                row = await house.row((await house.dispatcher.infer(chat(order=("local", "a")))).decision_id)
            first, second = row["attempts"]
            assert expected == tuple(first[name] for name in BASES)
            assert (None,) * 5 == tuple(second[name] for name in BASES)  # far: no device of ours
            assert second["carbon_g"] is None

    run(go)


def test_a_stream_that_was_left_costs_on_all_bases_what_it_held() -> None:
    """A quarter of a second, as its last piece said."""

    async def go() -> None:
        async with near_house(near(tokens=9)) as house:
            async with aclosing(house.dispatcher.stream(chat(stream=True))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Delta):
                        break
            row = await house.only_row()

        [attempt] = row["attempts"]
        assert ("cancelled", 25.0) == (attempt["status"], attempt["energy_j"])
        assert pytest.approx((0.00025, 0.000025)) == (attempt["cost_occupancy_usd"], attempt["cost_marginal_usd"])
        assert attempt["cost_amortised_usd"] > 0
        assert pytest.approx(0.00025) == row["cost_usd"]

    run(go)


def test_a_price_book_holds_the_rate_card() -> None:
    """An old decision can be priced anew, and its carbon told, by what its own price book says."""

    async def go() -> None:
        async with near_house() as house:
            outcome = await house.dispatcher.infer(chat())
            card = (await house.row(outcome.decision_id))["price_book_body"]["local"]
            shown = report(house.services)

        assert ("occupancy", 3.6, "settings", 500.0) == (
            card["cost_mode"], card["electricity_usd_per_kwh"], card["electricity_source"], card["carbon_g_per_kwh"]
        )  # fmt: skip
        assert (3.6, 100.0, "settings") == (card["cpu_usd_per_hour"], card["watts"]["cpu"], card["watts_source"])
        assert card == shown["rates"]
        [cpu, *_] = shown["energy"]
        assert ("cpu", None, 100.0) == (cpu["device"], cpu["meter"], cpu["watts"])
        assert 0 < cpu["utilisation"]

    run(go)


def test_without_a_factor_no_carbon_is_told() -> None:
    """Unknown is not zero."""

    async def go() -> None:
        async with near_house(local=replace(LOCAL, carbon_g_per_kwh=None)) as house:
            row = await house.row((await house.dispatcher.infer(chat())).decision_id)

        assert [(50.0, None)] == [(attempt["energy_j"], attempt["carbon_g"]) for attempt in row["attempts"]]

    run(go)


def test_a_shadow_run_near_costs_on_all_bases_and_nothing_to_its_sender() -> None:
    """Nobody waited for it, and the device was held all the same."""

    async def go() -> None:
        async with near_house(fake(), near(), shadow=1.0) as house:
            outcome = await house.dispatcher.infer(chat())
            await ran(house)
            row = await house.row(outcome.decision_id)

        primary, shadow = row["attempts"]
        assert ("shadow", 50.0, "watts") == (shadow["role"], shadow["energy_j"], shadow["energy_source"])
        assert pytest.approx((0.0005, 0.00005)) == (shadow["cost_occupancy_usd"], shadow["cost_marginal_usd"])
        assert shadow["cost_amortised_usd"] > 0
        assert primary["cost_usd"] == row["cost_usd"]

    run(go)
