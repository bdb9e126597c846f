"""How long a far candidate is waited for: as long as it usually takes where somebody else could be asked instead."""

import asyncio

from backends.fake import FakeBackend
from router.patience import LEAST, SHORTEST_LIMIT_S
from tests.unit.router.house import CHAT, chat, chat_model, fake, opened

USUAL_S = 0.001


class Noting(FakeBackend):
    """Keeps the limits that it is asked with."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = []

    async def infer(self, request, target):
        self.limits.append(request.limits)
        return await super().infer(request, target)

    async def stream(self, request, target):
        self.limits.append(request.limits)
        async for piece in super().stream(request, target):
            yield piece


def limits_s(*candidates, **routing) -> list[float]:
    """Until the first byte, attempt after attempt, of a request whose far candidates are known as quick."""

    async def go() -> list[float]:
        backend = Noting()
        async with opened(chat_model(*candidates), backend=backend) as house:
            size = (await house.dispatcher.plan(chat(**routing))).size
            for candidate in house.services.finder.of_model(house.services.catalog.find(CHAT)):
                for _ in range(LEAST):
                    house.patience.observe(candidate, size, USUAL_S)
            await house.dispatcher.infer(chat(**routing))
        return [limits.first_token_s for limits in backend.limits]

    return asyncio.run(go())


def test_who_has_others_behind_it_is_given_up_when_later_than_usual() -> None:
    """Three times the slowest in a hundred, and never less than a second; the last is waited for."""
    first, second, last = limits_s(fake("a", fail="Timeout"), fake("b", fail="Timeout"), fake("c"))

    assert SHORTEST_LIMIT_S == first == second < last


def test_who_is_alone_is_waited_for_to_the_deadline() -> None:
    """Late is better than not at all: a time-out there would be an error for the caller."""
    [alone] = limits_s(fake("a"), fake("b"), deadline_ms=20_000, only=("a",))

    assert 10 < alone <= 20
