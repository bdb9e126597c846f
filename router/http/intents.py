"""The routes of intents: sets of example texts in, models of the catalogue out."""

from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from backends.local.intents.definition import Intent, IntentSet
from router.http.schemas import Body
from router.http.services import services
from router.intents.sets import PREFIX


class IntentBody(Body, kw_only=True, forbid_unknown_fields=True):
    """Texts that want the same thing, and what that is, in a few words."""

    examples: tuple[str, ...]
    description: str = ""


class IntentsBody(Body, kw_only=True, forbid_unknown_fields=True):
    """Intents to tell apart, by label; `unknown` are texts that want none of it, where there are some."""

    name: str
    intents: dict[str, IntentBody]
    unknown: tuple[str, ...] = ()


@post("/v1/intents", status_code=201, summary="Define intents by example, and fit them here")
async def define(request: Request[Any, Any, Any], data: JSONBody[IntentsBody]) -> dict[str, Any]:
    """Fit a classifier, keep it, and answer with what was measured out of fold. A set of the same name is replaced.

    The set is then the model `intents/NAME` for text-classification.
    """
    intents = {label: Intent(given.examples, given.description) for label, given in data.intents.items()}
    wanted = IntentSet(name=data.name, intents=intents, unknown=data.unknown)
    house = services(request)
    defined = await house.intents.define(wanted)
    house.finder.cache.clear(f"{PREFIX}{data.name}")
    return defined


@get("/v1/intents", summary="The sets of intents, with what was measured of each")
async def every(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Every set of this server; one whose file is damaged says so in `unavailable`."""
    return {"object": "list", "data": await services(request).intents.all()}


@get("/v1/intents/{name:str}", summary="One set of intents, with its definition")
async def one(request: Request[Any, Any, Any], name: FromPath[str]) -> dict[str, Any]:
    """What was measured of the set, and its examples, or 404 naming near ones."""
    return await services(request).intents.one(name)


@delete("/v1/intents/{name:str}", status_code=200, summary="Forget a set of intents")
async def remove(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[dict[str, Any]]:
    """Delete the set, its file and its model."""
    house = services(request)
    await house.intents.remove(name)
    house.finder.cache.clear(f"{PREFIX}{name}")
    return Response({"name": name, "deleted": True})
