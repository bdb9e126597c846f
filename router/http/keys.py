"""The routes of API keys, and of what admins did: for admins alone. A secret is shown once, where it is made."""

import asyncio
import time
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from router.access.keys import MAX_OVERLAP_S, Limits, Wanted
from router.access.told import issued, told
from router.errors import InvalidRequest
from router.http.auditing import audited
from router.http.schemas import Body, check_within
from router.http.services import services
from router.section import Count

OVERLAP_S = 3600.0
ONCE = {"cache-control": "no-store"}


class KeyBody(Body, kw_only=True, forbid_unknown_fields=True):
    """A key to be made. Limits that are absent are those of the configuration."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    scopes: tuple[str, ...] = ("infer", "read")
    expires_in_s: Annotated[float, Meta(ge=1, le=100 * 366 * 86400)] | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrency: Count | None = None


class RotationBody(Body, kw_only=True, forbid_unknown_fields=True):
    """For how many seconds the secrets there were still work."""

    overlap_s: Annotated[float, Meta(ge=0, le=MAX_OVERLAP_S)] = OVERLAP_S


@get("/v1/keys", summary="The API keys, without their secrets")
async def every(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Every key, revoked and expired ones too, oldest first; `mode` says whether anybody is asked for one."""
    keyring = services(request).access.keyring
    await asyncio.to_thread(keyring.reread)
    now = time.time()
    access = services(request).access
    return {"object": "list", "mode": access.mode, "data": [told(key, now) for key in keyring.keys]}


@post("/v1/keys", status_code=201, summary="Make an API key; its secret is shown this once")
async def create(request: Request[Any, Any, Any], data: JSONBody[KeyBody]) -> Response[dict[str, Any]]:
    """A name is given once: what is asked with a key is found under it for ever."""
    limits = Limits(
        requests_per_minute=data.requests_per_minute,
        tokens_per_minute=data.tokens_per_minute,
        concurrency=data.concurrency,
    )
    wanted = Wanted(name=data.name, scopes=data.scopes, expires_in_s=data.expires_in_s, limits=limits)
    access = services(request).access
    async with audited(request, "keys.create", data.name):
        if access.divided and limits != Limits():
            raise InvalidRequest("Limits: the several workers of this server cannot keep them together.")
        made = await access.keyring.create(wanted)
    return Response(issued(made, time.time()), headers=ONCE)


@delete("/v1/keys/{name:str}", status_code=200, summary="Revoke an API key, at once and for ever")
async def revoke(request: Request[Any, Any, Any], name: FromPath[str]) -> dict[str, Any]:
    """The key opens nothing any more. It stays in the list, and its name is not given again."""
    async with audited(request, "keys.revoke", name):
        key = await services(request).access.keyring.revoke(name)
    return told(key, time.time())


@post("/v1/keys/{name:str}/rotate", status_code=201, summary="Give an API key a new secret, shown this once")
async def rotate(
    request: Request[Any, Any, Any], name: FromPath[str], data: JSONBody[RotationBody]
) -> Response[dict[str, Any]]:
    """The secrets that it had still work for `overlap_s` seconds (an hour, if nothing is said)."""
    async with audited(request, "keys.rotate", name):
        made = await services(request).access.keyring.rotate(name, data.overlap_s)
    return Response(issued(made, time.time()), headers=ONCE)


@get("/v1/audit", summary="What admins did, newest first")
async def audit_log(request: Request[Any, Any, Any], limit: FromQuery[int] = 100) -> dict[str, Any]:
    """Who did what to what, when, from where, and how it ended."""
    check_within("limit", limit, 1, 1000)
    found = await asyncio.to_thread(services(request).access.audit.newest, limit)
    return {"object": "list", "data": msgspec.to_builtins(found)}
