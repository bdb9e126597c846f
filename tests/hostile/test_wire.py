"""What is wrong below bodies: heads without end, two lengths, garbage after a request, and patience as a weapon."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from router.section import ServerSettings
from tests.e2e.conftest import Server
from tests.hostile.wire import connected, exchange, get, post, rest
from tests.surface.leaks import leaks

if TYPE_CHECKING:
    from collections.abc import Iterator

LIVE = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n"
BODY = b'{"model": "no/such", "inputs": "x"}'


def alive(server: Server) -> bool:
    """Whether it still answers others."""
    return 200 == get(server.url, "/health/live").status


@pytest.mark.parametrize(
    "head",
    [
        b"x-large: " + b"a" * (ServerSettings().max_header_bytes + 1),
        b"\r\n".join(b"x-%d: y" % number for number in range(20_000)),
        b"cookie: " + b"a=b; " * 40_000,
        b"a" * (ServerSettings().max_header_bytes + 1) + b": b",
    ],
    ids=["one", "many", "cookies", "name"],
)
def test_headers_beyond_the_limit_are_refused(head: bytes, faked: Server) -> None:
    """431, however they are cut; whoever else asks does not notice."""
    answer = exchange(faked.url, LIVE + head + b"\r\nconnection: close\r\n\r\n")

    assert 431 == answer.status
    assert alive(faked)


def test_a_head_that_never_ends_is_not_kept(faked: Server) -> None:
    """It is cut at the limit, long before the sender is done: what it sends is not kept until it ends."""
    sent = 0
    with connected(faked.url) as sock:
        sock.sendall(LIVE + b"x-endless: ")
        with contextlib.suppress(ConnectionError):
            while sent < 64_000_000:
                sent += sock.send(b"a" * 65536)

        assert sent < 64_000_000
    assert alive(faked)


def test_a_long_path_is_refused(faked: Server) -> None:
    """A head is a head, whatever is long in it."""
    assert 431 == get(faked.url, "/v1/models/" + "a" * ServerSettings().max_header_bytes).status


def test_a_head_of_usual_size_passes(faked: Server) -> None:
    """Tokens and cookies of some kilobytes are none of a stranger's business."""
    assert 200 == get(faked.url, "/health/live", "cookie: " + "a" * 16_000).status


def test_a_large_body_behind_a_small_head_passes(faked: Server) -> None:
    """The limit is the head's: what comes with it in one piece does not count."""
    answer = post(faked.url, "/v1/inference", b'{"model": "no/such", "inputs": "' + b"x" * 1_000_000 + b'"}')

    assert 404 == answer.status


SMUGGLED = {
    "two lengths": b"content-length: 5\r\ncontent-length: 35\r\n\r\n" + BODY,
    "length and chunks": b"content-length: 35\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    b"GET /v1/system HTTP/1.1\r\n\r\n",
    "chunks, obscured": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks, spaced": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "negative length": b"content-length: -1\r\n\r\n",
    "signed length": b"content-length: +35\r\n\r\n" + BODY,
    "length in words": b"content-length: many\r\n\r\n" + BODY,
    "huge length": b"content-length: 99999999999999999999999999\r\n\r\n" + BODY,
    "bad chunk": b"transfer-encoding: chunked\r\n\r\nZZ\r\n" + BODY,
    "huge chunk": b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + BODY,
    "folded header": b"x-a: 1\r\n  folded\r\ncontent-length: 35\r\n\r\n" + BODY,
    "bare line feeds": b"x-a: 1\ncontent-length: 35\n\n" + BODY,
    "null in a header": b"x-a: a\x00b\r\ncontent-length: 35\r\n\r\n" + BODY,
    "no colon": b"nonsense\r\ncontent-length: 35\r\n\r\n" + BODY,
    "space before the colon": b"content-length : 35\r\n\r\n" + BODY,
}


@pytest.mark.parametrize("tail", SMUGGLED.values(), ids=SMUGGLED)
def test_a_request_with_two_meanings_is_not_served(tail: bytes, faked: Server) -> None:
    """It is refused or closed: what one of two readers would take for a second request is never answered."""
    head = b"POST /v1/inference HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"

    answer = exchange(faked.url, head + tail)

    assert answer.status in {0, *range(400, 500)}, answer.raw
    assert 1 >= answer.raw.count(b"HTTP/1.1 ")
    assert b'"hardware"' not in answer.raw
    assert [] == leaks(answer.raw.decode("latin-1"))
    assert alive(faked)


GARBAGE = {
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET /health/live\r\n\r\n",
    "wrong version": b"GET /health/live HTTP/9.9\r\nhost: x\r\n\r\n",
    "no method": b" /health/live HTTP/1.1\r\n\r\n",
    "unknown method": b"HACK /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    "connect": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    "no slash": b"GET health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe\x00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "nulls": bytes(5000),
    "line ends": b"\r\n" * 2000 + b"x",
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_and_closed(raw: bytes, faked: Server) -> None:
    """Whatever it is, the connection ends, and the next one is served."""
    with connected(faked.url) as sock:
        sock.sendall(raw)
        sock.shutdown(1)  # nothing more comes
        came = rest(sock)

    assert came == b"" or came.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), came
    assert [] == leaks(came.decode("latin-1"))
    assert alive(faked)


