"""The route that replays a policy on the logged traffic: in a thread, one at a time, within rows and time."""

import asyncio
import threading
from dataclasses import replace
from typing import Annotated, Any

from litestar import Request, post
from litestar.params import JSONBody
from msgspec import Meta, Struct, to_builtins

from policies.types import Weights
from router.decision_log.windows import Window
from router.errors import ReplayStopped
from router.http.decisions import utc_instant
from router.http.schemas import Body, NonNegative
from router.http.services import reader, services
from router.planning import parameters_of
from router.replay.replayed import Asked, Clock, replay

TIME_LIMIT_S = 120.0
MAX_ROWS = 200_000


class WeightsBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `balanced` weighs; only the ratios matter."""

    latency: NonNegative = 1.0
    cost: NonNegative = 1.0
    quality: NonNegative = 1.0


class ReplayBody(Body, kw_only=True, forbid_unknown_fields=True):
    """Which policy, on which decisions. `deadline_ms` is what counts as late, where not each request's own deadline."""

    policy: Annotated[str, Meta(min_length=1, max_length=100)]
    since: str | None = None
    until: str | None = None
    task: str | None = None
    model: str | None = None
    weights: WeightsBody | None = None
    baselines: bool = False
    deadline_ms: Annotated[float, Meta(gt=0)] | None = None
    watched: bool = False
    max_rows: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = 50_000


@post("/v1/replay", status_code=200, summary="What another policy would have cost and taken, with intervals")
async def replay_policy(request: Request[Any, Any, Any], data: JSONBody[ReplayBody]) -> dict[str, Any]:
    """Replay a policy or a named baseline. A figure the log cannot support is refused in it, with the reason."""
    house = services(request)
    window = Window(
        since=utc_instant("since", data.since),
        until=utc_instant("until", data.until),
        task=data.task,
        model=data.model,
        max_rows=data.max_rows,
    )
    given = parameters_of(house.settings.routing)
    if data.weights is not None:
        given = replace(given, weights=Weights(**to_builtins(data.weights)))
    asked = Asked(
        policy=data.policy,
        given=given,
        baselines=data.baselines,
        deadline_ms=data.deadline_ms,
        watched=data.watched,
    )
    if house.replay_place.locked():
        raise ReplayStopped("Another replay is running here; ask again when it has ended.")
    stop = threading.Event()
    async with house.replay_place:
        await house.log.committed()
        try:
            clock = Clock(TIME_LIMIT_S, stop, polite=True)
            answer = await asyncio.to_thread(replay, reader(request), window, asked, clock)
        finally:
            stop.set()  # a client that went away leaves no thread behind
    found: dict[str, Any] = to_builtins(answer)
    return found
