"""`private: true` keeps a request on this machine: whatever fails, hedges, doubts or stores, nothing goes far."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from backends.fake import FakeBackend
from router.section import CacheSettings
from router.section_of_routing import HedgingSettings
from router.sections import AliasEntry, LogSettings, RouteEntry, UseEntry
from tests.unit.router.house import chat, chat_model, drained, embed, fake, opened, vector_model


class Watched(FakeBackend):
    """A fake that remembers whom it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    async def infer(self, request, target):
        self.asked.add(target.provider)
        return await super().infer(request, target)

    async def stream(self, request, target):
        self.asked.add(target.provider)
        async for piece in super().stream(request, target):
            yield piece


def private(call):
    return replace(call, routing=replace(call.routing, private=True))


async def ended(house, call) -> tuple[str, set[str]]:
    """How a private call ends, and who was asked for it; once nothing runs beside it any more."""
    watched = Watched()
    watched._states = house.fake._states
    house.services.backends["fake"] = watched
    call = replace(private(call), received=time.monotonic())  # it was made when the tests were collected
    *_, outcome = await drained(house.dispatcher.stream(call))
    for _ in range(20):
        await asyncio.sleep(0)
    return outcome.status, watched.asked


NEAR, FAR = {"near": True}, {}
HEDGED = HedgingSettings(to="any", share=1.0, costly=True)


@pytest.mark.parametrize(
    ("script", "call", "routing", "status"),
    [
        ({}, chat(order=("f", "n")), {}, "ok"),
        ({}, chat(order=("f", "n"), stream=True), {"shadow": 1.0}, "ok"),
        ({"latency_ms": 60}, chat(order=(), stream=True), {"hedging": HEDGED}, "ok"),
        ({"fail": "RemoteError"}, chat(order=()), {}, "error"),
        ({"fail": "Overloaded"}, chat(order=()), {}, "error"),
        ({"fail_after_tokens": 2}, chat(order=(), stream=True), {"on_stream_failure": "continue"}, "error"),
        ({"truncate_after_tokens": 2}, chat(order=(), stream=True), {"on_stream_failure": "hold"}, "error"),
        ({"confidence": 0.01}, chat(order=(), policy="cascade"), {}, "ok"),
        ({}, chat(order=(), policy="remote-first"), {"exploration": 1.0}, "ok"),
        ({}, chat(order=(), only=("f",)), {}, "refused"),
        ({}, chat(order=(), backend="remote"), {}, "refused"),
    ],
)
def test_nothing_private_goes_far(script, call, routing, status) -> None:
    """Orders, shadows, hedges, retries, fallbacks, continuations, cascades and chance all stay near, or end there."""
    near, far = fake("n", **NEAR, **script), fake("f")

    async def test() -> None:
        async with opened(chat_model(near, far, fake("g")), **routing) as house:
            how, asked = await ended(house, call)
            assert status == how
            assert asked <= {"n"}

    asyncio.run(test())


def test_the_far_models_of_an_alias_are_no_fallbacks_of_a_private_request() -> None:
    """Where the near model fails, the request ends: an alias' fallbacks are far."""
    near, far = chat_model(fake("n", near=True, fail="RemoteError")), chat_model(fake("f"))
    alias = AliasEntry(name="both", models=("test/near",), fallbacks=("test/far",))

    async def test() -> None:
        models = replace(near, id="test/near"), replace(far, id="test/far")
        async with opened(*models, aliases=[alias]) as house:
            assert ("error", {"n"}) == await ended(house, chat(model="both", order=()))

    asyncio.run(test())


def test_a_route_makes_its_requests_private() -> None:
    """What the configuration calls private is so without the sender's word, and is not stored either."""

    async def test() -> None:
        routes = [RouteEntry(use=UseEntry(private=True))]
        model = chat_model(fake("f"), fake("n", near=True))
        async with opened(model, routes=routes, logged=LogSettings(store_inputs=True)) as house:
            outcome = await house.dispatcher.infer(chat(order=("f",)))
            assert "n:test/chat" == outcome.winner.candidate_id
            await asyncio.to_thread(house.services.log.flush)
            assert house.services.log.reader().inputs(outcome.decision_id) is None

    asyncio.run(test())


def test_an_answer_made_far_before_is_none_for_a_private_request() -> None:
    """With a shared cache full of it, a private request is answered near, or not at all."""

    async def test() -> None:
        async with opened(vector_model(fake("f")), cache=CacheSettings(enabled=True, shared=True)) as house:
            await house.dispatcher.infer(embed("x", order=()))
            outcome = await house.dispatcher.infer(private(embed("x", order=())))
            assert ("refused", ()) == (outcome.status, outcome.attempts)

    asyncio.run(test())
