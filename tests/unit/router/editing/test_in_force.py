"""Another catalogue comes into force in an open house, while requests run: whole, at once, and to the cent."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from backends.fake import FakeBackend
from backends.types import Target
from router.editing import changes, in_force, keeping
from router.editing.changes import AliasPatch, ModelPatch
from router.errors import Conflict, RouterError, UnknownModel
from router.outcome import Begun
from router.sections import AliasEntry, MatchEntry, Price, RouteEntry, Settings, UseEntry
from tests.unit.loops import in_a_loop
from tests.unit.router.house import CHAT, House, chat, chat_model, fake, opened


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    """What is kept beside the log is kept here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def costing(usd: float) -> Price:
    return Price(per_request_usd=usd)


def repriced(usd: float | None) -> changes.Change:
    return changes.patch_model(CHAT, ModelPatch(prices={"a": None if usd is None else costing(usd)}))


class Held(FakeBackend):
    """Answers once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go = asyncio.Event()

    async def infer(self, request, target):
        with self._call("infer", request, target):
            await self.may_go.wait()
        return await super().infer(request, target)


async def until(check) -> None:
    while not check():  # noqa: ASYNC110 - a fake's queue has no event to wait for
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("change", "then"),
    [
        (repriced(5.0), "ok"),
        (repriced(None), "ok"),
        (changes.patch_model(CHAT, ModelPatch(enabled=False)), "refused"),
        (changes.patch_model(CHAT, ModelPatch(candidates=(fake("b", price=costing(9.0)),))), "ok"),
    ],
)
@in_a_loop
async def test_a_request_under_way_is_settled_at_the_price_it_was_decided_with(change, then) -> None:
    """It keeps its plan; the next one goes by the new catalogue, and each names its own in the log."""
    backend = Held()
    async with opened(chat_model(fake(price=costing(0.25))), backend=backend) as house:
        first = house.services.in_force.snapshot
        running = asyncio.create_task(house.dispatcher.infer(chat()))
        await until(lambda: backend.status(_target(house)).queued)
        swap = await house.services.in_force.change(change)
        backend.may_go.set()
        before, after = await running, await house.dispatcher.infer(chat())

        assert ("ok", 0.25, then) == (before.status, before.cost.usd, after.status)
        rows = [await house.row(outcome.decision_id) for outcome in (before, after)]
        assert [first, swap.snapshot] == [row["catalog"] for row in rows]
        assert rows[0]["price_book"] != rows[1]["price_book"] or then == "refused"
        assert 0.25 == rows[0]["attempts"][0]["cost_usd"]


def _target(house: House) -> Target:
    [candidate] = house.services.finder.of_model(house.services.catalog.find(CHAT))
    return candidate.target


@in_a_loop
async def test_a_stream_whose_model_is_removed_runs_to_its_end() -> None:
    """Its words come, and it costs what it did; whoever asks then is told that there is no such model."""
    async with opened() as house:
        in_force = house.services.in_force
        await in_force.change(changes.add_model(chat_model(fake(price=costing(0.5), per_token_ms=5), model="x/one")))
        async with aclosing(house.dispatcher.stream(chat(model="x/one", stream=True))) as pieces:
            assert isinstance(await anext(pieces), Begun)
            await in_force.change(changes.delete_model("x/one"))
            outcome = [piece async for piece in pieces][-1]

        assert ("ok", 0.5) == (outcome.status, outcome.cost.usd)
        with pytest.raises(UnknownModel):
            await house.dispatcher.infer(chat(model="x/one"))


@in_a_loop
async def test_every_request_sees_one_catalogue_whole() -> None:
    """While the catalogue goes to and fro between two, no request takes the model of one and the price of the other."""
    worlds = {"x/one": 1.0, "x/two": 2.0}
    async with opened(aliases=[AliasEntry(name="pick", models=(CHAT,))]) as house:
        in_force, snapshots = house.services.in_force, []
        for name in worlds:
            await in_force.change(changes.add_model(chat_model(fake(price=costing(99.0), latency_ms=1), model=name)))
        for name, usd in worlds.items():
            for other in worlds:
                price = costing(usd if other == name else 99.0)
                await in_force.change(changes.patch_model(other, ModelPatch(prices={"a": price})))
            snapshots.append(
                (await in_force.change(changes.put_alias(AliasEntry(name="pick", models=(name,))))).snapshot
            )
        asked = []

        async def ask(times: int) -> None:
            asked.extend([await house.dispatcher.infer(chat(model="pick")) for _ in range(times)])

        for turn in range(16):
            await asyncio.gather(in_force.rollback(snapshots[turn % 2]), *(ask(4) for _ in range(8)))
            await ask(1)  # so of each there is one that was asked

        expected = dict(zip(snapshots, worlds.items(), strict=True))
        rows = await house.select("SELECT catalog, model_served, cost_usd FROM decisions")
        assert set(snapshots) == {catalog for catalog, _, _ in rows}
        assert [] == [row for row in rows if expected[row[0]] != row[1:]]
        assert {"ok"} == {outcome.status for outcome in asked}
        assert len(asked) == len(rows)
        assert sum(outcome.cost.usd for outcome in asked) == sum(usd for _, _, usd in rows)


@in_a_loop
async def test_many_editors_and_many_requests_at_once_disturb_nobody() -> None:
    """Changes go one at a time: none is lost, and no request fails."""
    async with opened(chat_model(fake(latency_ms=1))) as house:
        in_force = house.services.in_force
        added = [changes.add_model(chat_model(model=f"x/{number}")) for number in range(20)]
        outcomes = await asyncio.gather(
            *(in_force.change(change) for change in added), *(house.dispatcher.infer(chat()) for _ in range(50))
        )

        assert {"ok"} == {outcome.status for outcome in outcomes[20:]}
        assert 20 == len({swap.snapshot for swap in outcomes[:20]})
        assert {f"x/{number}" for number in range(20)} <= {entry.id for entry in house.services.catalog}


@in_a_loop
async def test_of_two_who_saw_the_same_only_one_changes_it() -> None:
    """The other is told, and nothing of the first one's is lost."""
    async with opened() as house:
        in_force = house.services.in_force
        seen = in_force.snapshot
        first, second = await asyncio.gather(
            in_force.change(repriced(1.0), "one", seen),
            in_force.change(repriced(2.0), "two", seen),
            return_exceptions=True,
        )

        assert (True, True) == (first.changed, isinstance(second, Conflict))
        assert costing(1.0).per_request_usd == house.services.catalog.find(CHAT).candidates[0].price.per_request_usd


