"""Asking a far side what it serves, changing its key, and HTTP/2: over real sockets."""

import asyncio

import pytest

from backends.errors import BackendError, InvalidInput, RemoteError, Timeout, Unauthorized, Unavailable
from backends.remote import listing
from backends.remote.backend import Provider, RemoteBackend
from backends.remote.listing import ListedModel, ListedProvider
from tests.integration.far_side import FarSide, Reply, reply_events, reply_json
from tests.integration.remote_peer import CHAT, KEY, TOO_SOON_S, listen, peer, piece, target

LISTING = {"data": [{"id": "org/m", "providers": [{"provider": "groq", "pricing": {"input": 1, "output": 2}}]}]}


async def refused(backend) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await backend.listing("peer")
    return caught.value


def test_a_listing_is_asked_for_where_the_protocol_begins() -> None:
    """One GET without a body, with the provider's own key, and nothing generated."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_json(LISTING))
            return await backend.listing("peer"), far.requests

    models, requests = asyncio.run(main())
    groq = ListedProvider(provider="groq", input_per_1m_usd=1.0, output_per_1m_usd=2.0)

    assert (ListedModel(id="org/m", providers=(groq,)),) == models
    assert [("GET", "/v1/models", None)] == [(r.method, r.path, r.body) for r in requests]
    assert f"Bearer {KEY}" == requests[0].headers["authorization"]
    assert "identity" == requests[0].headers["accept-encoding"]


def test_without_a_key_a_listing_is_asked_for_openly() -> None:
    """The router shows its prices to anybody."""

    async def main():
        async with peer(api_key=None, needs_key=True) as (far, backend):
            far.enqueue(reply_json(LISTING))
            await backend.listing("peer")
            return far.requests[0].headers

    assert "authorization" not in asyncio.run(main())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (reply_json({"error": "no"}, status=401), Unauthorized),
        (reply_json({"error": "no"}, status=500), RemoteError),
        (reply_json({"error": {"message": "later", "code": 400}}), InvalidInput),
        (reply_json({"models": []}), RemoteError),
        (Reply(headers={"content-type": "text/html"}, chunks=(b"<html>",)), RemoteError),
        (Reply(chunks=(b'{"data": [',)), RemoteError),
        (Reply(chunks=(b'{"data": [',), then="cut"), RemoteError),
        (Reply(status=302, headers={"location": "http://127.0.0.1:1/v1/models"}), RemoteError),
    ],
)
def test_a_failed_listing_is_one_of_our_errors(reply, kind) -> None:
    """Also a redirect, which is not followed, and never the key in a message."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply)
            return await refused(backend), len(far.requests)

    error, asked = asyncio.run(main())

    assert (kind, 1) == (type(error), asked)
    assert KEY not in str(error)


def test_a_listing_without_an_end_is_refused(monkeypatch) -> None:
    """Its body is bounded, like every other."""
    monkeypatch.setattr(listing, "MAX_BYTES", 1000)

    async def main():
        async with peer() as (far, backend):
            far.enqueue(Reply(chunks=(b'{"data": [', *[b" " * 400] * 5), then="hang"))
            return await refused(backend)

    assert "longer than 1000 bytes" in str(asyncio.run(main()))


def test_a_silent_listing_hits_the_limit() -> None:
    """And nobody who closed, or was never configured, is asked at all."""

    async def main():
        async with peer(first_token_timeout_s=TOO_SOON_S) as (far, backend):
            far.enqueue(Reply(status=0, then="hang"))
            silent = await refused(backend)
            with pytest.raises(Unavailable, match="'elsewhere' cannot be asked"):
                await backend.listing("elsewhere")
            await backend.aclose()
            return silent, await refused(backend), len(far.requests)

    silent, closed, asked = asyncio.run(main())

    assert (Timeout, Unavailable, 1) == (type(silent), type(closed), asked)


# --- another key ----------------------------------------------------------------------------------


def test_the_next_request_carries_the_new_key() -> None:
    """On the connection that is open already; without a key nothing is sent, and a request needs none to be made."""

    async def main():
        async with peer() as (far, backend):
            await backend.infer(CHAT, target())
            backend.rekey("peer", "hf_second")
            await backend.infer(CHAT, target())
            backend.rekey("peer", None)
            await backend.infer(CHAT, target())
            return [request.headers.get("authorization") for request in far.requests], far.connections

    assert ([f"Bearer {KEY}", "Bearer hf_second", None], 1) == asyncio.run(main())


def test_a_key_makes_a_provider_available_and_its_loss_unavailable() -> None:
    """Status follows at once."""
    backend = RemoteBackend(
        [Provider(name="peer", protocol="openai", base_url="http://127.0.0.1:1/v1", needs_key=True)]
    )
    states = []
    for key in (None, "k", None):
        backend.rekey("peer", key)
        states.append(backend.status(target()).unavailable is None)

    assert [False, True, False] == states


def test_a_key_that_no_header_can_carry_is_refused_and_the_old_one_stays() -> None:
    """The message does not show it."""

    async def main():
        async with peer() as (far, backend):
            with pytest.raises(ValueError, match="no header can carry") as caught:
                backend.rekey("peer", "hf_new\nx: y")
            await backend.infer(CHAT, target())
            return str(caught.value), far.requests[0].headers["authorization"]

    message, sent = asyncio.run(main())

    assert f"Bearer {KEY}" == sent
    assert "hf_new" not in message


def test_what_is_under_way_ends_with_the_key_it_began_with() -> None:
    """A stream outlives the rotation; an error that repeats the old key is blotted out all the same."""

    async def main():
        async with peer(api_key="plainword") as (far, backend):
            far.enqueue(reply_events(piece("a"), {"error": {"message": "plainword is tired"}}))
            stream = backend.stream(CHAT, target())
            first = await anext(stream)
            backend.rekey("peer", "otherword")
            with pytest.raises(RemoteError) as caught:
                await anext(stream)
            return first.text, str(caught.value)

    first, said = asyncio.run(main())

    assert "a" == first
    assert "plainword" not in said


# --- HTTP/2 ---------------------------------------------------------------------------------------


def test_http_2_is_offered_where_the_far_side_speaks_tls() -> None:
    """The first thing sent is TLS's hello; in it stand both protocols, by the names that ALPN has for them."""

    async def main():
        hello = bytearray()

        async def heard(reader, writer):
            hello.extend(await reader.read(8192))
            writer.close()

        server = await asyncio.start_server(heard, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        backend = RemoteBackend([Provider(name="peer", protocol="openai", base_url=f"https://127.0.0.1:{port}/v1")])
        error = await refused(backend)
        await backend.aclose()
        server.close()
        return bytes(hello), error

    hello, error = asyncio.run(main())

    assert b"\x16\x03" == hello[:2]
    assert b"\x02h2\x08http/1.1" in hello
    assert Unavailable is type(error)


def test_without_tls_http_1_is_spoken() -> None:
    """Where nobody can be asked, nothing is presumed: no far side on a plain port sees another protocol."""

    async def main():
        async with FarSide() as far:
            backend = RemoteBackend([Provider(name="peer", protocol="openai", base_url=f"{far.url}/v1")])
            _, error = await listen(backend)
            await backend.aclose()
            return error, len(far.requests)

    assert (None, 1) == asyncio.run(main())
