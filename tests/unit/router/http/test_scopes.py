"""Which scope each route asks for: every one of them, as the running application has it."""

from pathlib import Path

import pytest
from litestar.handlers import HTTPRouteHandler

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
    ("DELETE", "/v1/keys/{name}"),
    ("POST", "/v1/keys/{name}/rotate"),
    ("GET", "/v1/audit"),
    ("POST", "/v1/system/token"),
}
OPEN = {("GET", "/"), ("GET", "/health/live"), ("GET", "/health/ready")}


def routes() -> dict[tuple[str, str], HTTPRouteHandler]:
    """Every method and path that the application answers, but for OPTIONS."""
    log = DecisionLog.open(Path(":memory:"))
    app = create_app(Settings(), Secrets(), log)
    log.close()
    found = {}
    for route in app.routes:
        for method, (handler, _) in getattr(route, "route_handler_map", {}).items():
            if method != "OPTIONS":
                found[method, route.path_format] = handler  # as a request tells it: Litestar's `path_template`
    return found


def test_every_route_asks_for_what_was_meant() -> None:
    """A route that is new and that nobody thought of is for admins: this list says which are so on purpose."""
    asked = {place: needed(*place, handler.opt) for place, handler in routes().items()}
    open_ones = {place for place, scopes in asked.items() if not scopes}

    assert FOR_ADMINS <= {place for place, scopes in asked.items() if scopes == ("admin",)}
    assert OPEN <= open_ones
    assert all(path.startswith(("/schema", "/assets/")) for _, path in open_ones - OPEN)
    assert set() == set(ROUTES) - set(asked)  # no line of the table is about a route that is gone


@pytest.mark.parametrize("path", ["/v1/inference", "/v1/chat/completions", "/v1/embeddings", "/models/{address}"])
def test_inference_needs_infer_alone(path) -> None:
    """A key that may read the log may not spend money."""
    handler = routes()["POST", path]

    assert ("infer",) == needed("POST", path, handler.opt)


def test_a_paths_types_are_no_matter() -> None:
    """A request tells its route without them, a handler with them: a reader was kept out of its own decisions once."""
    for typed, plain in (("/v1/decisions/{decision_id:str}", "/v1/decisions/{decision_id}"), ("/v1/system",) * 2):
        assert ("read",) == needed("GET", typed, {}) == needed("GET", plain, {})
    assert ("infer", "read") == needed("GET", "/v1/models/{model_id:path}", {})


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