def test_another_servers_url_is_asked_of_nobody(faked: Server) -> None:
    """This is no proxy: the path is one of its own, or none."""
    raw = b"GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"

    assert 404 == exchange(faked.url, raw).status


def test_http_1_0_is_answered_and_closed(faked: Server) -> None:
    """Without `Host` and without keep-alive; a foreign name is not let in by leaving it out."""
    live = exchange(faked.url, b"GET /health/live HTTP/1.0\r\nhost: localhost\r\n\r\n")
    nameless = exchange(faked.url, b"GET /v1/system HTTP/1.0\r\n\r\n")

    assert 200 == live.status
    assert 403 == nameless.status


def test_garbage_behind_a_request_is_not_a_request(faked: Server) -> None:
    """The first of a pipeline is answered; then the connection ends."""
    answer = exchange(faked.url, LIVE + b"\r\n" + b"\x00\x01garbage\r\n\r\n" + LIVE + b"connection: close\r\n\r\n")

    assert 200 == answer.status or answer.status in {0, 400}
    assert 2 >= answer.raw.count(b"HTTP/1.1 ")
    assert alive(faked)


def test_a_pipeline_is_answered_in_order(faked: Server) -> None:
    """A hundred requests in one piece: a hundred answers, and no more under way than one."""
    raw = (LIVE + b"\r\n") * 99 + LIVE + b"connection: close\r\n\r\n"

    assert 100 == exchange(faked.url, raw).raw.count(b"HTTP/1.1 200")


def test_a_body_that_is_shorter_than_it_says_ends_with_its_sender(faked: Server) -> None:
    """Nobody is answered; nothing is kept waiting."""
    with connected(faked.url) as sock:
        sock.sendall(b"POST /v1/inference HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        sock.sendall(b"content-length: 1000\r\n\r\n" + BODY)
    assert alive(faked)


def test_a_body_beyond_the_limit_is_refused_by_its_length(faked: Server) -> None:
    """413 before it is read; in chunks as soon as there is too much."""
    size = ServerSettings().max_body_bytes + 1
    said = post(faked.url, "/v1/inference", b"a" * size)
    head = b"POST /v1/inference HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    unsaid = exchange(
        faked.url, head + b"transfer-encoding: chunked\r\n\r\n" + chunk * (size // 65536 + 2) + b"0\r\n\r\n"
    )

    assert (413, 413) == (said.status, unsaid.status)


def test_a_websocket_is_not_opened(faked: Server) -> None:
    """There is none here."""
    answer = get(
        faked.url, "/v1/inference", "upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip

    assert 101 != answer.status
    assert answer.status < 500
    assert alive(faked)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits a second for a head, and a second for a body."""
    server = Server(tmp_path_factory.mktemp("impatient"), "[server]\nheader_timeout_s = 1.0\nbody_timeout_s = 1.0\n")
    yield server
    server.stop()


@pytest.mark.parametrize("first", [b"", LIVE], ids=["at once", "behind a request"])
def test_a_head_that_trickles_in_is_cut(first: bytes, impatient: Server) -> None:
    """A byte at a time earns no more time than all at once."""
    with connected(impatient.url) as sock:
        if first:
            sock.sendall(first + b"\r\n")
            sock.recv(65536)
        sock.settimeout(0.1)
        closed = False
        for byte in LIVE * 4:  # longer than anybody's patience
            closed = _closes(sock, bytes([byte]))
            if closed:
                break

    assert closed
    assert alive(impatient)


def test_a_body_that_trickles_in_is_cut(impatient: Server) -> None:
    """408, or the connection ends."""
    with connected(impatient.url) as sock:
        sock.sendall(b"POST /v1/inference HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        sock.sendall(b"content-length: 1000\r\n\r\n")
        sock.settimeout(0.1)
        closed = any(_closes(sock, b"[") for _ in range(300))

    assert closed
    assert alive(impatient)


def test_a_large_body_does_not_count_as_the_head_of_the_next_request(faked: Server) -> None:
    """On a connection that is kept, where the next head comes in pieces."""
    body = b'{"model": "no/such", "inputs": "' + b"x" * (2 * ServerSettings().max_header_bytes) + b'"}'
    head = b"POST /v1/inference HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with connected(faked.url) as sock:
        sock.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 404")
        sock.sendall(b"GE")
        assert alive(faked)  # by now the server has read the piece
        sock.sendall(b"T /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")

        assert b"HTTP/1.1 200" in rest(sock)  # behind what is left of the first answer


def _closes(sock, byte: bytes) -> bool:
    """Send a byte, listen for a tenth of a second; whether the other side has answered or closed."""
    try:
        sock.sendall(byte)
        sock.recv(65536)
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True
