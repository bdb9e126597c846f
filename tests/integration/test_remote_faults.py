"""Every way a far answer can be wrong or lost, over real sockets."""

import asyncio

import pytest

from backends.errors import (
    ContentRefused,
    ContextLengthExceeded,
    Interrupted,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    RateLimited,
    RemoteError,
    Unauthorized,
    Unavailable,
)
from backends.remote import client
from backends.remote.sse import MAX_LINE_BYTES
from backends.types import (
    Delta,
    InferenceResult,
)
from tests.integration.far_side import Reply, reply_events, reply_json
from tests.integration.remote_peer import CHAT, failure, listen, peer, piece, target

# --- how it fails -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (reply_json({"error": "Invalid username or password."}, status=401), Unauthorized),
        (reply_json({"error": "You have depleted your monthly included credits."}, status=402), PaymentRequired),
        (reply_json({"detail": "Not Found"}, status=404), ModelNotFound),
        (reply_json({"error": {"code": "context_length_exceeded"}}, status=400), ContextLengthExceeded),
        (reply_json({"error": {"code": "content_policy_violation"}}, status=400), ContentRefused),
        (reply_json(["no"], status=429), RateLimited),
        (Reply(status=502, headers={"content-type": "text/html"}, chunks=(b"<html>",)), RemoteError),
        (Reply(status=500, chunks=(b"half",), then="cut"), RemoteError),
    ],
)
def test_a_refusal_is_the_same_error_streamed_and_buffered(reply, kind):
    """One table for both paths, and the connection is not poisoned."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply, reply)
            errors = [(await listen(backend))[1], await failure(backend)]
            return errors, await backend.infer(CHAT, target())

    errors, after = asyncio.run(main())

    assert [kind, kind] == [type(error) for error in errors]
    assert [reply.status] * 2 == [error.http_status for error in errors]
    assert isinstance(after, InferenceResult)


def test_a_wish_to_wait_is_passed_on():
    """Retry-After for 429, estimated_time for a model that is still loading."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(
                reply_json({"error": "slow down"}, status=429, retry_after="7"),
                reply_json({"error": "Model m is currently loading", "estimated_time": 20.0}, status=503),
            )
            return [await failure(backend), await failure(backend)]

    limited, loading = asyncio.run(main())

    assert (RateLimited, 7) == (type(limited), limited.retry_after_s)
    assert (Overloaded, 20) == (type(loading), loading.retry_after_s)


def test_the_key_is_not_repeated_when_the_far_side_does():
    """Some servers print the key they refuse."""

    async def main():
        async with peer(api_key="plain-old-key") as (far, backend):
            far.enqueue(reply_json({"error": "plain-old-key is wrong"}, status=401))
            return await failure(backend)

    assert "provider peer: status 401: [secret] is wrong" == str(asyncio.run(main()))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(headers={"content-type": "text/html"}, chunks=(b"<html>log in</html>",)),
        Reply(headers={}, chunks=(b"not json",)),
        Reply(chunks=(b'{"choices": [',)),
        Reply(chunks=(b"\xff\xfe",)),
        Reply(),
        reply_json(None),
        reply_json({"choices": []}),
        reply_json(piece("a")),
        reply_json(piece("a", "stop")["choices"]),
    ],
    ids=["html", "text", "cut", "bytes", "empty", "null", "no choice", "no finish", "list"],
)
def test_a_success_that_is_no_answer_is_a_failure(reply):
    """Status 200 proves nothing."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply, reply)
            return [type(await failure(backend)), type((await listen(backend))[1])]

    assert [RemoteError, RemoteError] == asyncio.run(main())


def test_an_error_under_status_200_has_its_class():
    """In a buffered answer, in a stream's event, and where a stream was asked but JSON came."""
    said = {"error": {"message": "slow down", "code": 429}}

    async def main():
        async with peer() as (far, backend):
            far.enqueue(
                reply_json(said),
                reply_json(said),
                reply_events(piece("a"), said),
                Reply(
                    headers={"content-type": "text/event-stream"},
                    chunks=(b'event: error\ndata: {"message": "slow down", "code": 429}\n\n',),
                ),
            )
            return [await failure(backend)] + [(await listen(backend))[1] for _ in range(3)]

    errors = asyncio.run(main())

    assert [RateLimited] * 4 == [type(error) for error in errors]
    assert all("slow down" in str(error) for error in errors)


