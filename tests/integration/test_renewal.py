"""Listings that are fetched while requests go on: what each row is priced by, and who fetches unasked."""

from router.house import open_house
from tests.integration.test_providers import asked, house_at, side

__all__ = ["side"]


def test_only_who_serves_fetches_by_itself(side) -> None:
    """A single command opens a house, too, and asks nobody for a listing whatever the interval."""

    async def go(far, folder):
        async with house_at(far, folder, opening=open_house, policy="fastest", refresh_hours=1.0) as house:
            outcome = await asked(house)
        return outcome.status, [request.path for request in far.requests]

    assert ("ok", ["/v1/chat/completions"]) == side(go)
