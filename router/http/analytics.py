"""The routes that answer the named questions of analytics, and say what there is to query. Reading runs in a thread."""

import asyncio
from typing import Any

from litestar import Request, get
from litestar.params import FromPath, FromQuery

from router.decision_log.columns import VIEWS
from router.decision_log.questions import QUESTIONS
from router.http.decisions import instant
from router.http.services import reader, services

QUESTION_S = 30.0
"""How long one query of a question may run."""


@get("/v1/analytics/{question:str}", summary="A named question over the log: summary, timeseries, models, ...")
async def question(
    request: Request[Any, Any, Any],
    question: FromPath[str],
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    by: FromQuery[str | None] = None,
    step: FromQuery[str | None] = None,
) -> dict[str, Any]:
    """Answer it over a range of time; `columns` of the answer says what each figure means."""
    house = services(request)
    span = {"since": instant("since", since), "until": instant("until", until)}
    await house.log.committed()
    async with house.sql_places:  # as for SQL: a long question never takes the threads that other reads need
        return await asyncio.to_thread(reader(request).ask, question, by=by, step=step, timeout_s=QUESTION_S, **span)


@get("/v1/analytics/schema", summary="What there is to query: questions, and the views with their columns")
async def schema() -> dict[str, Any]:
    """Every named question with what it may be asked by, and every column that SQL can read."""
    return {
        "questions": {
            name: {"says": found.says, "by": found.by, "steps": found.steps, "columns": found.columns}
            for name, found in QUESTIONS.items()
        },
        "views": VIEWS,
    }
