"""Listings that are fetched while requests go on: what each row is priced by, and who fetches unasked."""

import asyncio
from pathlib import Path

from msgspec.structs import replace

from router.decision_log.log import DecisionLog
from router.house import open_house
from router.sections import ProviderSettings
from router.settings import Secrets, read_secrets
from tests.integration.far_side import FarSide, Reply, reply_json
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


def test_a_refusal_of_the_old_token_that_comes_late_does_not_condemn_the_new(side, monkeypatch) -> None:
    """It was asked with the old one: the next request goes out with the new one, and nothing is red."""

    async def go(far, folder):
        token = folder / "token"
        token.write_text("hf_first")
        monkeypatch.setenv("HF_TOKEN_PATH", str(token))
        settings = settings_for(far, folder, policy="fastest")
        async with open_house(settings, read_secrets(settings), DecisionLog.open(Path(":memory:"))) as house:
            far.enqueue(replace(reply_json({"error": "Invalid username or password."}, status=401), before_s=0.5))
            late = asyncio.create_task(asked(house))
            await far.arrived.wait()
            token.write_text("hf_second")
            await house.refresher.renew_keys()
            first = (await late).status
            return first, (await asked(house)).status, house.far.health.state().state

    assert ("error", "ok", "valid") == side(go)
