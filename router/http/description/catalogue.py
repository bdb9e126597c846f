"""The routes that show the catalogue and change it while requests run."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from router.editing.overlay import Origin
from router.http.catalogue import MOST_SNAPSHOTS
from router.http.description.inference import CHAT
from router.http.description.operation import EVENTS, Described, Example, Link, Told, events
from router.sections import AliasEntry, ModelEntry, RouteEntry

_NOBODY = "example/nobody"


class Whose(Told):
    """Whose word an entry is, what it stands in place of, and whether that says otherwise by now."""

    origin: Origin
    covers: Literal["built-in", "file"] | None
    outdated: bool
    enabled: bool
    enabled_at_run_time: bool | None


class ListedModel(Whose):
    """A model with its entry as it is in force."""

    id: str
    entry: ModelEntry


class ListedAlias(Whose):
    """An alias: `models` are those behind it, `entry` is what was written; null for a built-in one that is disabled."""

    name: str
    models: list[str]
    entry: AliasEntry | None


class ListedRoute(Told):
    """A route; without a name of its own it is called by its number."""

    name: str
    enabled: bool
    entry: RouteEntry


class ListedRoutes(Told):
    """All routes in their order. Once one is changed at run time, the whole list is its word."""

    origin: Literal["file", "run-time"]
    outdated: bool
    data: list[ListedRoute]
    object: Literal["list"] | UnsetType = UNSET


class ListedAliases(Told):
    """All aliases."""

    object: Literal["list"]
    data: list[ListedAlias]


class LastChange(Told):
    """Who changed what, in microseconds since 1970; null where nobody was asked who they are."""

    change: str
    author: str | None
    at_us: int


class EffectiveCatalog(Told):
    """What is in force; `outdated` and `warnings` are sentences that somebody should read."""

    snapshot: str
    last_change: LastChange | None
    models: list[ListedModel]
    aliases: list[ListedAlias]
    routes: ListedRoutes
    outdated: list[str]
    warnings: list[str]


class CatalogChange(Told):
    """The snapshot in force, whether it is another one, whose models changed, and what they lack."""

    snapshot: str
    changed: bool
    models: list[str]
    warnings: list[str]


class SnapshotTold(Told):
    """A catalogue that there was: since when (microseconds since 1970), and whose change it came of."""

    snapshot: str
    at_us: int
    author: str | None
    change: str


class SnapshotWhole(SnapshotTold):
    """The same with its content."""

    catalog: dict[str, Any]


class Snapshots(Told):
    """Snapshots, newest first, of `total`."""

    object: Literal["list"]
    data: list[SnapshotTold]
    total: int


class LoadedCandidate(Told):
    """A candidate that is loaded now."""

    candidate: str
    load_ms: float
    service_ms: float | None


class LoadedModel(Told):
    """How long each near candidate took to load (0: it was loaded), and then a small request; null: not measured."""

    model: str
    candidates: list[LoadedCandidate]


class UnloadedModel(Told):
    """The candidates whose memory was freed; none where nothing was loaded."""

    model: str
    freed: list[str]


_ETAG = ("etag",)
_MODEL = {
    "id": "example/chat",
    "task": "text-generation",
    "candidates": [{"backend": "fake", "price": {"input_per_1m_usd": 0.5, "output_per_1m_usd": 1.5}}],
}
_ROUTE = {"name": "example", "match": {"max_input_tokens": 1}, "enabled": False}


def _change(*errors: int, **examples: Example) -> Described:
    """An operation that changes the catalogue."""
    return Described(answer=CatalogChange, errors=(409, *errors), headers=_ETAG, examples=examples)


def _unknown(summary: str, body: Any = None, **parameters: Any) -> Example:
    return Example(summary=summary, body=body, parameters=parameters, status=404)


TABLE = {
    "GET /v1/catalog": Described(answer=EffectiveCatalog, headers=_ETAG),
    "GET /v1/catalog/snapshots": Described(
        answer=Snapshots,
        parameters={"limit": {"minimum": 1, "maximum": MOST_SNAPSHOTS}, "offset": {"minimum": 0, "maximum": 2**31}},
        links={
            "newest": Link(
                to="GET /v1/catalog/snapshots/{snapshot}", parameters={"snapshot": "$response.body#/data/0/snapshot"}
            )
        },
        examples={"last": Example(summary="The last five", parameters={"limit": 5})},
    ),
    "GET /v1/catalog/snapshots/{snapshot}": Described(
        answer=SnapshotWhole,
        examples={"none": _unknown("One that the log has not", snapshot="0000000000000000")},
    ),
    "POST /v1/catalog/rollback": _change(
        404, none=_unknown("To one that the log has not", {"snapshot": "0000000000000000"})
    ),
    "POST /v1/models": _change(
        added=Example(summary="A model with its price", body=_MODEL),
        taken=Example(summary="An id that is taken", body=_MODEL | {"id": CHAT}, status=409),
    ),
    "PATCH /v1/models/{model_id}": _change(
        enabled=Example(summary="Let it be asked", parameters={"model_id": CHAT}, body={"enabled": True}),
        none=_unknown("A model that nobody knows", {"enabled": False}, model_id=_NOBODY),
    ),
    "DELETE /v1/models/{model_id}": _change(none=_unknown("A model that nobody knows", model_id=_NOBODY)),
    "PUT /v1/loaded/{model_id}": Described(
        answer=LoadedModel,
        errors=(502, 503),
        examples={"none": _unknown("A model that nobody knows", model_id=_NOBODY)},
    ),
    "DELETE /v1/loaded/{model_id}": Described(
        answer=UnloadedModel,
        examples={
            "there": Example(summary="Free its memory, if it has any", parameters={"model_id": CHAT}),
            "none": _unknown("A model that nobody knows", model_id=_NOBODY),
        },
    ),
    "POST /v1/pulls": Described(
        media={
            EVENTS: events(
                "`progress` with `stage`, `done` and `total`; last `done` or `error`.", "progress", "done", "error"
            )
        },
        errors=(404, 409),
        examples={"none": _unknown("A model that nobody knows", {"model": _NOBODY})},
    ),
    "GET /v1/aliases": Described(answer=ListedAliases),
    "PUT /v1/aliases/{name}": _change(
        one=Example(summary="A name for a model", parameters={"name": "example"}, body={"models": [CHAT]})
    ),
    "PATCH /v1/aliases/{name}": _change(
        enabled=Example(summary="Let it be used", parameters={"name": "chat"}, body={"enabled": True})
    ),
    "DELETE /v1/aliases/{name}": _change(none=_unknown("An alias that nobody knows", name=_NOBODY)),
    "GET /v1/routes": Described(answer=ListedRoutes),
    "PUT /v1/routes": _change(none=Example(summary="No routes at all", body={"routes": []})),
    "POST /v1/routes": _change(
        404,
        last=Example(summary="One that takes nothing yet, behind all others", body={"route": _ROUTE}),
        before=_unknown("Before one that is not there", {"route": _ROUTE, "before": "nobody"}),
    ),
    "DELETE /v1/routes": _change(),
    "PUT /v1/routes/{name}": _change(none=_unknown("A route that is not there", _ROUTE, name="nobody")),
    "PATCH /v1/routes/{name}": _change(none=_unknown("A route that is not there", {"enabled": True}, name="nobody")),
    "DELETE /v1/routes/{name}": _change(none=_unknown("A route that is not there", name="nobody")),
}
