"""The routes of comparisons."""

from typing import Any

from router.http.compare import MOST_LISTED, State
from router.http.description.inference import INTENT
from router.http.description.operation import Described, Example, Link, Told


class ComparisonTold(Told):
    """A run: how far it is. `stopped` says why it ended before its plan did."""

    id: str
    suite: str
    task: str
    status: State
    planned: int
    finished: int
    candidates: list[str]
    started_at: str
    ended_at: str | None
    stopped: str | None


class Comparison(ComparisonTold):
    """The same with what its trials say: figures with 95 % intervals, pairs tested, and how all that came about."""

    report: dict[str, Any]


class ComparisonPage(Told):
    """The newest runs."""

    data: list[ComparisonTold]


_NONE = "01980000-0000-7000-8000-000000000000"
_TWICE: dict[str, Any] = {
    "task": "text-classification",
    "inputs": ["hello", "good bye"],
    "candidates": [{"model": INTENT, "name": "one"}, {"model": INTENT, "name": "other"}],
    "repeats": 1,
    "warm_up": 0,
}

TABLE = {
    "POST /v1/compare": Described(
        answer=ComparisonTold,
        errors=(429,),
        links={"one": Link(to="GET /v1/compare/{run_id}", parameters={"run_id": "$response.body#/id"})},
        examples={
            "twice": Example(summary="One candidate against itself", body=_TWICE),
            "unmeasured": Example(
                summary="A metric without anything to measure by",
                body=_TWICE | {"metric": "label_accuracy"},
                status=400,
            ),
        },
    ),
    "GET /v1/compare": Described(
        answer=ComparisonPage,
        parameters={"limit": {"minimum": 1, "maximum": MOST_LISTED}},
        examples={"last": Example(summary="The last ten", parameters={"limit": 10})},
    ),
    "GET /v1/compare/{run_id}": Described(
        answer=Comparison,
        errors=(404,),
        examples={"none": Example(summary="No run of yours", parameters={"run_id": _NONE}, status=404)},
    ),
    "DELETE /v1/compare/{run_id}": Described(
        answer=ComparisonTold,
        errors=(400, 404),
        examples={"none": Example(summary="No run of yours", parameters={"run_id": _NONE}, status=404)},
    ),
}
