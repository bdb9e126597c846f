"""A configuration comes into force in an open house, whole and at once, or is refused and changes nothing."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.fake import FakeBackend
from router.access.gate import limits_of
from router.access.keys import Limits
from router.editing import snapshots
from router.editing.changes import ModelPatch, patch_model
from router.errors import InvalidRequest, SettingsError, TooManyRequests
from router.http.reloading import reloader
from router.reloading.reloader import Reloader, Source
from router.section import AuthSettings, ServerSettings
from router.sections import AliasEntry, BudgetEntry, LocalSettings, Price, ProviderSettings, RoutingSettings, Settings
from tests.unit.loops import in_a_loop
from tests.unit.router.house import CHAT, House, chat, chat_model, fake, opened


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    """What is kept beside the log is kept here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Written:
    """The configuration as it is written now, and who reads it again."""

    def __init__(self, house: House) -> None:
        self.settings = house.services.settings
        found = reloader(house.services, Source(lambda: self.settings))
        assert found is not None
        self.reloader: Reloader = found

    async def now(self, **changes):
        """Write these, and read again."""
        self.settings = replace(self.settings, **changes)
        return await self.reloader.reload("ops")


@asynccontextmanager
async def written(*models, **given):
    async with opened(*models, **given) as house:
        yield house, Written(house)


def priced(usd: float) -> Price:
    return Price(per_request_usd=usd)


class Held(FakeBackend):
    """Answers once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go = asyncio.Event()
        self.waits = asyncio.Event()

    async def infer(self, request, target):
        self.waits.set()
        await self.may_go.wait()
        return await super().infer(request, target)


@in_a_loop
async def test_models_prices_and_aliases_of_the_file_come_into_force() -> None:
    """The log says who read it again, and rows name the catalogue that they were decided under."""
    async with written(chat_model(fake(price=priced(1.0)))) as (house, file):
        first = await house.dispatcher.infer(chat())
        done = await file.now(
            models=(chat_model(fake(price=priced(2.0))), chat_model(fake("b", price=priced(4.0)), model="test/new")),
            aliases=(AliasEntry(name="either", models=(CHAT, "test/new")),),
        )
        again = await house.dispatcher.infer(chat())
        other = await house.dispatcher.infer(chat(model="test/new"))
        await asyncio.to_thread(house.services.log.flush)
        [newest, *_], _ = snapshots.listed(house.services.log.reader(), 5, 0)

    assert ("models", "aliases") == done.changed
    assert [1.0, 2.0, 4.0] == [each.cost.usd for each in (first, again, other)]
    assert ("read the environment again", "ops") == (newest["change"], newest["author"])


@in_a_loop
async def test_a_request_under_way_keeps_what_it_was_decided_with() -> None:
    """Its candidate is gone from the file before it answers; it is answered, and paid at the old price."""
    backend = Held()
    async with written(chat_model(fake(price=priced(1.0))), backend=backend) as (house, file):
        running = asyncio.create_task(house.dispatcher.infer(chat()))
        await backend.waits.wait()
        await file.now(models=(chat_model(fake("b", price=priced(3.0))),))
        backend.may_go.set()
        old, new = await running, await house.dispatcher.infer(chat())

    assert [("ok", 1.0), ("ok", 3.0)] == [(each.status, each.cost.usd) for each in (old, new)]


@in_a_loop
async def test_the_policy_of_the_file_decides_from_then_on() -> None:
    """What needs no start is not waited for."""
    async with written() as (house, file):
        before = (await house.dispatcher.plan(chat())).decision.policy
        done = await file.now(routing=replace(file.settings.routing, policy="cheapest", deadline_ms=1234.0))
        plan = await house.dispatcher.plan(chat())

    assert (("routing.deadline_ms", "routing.policy"), ()) == (tuple(sorted(done.changed)), done.waiting)
    assert ("fastest", "cheapest", 1.234) == (before, plan.decision.policy, plan.deadline_s)


@pytest.mark.parametrize(
    "changes",
    [
        {"routing": RoutingSettings(policy="nonsense")},
        {"budgets": (BudgetEntry(limit_usd=1.0, scope="nobody"),)},
        {"models": (chat_model(fake("a"), model="test/other"),), "aliases": (AliasEntry(name="x", models=(CHAT,)),)},
        {"server": ServerSettings(host="0.0.0.0")},
        {"auth": AuthSettings(mode="jwt")},
    ],
)
@in_a_loop
async def test_what_is_wrong_is_refused_whole(changes) -> None:
    """Beside it stands a change that would be fine, which does not come into force either."""
    async with written() as (house, file):
        running, snapshot = house.services.settings, house.services.in_force.snapshot
        with pytest.raises(InvalidRequest, match="Nothing has changed"):
            await file.now(**{"local": LocalSettings(credits_per_usd=7.0)} | changes)

        assert running == house.services.settings
        assert (snapshot, "ok") == (house.services.in_force.snapshot, (await house.dispatcher.infer(chat())).status)


@in_a_loop
async def test_a_file_that_cannot_be_read_changes_nothing() -> None:
    """The refusal is the reader's own."""

    def broken() -> Settings:
        raise SettingsError("nearfar.toml: not valid TOML: nothing.")

    async with opened() as house:
        found = reloader(house.services, Source(broken))
        assert found is not None
        with pytest.raises(InvalidRequest, match="not valid TOML"):
            await found.reload()


@in_a_loop
async def test_what_waits_for_a_start_is_named_each_time() -> None:
    """It is in the file still, and not in force."""
    async with written() as (house, file):
        first = await file.now(server=ServerSettings(port=9999))
        second = await file.now(local=LocalSettings(credits_per_usd=3.0))

        assert (((), ("server.port",)), (("local.credits_per_usd",), ("server.port",))) == (
            (first.changed, first.waiting),
            (second.changed, second.waiting),
        )
        assert (8080, 3.0) == (house.services.settings.server.port, house.services.settings.local.credits_per_usd)