@in_a_loop
async def test_what_was_changed_is_there_after_a_restart() -> None:
    """Models, aliases, routes and prices, and the snapshot with them."""
    async with opened() as house:
        in_force = house.services.in_force
        await in_force.change(changes.add_model(chat_model(fake(price=costing(3.0)), model="x/one")), "me")
        await in_force.change(changes.put_alias(AliasEntry(name="quick", models=("x/one",))))
        route = RouteEntry(name="all", match=MatchEntry(model="auto"), use=UseEntry(alias="quick"))
        await in_force.change(changes.insert_route(route))
        await in_force.change(changes.patch_alias("chat", AliasPatch(enabled=False)))
        last = in_force.snapshot
    async with opened() as house:
        assert last == house.services.in_force.snapshot
        outcome = await house.dispatcher.infer(chat(model="auto"))

        assert ("x/one", 3.0) == (outcome.winner.model, outcome.cost.usd)
        assert last == (await house.row(outcome.decision_id))["catalog"]
        assert house.services.catalog.alias("chat") is None


@in_a_loop
async def test_a_change_that_was_kept_and_not_logged_is_logged_at_the_next_start(folder) -> None:
    """A process that ended between the two: the next one says who changed it, and what."""
    async with opened() as house:
        await house.services.in_force.change(repriced(1.0), "somebody")
    async with opened() as house:  # a log of its own, in memory: it knows nothing of the change
        said = (house.services.in_force.snapshot, "somebody", f"changed model {CHAT}")

        assert [said] == await _logged(house)


async def _logged(house: House) -> list[tuple]:
    await asyncio.to_thread(house.services.log.flush)
    newest_first = house.services.log.reader().rows("catalogs", {"limit": 100, "offset": 0})
    return [(catalog, author, change) for catalog, _, author, change, _ in reversed(newest_first)]


@in_a_loop
async def test_what_cannot_be_kept_is_not_changed(folder) -> None:
    """A change that the next start would not know is no change."""
    async with opened() as house:
        in_force = house.services.in_force
        before = in_force.snapshot
        keeping.path_of(Settings()).mkdir()
        with pytest.raises(RouterError, match="nothing changed") as refused:
            await in_force.change(repriced(7.0))

        assert (before, 0.001) == (
            in_force.snapshot,
            house.services.catalog.find(CHAT).candidates[0].price.per_request_usd,
        )
        assert str(folder) not in str(refused.value)
        assert [".catalog.json"] == [path.name.removeprefix("nearfar") for path in folder.iterdir()]


