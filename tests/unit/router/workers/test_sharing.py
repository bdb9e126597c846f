"""What several workers cannot keep together is refused before anything starts."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from router.access.gate import opened
from router.access.keyring import Keyring
from router.access.keys import Limits, Wanted
from router.access.store import KeyFile
from router.errors import Forbidden, SettingsError
from router.section import AuthSettings, ClusterSettings, ServerSettings
from router.sections import BudgetEntry, LocalSettings, LogSettings, RoutingSettings, Settings
from router.settings import keys_file
from router.workers.sharing import check, part_of

THREE = ServerSettings(workers=3)
SPENT = {
    "budgets": {"budgets": (BudgetEntry(limit_usd=1.0),)},
    "auth.requests_per_minute": {"auth": AuthSettings(mode="keys", requests_per_minute=5)},
    "auth.tokens_per_minute": {"auth": AuthSettings(mode="keys", tokens_per_minute=5)},
    "auth.concurrency": {"auth": AuthSettings(mode="keys", concurrency=5)},
    "log.path": {"log": LogSettings(path=":memory:")},
}


@pytest.mark.parametrize("what", SPENT)
def test_it_is_refused_by_its_name(what: str) -> None:
    """One worker may have all of it."""
    with pytest.raises(SettingsError, match=what):
        check(Settings(server=THREE, **SPENT[what]))

    check(Settings(**SPENT[what]))


def test_where_a_cluster_has_an_owner_each_worker_gets_its_part_of_it() -> None:
    """Money and limits of any kind; a log in memory is nobody's all the same."""
    owned = ClusterSettings(state="http://127.0.0.1:8090")
    for what, settings in SPENT.items():
        if what != "log.path":
            check(Settings(server=THREE, cluster=owned, **settings))
    with pytest.raises(SettingsError, match=r"log\.path"):
        check(Settings(server=THREE, cluster=owned, **SPENT["log.path"]))
    assert not opened(Settings(server=THREE, cluster=owned)).divided


LIMITED = [Limits(requests_per_minute=5), Limits(tokens_per_minute=5), Limits(concurrency=1)]


@pytest.mark.parametrize("limits", LIMITED)
def test_a_key_with_limits_of_its_own_is_refused(limits: Limits) -> None:
    """As long as it opens anything, and anybody is asked for it; one without limits is not."""
    settings = Settings(server=THREE, auth=AuthSettings(mode="keys"))
    keyring = Keyring(KeyFile(keys_file(settings)))
    keyring.open()
    asyncio.run(keyring.create(Wanted(name="plain")))
    check(settings)
    asyncio.run(keyring.create(Wanted(name="limited", limits=limits)))

    with pytest.raises(SettingsError, match="'limited'"):
        check(settings)
    check(Settings(server=THREE))

    asyncio.run(keyring.revoke("limited"))
    check(settings)


def test_a_key_that_got_limits_under_several_workers_opens_nothing_there() -> None:
    """A command made it beside them: nobody could keep its limits, so nobody lets it in."""

    async def go() -> None:
        settings = Settings(server=THREE, auth=AuthSettings(mode="keys"))
        access, alone = opened(settings), opened(replace(settings, server=ServerSettings()))
        made = await access.keyring.create(Wanted(name="limited", limits=Limits(concurrency=1)))
        alone.keyring.reread()

        with pytest.raises(Forbidden, match="limits of its own"):
            await access.sender(made.secret, "")
        assert "limited" == (await alone.sender(made.secret, "")).identity.tenant

    asyncio.run(go())


def test_what_can_be_shared_is_not_refused() -> None:
    """As it is when nobody sets anything."""
    check(Settings(server=THREE))


def test_what_is_done_once_is_the_first_one_s() -> None:
    """Others ask nobody unasked and load nothing unasked; near models have the memory of one process between them."""
    settings = Settings(
        server=THREE,
        routing=RoutingSettings(refresh_hours=6.0),
        local=LocalSettings(warm=("a",), memory_fraction=0.6),
    )
    first, second = part_of(settings, 0), part_of(settings, 1)

    assert (6.0, ("a",)) == (first.routing.refresh_hours, first.local.warm)
    assert (None, ()) == (second.routing.refresh_hours, second.local.warm)
    assert pytest.approx(0.2) == first.local.memory_fraction == second.local.memory_fraction
