"""The routes of intents: sets of example texts in, models of the catalogue out."""

from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from backends.local.intents.definition import Intent, IntentSet
from router.http.auditing import audited
from router.http.schemas import Body
from router.http.services import identity, services

OWN = {"scopes": ("infer",)}  # whoever may ask may also define: what a tenant defines is its own


class IntentBody(Body, kw_only=True, forbid_unknown_fields=True):
    """Texts that want the same thing, and what that is, in a few words."""

    examples: tuple[str, ...]
    description: str = ""


class IntentsBody(Body, kw_only=True, forbid_unknown_fields=True):
    """Intents to tell apart, by label; `unknown` are texts that want none of it, where there are some."""

    name: str
    intents: dict[str, IntentBody]
    unknown: tuple[str, ...] = ()


@post("/v1/intents", status_code=201, opt=OWN, summary="Define intents by example, and fit them here")
async def define(request: Request[Any, Any, Any], data: JSONBody[IntentsBody]) -> dict[str, Any]:
    """Fit a classifier, keep it, and answer with what was measured out of fold. A set of the same name is replaced.

    The set is then the model that `model` names, for text-classification: `intents/NAME`, and a mark behind it where it
    is a tenant's own. What an admin defines is everybody's.
    """
    intents = {label: Intent(given.examples, given.description) for label, given in data.intents.items()}
    wanted = IntentSet(name=data.name, intents=intents, unknown=data.unknown)
    house = services(request)
    async with audited(request, "intents.define", data.name):
        defined = await house.intents.define(wanted, identity(request).sees)
    house.finder.cache.clear(defined["model"])
    return defined


@get("/v1/intents", summary="The sets of intents, with what was measured of each")
async def every(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Every set that is one's own or everybody's; one whose file is damaged says so in `unavailable`."""
    return {"object": "list", "data": await services(request).intents.all(identity(request).sees)}


@get("/v1/intents/{name:str}", summary="One set of intents, with its definition")
async def one(request: Request[Any, Any, Any], name: FromPath[str]) -> dict[str, Any]:
    """What was measured of the set, and its examples, or 404 naming near ones."""
    return await services(request).intents.one(name, identity(request).sees)


@get("/v1/intents/{name:str}/head", summary="What tells a set's intents apart, to compute with")
async def head(request: Request[Any, Any, Any], name: FromPath[str]) -> dict[str, Any]:
    """The fitted head: with the embedder's vector of a text it gives the same probabilities elsewhere, as in a page.

    `builtin` is Nearfar's own set. Arrays are little-endian float32 in base64, one row a label. With `v` the vector at
    length 1: `z = weights v + bias`, `likeness = max(centres v) + energy_share T log sum exp(z / T) + direction v,1`,
    and the probabilities are `softmax(z / T, max(z / T) + slope (threshold - likeness))`, the last that of `unknown`.
    `probe` is the embedder's vector of `probe_text`: whoever computes vectors elsewhere compares them by it.
    """
    return await services(request).intents.head(name, identity(request).sees)


@delete("/v1/intents/{name:str}", status_code=200, opt=OWN, summary="Forget a set of intents")
async def remove(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[dict[str, Any]]:
    """Delete the set, its file and its model."""
    house = services(request)
    async with audited(request, "intents.remove", name):
        house.finder.cache.clear(await house.intents.remove(name, identity(request).sees))
    return Response({"name": name, "deleted": True})
