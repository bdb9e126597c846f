"""A far side that is silent, and a listener that goes away: every wait ends, and nothing stays behind.

The far side signals with events; nothing here waits for a clock except the limits under test themselves.
"""

import asyncio
import gc
import time
from contextlib import aclosing

from backends.errors import (
    Overloaded,
    Timeout,
    Unavailable,
)
from backends.remote import client
from backends.types import (
    Delta,
    InferenceResult,
)
from tests.integration.far_side import Reply, reply_events
from tests.integration.remote_peer import CHAT, EMBED, NEVER_S, TOO_SOON_S, failure, listen, peer, piece, target

# --- when nobody answers ------------------------------------------------------------------------


def test_silence_before_a_stream_hits_the_first_token_limit():
    """The message names the limit and its seconds; headers alone do not count as a token."""

    async def main():
        async with peer(first_token_timeout_s=TOO_SOON_S) as (far, backend):
            far.enqueue(Reply(status=0, then="hang"), reply_events(then="hang"))
            return [(await listen(backend))[1] for _ in range(2)]

    for error in asyncio.run(main()):
        assert Timeout is type(error)
        assert "provider peer: nothing came within the first-token limit of 0.05 s" == str(error)
        assert error.billed is None


def test_comments_are_no_tokens():
    """A far side that only sends keep-alives has not answered."""
    alive = Reply(headers={"content-type": "text/event-stream"}, chunks=(b": ping\n\n", b": ping\n\n"), then="hang")

    async def main():
        async with peer(first_token_timeout_s=TOO_SOON_S) as (far, backend):
            far.enqueue(alive)
            return (await listen(backend))[1]

    assert "first-token limit" in str(asyncio.run(main()))


def test_silence_within_a_stream_hits_the_idle_limit():
    """The far side learns of it: the connection is closed."""

    async def main():
        async with peer(idle_timeout_s=TOO_SOON_S) as (far, backend):
            far.enqueue(reply_events(piece("a"), then="hang"))
            items, error = await listen(backend)
            await far.gone.wait()
            return items, error

    items, error = asyncio.run(main())

    assert [Delta("a")] == items
    assert "provider peer: nothing came within the idle limit of 0.05 s" == str(error)


def test_the_total_limit_ends_what_the_others_allow():
    """Streamed and buffered; a buffered generation has no other limit before its headers."""

    async def main():
        async with peer(total_timeout_s=TOO_SOON_S, first_token_timeout_s=NEVER_S) as (far, backend):
            far.enqueue(reply_events(piece("a"), then="hang"), Reply(status=0, then="hang"), Reply(then="hang"))
            return [(await listen(backend))[1], await failure(backend), await failure(backend, EMBED)]

    errors = asyncio.run(main())

    assert [Timeout] * 3 == [type(error) for error in errors]
    assert {"provider peer: nothing came within the total limit of 0.05 s"} == {str(error) for error in errors}


def test_short_answers_keep_the_first_token_limit():
    """Embeddings come at once or not at all; a generation may think."""

    async def main():
        async with peer(first_token_timeout_s=TOO_SOON_S) as (far, backend):
            far.enqueue(Reply(status=0, then="hang"))
            return await failure(backend, EMBED)

    assert "first-token limit of 0.05 s" in str(asyncio.run(main()))


def test_time_that_the_listener_takes_is_not_the_far_sides():
    """A consumer slower than the limits does not fail a stream whose pieces are there."""

    async def main():
        async with peer(idle_timeout_s=5, first_token_timeout_s=TOO_SOON_S) as (far, backend):
            far.enqueue(reply_events(piece("a"), piece("b", "stop"), "[DONE]"))
            items = []
            async with aclosing(backend.stream(CHAT, target())) as stream:
                async for item in stream:
                    items.append(item)
                    await asyncio.sleep(2 * TOO_SOON_S)
            return items

    assert isinstance(asyncio.run(main())[-1], InferenceResult)


def test_the_total_limit_does_not_count_the_listeners_time(monkeypatch):
    """Neither ours nor pyreqwest's: a slow reader is not the provider's fault."""
    monkeypatch.setattr(client, "_GRACE_S", TOO_SOON_S)
    limit_s = 10 * TOO_SOON_S

    async def main():
        async with peer(total_timeout_s=limit_s) as (far, backend):
            more_than_sockets_hold = [piece("b" * 100_000)] * 100
            far.enqueue(reply_events(piece("a"), *more_than_sockets_hold, piece("", "stop"), "[DONE]"))
            async with aclosing(backend.stream(CHAT, target())) as stream:
                await anext(stream)
                await asyncio.sleep(limit_s + 2 * TOO_SOON_S)
                return [item async for item in stream]

    assert isinstance(asyncio.run(main())[-1], InferenceResult)


