"""The routes that read the decision log: decisions one by one, and SQL over its views. Reading runs in a thread."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from router.errors import InvalidRequest
from router.explanation.told import explained
from router.http.schemas import Body, check_within
from router.http.services import reader, services


class SqlBody(Body, kw_only=True, forbid_unknown_fields=True):
    """One SELECT over the log's views, and how many rows of its answer are wanted."""

    query: Annotated[str, Meta(min_length=1, max_length=20_000)]
    max_rows: Annotated[int, Meta(ge=1, le=10_000)] = 1000


@get("/v1/decisions", summary="The decision log, newest first")
async def decisions(  # noqa: PLR0913, PLR0917 -- one argument per documented filter
    request: Request[Any, Any, Any],
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    model: FromQuery[str | None] = None,
    task: FromQuery[str | None] = None,
    backend: FromQuery[str | None] = None,
    policy: FromQuery[str | None] = None,
    status: FromQuery[str | None] = None,
    limit: FromQuery[int] = 50,
    cursor: FromQuery[str | None] = None,
) -> dict[str, Any]:
    """Page through decisions; `next_cursor` of one page is `cursor` of the next. Rows may lag by the flush interval."""
    check_within("limit", limit, 1, 500)
    filters = {"model": model, "task": task, "backend": backend, "policy": policy, "status": status}
    rows, next_cursor = await asyncio.to_thread(
        reader(request).decisions,
        since=instant("since", since),
        until=instant("until", until),
        limit=limit,
        cursor=cursor,
        **filters,
    )
    return {"object": "list", "data": rows, "next_cursor": next_cursor}


@get("/v1/decisions/{decision_id:str}", summary="One decision, with its slate, its attempts and why")
async def decision(request: Request[Any, Any, Any], decision_id: FromPath[str]) -> dict[str, Any]:
    """Everything the log knows of one decision, and its explanation, waiting first for its rows to be committed."""
    log = services(request).log
    await log.committed()
    found = await asyncio.to_thread(reader(request).decision, decision_id)
    if found is None:
        raise NotFoundException(f"No decision {decision_id!r} in the log.")
    inputs = await asyncio.to_thread(reader(request).inputs, decision_id)
    return found | {"inputs": inputs, "explanation": msgspec.to_builtins(explained(found))}


@post("/v1/analytics/sql", status_code=200, summary="Read-only SQL over the log's views")
async def sql(request: Request[Any, Any, Any], data: JSONBody[SqlBody]) -> dict[str, Any]:
    """Run one SELECT over `decisions`, `attempts`, `candidates`, ... with row, time and memory limits.

    Whoever is no admin has these views of its own rows alone.
    """
    house = services(request)
    await house.log.committed()
    async with house.sql_places:  # queries of users never take the threads that other reads need
        answer = await asyncio.to_thread(reader(request).sql, data.query, max_rows=data.max_rows)
    return {
        "columns": answer.columns,
        "types": answer.types,
        "rows": answer.rows,
        "truncated": answer.truncated,
    }


def instant(name: str, text: str | None) -> datetime | None:
    """An ISO 8601 instant; without an offset it is UTC.

    Raises:
        InvalidRequest: it is none; names the parameter.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{name}: {text!r} is not an ISO 8601 instant.", param=name) from error


def utc_instant(name: str, text: str | None) -> datetime | None:
    """The same without its zone, as the log keeps it.

    Raises:
        InvalidRequest: it is no instant.
    """
    found = instant(name, text)
    return None if found is None else found.replace(tzinfo=None)