@in_a_loop
async def test_what_was_changed_at_run_time_stays_above_the_file() -> None:
    """As after a restart: and what the file says otherwise by now is pointed out."""
    async with written(chat_model(fake(price=priced(1.0)))) as (house, file):
        await house.services.in_force.change(patch_model(CHAT, ModelPatch(prices={"a": priced(9.0)})))
        done = await file.now(models=(chat_model(fake(price=priced(2.0))),))
        outcome = await house.dispatcher.infer(chat())

    assert 9.0 == outcome.cost.usd
    assert any(CHAT in warning for warning in done.warnings)


@in_a_loop
async def test_money_that_was_spent_is_spent_under_the_new_limit() -> None:
    """A budget that changes its limit counts on; one that is new begins with what the log knows."""
    near_too = chat_model(fake("a", price=priced(1.0)), fake("b", near=True, price=None))
    day = BudgetEntry(limit_usd=2.5)
    async with written(near_too, budgets=(day,)) as (house, file):
        for _ in range(2):
            await house.dispatcher.infer(chat())
        assert "b" == await served_by(house)
        await file.now(budgets=(replace(day, limit_usd=3.5), BudgetEntry(limit_usd=50.0, scope="provider:a")))
        assert ["a", "b"] == [await served_by(house), await served_by(house)]
        await asyncio.to_thread(house.services.log.flush)
        states = {state.scope: state for state in house.services.budgets.states()}
        await file.now(budgets=())

        assert {"global": (3.5, 3.0), "provider:a": (50.0, 3.0)} == {
            scope: (state.limit_usd, state.spent_usd) for scope, state in states.items()
        }
        assert "a" == await served_by(house)


@in_a_loop
async def test_money_set_aside_is_settled_in_the_budgets_that_came_meanwhile() -> None:
    """In the old one under its new limit, and in a new one that concerns it; none is counted twice."""
    backend = Held()
    day = BudgetEntry(limit_usd=5.0)
    async with written(chat_model(fake(price=priced(1.0))), backend=backend, budgets=(day,)) as (house, file):
        running = asyncio.create_task(house.dispatcher.infer(chat()))
        await backend.waits.wait()
        soft = replace(day, limit_usd=4.0, on_exceeded="warn")
        await file.now(budgets=(replace(day, limit_usd=6.0), soft, BudgetEntry(limit_usd=7.0, scope="provider:a")))
        during = [(state.spent_usd, state.reserved_usd > 0) for state in house.services.budgets.states()]
        backend.may_go.set()
        await running
        after = {state.limit_usd: (state.spent_usd, state.reserved_usd) for state in house.services.budgets.states()}

    assert [(0.0, True)] * 3 == during
    assert {6.0: (1.0, 0.0), 4.0: (1.0, 0.0), 7.0: (1.0, 0.0)} == after


async def served_by(house: House) -> str:
    return (await house.dispatcher.infer(chat())).attempts[-1].candidate_id.partition(":")[0]


@in_a_loop
async def test_limits_of_the_file_hold_from_the_next_request() -> None:
    """For whoever has none of their own."""
    async with written() as (house, file):
        limiter = house.services.access.limits
        assert limiter.enter("somebody") is None
        await file.now(auth=AuthSettings(requests_per_minute=1))
        assert limiter.enter("somebody") is not None
        with pytest.raises(TooManyRequests):
            limiter.enter("somebody")

    assert Limits(requests_per_minute=1) == limits_of(file.settings.auth)


@in_a_loop
async def test_what_near_work_costs_follows_the_file() -> None:
    """The rate is in the price book of what is decided from then on."""
    async with written() as (house, file):
        await file.now(local=LocalSettings(rate_usd_per_hour=36.0))
        assert 36.0 == house.services.near.rates.cpu_usd_per_hour
        await house.dispatcher.infer(chat())
        [[body]] = await house.select("SELECT body::VARCHAR FROM decisions JOIN price_books USING (price_book)")

    assert "36.0" in body


@in_a_loop
async def test_two_reloads_at_once_follow_one_another() -> None:
    """The later one reads what is written by then: what is in force is the file."""
    async with written() as (house, file):
        file.settings = replace(file.settings, routing=replace(file.settings.routing, policy="cheapest"))
        first = asyncio.create_task(file.reloader.reload())
        second = asyncio.create_task(file.now(routing=replace(file.settings.routing, policy="balanced")))
        await asyncio.gather(first, second)

        assert ("balanced", "balanced") == (
            house.services.settings.routing.policy,
            (await house.dispatcher.plan(chat())).decision.policy,
        )


def test_settings_that_nobody_reads_cannot_be_read_again() -> None:
    """A program that gave them may give others by a start of its own."""

    async def go() -> Reloader | None:
        async with opened() as house:
            return reloader(house.services, None)

    assert asyncio.run(go()) is None


@in_a_loop
async def test_a_far_side_of_the_file_is_known_from_then_on() -> None:
    """One that comes, with its model; and one that goes, and is in nobody's slate any more."""
    box = ProviderSettings(name="box", protocol="openai", base_url="http://127.0.0.1:9/v1")
    async with written() as (house, file):
        await file.now(providers=(box,))
        assert ("box" in house.services.catalog.provider_names, "box" in list(house.services.far.listings)) == (
            True,
            True,
        )
        await file.now(providers=())

        assert ("box" in house.services.catalog.provider_names, "box" in list(house.services.far.listings)) == (
            False,
            False,
        )
