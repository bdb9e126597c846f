"""The routes that read the decision log and what is made of it, and the one that judges an answer."""

from typing import Any

from router.decision_log.columns import VIEWS
from router.decision_log.questions import QUESTIONS, STEPS
from router.explanation.values import Explanation
from router.http.description.inference import CHAT, listed
from router.http.description.operation import Described, Example, Link, Told
from router.replay.verdict import Replay

_NOBODY = "01930000-0000-7000-8000-000000000000"
_INSTANT = {"format": "date-time", "description": "ISO 8601; without an offset it is UTC."}
_RANGE = {"since": _INSTANT | {"description": f"Inclusive. {_INSTANT['description']}"}, "until": _INSTANT}


def _row(view: str, *without: str, **more: dict[str, Any]) -> dict[str, Any]:
    """A row of a view: what each column means is in one place, and told at `/v1/analytics/schema`, too."""
    columns = {name: {"description": says} for name, says in VIEWS[view].items() if name not in without}
    return {"type": "object", "required": [*columns, *more], "properties": columns | more}


_ROW = _row("decisions")
_DECISION = _row(
    "decisions",
    "attempts",  # the rows, instead of how many
    inputs={"description": "What was asked, where that is stored."},
    candidates=listed(_row("candidates", "decision_id", "ts")),
    attempts=listed(_row("attempts", "decision_id") | {"required": ["candidate_id", "status"]}),
    outcome={"type": ["object", "null"], "description": "How it ended; null while it runs."},
    shadows=listed(_row("shadows", "decision_id")),
    feedback=listed(_row("feedback", "decision_id")),
    price_book_body={"type": ["object", "null"], "description": "The prices it was decided under."},
    policy_body={"description": "The policy's parameters."},
    explanation={"$ref": f"#/components/schemas/{Explanation.__name__}"},
)
_PAGE = {
    "type": "object",
    "required": ["object", "data", "next_cursor"],
    "properties": {"object": {"const": "list"}, "data": listed(_ROW), "next_cursor": {"type": ["string", "null"]}},
    "additionalProperties": False,
}


class Table(Told):
    """Rows of a query, with the names and DuckDB types of their columns; `truncated` where there were more."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool


class Answered(Told, forbid_unknown_fields=False):
    """The answer to a named question, with what each column of its rows means. Some questions tell more."""

    question: str
    says: str
    since: str | None
    until: str | None
    by: str
    rows: list[dict[str, Any]]
    columns: dict[str, str]


class Asking(Told):
    """What a named question may be asked, and what each column of its answer means."""

    says: str
    by: list[str]
    steps: bool
    columns: dict[str, str]


class Queryable(Told):
    """Named questions, and the views that SQL can read, by column."""

    questions: dict[str, Asking]
    views: dict[str, dict[str, str]]


class Held(Told):
    """What a model's quality for this intent is held to be now."""

    value: float | None
    source: str | None
    weight: float


class Judged(Told):
    """A judgement that was taken."""

    success: bool
    decision_id: str
    model: str | None
    intent: str | None
    replaced: bool
    quality: Held


TABLE = {
    "GET /v1/decisions": Described(
        answer=_PAGE,
        parameters=_RANGE | {"limit": {"minimum": 1, "maximum": 500}},
        links={
            "first": Link(
                to="GET /v1/decisions/{decision_id}", parameters={"decision_id": "$response.body#/data/0/decision_id"}
            ),
            "next": Link(to="GET /v1/decisions", parameters={"cursor": "$response.body#/next_cursor"}),
        },
        examples={
            "newest": Example(summary="The last ten", parameters={"limit": 10}),
            "failed": Example(
                summary="What failed since a day", parameters={"since": "2026-11-01T00:00:00Z", "status": "error"}
            ),
        },
    ),
    "GET /v1/decisions/{decision_id}": Described(
        answer=_DECISION,
        parts=(Explanation,),
        examples={"none": Example(summary="One that the log has not", parameters={"decision_id": _NOBODY}, status=404)},
    ),
    "POST /v1/analytics/sql": Described(
        answer=Table,
        examples={
            "models": Example(
                summary="Cost by model",
                body={"query": "SELECT model, count(*) AS n, sum(cost_usd) AS usd FROM decisions GROUP BY model"},
            ),
            "file": Example(
                summary="Files are not read", body={"query": "SELECT * FROM read_csv('data.csv')"}, status=400
            ),
        },
    ),
    "GET /v1/analytics/schema": Described(answer=Queryable),
    "GET /v1/analytics/{question}": Described(
        answer=Answered,
        parameters=_RANGE
        | {
            "question": {"enum": sorted(QUESTIONS)},
            "by": {"enum": sorted({by for question in QUESTIONS.values() for by in question.by})},
            "step": {"enum": list(STEPS)},
        },
        examples={
            "summary": Example(summary="Everything in one row", parameters={"question": "summary"}),
            "models": Example(
                summary="By model, since a day", parameters={"question": "models", "since": "2026-11-01T00:00:00Z"}
            ),
        },
    ),
    "POST /v1/feedback": Described(
        answer=Judged,
        errors=(404,),
        examples={
            "nobody": Example(
                summary="Of a decision that the log has not",
                body={"decision_id": _NOBODY, "score": 0.5, "label": "billing"},
                status=404,
            )
        },
    ),
    "POST /v1/replay": Described(
        answer=Replay,
        errors=(503,),
        examples={
            "cheapest": Example(summary="What `cheapest` would have cost", body={"policy": "cheapest"}),
            "chat": Example(
                summary="One model only, with the baselines",
                body={"policy": "fastest", "model": CHAT, "baselines": True, "max_rows": 1000},
            ),
        },
    ),
}
