"""The routes of comparisons: a few inputs on up to four candidates, run in the background, and what came of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, convert, field, to_builtins

from router.compare.kept import run_of, votes_in
from router.compare.report import report_of
from router.compare.run import Metric, Run
from router.compare.service import Comparisons
from router.compare.suite import PRINTED, Suite, check
from router.compare.votes import Vote
from router.errors import InvalidRequest, NoSuchResource
from router.http.comparing import parts_of
from router.http.schemas import Body, Name, NonNegative, Seed, check_within
from router.http.services import Services, identity, reader, services

MOST_LISTED = 100
MOST_INPUTS, MOST_CANDIDATES, MOST_REPEATS, MOST_WARM_UP, MOST_CALLERS = 20, 4, 10, 5, 16
RUN = "run"

State = Literal["running", "completed", "stopped", "interrupted"]


class InputBody(Body, kw_only=True, forbid_unknown_fields=True):
    """An input as `POST /v1/inference` takes it (files as base64), and what a right answer to it is."""

    input: str | list[Any]
    expected: str | list[Any] | None = None


class CandidateBody(Body, kw_only=True, forbid_unknown_fields=True):
    """One candidate of a model, by what tells it apart; `runtime` is what computes it here."""

    model: Name
    name: Annotated[str, Meta(max_length=100, pattern=PRINTED)] = ""
    candidate: Name | None = None
    backend: Literal["local", "remote", "fake"] | None = None
    provider: Name | None = None
    runtime: Name | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


class CompareBody(Body, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/compare`: a suite. Either `concurrency` (callers) or `rate_per_s` (arrivals, of all candidates)."""

    task: Name
    inputs: Annotated[list[str | InputBody], Meta(min_length=1, max_length=MOST_INPUTS)]
    candidates: Annotated[list[CandidateBody], Meta(min_length=2, max_length=MOST_CANDIDATES)]
    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=PRINTED)] = "compare"
    parameters: dict[str, Any] = field(default_factory=dict)
    concurrency: Annotated[int, Meta(ge=1, le=MOST_CALLERS)] | None = None
    rate_per_s: Annotated[float, Meta(gt=0, le=100)] | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    repeats: Annotated[int, Meta(ge=1, le=MOST_REPEATS)] = 3
    warm_up: Annotated[int, Meta(ge=0, le=MOST_WARM_UP)] = 1
    seed: Seed = 0
    stream: bool | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 60.0
    budget_usd: NonNegative | None = None
    metric: Metric | None = None
    reference: Name | None = None


@asynccontextmanager
async def comparing(house: Services) -> AsyncGenerator[Comparisons, None]:
    """The comparisons of a house, running inside."""
    comparisons = Comparisons(await parts_of(house))
    try:
        yield comparisons
    finally:
        await comparisons.aclose()


def comparisons_of(request: Request[Any, Any, Any]) -> Comparisons:
    """The comparisons of the app that this request came to."""
    found: Comparisons = request.app.state.comparisons
    return found


@post("/v1/compare", status_code=202, summary="Compare candidates on the same inputs")
async def start(request: Request[Any, Any, Any], data: JSONBody[CompareBody]) -> dict[str, Any]:
    """Models are loaded first; then the run goes on in the background, and its id says how far it is.

    Trials are decisions of their sender's, within its budgets; nothing is learnt of them. One run at a time.
    """
    suite = convert(to_builtins(data), Suite)
    check(suite)
    run = await comparisons_of(request).start(suite, identity(request).tenant)
    return _told(run, "running", len(run.trials))


@get("/v1/compare", summary="Your comparisons")
async def every(request: Request[Any, Any, Any], limit: FromQuery[int] = 20) -> dict[str, Any]:
    """The newest runs, without their findings."""
    check_within("limit", limit, 1, MOST_LISTED)
    await services(request).log.committed()
    rows = await asyncio.to_thread(reader(request).comparisons, limit)
    return {"data": [_told(run := run_of(row), _state(request, run), row["finished"]) for row in rows]}


@get("/v1/compare/{run_id:str}", summary="One comparison: how far it is, and what it says so far")
async def one(request: Request[Any, Any, Any], run_id: FromPath[str]) -> dict[str, Any]:
    """The findings are those of the trials that have ended; afterwards, feedback on their decisions counts as votes."""
    running = comparisons_of(request).under_way(run_id, identity(request).sees)
    if running is not None:
        return await _whole(running.run, "running", [])
    await services(request).log.committed()
    row = await asyncio.to_thread(reader(request).comparison, run_id)
    if row is None:
        raise NoSuchResource(RUN, run_id)
    run = run_of(row)
    return await _whole(run, _state(request, run), votes_in(row))


@delete("/v1/compare/{run_id:str}", status_code=200, summary="Cancel a comparison")
async def cancel(request: Request[Any, Any, Any], run_id: FromPath[str]) -> dict[str, Any]:
    """Nothing more is sent; what was answered is kept."""
    cancelled = await comparisons_of(request).cancel(run_id, identity(request).sees)
    await services(request).log.committed()
    row = await asyncio.to_thread(reader(request).comparison, run_id)
    if row is None:
        raise NoSuchResource(RUN, run_id)
    if not cancelled:
        raise InvalidRequest(f"The run {run_id} is not under way: there is nothing to cancel.")
    run = run_of(row)
    return _told(run, _state(request, run), len(run.trials))


HANDLERS = (start, every, one, cancel)


def _state(request: Request[Any, Any, Any], run: Run) -> State:
    if comparisons_of(request).under_way(run.run_id, None) is not None:
        return "running"
    if run.ended_at is None:
        return "interrupted"
    return "completed" if run.stopped is None else "stopped"


async def _whole(run: Run, state: State, votes: list[Vote]) -> dict[str, Any]:
    report = await asyncio.to_thread(report_of, run, votes)
    return _told(run, state, len(run.trials)) | {"report": to_builtins(report)}


def _told(run: Run, state: State, finished: int) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "suite": run.suite,
        "task": run.task,
        "status": state,
        "planned": run.planned,
        "finished": finished,
        "candidates": [served.name for served in run.candidates],
        "started_at": to_builtins(run.started_at),
        "ended_at": to_builtins(run.ended_at),
        "stopped": run.stopped,
    }
