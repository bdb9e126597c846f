"""Bodies that are not what they should be, to every route that takes one: refused, without a word too many."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.http.description.inference import CHAT, SEES, VECTORS
from router.http.description.tables import OPERATIONS
from tests.hostile.wire import error_of, post
from tests.surface.leaks import leaks

if TYPE_CHECKING:
    from tests.e2e.conftest import Server
    from tests.hostile.wire import Answer

POSTS = [
    key.removeprefix("POST ").replace("{address}", CHAT) for key in OPERATIONS if key.startswith("POST ")
]  # those, too, that read no body
READING = [path for path in POSTS if path not in {"/v1/system/token", "/v1/settings/reload"}]
DEEP = 200_000
HUGE = "1" + "0" * 5000  # 10**5000, which Python itself would not write

BODIES = {
    "empty": b"",
    "null": b"null",
    "number": b"7",
    "list": b"[]",
    "half": b'{"model": "x", ',
    "trailing": b'{"model": "x"} garbage',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"inputs":' * DEEP + b"1" + b"}" * DEEP,
    "deep and open": b'{"model":' + b"[" * DEEP,
    "not UTF-8": b'{"model": "\xff\xfe", "inputs": "\xc3\x28"}',
    "UTF-16": '{"model": "x"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"model": "x"}',
    "lone surrogate": rb'{"model": "\ud800", "inputs": "\udfff", "input": "\ud800", "prompt": "\ud800"}',
    "null bytes": b'{"model": "a\\u0000b", "inputs": "a\\u0000b"}',
    "raw null byte": b'{"model": "a\x00b"}',
    "NaN": b'{"model": "x", "inputs": NaN, "score": NaN, "temperature": NaN}',
    "infinity": b'{"model": "x", "inputs": -Infinity, "score": Infinity}',
    "beyond floats": b'{"model": "x", "inputs": 1e400, "score": 1e400, "temperature": 1e400, "max_rows": 1e400}',
    "beyond integers": f'{{"model": "x", "seed": {HUGE}, "max_rows": {HUGE}, "score": {HUGE}}}'.encode(),
    "many digits": b'{"model": ' + b"9" * 1_000_000 + b"}",
    "twice": b'{"model": "a", "model": "b", "inputs": "x", "inputs": 3}',
    "single quotes": b"{'model': 'x'}",
    "prototype": b'{"__proto__": {"admin": true}, "constructor": {}}',
    "form": b"model=x&inputs=y",
    "long name": b'{"model": "' + b"a" * 1_000_000 + b'", "inputs": "x"}',
}


def told_off(answer: Answer) -> None:
    """The body was refused in so many words: a 4xx, and nothing of the inside."""
    assert 400 <= answer.status < 500, answer.raw[:2000]
    assert [] == leaks(answer.raw.decode("latin-1"))
    assert error_of(answer)


@pytest.mark.parametrize("path", READING)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_not_right_is_refused_by_every_route(body: bytes, path: str, faked: Server) -> None:
    """400 or another 4xx, never 5xx, with an error that says nothing of the inside."""
    told_off(post(faked.url, path, body))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(READING), body=st.binary(max_size=300))
def test_any_bytes_are_no_reason_to_fail(path: str, body: bytes, faked: Server) -> None:
    """No bytes of a body are answered with 5xx."""
    answer = post(faked.url, path, body)

    assert 200 <= answer.status < 500, answer.raw
    assert [] == leaks(answer.raw.decode("latin-1"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    "/v1/inference": {"model": CHAT, "inputs": "hello"},
    "/v1/chat/completions": {"model": CHAT, "messages": [{"role": "user", "content": "hello"}]},
    "/v1/embeddings": {"model": VECTORS, "input": "hello"},
    "/v1/images/generations": {"prompt": "a circle"},
    f"/models/{CHAT}": {"inputs": "hello"},
    "/v1/replay": {"policy": "fastest"},
    "/v1/feedback": {"decision_id": "x", "score": 1},
    "/v1/analytics/sql": {"query": "SELECT 1"},
    "/v1/intents": {"name": "x", "intents": {}},
}
NAMES = ("routing", "provider", "parameters", "stream", "model", "inputs", "messages", "tools", "stop", "seed", "n")


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(sorted(FIELDS)), name=st.sampled_from(NAMES), value=JSON, inner=st.text(max_size=12))
def test_any_value_of_any_field_is_no_reason_to_fail(
    path: str, name: str, value: object, inner: str, faked: Server
) -> None:
    """A right body with one field that is not is answered or refused, never a bug."""
    body = FIELDS[path] | {name: value if inner == "" else {inner: value}}

    answer = post(faked.url, path, json.dumps(body).encode("utf-8", "surrogatepass"))

    assert 200 <= answer.status < 500, answer.raw
    assert [] == leaks(answer.raw.decode("latin-1"))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x-gzip", "identity, gzip"])
def test_a_compressed_body_is_not_unpacked(coding: str, faked: Server) -> None:
    """A bomb stays packed: nothing here decodes bodies, so what it holds is never seen, and it is no JSON."""
    bomb = gzip.compress(b"0" * 50_000_000, 9) if "gzip" in coding else zlib.compress(b"0" * 50_000_000, 9)

    told_off(post(faked.url, "/v1/inference", bomb, {"content-encoding": coding}))


ADDRESSES = (
    "http://169.254.169.254/latest/meta-data/",
    "https://127.0.0.1:8080/v1/system",
    "HTTP://localhost/",
    "http://[::1]/",
    "http://0x7f000001/",
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "gopher://127.0.0.1:6379/_INFO",
    "//127.0.0.1/x",
    "/etc/passwd",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_of_a_file_is_not_fetched_by_the_native_route(address: str, faked: Server) -> None:
    """It is no base64, or said to be what is never fetched."""
    answer = post(faked.url, "/v1/inference", json.dumps({"model": SEES, "inputs": address}).encode())

    assert 400 == answer.status
    assert "inputs" in error_of(answer)["message"]
    if address.lower().startswith("http"):
        assert "addresses are not fetched" in error_of(answer)["message"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_of_a_file_is_not_fetched_by_the_hubs_route(address: str, faked: Server) -> None:
    """The hub's clients send addresses in `inputs`, too."""
    answer = post(faked.url, f"/models/{SEES}", json.dumps({"inputs": address}).encode())

    assert 400 == answer.status
    assert [] == leaks(answer.raw.decode("latin-1"))


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_image_of_a_chat_is_refused_unfetched(address: str, faked: Server) -> None:
    """Only text is read; the field is named."""
    part = {"type": "image_url", "image_url": {"url": address}}
    body = {"model": CHAT, "messages": [{"role": "user", "content": [part]}]}

    answer = post(faked.url, "/v1/chat/completions", json.dumps(body).encode())

    assert 400 == answer.status
    assert "messages.0.content" == error_of(answer)["param"]
