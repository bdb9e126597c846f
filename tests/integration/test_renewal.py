"""Listings that are fetched while requests go on: what each row is priced by, and who fetches unasked."""

import asyncio
from pathlib import Path

from router.decision_log.log import DecisionLog
from router.house import open_house
from router.sections import ProviderSettings
from router.settings import Secrets
from tests.integration.far_side import FarSide, Reply
from tests.integration.test_providers import MODEL, asked, house_at, listed, rows, settings_for, side

__all__ = ["side"]


def test_a_row_is_written_under_the_book_that_holds_its_price(side) -> None:
    """From the moment a listing is in force, though another far side is still to answer."""

    async def go(far, folder):
        async with FarSide() as slow:
            box = ProviderSettings(name="box", protocol="openai", base_url=f"{slow.url}/v1")
            settings = settings_for(far, folder, box, policy="fastest")
            async with open_house(settings, Secrets(hf_token="hf_x"), DecisionLog.open(Path(":memory:"))) as house:
                far.enqueue(listed(together=1.0))
                slow.enqueue(Reply(status=0, then="hang"))
                kept = asyncio.Event()
                refreshing = asyncio.create_task(house.refresher.refresh(done=lambda _: kept.set()))
                await kept.wait()
                outcome = await asked(house, f"{MODEL}:together")
                refreshing.cancel()
                await asyncio.wait([refreshing])
                [(body,)] = await rows(house, "SELECT body::VARCHAR FROM decisions JOIN price_books USING (price_book)")
                return outcome.cost, body, refreshing.cancelled()

    cost, body, was_waiting = side(go)

    assert ("priced", True) == (cost.source, was_waiting)
    assert f'"together:{MODEL}"' in body


def test_only_who_serves_fetches_by_itself(side) -> None:
    """A single command opens a house, too, and asks nobody for a listing whatever the interval."""

    async def go(far, folder):
        async with house_at(far, folder, opening=open_house, policy="fastest", refresh_hours=1.0) as house:
            outcome = await asked(house)
        return outcome.status, [request.path for request in far.requests]

    assert ("ok", ["/v1/chat/completions"]) == side(go)
