"""Which scope each route asks for: every one of them, as the running application has it."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from router.access.gate import Sender
from router.app import create_app
from router.decision_log.log import DecisionLog
from router.errors import Forbidden
from router.http.scopes import ROUTES, check, needed
from router.identity import Identity
from router.sections import Settings
from router.settings import Secrets

FOR_ADMINS = {
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("DELETE", "/v1/keys/{name:str}"),
    ("POST", "/v1/keys/{name:str}/rotate"),
    ("GET", "/v1/audit"),
    ("POST", "/v1/system/token"),
}
OPEN = {("GET", "/"), ("GET", "/sw.js"), ("GET", "/health/live"), ("GET", "/health/ready")}


def routes() -> dict[tuple[str, str], HTTPRouteHandler]:
    """Every method and path that the application answers, but for OPTIONS."""
    log = DecisionLog.open(Path(":memory:"))
    app = create_app(Settings(), Secrets(), log)
    log.close()
    found = {}
    for route in app.routes:
        for method, (handler, _) in getattr(route, "route_handler_map", {}).items():
            if method != "OPTIONS":
                found[method, route.path] = handler
    return found


def test_every_route_asks_for_what_was_meant() -> None:
    """A route that is new and that nobody thought of is for admins: this list says which are so on purpose."""
    asked = {place: needed(*place, handler.opt) for place, handler in routes().items()}
    open_ones = {place for place, scopes in asked.items() if not scopes}

    assert FOR_ADMINS <= {place for place, scopes in asked.items() if scopes == ("admin",)}
    assert OPEN <= open_ones
    assert all(path.startswith(("/schema", "/ui/", "/browser-models")) for _, path in open_ones - OPEN)
    declared = {(method, re.sub(r":\w+(?=})", "", path)) for method, path in asked}
    assert set() == set(ROUTES) - declared  # no line of the table is about a route that is gone


@pytest.mark.parametrize("path", ["/v1/inference", "/v1/chat/completions", "/v1/embeddings", "/models/{address:path}"])
def test_inference_needs_infer_alone(path) -> None:
    """A key that may read the log may not spend money."""
    handler = routes()["POST", path]

    assert ("infer",) == needed("POST", path, handler.opt)


def test_a_route_nobody_thought_of_is_for_admins_and_a_handler_may_say_otherwise() -> None:
    """By default closed."""
    assert ("admin",) == needed("GET", "/v1/new", {})
    assert ("admin",) == needed("POST", "/v1/decisions", {})
    assert ("admin",) == needed("GET", "/schemata", {})
    assert ("infer", "read") == needed("GET", "/v1/new", {"scopes": ("infer", "read")})
    assert () == needed("GET", "/v1/new", {"scopes": ()})


def test_who_lacks_a_scope_hears_which() -> None:
    """And an admin may do everything: it could make itself any key."""
    check(Identity("root", frozenset({"admin"})), ("infer",))
    check(Identity("both", frozenset({"read"})), ("infer", "read"))
    with pytest.raises(Forbidden, match="scope infer or read"):
        check(Identity("none", frozenset()), ("infer", "read"))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/decisions",
        "/v1/decisions/x",
        "/v1/analytics/summary",
        "/v1/models/fake/chat",
        "/v1/intents/x",
        "/v1/files/x",
    ],
)
def test_whoever_may_read_may_read_what_a_path_names(tmp_path, path) -> None:
    """The running application knows a route by another pattern than the one it was declared with."""

    async def status() -> int:
        async def reader(credential: str | None, address: str) -> Sender:
            return Sender(Identity("reader", frozenset({"read"})))

        app = create_app(Settings(), Secrets(), DecisionLog.open(tmp_path / "log.duckdb"))
        async with app.lifespan():
            app.state.services.access.sender = reader
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
                return (await client.get(f"http://localhost{path}")).status_code

    assert asyncio.run(status()) in {200, 404}
