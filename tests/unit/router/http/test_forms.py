"""Forms as clients send them, and as nobody should."""

import asyncio
from collections.abc import Iterable

import pytest
from litestar import Litestar, Request, post

from router.errors import InvalidRequest, UnsupportedMediaType
from router.http.forms import MAX_PARTS, form_of

KIND = "multipart/form-data; boundary=cut"
SCOPE = {"raw_path": b"/form", "query_string": b"", "root_path": "", "scheme": "http", "server": None, "client": None}


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--cut\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def read(body: bytes, kind: str = KIND, chunk: int = 1 << 16) -> dict:
    """The tree of a form that arrives in chunks of this size."""
    chunks = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]
    found: list[dict | Exception] = []

    @post("/form")
    async def route(request: Request) -> None:
        try:
            found.append(await form_of(request, "file"))
        except (InvalidRequest, UnsupportedMediaType) as error:
            found.append(error)

    async def receive() -> dict:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: dict) -> None:
        """Nobody reads the answer."""

    app = Litestar([route], openapi_config=None, logging_config=None)
    headers = [(b"content-type", kind.encode())]
    asyncio.run(app({"type": "http", "method": "POST", "path": "/form", "headers": headers, **SCOPE}, receive, send))
    [outcome] = found
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def form(parts: Iterable[bytes]) -> bytes:
    return b"".join([*parts, b"--cut--\r\n"])


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 16])
def test_a_form_is_the_same_however_it_is_cut(chunk) -> None:
    """The file keeps every byte, line ends and dashes too; a file without a name is a file."""
    file = bytes(range(256)) + b"\r\n--cu\r\n--"
    body = form([part("model", "späch".encode()), part("file", file), part("stream", b"true")])

    assert {"model": "späch", "file": file, "stream": "true"} == read(body, chunk=chunk)


def test_nested_names_are_a_tree() -> None:
    """`a[]` collects, `a[b]` nests, as OpenAI's clients write lists and objects."""
    body = form([
        part("timestamp_granularities[]", b"word"),
        part("timestamp_granularities[]", b"segment"),
        part("routing[backend]", b"local"),
        part("routing[only][]", b"x"),
        part("file", b"RIFF", '; filename="a.wav"'),
    ])  # fmt: skip

    assert {
        "timestamp_granularities": ["word", "segment"],
        "routing": {"backend": "local", "only": ["x"]},
        "file": b"RIFF",
    } == read(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (form([part("model", b"a"), part("model", b"b")]), "given twice"),
        (form([part("a", b"x"), part("a[b]", b"y")]), "given a value already"),
        (form([part("a[b]", b"x"), part("a[]", b"y")]), "given a value already"),
        (form([part("model", b"\xff")]), "model: is not UTF-8"),
        (form(part(f"f{number}", b"x") for number in range(MAX_PARTS + 1)), "cannot be read"),
        (part("file", b"x"), "cannot be read"),
        (b"", "cannot be read"),
        (b"no form at all", "cannot be read"),
        (b"--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n--cut--\r\n", "without a name"),
        (form([part("[]", b"x")]), "without a name"),
        (b"--cut\r\n" + b"X: " + b"x" * 9000 + b"\r\n\r\nx\r\n--cut--\r\n", "cannot be read"),
    ],
)
def test_a_broken_form_is_refused(body, said) -> None:
    """Given twice, cut short, endless or malformed: one clear refusal, never a crash."""
    with pytest.raises(InvalidRequest, match=said):
        read(body)


def test_a_body_that_is_no_form_says_what_is_expected() -> None:
    """JSON where a form is read."""
    with pytest.raises(UnsupportedMediaType, match="multipart/form-data"):
        read(b"{}", "application/json")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read(b"{}", "multipart/form-data")
