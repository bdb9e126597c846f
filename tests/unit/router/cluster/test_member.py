"""A router's part in a cluster: what is shared, what goes on without the owner, and what does not."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack

import pytest

from backends.errors import Unauthorized
from router.access.keys import Limits, Wanted
from router.cli.doctor_cluster import cluster_lines
from router.editing import changes
from router.errors import Conflict, OwnerAway, TooManyRequests
from router.http.system import report
from router.section import AuthSettings
from router.sections import AliasEntry, BudgetEntry
from tests.unit.router.cluster.local import SURVIVE_S, Cut, joined
from tests.unit.router.house import CHAT, House, chat
from tests.unit.router.test_attempts import tried
from tests.unit.router.virtual import BEGAN_S, run

FIVE = (BudgetEntry(limit_usd=5.0),)


async def served(house: House, n: int = 1) -> list[str]:
    """By whom each of so many requests was answered, one after the other."""
    return [tried(await house.dispatcher.infer(chat()))[-1] for _ in range(n)]


def together(tmp_path, cut: Cut, go, *names: str, **more):
    """Run this on houses of one cluster."""

    async def opened() -> None:
        async with AsyncExitStack() as stack:
            await go(*[await stack.enter_async_context(joined(cut, tmp_path, name, **more)) for name in names])

    run(opened())


def test_two_routers_spend_one_budget(tmp_path) -> None:
    """The first request that finds too little here waits for the owner, and goes far; all of it is spent."""
    cut = Cut(FIVE)

    async def go(one: House, two: House) -> None:
        by = []
        for _ in range(8):
            by += await served(one) + await served(two)
            await asyncio.sleep(1.0)
        [state] = two.services.budgets.states()

        assert "a" == by[0]
        assert (5, 11) == (by.count("a"), by.count("b"))
        assert (5.0, 0.0) == (state.spent_usd, state.reserved_usd)

        assert 5.0 == cut.owner.state()["accounts"][0]["committed_usd"]

    together(tmp_path, cut, go, "one", "two")


def test_of_many_at_once_at_both_no_more_go_far_than_fit(tmp_path) -> None:
    """Nobody waits for ever: the others are near, at once or when nothing came."""
    cut = Cut((BudgetEntry(limit_usd=30.0),))

    async def go(one: House, two: House) -> None:
        asked = [house.dispatcher.infer(chat(prompt=str(n))) for n in range(40) for house in (one, two)]
        by = [tried(outcome)[-1] for outcome in await asyncio.gather(*asked)]

        assert {"a", "b"} == set(by)
        assert by.count("a") <= 30
        await asyncio.sleep(5.0)
        again = [one_by for _ in range(30) for one_by in await served(one)]
        assert 30 == by.count("a") + again.count("a")

    together(tmp_path, cut, go, "one", "two")


def test_without_the_owner_it_lives_on_what_it_holds_then_near(tmp_path) -> None:
    """And says so; when the owner is back, all is as before, and nothing was overspent."""
    cut = Cut((BudgetEntry(limit_usd=100.0),))

    async def go(one: House) -> None:
        for _ in range(20):
            await served(one)
            await asyncio.sleep(0.25)
        cut.up = False
        await asyncio.sleep(1.0)
        member = one.services.cluster
        state = member.state()
        [lease] = state.leases
        held = lease.held_usd - lease.spent_usd
        by = await served(one, int(held) + 3)

        assert ("alone", False) == (state.rule, state.reachable)
        assert held >= 2
        assert [int(held), 3] == [by.count("a"), by.count("b")]
        problems = report(one.services)["problems"]
        one.services.metrics.clustered(member.state())
        metrics = one.services.metrics.render(one.services.log.stats(), {}, {}, [], "unknown").decode()
        [line] = cluster_lines(member)
        told = report(one.services)["cluster"]

        assert ("error", "cluster") == (line.state, line.what)
        assert "far money only as far as it is held here" in line.detail
        assert ("alone", False, 1) == (told["rule"], told["reachable"], len(told["leases"]))
        assert "nearfar_cluster_owner_reachable 0.0" in metrics
        assert 'nearfar_cluster_rule{rule="alone"} 1.0' in metrics
        assert 'nearfar_cluster_held_usd{on_exceeded="near",period="day",scope="global"}' in metrics
        assert ["error"] == [p["level"] for p in problems if "the owner does not answer" in p["message"]]
        cut.restart()
        cut.up = True
        await asyncio.sleep(1.0)
        assert "shared" == member.state().rule
        assert ["a"] == await served(one)

    together(tmp_path, cut, go, "one")


def test_when_it_was_alone_for_too_long_it_spends_nothing_and_knows_no_key(tmp_path) -> None:
    """Closed on money and on keys, and near goes on; every limit is its own."""
    cut = Cut((BudgetEntry(limit_usd=100.0),))

    async def go(one: House) -> None:
        keyring = one.services.access.keyring
        made = await keyring.create(Wanted(name="alice", limits=Limits(requests_per_minute=10)))
        for _ in range(20):
            await served(one)
            await asyncio.sleep(0.25)
        cut.up = False
        await asyncio.sleep(SURVIVE_S - 5)
        assert keyring.find(made.secret) is not None
        await asyncio.sleep(10.0)
        state = one.services.cluster.state()

        assert "closed" == state.rule
        assert ["b"] == await served(one)
        outcome = await one.dispatcher.infer(chat())
        assert "their owner has not answered for too long" in outcome.plan.decision.reason
        with pytest.raises(OwnerAway, match="good"):
            keyring.find(made.secret)
        with pytest.raises(OwnerAway):
            await keyring.create(Wanted(name="bob"))
        cut.up = True
        await asyncio.sleep(1.0)
        assert keyring.find(made.secret) is not None
        assert ["a"] == await served(one)

    together(tmp_path, cut, go, "one", auth=AuthSettings(mode="keys"))


def test_a_budget_that_only_one_of_them_knows_is_spent_by_nobody(tmp_path) -> None:
    """Money is closed, and what to put right is named."""
    cut = Cut(FIVE)

    async def go(one: House) -> None:
        cut.budgets = (*FIVE, BudgetEntry(limit_usd=1.0, scope=f"model:{CHAT}"))
        cut.restart()
        await asyncio.sleep(1.0)

        assert ["b"] == await served(one)
        [problem] = one.services.cluster.state().problems
        assert f"model:{CHAT} a day (near) is the owner's, and not this router's" in problem

    together(tmp_path, cut, go, "one")


def test_the_limit_that_holds_is_the_owners(tmp_path) -> None:
    """And the difference is told."""
    cut = Cut(FIVE)

    async def go(one: House) -> None:
        cut.budgets = (BudgetEntry(limit_usd=2.0),)
        cut.restart()
        await asyncio.sleep(1.0)

        assert ["a", "a", "b"] == await served(one, 3)
        assert "$5 is allowed here, and $2 by the owner, which holds" in one.services.cluster.state().problems[0]

    together(tmp_path, cut, go, "one")


def test_a_key_that_is_revoked_at_one_opens_nothing_at_the_other_within_a_second(tmp_path) -> None:
    """Neither loses what the other changes at the same time; a name is given once."""
    cut = Cut()

    async def go(one: House, two: House) -> None:
        ours, theirs = (house.services.access.keyring for house in (one, two))
        made, _ = await asyncio.gather(ours.create(Wanted(name="alice")), theirs.create(Wanted(name="bob")))
        await asyncio.sleep(1.0)
        assert {"alice", "bob"} == {key.name for key in ours.keys} == {key.name for key in theirs.keys}
        assert theirs.find(made.secret) is not None
        await ours.revoke("alice")
        await asyncio.sleep(1.0)
        assert theirs.find(made.secret) is None

    together(tmp_path, cut, go, "one", "two", auth=AuthSettings(mode="keys"))


def test_a_start_without_the_owner_goes_by_the_copy_while_that_is_young_enough(tmp_path) -> None:
    """Keys and catalogue are as they were last known; no money is held."""
    cut = Cut(FIVE)
    keys = AuthSettings(mode="keys")
    secret = []

    async def first(one: House) -> None:
        made = await one.services.access.keyring.create(Wanted(name="alice"))
        secret.append(made.secret)
        await one.services.in_force.change(changes.put_alias(AliasEntry(name="mine", models=(CHAT,))))

    async def second(one: House) -> None:
        assert one.services.access.keyring.find(secret[0]) is not None
        assert "mine" in one.services.catalog.aliases
        assert ["b"] == await served(one)

    async def too_late(one: House) -> None:
        assert "closed" == one.services.cluster.state().rule
        with pytest.raises(OwnerAway):
            one.services.access.keyring.find(secret[0])
        assert ["b"] == await served(one)

    together(tmp_path, cut, first, "one", auth=keys)
    copy = tmp_path / "one" / "nearfar-keys.copy.json"
    os.utime(copy, (BEGAN_S, BEGAN_S + 1000.0))  # by the clock that the houses run on
    cut.up = False
    together(tmp_path, cut, second, "one", auth=keys)
    os.utime(copy, (BEGAN_S, BEGAN_S + 1000.0 - SURVIVE_S - 1))
    together(tmp_path, cut, too_late, "one", auth=keys)


def test_a_bug_that_ends_the_talk_ends_the_spending(tmp_path, monkeypatch) -> None:
    """Where nobody would hear what is spent, nothing is."""
    cut = Cut((BudgetEntry(limit_usd=100.0),))

    async def go(one: House) -> None:
        assert ["a"] == await served(one)
        monkeypatch.setattr(cut, "exchange", lambda said: 1 / 0)
        await asyncio.sleep(1.0)
        assert "closed" == one.services.cluster.state().rule
        assert ["b"] == await served(one)
        monkeypatch.undo()

    together(tmp_path, cut, go, "one")


def test_a_breaker_that_opens_at_one_is_open_at_the_other_and_closes_there(tmp_path) -> None:
    """Who saw it fail probes first; what is near is nobody else's concern."""
    cut = Cut()

    async def go(one: House, two: House) -> None:
        key = f"a:{CHAT}"
        one.breakers.failed(key, Unauthorized("no"), time.monotonic())
        one.breakers.failed(f"b:{CHAT}", Unauthorized("no"), time.monotonic())
        await asyncio.sleep(1.0)
        ours, theirs = (house.breakers.refusal(key, time.monotonic()) for house in (one, two))
        assert "1 failure (Unauthorized)" in ours
        assert "1 failure (Unauthorized)" in theirs
        assert two.breakers.refusal(f"b:{CHAT}", time.monotonic()) is None
        await asyncio.sleep(5.0)
        assert one.breakers.refusal(key, time.monotonic()) is None
        assert two.breakers.refusal(key, time.monotonic()) is not None
        assert one.breakers.begin(key)
        one.breakers.succeeded(key)
        await asyncio.sleep(1.0)
        assert two.breakers.closed(key)

    together(tmp_path, cut, go, "one", "two")


