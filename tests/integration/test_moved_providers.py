"""Far sides that move, come and go while requests run: nobody who was asked before is cut off."""

import asyncio

from msgspec.structs import replace

from backends.remote.backend import RemoteBackend
from backends.remote.provider import Provider
from tests.integration.far_side import FarSide, Reply
from tests.integration.fleet import EngineServer
from tests.integration.remote_peer import EMBED, KEY, peer, target


def run(go):
    return asyncio.run(go())


def provider(far: FarSide, **changes) -> Provider:
    return Provider(**{"name": "peer", "protocol": "openai", "base_url": f"{far.url}/v1", "api_key": KEY} | changes)


def slow(then: FarSide) -> None:
    """The next answer there has a pause in it."""
    then.enqueue(Reply(before_s=0.2, chunks=(b'{"data": [{"index": 0, "embedding": [1.0]}]}',)))


def test_a_request_under_way_ends_where_it_began_and_the_next_goes_to_the_new_place() -> None:
    """Its connections stay open for it."""

    async def go() -> None:
        async with FarSide() as new, peer() as (old, backend):
            slow(old)
            running = asyncio.create_task(backend.infer(EMBED, target(EMBED.task)))
            await old.arrived.wait()
            backend.become([provider(new)])
            await asyncio.gather(running, backend.infer(EMBED, target(EMBED.task)))

            assert (1, 1) == (len(old.requests), len(new.requests))

    run(go)


def test_a_provider_that_is_the_same_keeps_its_connection() -> None:
    """Reading the settings again costs nobody a handshake."""

    async def go() -> None:
        async with peer() as (far, backend):
            await backend.infer(EMBED, target(EMBED.task))
            backend.become([provider(far)])
            await backend.infer(EMBED, target(EMBED.task))

            assert (2, 1) == (len(far.requests), far.connections)

    run(go)


def test_whoever_was_to_be_asked_at_a_provider_that_is_gone_is_asked_still() -> None:
    """A plan that was made before names it; nothing is sent with another one's key."""

    async def go() -> None:
        async with FarSide() as other, peer() as (far, backend):
            backend.become([replace(provider(other), name="other", api_key="another")])
            await backend.infer(EMBED, target(EMBED.task))
            await backend.infer(EMBED, target(EMBED.task, provider="other"))

            assert ([f"Bearer {KEY}"], ["Bearer another"]) == (
                [request.headers["authorization"] for request in far.requests],
                [request.headers["authorization"] for request in other.requests],
            )

    run(go)


def test_closing_the_backend_also_ends_what_runs_at_the_old_place() -> None:
    """Nothing is left behind."""

    async def go() -> None:
        async with FarSide() as new, peer() as (old, backend):
            old.enqueue(Reply(status=0, then="hang"))
            running = asyncio.create_task(backend.infer(EMBED, target(EMBED.task)))
            await old.arrived.wait()
            backend.become([provider(new)])
            await backend.aclose()
            [ended] = await asyncio.gather(running, return_exceptions=True)

            assert isinstance(ended, Exception)

    run(go)


def test_an_engine_that_comes_is_watched_and_one_that_has_gone_is_told_of_no_more() -> None:
    """Without another start; also where nobody was watched before."""

    async def go() -> list[list[str]]:
        told = []
        async with EngineServer() as first, EngineServer() as second:
            backend = RemoteBackend([])
            watching = asyncio.create_task(backend.watch.run())
            for name, far in (("one", first), ("two", second)):
                backend.become([provider(far, name=name, engine="vllm", watch_every_s=0.05)])
                await far.arrived.wait()
                told.append([state.provider for state in backend.replicas()])
            watching.cancel()
            await asyncio.wait([watching])
            await backend.aclose()
        return told

    assert [["one"], ["two"]] == asyncio.run(asyncio.wait_for(go(), 60))
