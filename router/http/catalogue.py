"""The routes that show the catalogue with whose word each entry is, and change it while requests run.

All are for admins, as every route is that says nothing else (`router.http.scopes`), and changes are written into the
audit. Two who change it at once do not overwrite each other: whoever sends the snapshot that was seen, as `If-Match` or
as the query's `snapshot`, is refused with 409 where another one is in force by then.
"""

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from router.editing import changes, snapshots, telling
from router.editing.changes import AliasPatch, Change, ModelPatch
from router.editing.in_force import Swap
from router.http.auditing import audited
from router.http.schemas import Body, Name, check_within, path_name
from router.http.services import identity, reader, services
from router.section_of_routing import OnStreamFailure
from router.sections import AliasEntry, ModelEntry, RouteEntry

MOST_SNAPSHOTS = 500


class AliasBody(Body, kw_only=True, forbid_unknown_fields=True):
    """An alias; its name is in the path."""

    models: Annotated[tuple[Name, ...], Meta(min_length=1)]
    fallbacks: tuple[Name, ...] = ()
    policy: str | None = None
    on_stream_failure: OnStreamFailure | None = None
    enabled: bool = True


class RoutesBody(Body, kw_only=True, forbid_unknown_fields=True):
    """All routes, in their order: the first that matches a request decides."""

    routes: tuple[RouteEntry, ...]


class RouteBody(Body, kw_only=True, forbid_unknown_fields=True):
    """One route, and the name of the one that it comes before; behind all where that is absent."""

    route: RouteEntry
    before: str | None = None


class EnabledBody(Body, kw_only=True, forbid_unknown_fields=True):
    """Whether it takes requests."""

    enabled: bool


class RollbackBody(Body, kw_only=True, forbid_unknown_fields=True):
    """The snapshot whose run-time changes are wanted again."""

    snapshot: Name