@pytest.mark.parametrize(
    "reply",
    [
        reply_events(piece("half an ans")),
        reply_events(piece("half an ans"), "[DONE]"),
        reply_events(piece("half an ans"), then="cut"),
        reply_events(piece("half an ans"), then="reset"),
        reply_events(piece("half an ans"), '{"choices": [{"delta"'),
        reply_events(piece("half an ans"), piece("", "tool_calls"), "[DONE]"),
    ],
    ids=["end", "DONE", "cut", "reset", "json", "tool calls"],
)
def test_half_a_stream_is_never_a_success(reply):
    """What was heard stays heard, then comes an error and no result."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply)
            return await listen(backend)

    items, error = asyncio.run(main())

    assert [Delta("half an ans")] == items
    assert RemoteError is type(error)
    assert error.billed is None


def test_a_filtered_stream_is_a_refusal():
    """Propagated as such, so that nobody routes around it."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_events(piece("so"), piece("", "content_filter"), "[DONE]"))
            return await listen(backend)

    assert ContentRefused is type(asyncio.run(main())[1])


def test_an_endless_line_is_refused():
    """Our memory is not theirs."""
    flood = Reply(
        headers={"content-type": "text/event-stream"}, chunks=(b"data: " + b"x" * (MAX_LINE_BYTES + 1),), then="hang"
    )

    async def main():
        async with peer() as (far, backend):
            far.enqueue(flood)
            error = (await listen(backend))[1]
            await far.gone.wait()
            return error

    assert "more than 1048576 bytes" in str(asyncio.run(main()))


def test_an_endless_answer_is_refused(monkeypatch):
    """A buffered answer has a bound, too; beyond it the connection is closed."""
    monkeypatch.setattr(client, "MAX_BODY_BYTES", 100_000)

    async def main():
        async with peer() as (far, backend):
            far.enqueue(Reply(chunks=(b" " * 200_000,), then="hang"))
            error = await failure(backend)
            await far.gone.wait()
            return error

    error = asyncio.run(main())

    assert RemoteError is type(error)
    assert "longer than 100000 bytes" in str(error)


# --- when nobody is there -----------------------------------------------------------------------


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1/v1", "http://nobody.invalid/v1"], ids=["refused", "no name"])
def test_nobody_there_is_unavailable(base_url, monkeypatch):
    """Surely not billed, and another candidate may well succeed."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def main():
        async with peer(base_url=base_url) as (_, backend):
            return [await failure(backend), (await listen(backend))[1]]

    for error in asyncio.run(main()):
        assert Unavailable is type(error)
        assert (False, True) == (error.billed, error.elsewhere)
        assert "http://" not in str(error)


@pytest.mark.parametrize("then", ["cut", "reset"])
def test_a_connection_lost_before_the_headers_is_an_interruption(then):
    """Whatever closed it, no answer had begun."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(*[Reply(status=0, then=then)] * 4)
            return [type(await failure(backend)), type((await listen(backend))[1])]

    assert [Interrupted, Interrupted] == asyncio.run(main())


@pytest.mark.parametrize("then", ["cut", "reset"])
def test_a_connection_lost_within_a_body_is_a_remote_error(then):
    """The answer had begun, so it may be billed."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(Reply(chunks=(b'{"choices"',), then=then))
            return await failure(backend)

    error = asyncio.run(main())

    assert (RemoteError, None) == (type(error), error.billed)