def test_the_service_time_does_not_count_the_listeners_time(monkeypatch):
    """Else a slow reader makes the provider look slow; the clock is turned on while the listener has the word."""
    clock, turned_s = time.perf_counter, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + turned_s[0])

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_events(piece("a"), piece("b", "stop"), "[DONE]"))
            items = []
            async with aclosing(backend.stream(CHAT, target())) as stream:
                async for item in stream:
                    items.append(item)
                    turned_s[0] += 1000
            return items

    timings = asyncio.run(main())[-1].timings

    assert 0 < timings.first_token_s <= timings.service_s < 1000


def test_no_free_connection_is_overload():
    """The pool is bounded; waiting for it, too."""

    async def main():
        async with peer(max_connections=1, connect_timeout_s=TOO_SOON_S) as (far, backend):
            far.enqueue(reply_events(piece("a"), then="hang"))
            stream = backend.stream(CHAT, target())
            await anext(stream)
            error = (await listen(backend))[1]
            await stream.aclose()
            return error

    error = asyncio.run(main())

    assert "provider peer: all connections are in use" == str(error)
    assert Overloaded is type(error)


# --- when we go away ----------------------------------------------------------------------------


def test_closing_a_stream_early_closes_its_connection():
    """The far side notices and can stop generating."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_events(piece("a"), then="hang"))
            stream = backend.stream(CHAT, target())
            await anext(stream)
            queued = backend.status(target()).queued
            await stream.aclose()
            await far.gone.wait()
            return queued, backend.status(target()).queued

    assert (1, 0) == asyncio.run(main())


def test_a_cancelled_listener_closes_the_connection():
    """Cancellation passes through as itself, never as a BackendError."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_events(piece("a"), then="hang"))
            heard = asyncio.Event()

            async def consume():
                async with aclosing(backend.stream(CHAT, target())) as stream:
                    async for _ in stream:
                        heard.set()

            task = asyncio.create_task(consume())
            await heard.wait()
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            await far.gone.wait()
            return ended, backend.status(target()).queued

    ended, queued = asyncio.run(main())

    assert asyncio.CancelledError is type(ended)
    assert 0 == queued


def test_a_cancelled_buffered_request_frees_us_at_once_and_the_connection_by_its_limit(monkeypatch):
    """Pyreqwest cannot abort before the headers; its own limit, just above ours, closes the connection."""
    monkeypatch.setattr(client, "_GRACE_S", TOO_SOON_S)

    async def main():
        async with peer(total_timeout_s=2 * TOO_SOON_S, idle_timeout_s=TOO_SOON_S) as (far, backend):
            far.enqueue(Reply(status=0, then="hang"))
            task = asyncio.create_task(backend.infer(CHAT, target()))
            await far.arrived.wait()
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            queued = backend.status(target()).queued
            await far.gone.wait()
            return ended, queued

    ended, queued = asyncio.run(main())

    assert asyncio.CancelledError is type(ended)
    assert 0 == queued


def test_a_stream_cancelled_before_its_headers_frees_the_connection_by_the_read_limit(monkeypatch):
    """A stream has no total limit of pyreqwest's, so the one of its reads must end it."""
    monkeypatch.setattr(client, "_GRACE_S", TOO_SOON_S)

    async def main():
        limits = {"first_token_timeout_s": 2 * TOO_SOON_S, "idle_timeout_s": TOO_SOON_S, "total_timeout_s": NEVER_S}
        async with peer(**limits) as (far, backend):
            far.enqueue(Reply(status=0, then="hang"))
            task = asyncio.create_task(listen(backend))
            await far.arrived.wait()
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            async with asyncio.timeout(NEVER_S / 2):
                await far.gone.wait()
            return ended, backend.status(target()).queued

    ended, queued = asyncio.run(main())

    assert asyncio.CancelledError is type(ended)
    assert 0 == queued


def test_closing_the_backend_ends_what_is_in_flight():
    """As unavailable, not as a hang; and it stays closed."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(Reply(status=0, then="hang"))
            task = asyncio.create_task(backend.infer(CHAT, target()))
            await far.arrived.wait()
            await backend.aclose()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            return ended, await failure(backend)

    ended, after = asyncio.run(main())

    assert [Unavailable, Unavailable] == [type(ended), type(after)]
    assert "the remote backend is closed" == str(after)


def test_many_broken_streams_leak_nothing():
    """After a hundred abandoned streams no connection is open and nothing is counted."""

    async def main():
        async with peer(max_connections=4) as (far, backend):
            for _ in range(100):
                far.gone.clear()
                far.enqueue(reply_events(piece("a"), then="hang"))
                stream = backend.stream(CHAT, target())
                await anext(stream)
                await stream.aclose()
                await far.gone.wait()
            gc.collect()
            return dict(backend._in_flight), isinstance((await listen(backend))[0][-1], InferenceResult)

    assert ({}, True) == asyncio.run(main())