@get("/v1/catalog", summary="The catalogue in force, with whose word each entry is")
async def catalog(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Models, aliases and routes, each built in, the file's or changed at run time, and the snapshot they are."""
    in_force = services(request).in_force
    told = await asyncio.to_thread(telling.catalogue, in_force.made, in_force.kept)
    return Response(told, headers={"etag": f'"{told["snapshot"]}"'})


@get("/v1/catalog/snapshots", summary="Every catalogue there was, newest first")
async def every(
    request: Request[Any, Any, Any], limit: FromQuery[int] = 50, offset: FromQuery[int] = 0
) -> dict[str, Any]:
    """One entry a change: who made it, when, and the snapshot it came to. Decisions name theirs in `catalog`."""
    check_within("limit", limit, 1, MOST_SNAPSHOTS)
    check_within("offset", offset, 0, 2**31)
    await services(request).log.committed()
    found, total = await asyncio.to_thread(snapshots.listed, reader(request), limit, offset)
    return {"object": "list", "data": found, "total": total}


@get("/v1/catalog/snapshots/{snapshot:str}", summary="One catalogue as it was")
async def one(request: Request[Any, Any, Any], snapshot: FromPath[str]) -> dict[str, Any]:
    """The whole of it: what decisions that name this snapshot were made from."""
    await services(request).log.committed()
    return await asyncio.to_thread(snapshots.one, reader(request), snapshot)


@post("/v1/catalog/rollback", status_code=200, summary="Go back to an earlier catalogue")
async def rollback(
    request: Request[Any, Any, Any], data: JSONBody[RollbackBody], snapshot: FromQuery[str | None] = None
) -> Response[dict[str, Any]]:
    """Have that snapshot's run-time changes again, over the file as it is now: the same catalogue if it is the same.

    `snapshot` of the query is, as everywhere, the one that is believed to be in force.
    """
    in_force, expected = services(request).in_force, _expected(request, snapshot)
    async with audited(request, changes.CHANGE, f"rollback to {data.snapshot}"):
        swap = await in_force.rollback(data.snapshot, _author(request), expected)
    return _answer(swap)


@post("/v1/models", summary="Add a model")
async def add_model(
    request: Request[Any, Any, Any], data: JSONBody[ModelEntry], snapshot: FromQuery[str | None] = None
) -> Response[dict[str, Any]]:
    """Take a model into the catalogue, as `[[models]]` of the configuration would; 409 where there is one of its id."""
    return await _changed(request, changes.add_model(data), snapshot, status_code=201)


@patch("/v1/models/{model_id:path}", summary="Change a model, its prices, or whether it is asked")
async def change_model(
    request: Request[Any, Any, Any],
    model_id: FromPath[str],
    data: JSONBody[ModelPatch],
    snapshot: FromQuery[str | None] = None,
) -> Response[dict[str, Any]]:
    """What is given replaces what was, null is the default again. Also of a model of the file, which stays as it is."""
    return await _changed(request, changes.patch_model(path_name(model_id), data), snapshot)


@delete("/v1/models/{model_id:path}", status_code=200, summary="Take back what was changed of a model")
async def remove_model(
    request: Request[Any, Any, Any], model_id: FromPath[str], snapshot: FromQuery[str | None] = None
) -> Response[dict[str, Any]]:
    """Remove a model that was added; one of the file is as the file has it again."""
    return await _changed(request, changes.delete_model(path_name(model_id)), snapshot)


@get("/v1/aliases", summary="The aliases, with whose word each is")
async def aliases(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Built-in ones, the file's and those made at run time, disabled ones too."""
    return {"object": "list", "data": telling.aliases(services(request).in_force.made)}


@put("/v1/aliases/{name:path}", summary="Set an alias")
async def set_alias(
    request: Request[Any, Any, Any],
    name: FromPath[str],
    data: JSONBody[AliasBody],
    snapshot: FromQuery[str | None] = None,
) -> Response[dict[str, Any]]:
    """Make an alias, or put it in place of the one of its name."""
    entry = AliasEntry(name=path_name(name), **msgspec.structs.asdict(data))
    return await _changed(request, changes.put_alias(entry), snapshot)


@patch("/v1/aliases/{name:path}", summary="Change an alias")
async def change_alias(
    request: Request[Any, Any, Any],
    name: FromPath[str],
    data: JSONBody[AliasPatch],
    snapshot: FromQuery[str | None] = None,
) -> Response[dict[str, Any]]:
    """What is given replaces what was, null is the default again."""
    return await _changed(request, changes.patch_alias(path_name(name), data), snapshot)


@delete("/v1/aliases/{name:path}", status_code=200, summary="Take back what was changed of an alias")
async def remove_alias(
    request: Request[Any, Any, Any], name: FromPath[str], snapshot: FromQuery[str | None] = None
) -> Response[dict[str, Any]]:
    """Remove an alias that was made; one of the file is as the file has it again."""
    return await _changed(request, changes.delete_alias(path_name(name)), snapshot)


@get("/v1/routes", summary="The routes in their order")
async def routes(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The first that matches a request decides. `origin` says whose list it is."""
    return {"object": "list", **telling.routes(services(request).in_force.made.held)}


@put("/v1/routes", summary="Set all routes")
async def set_routes(
    request: Request[Any, Any, Any], data: JSONBody[RoutesBody], snapshot: FromQuery[str | None] = None
) -> Response[dict[str, Any]]:
    """Put a whole list in place of the one there is."""
    return await _changed(request, changes.put_routes(data.routes), snapshot)


@post("/v1/routes", summary="Insert a route")
async def insert_route(
    request: Request[Any, Any, Any], data: JSONBody[RouteBody], snapshot: FromQuery[str | None] = None
) -> Response[dict[str, Any]]:
    """Put a route before another one, or behind all."""
    return await _changed(request, changes.insert_route(data.route, data.before), snapshot, status_code=201)


@delete("/v1/routes", status_code=200, summary="Take the file's routes again")
async def reveal_routes(
    request: Request[Any, Any, Any], snapshot: FromQuery[str | None] = None
) -> Response[dict[str, Any]]:
    """Forget every change of the routes."""
    return await _changed(request, changes.reveal_routes(), snapshot)


@put("/v1/routes/{name:path}", summary="Change a route")
async def change_route(
    request: Request[Any, Any, Any],
    name: FromPath[str],
    data: JSONBody[RouteEntry],
    snapshot: FromQuery[str | None] = None,
) -> Response[dict[str, Any]]:
    """Put a route in the place of the one of this name; it may have another name itself."""
    return await _changed(request, changes.replace_route(path_name(name), data), snapshot)


@patch("/v1/routes/{name:path}", summary="Enable or disable a route")
async def enable_route(
    request: Request[Any, Any, Any],
    name: FromPath[str],
    data: JSONBody[EnabledBody],
    snapshot: FromQuery[str | None] = None,
) -> Response[dict[str, Any]]:
    """A disabled route keeps its place, and takes no request."""
    return await _changed(request, changes.enable_route(path_name(name), enabled=data.enabled), snapshot)


@delete("/v1/routes/{name:path}", status_code=200, summary="Remove a route")
async def remove_route(
    request: Request[Any, Any, Any], name: FromPath[str], snapshot: FromQuery[str | None] = None
) -> Response[dict[str, Any]]:
    """The others keep their order; one without a name may be called by another number then."""
    return await _changed(request, changes.delete_route(path_name(name)), snapshot)


HANDLERS = (
    catalog, every, one, rollback, add_model, change_model, remove_model, aliases, set_alias, change_alias,
    remove_alias, routes, set_routes, insert_route, reveal_routes, change_route, enable_route, remove_route,
)  # fmt: skip


async def _changed(
    request: Request[Any, Any, Any], change: Change, snapshot: str | None, *, status_code: int = 200
) -> Response[dict[str, Any]]:
    in_force, expected = services(request).in_force, _expected(request, snapshot)
    async with audited(request, changes.CHANGE, change.said):
        swap = await in_force.change(change, _author(request), expected)
    return _answer(swap, status_code)


def _answer(swap: Swap, status_code: int = 200) -> Response[dict[str, Any]]:
    """The snapshot in force, whether it is another one, whose models have changed, and what they lack."""
    told = {
        "snapshot": swap.snapshot,
        "changed": swap.changed,
        "models": sorted(swap.models),
        "warnings": swap.warnings,
    }
    return Response(told, status_code=status_code, headers={"etag": f'"{swap.snapshot}"'})


def _expected(request: Request[Any, Any, Any], snapshot: str | None) -> str | None:
    """The snapshot that its sender believes to be in force; None where that is not said."""
    tag = request.headers.get("if-match")
    return snapshot if tag is None else tag.strip().removeprefix("W/").strip('"')


def _author(request: Request[Any, Any, Any]) -> str | None:
    return identity(request).tenant or None