def test_a_new_owner_hears_of_the_breakers_that_are_open(tmp_path) -> None:
    """It has kept none: whoever saw them open says so again."""
    cut = Cut()

    async def go(one: House) -> None:
        key = f"a:{CHAT}"
        one.breakers.failed(key, Unauthorized("no"), time.monotonic())
        await asyncio.sleep(1.0)
        cut.restart()
        await asyncio.sleep(1.5)
        async with joined(cut, tmp_path, "two") as two:
            await asyncio.sleep(0.6)
            assert not two.breakers.closed(key)

    together(tmp_path, cut, go, "one")


def test_a_rate_is_shared_by_who_is_asked(tmp_path) -> None:
    """In the long run both together let in what the limit says, wherever its owner asks; alone each gives all of it."""
    cut = Cut()
    limits = Limits(requests_per_minute=60)

    async def minutes(n: int, *houses: House) -> list[int]:
        let_in = [0] * len(houses)
        for _ in range(n * 120):
            for index, house in enumerate(houses):
                try:
                    place = house.services.access.limits.enter("alice", limits)
                except TooManyRequests:
                    continue
                place.end()
                let_in[index] += 1
            await asyncio.sleep(0.5)
        return let_in

    async def go(one: House, two: House) -> None:
        first = await minutes(2, one, two)
        both = await minutes(10, one, two)
        only = await minutes(10, one)

        assert sum(first) <= 60 + 2 * 60  # a minute's worth at once, and the rate
        assert 0.9 * 600 <= sum(both) <= 600 + 2
        assert min(both) >= 0.9 * 300
        assert 0.9 * 600 <= sum(only) <= 600 + 60
        cut.up = False
        await asyncio.sleep(SURVIVE_S + 1)
        await minutes(1, one, two)  # what had gathered
        alone = await minutes(10, one, two)
        assert min(alone) >= 0.99 * 600

    together(tmp_path, cut, go, "one", "two")


