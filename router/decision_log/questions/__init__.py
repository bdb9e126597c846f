"""The named questions of analytics: one module each, and the door through which they are asked."""

from __future__ import annotations

from datetime import MAXYEAR
from typing import TYPE_CHECKING, Any

from router.decision_log.questions.base import GROUPED, Asked, Question
from router.decision_log.questions.break_even import BREAK_EVEN
from router.decision_log.questions.budgets import BUDGETS
from router.decision_log.questions.estimate_error import ESTIMATE_ERROR
from router.decision_log.questions.models import MODELS
from router.decision_log.questions.regret import REGRET
from router.decision_log.questions.savings import SAVINGS
from router.decision_log.questions.summary import SUMMARY
from router.decision_log.questions.timeseries import TIMESERIES
from router.errors import InvalidRequest

if TYPE_CHECKING:
    import duckdb

QUESTIONS: dict[str, Question] = {
    question.name: question
    for question in (SUMMARY, TIMESERIES, MODELS, ESTIMATE_ERROR, REGRET, SAVINGS, BREAK_EVEN, BUDGETS)
}
STEPS = ("auto", "minute", "hour", "day")


def answered(con: duckdb.DuckDBPyConnection, name: str, asked: Asked) -> dict[str, Any]:
    """Return the answer as JSON can say it: `question`, the range, `by`, `rows`, and what each column means.

    Raises:
        InvalidRequest: nobody knows the question, or it cannot be asked like this; names the field.
    """
    question = QUESTIONS.get(name)
    if question is None:
        raise InvalidRequest(f"question={name!r} is none of {', '.join(QUESTIONS)}.", param="question")
    by = question.by[0] if asked.by is None else asked.by
    if by not in question.by:
        raise InvalidRequest(f"by={by!r} is none of {', '.join(question.by)}.", param="by")
    if asked.step is not None and (not question.steps or asked.step not in STEPS):
        allowed = f"one of {', '.join(STEPS)}" if question.steps else "no part of this question"
        raise InvalidRequest(f"step={asked.step!r}: it is {allowed}.", param="step")
    for field in ("since", "until"):
        if (moment := getattr(asked, field)) and moment.year == MAXYEAR:  # the hour after may be beyond the calendar
            raise InvalidRequest(f"{field}={moment.isoformat()!r}: must be before the year {MAXYEAR}.", param=field)
    if asked.since and asked.until and asked.since >= asked.until:
        raise InvalidRequest("until: must be later than since.", param="until")
    found = question.answer(con, asked)
    return {
        "question": name,
        "says": question.says,
        "since": _iso(asked.since),
        "until": _iso(asked.until),
        "by": by,
        **found,
        "columns": {**({by: GROUPED[by]} if by in GROUPED else {}), **question.columns},
    }


def _iso(moment: Any) -> str | None:
    return None if moment is None else f"{moment.isoformat()}Z"
