"""OpenAI's routes for batches: a file of requests is worked through in the background, and its progress is told."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from router.batches.service import Batches
from router.batches.types import Batch, Fault, Given, State
from router.errors import InvalidRequest
from router.http.schemas import Body, Name, NonNegative, RoutingBody, check_within
from router.http.services import identity

Value = Annotated[str, Meta(max_length=512)]
Key = Annotated[str, Meta(max_length=64)]
MOST_LISTED = 100
ASKING: dict[str, Any] = {"scopes": ("infer",)}
LOOKING: dict[str, Any] = {"scopes": ("infer", "read")}


class ExpiryBody(Body, kw_only=True, forbid_unknown_fields=True):
    """How long what comes out of a batch is kept, in seconds from when it is made."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=3600, le=2_592_000)]


class BatchBody(Body, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/batches`. `routing` and `max_cost_usd` are ours.

    `routing` holds for lines that say nothing themselves. Once `max_cost_usd` is spent no further line begins: what is
    under way then may go over it.
    """

    input_file_id: Name
    endpoint: Name
    completion_window: Name = "24h"
    metadata: Annotated[dict[Key, Value], Meta(max_length=16)] | None = None
    output_expires_after: ExpiryBody | None = None
    routing: RoutingBody | None = None
    max_cost_usd: NonNegative | None = None


def batches_of(request: Request[Any, Any, Any]) -> Batches:
    """The batches of the app that this request came to."""
    found: Batches = request.app.state.batches
    return found


@post("/v1/batches", status_code=200, opt=ASKING, summary="Work through a file of requests")
async def make(request: Request[Any, Any, Any], data: JSONBody[BatchBody]) -> dict[str, Any]:
    """Each line of the file is a request of its own, run when nobody waits for this machine, or at the least cost."""
    given = Given(
        input_file_id=data.input_file_id,
        endpoint=data.endpoint,
        completion_window=data.completion_window,
        metadata=data.metadata,
        routing={} if data.routing is None else _said(data.routing),
        max_cost_usd=data.max_cost_usd,
        output_expires_s=None if data.output_expires_after is None else data.output_expires_after.seconds,
    )
    return shown(await batches_of(request).make(given, identity(request).tenant))


@get("/v1/batches", opt=LOOKING, summary="Your batches")
async def every(
    request: Request[Any, Any, Any], limit: FromQuery[int] = 20, after: FromQuery[str | None] = None
) -> dict[str, Any]:
    """Page through batches, newest first; `after` is the last id of the page before."""
    sees = identity(request).sees
    own = [batch for batch in batches_of(request).store.batches.values() if sees in {None, batch.tenant}]
    return page([shown(batch) for batch in own[::-1]], limit=limit, most=MOST_LISTED, after=after)


@get("/v1/batches/{batch_id:str}", opt=LOOKING, summary="One batch, and how far it is")
async def one(request: Request[Any, Any, Any], batch_id: FromPath[str]) -> dict[str, Any]:
    """Its status, and how many of its lines are answered or failed, as it is now."""
    return shown(batches_of(request).store.batch(batch_id, identity(request).sees))


@post("/v1/batches/{batch_id:str}/cancel", status_code=200, opt=ASKING, summary="Cancel a batch")
async def cancel(request: Request[Any, Any, Any], batch_id: FromPath[str]) -> dict[str, Any]:
    """No further line begins; what is answered by then is in its files."""
    return shown(await batches_of(request).cancel(batch_id, identity(request).sees))


HANDLERS = (make, every, one, cancel)


def shown(batch: Batch) -> dict[str, Any]:
    """A batch in OpenAI's shape, with what only we know under `nearfar`. Its files are told once they are there."""
    times = {f"{state}_at": batch.at.get(state) for state in _TIMED}
    written = batch.ended and "in_progress" in batch.at
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": [_fault(fault) for fault in batch.errors]} if batch.errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.state,
        "output_file_id": batch.output_file_id if written and batch.completed else None,
        "error_file_id": batch.error_file_id if written and batch.failed else None,
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
        **times,
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata,
        "nearfar": {
            "cost_usd": batch.cost_usd,
            "unpriced": batch.unpriced,
            "max_cost_usd": batch.max_cost_usd,
            "routing": batch.routing or None,
        },
    }


_TIMED: tuple[State, ...] = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


def _fault(fault: Fault) -> dict[str, Any]:
    return {"code": fault.code, "message": fault.message, "line": fault.line, "param": None}


def _said(routing: RoutingBody) -> dict[str, Any]:
    """What a routing says: its fields that are not as they are when nothing is said."""
    usual: dict[str, Any] = msgspec.to_builtins(RoutingBody())
    given: dict[str, Any] = msgspec.to_builtins(routing)
    return {name: value for name, value in given.items() if value != usual[name]}


def page(items: list[dict[str, Any]], *, limit: int, most: int, after: str | None) -> dict[str, Any]:
    """One page of a list, as OpenAI's clients read it.

    Raises:
        InvalidRequest: the limit is out of bounds, or nothing listed has the id `after`.
    """
    check_within("limit", limit, 1, most)
    start = 0
    if after is not None:
        start = next((index + 1 for index, item in enumerate(items) if item["id"] == after), 0)
        if not start:
            raise InvalidRequest(f"after: {after[:100]!r} is not in the list.", param="after")
    shown_now = items[start : start + limit]
    return {
        "object": "list",
        "data": shown_now,
        "first_id": shown_now[0]["id"] if shown_now else None,
        "last_id": shown_now[-1]["id"] if shown_now else None,
        "has_more": start + limit < len(items),
    }