def test_a_change_of_the_catalogue_at_one_is_in_force_at_the_other(tmp_path) -> None:
    """Whoever changes what they have not seen yet is told to look again; without the owner nothing is changed."""
    cut = Cut()

    async def go(one: House, two: House) -> None:
        await one.services.in_force.change(changes.put_alias(AliasEntry(name="mine", models=(CHAT,))))
        with pytest.raises(Conflict, match="at another router"):
            await two.services.in_force.change(changes.put_alias(AliasEntry(name="other", models=(CHAT,))))
        await asyncio.sleep(1.0)
        assert one.services.in_force.snapshot == two.services.in_force.snapshot
        await two.services.in_force.change(changes.put_alias(AliasEntry(name="other", models=(CHAT,))))
        await asyncio.sleep(1.0)
        assert {"mine", "other"} <= set(one.services.catalog.aliases)
        before = one.services.in_force.snapshot
        cut.up = False
        with pytest.raises(OwnerAway):
            await one.services.in_force.change(changes.delete_alias("mine"))
        assert before == one.services.in_force.snapshot

    together(tmp_path, cut, go, "one", "two")


def test_a_router_that_ends_leaves_nothing_behind(tmp_path) -> None:
    """All that it held and did not spend can be spent by others."""
    cut = Cut((BudgetEntry(limit_usd=100.0),))

    async def go() -> None:
        async with joined(cut, tmp_path, "one") as one:
            for _ in range(20):
                await served(one)
                await asyncio.sleep(0.25)
        [account] = cut.owner.state()["accounts"]

        assert (20.0, 20.0, 80.0) == (account["spent_usd"], account["committed_usd"], account["room_usd"])
        assert [False] == [router["there"] for router in cut.owner.state()["routers"]]

    run(go())


def test_a_house_that_spends_all_of_its_budget_asks_the_owner_no_more_often(tmp_path) -> None:
    """Where nothing can come, nobody waits for it."""
    cut = Cut((BudgetEntry(limit_usd=2.0),))

    async def go(one: House) -> None:
        await served(one, 2)
        await asyncio.sleep(2.0)
        before = cut.exchanges
        assert ["b"] * 50 == await served(one, 50)
        assert cut.exchanges - before <= 1

    together(tmp_path, cut, go, "one")
