"""Attempts to get past the door: what a foreign web page can make a browser send, and what our own clients send."""

from types import SimpleNamespace

import pytest
from litestar import Litestar, delete, get, post
from litestar.testing import TestClient

from router.errors import Forbidden, UnsupportedMediaType
from router.http import guards
from router.http.audio import transcriptions
from router.http.files import upload
from router.http.huggingface import FILES
from router.http.huggingface import model as hub_model
from router.section import AuthSettings, ServerSettings
from router.sections import Settings

HOST = "127.0.0.1:8080"
SAFELISTED = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "")


@post("/json", status_code=200)
async def json_route() -> str:
    return "in"


@get("/page")
async def page_route() -> str:
    return "in"


@delete("/page", status_code=200)
async def delete_route() -> str:
    return "in"


@post("/form", status_code=200, opt={"bodies": ("multipart/form-data",)})
async def form_route() -> str:
    return "in"


@post("/file", status_code=200, opt={"bodies": FILES})
async def file_route() -> str:
    return "in"


def status(path: str, headers: dict[str, str], *origins: str, method: str = "POST") -> int:
    """What a request with exactly these headers gets: 200 when the door is open."""
    app = Litestar(
        [page_route, delete_route, json_route, form_route, file_route],
        guards=[guards.from_here],
        openapi_config=None,
        logging_config=None,
        exception_handlers={Forbidden: _refuses(403), UnsupportedMediaType: _refuses(415)},
    )
    settings = Settings(auth=AuthSettings(cors_allow_origins=origins), server=ServerSettings())
    app.state.services = SimpleNamespace(settings=settings)
    with TestClient(app) as client:
        request = client.build_request(method, path, content=b"x")
        for name in ("content-type", "host"):
            request.headers.pop(name, None)
        request.headers.update({"host": HOST} | headers)
        return client.send(request).status_code


def _refuses(code: int):
    from litestar import Response

    return lambda request, error: Response(str(error), status_code=code, media_type="text/plain")


@pytest.mark.parametrize("kind", SAFELISTED)
def test_what_a_browser_sends_unasked_is_refused_where_json_is_read(kind) -> None:
    """Every content type that needs no preflight, and none at all."""
    assert 415 == status("/json", {"content-type": kind} if kind else {})


@pytest.mark.parametrize("path", ["/json", "/form", "/file"])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "image/png", ""])
@pytest.mark.parametrize(
    "page",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "http://127.0.0.1:8080.evil.example"},
        {"origin": "http://evil.example@127.0.0.1:8080"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
    ids=str,
)
def test_a_foreign_page_gets_nowhere_with_any_body(path, kind, page) -> None:
    """Another site, a sandbox, another port of this machine, a rebound name: 403 before the body is looked at."""
    assert 403 == status(path, page | ({"content-type": kind} if kind else {}))


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("/form", "multipart/form-data; boundary=x", 200),
        ("/form", "Multipart/Form-Data; boundary=x", 200),
        ("/form", "multipart/form-data-evil", 415),
        ("/form", "multipart/mixed", 415),
        ("/form", "image/png", 415),
        ("/form", "text/plain; multipart/form-data", 415),
        ("/form", "", 415),
        ("/file", "image/png", 200),
        ("/file", "audio/flac", 200),
        ("/file", "video/webm", 200),
        ("/file", "application/octet-stream", 200),
        ("/file", "application/json", 200),
        ("/file", "", 200),
        ("/file", "multipart/form-data; boundary=x", 415),
        ("/file", "text/plain", 415),
        ("/file", "text/html; image/png", 415),
        ("/file", "application/x-www-form-urlencoded", 415),
        ("/json", "image/png", 415),
        ("/json", "application/jsonp", 415),
        ("/json", "application/json; charset=utf-8", 200),
    ],
)
def test_a_route_takes_the_bodies_it_names_and_no_others(path, kind, expected) -> None:
    """The essence of the content type decides, not what it begins or ends with."""
    assert expected == status(path, {"content-type": kind} if kind else {})


@pytest.mark.parametrize(
    "page", [{"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {}]
)
def test_our_own_page_and_our_own_programs_get_in(page) -> None:
    """The web UI uploads files like anybody else."""
    assert 200 == status("/form", page | {"content-type": "multipart/form-data; boundary=x"})


def test_a_link_from_elsewhere_may_be_followed_and_nothing_more() -> None:
    """Opening our page from another site is reading; deleting from there is not, with or without an origin."""
    assert 200 == status("/page", {"sec-fetch-site": "cross-site"}, method="GET")
    assert 403 == status("/page", {"sec-fetch-site": "cross-site"}, method="DELETE")
    assert 403 == status("/page", {"origin": "https://evil.example"}, method="DELETE")
    assert 200 == status("/page", {}, method="DELETE")


def test_an_origin_that_the_configuration_allows_gets_in() -> None:
    """Its browser says cross-site, and it may be."""
    page = {"origin": "https://friend.example", "sec-fetch-site": "cross-site", "content-type": "image/png"}

    assert 200 == status("/file", page, "https://friend.example")
    assert 403 == status("/file", page, "https://other.example")


def test_only_three_routes_take_anything_but_json() -> None:
    """Whoever adds a fourth has to come here and think."""
    from router.app import HANDLERS

    assert {transcriptions, upload, hub_model} == {handler for handler in HANDLERS if handler.opt.get("bodies")}
    assert ("multipart/form-data",) == transcriptions.opt["bodies"] == upload.opt["bodies"]
    assert "multipart/form-data" not in hub_model.opt["bodies"]