@in_a_loop
async def test_who_goes_away_while_it_changes_leaves_it_whole() -> None:
    """A change is made or not made, whoever waits for it."""
    async with opened() as house:
        in_force = house.services.in_force
        waiting = asyncio.create_task(in_force.change(repriced(7.0)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        swap = await in_force.change(changes.patch_model(CHAT, ModelPatch(quality=0.5)))
        kept = keeping.read(keeping.path_of(Settings()))

        assert (swap.snapshot, in_force.made.held.overlay) == (kept.snapshot, kept.overlay)
        assert 7.0 == house.services.catalog.find(CHAT).candidates[0].price.per_request_usd


@in_a_loop
async def test_whoever_asked_to_is_told_which_models_changed() -> None:
    """As a cache of answers has to be: once it is in force."""
    async with opened() as house:
        in_force, told = house.services.in_force, []
        in_force.subscribe(lambda swap: told.append((swap.snapshot == in_force.snapshot, swap.models)))
        await in_force.change(changes.add_model(chat_model(model="x/one")))
        await in_force.change(changes.put_alias(AliasEntry(name="quick", models=("x/one",))))
        await in_force.change(changes.put_alias(AliasEntry(name="quick", models=("x/one",))))

        assert [(True, {"x/one"}), (True, frozenset())] == told


@in_a_loop
async def test_what_was_learnt_of_somebody_else_is_forgotten() -> None:
    """A candidate that answers under the same id, and is another one, begins anew; a new price is no reason to."""
    async with opened(chat_model(fake(latency_ms=30))) as house:
        in_force = house.services.in_force
        for _ in range(3):
            await house.dispatcher.infer(chat())

        async def source() -> str:
            [estimate] = (await house.dispatcher.plan(chat())).estimates
            return estimate.latency_source

        learnt = await source()
        await in_force.change(repriced(1.0))
        assert learnt == await source()
        await in_force.change(changes.patch_model(CHAT, ModelPatch(candidates=(fake(latency_ms=1),))))
        assert learnt != await source()


@in_a_loop
async def test_a_place_that_another_model_still_names_is_not_let_go(monkeypatch) -> None:
    """Two entries may stand for one target; it goes with the last of them."""
    async with opened(chat_model(fake(model="m"))) as house:
        released: list[str] = []
        in_force = house.services.in_force
        in_force._parts = in_force._parts._replace(release=lambda target: released.append(target.model))
        await in_force.change(changes.add_model(chat_model(fake(model="m"), fake("b", model="n"), model="x/one")))
        await in_force.change(changes.delete_model("x/one"))
        assert ["n"] == released
        await in_force.change(changes.patch_model(CHAT, ModelPatch(enabled=False)))
        assert ["n", "m"] == released


@in_a_loop
async def test_models_of_sets_of_intents_and_found_ones_outlive_a_change() -> None:
    """They are no part of what was configured, and nobody took them away."""
    async with opened() as house:
        catalog = house.services.catalog
        catalog.add(chat_model(model="intents/desk"))
        catalog.discover("hub/found", "text-generation", None)
        catalog.discover("hub/added", "text-generation", None)
        await house.services.in_force.change(changes.add_model(chat_model(model="hub/added")))
        ids = [entry.id for entry in catalog]

        assert {"intents/desk", "hub/found", "hub/added"} <= set(ids)
        assert len(set(ids)) == len(ids)
        assert "fake" == catalog.discover("hub/added", "text-generation", None).candidates[0].backend
        body = json.loads(house.services.in_force.made.snapshot.body)
        assert "intents/desk" not in [entry["id"] for entry in body["models"]]


@in_a_loop
async def test_every_change_is_a_row() -> None:
    """Who, what, and what came of it; the first is what the house began with."""
    async with opened() as house:
        first = house.services.in_force.snapshot
        second = (await house.services.in_force.change(repriced(1.0), "me")).snapshot

        assert [(first, None, "started"), (second, "me", f"changed model {CHAT}")] == await _logged(house)


@in_a_loop
async def test_another_worker_follows_what_one_has_changed(folder, monkeypatch) -> None:
    """It comes into force there as well, is logged once, and a file that cannot be read changes nothing."""
    monkeypatch.setattr(in_force, "FOLLOW_EVERY_S", 0.001)
    swaps: asyncio.Queue = asyncio.Queue()
    async with opened() as one, opened() as other:
        other.services.in_force.subscribe(swaps.put_nowait)
        following = asyncio.create_task(other.services.in_force.follow())
        changed = await one.services.in_force.change(repriced(1.0), "somebody")
        swap = await swaps.get()
        answered = await other.dispatcher.infer(chat())

        assert changed.snapshot == swap.snapshot == other.services.in_force.snapshot
        assert {CHAT} == swap.models
        assert 1.0 == answered.cost.usd
        assert ["started"] == [change for _, _, change in await _logged(other)]

        keeping.path_of(other.services.settings).write_text("{", encoding="utf-8")
        await one.services.in_force.change(repriced(2.0), "somebody")

        assert (await swaps.get()).snapshot == one.services.in_force.snapshot
        assert not following.done()
        following.cancel()
