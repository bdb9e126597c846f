"""Which scope each route asks of its sender. A route that nobody thought of is for admins alone.

A handler may say it itself: `opt={"scopes": ("infer",)}`, any one of which is enough; an empty tuple lets everybody in.
Routes of inference ask for `infer`; the others are in the table. `admin` opens every route: it can make any key.
"""

import re
from collections.abc import Mapping
from typing import Any

from router.errors import Forbidden
from router.identity import Identity, Scope

Needed = tuple[Scope, ...]
INFER: Needed = ("infer",)
READ: Needed = ("read",)
EITHER: Needed = ("infer", "read")
ADMIN: Needed = ("admin",)
OPEN: Needed = ()

ROUTES: dict[tuple[str, str], Needed] = {
    ("GET", "/"): OPEN,
    ("GET", "/sw.js"): OPEN,
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    ("POST", "/v1/route"): INFER,
    ("POST", "/v1/decisions/browser"): INFER,
    ("GET", "/v1/models"): EITHER,
    ("GET", "/v1/models/{model_id}"): EITHER,
    ("GET", "/v1/intents"): EITHER,
    ("GET", "/v1/intents/{name}"): EITHER,
    ("GET", "/v1/intents/{name}/head"): EITHER,
    ("POST", "/v1/feedback"): EITHER,
    ("GET", "/v1/decisions"): READ,
    ("GET", "/v1/decisions/{decision_id}"): READ,
    ("POST", "/v1/analytics/sql"): READ,
    ("GET", "/v1/analytics/{question}"): READ,
    ("GET", "/v1/analytics/schema"): READ,
    ("POST", "/v1/replay"): READ,
    ("POST", "/v1/compare"): INFER,
    ("GET", "/v1/compare"): EITHER,
    ("GET", "/v1/compare/{run_id}"): EITHER,
    ("DELETE", "/v1/compare/{run_id}"): INFER,
    ("GET", "/v1/system"): READ,
    ("GET", "/metrics"): READ,
}
_TYPE = re.compile(r":\w+(?=})")  # a route is declared with the types of its parameters, and asked without them
PUBLIC = ("/schema/", "/ui/", "/browser-models/")  # the API's description, and the pages with what they load: the same
# at every server


def needed(method: str, template: str, opt: Mapping[str, Any]) -> Needed:
    """The scopes any one of which this route asks for; none where everybody may come in."""
    declared: Needed | None = opt.get("scopes")
    if declared is not None:
        return declared
    if opt.get("inference"):
        return INFER
    if method == "OPTIONS" or f"{template}/".startswith(PUBLIC):
        return OPEN
    return ROUTES.get(("GET" if method == "HEAD" else method, _TYPE.sub("", template)), ADMIN)


def check(sender: Identity, asked: Needed) -> None:
    """Let a sender pass that has one of these scopes.

    Raises:
        Forbidden: it has none of them.
    """
    if "admin" not in sender.scopes and sender.scopes.isdisjoint(asked):
        raise Forbidden(f"This needs a key or token with the scope {' or '.join(asked)}.")
