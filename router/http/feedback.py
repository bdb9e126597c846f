"""The route that takes what somebody says of an answer afterwards."""

from typing import Annotated, Any

from litestar import Request, post
from litestar.exceptions import NotFoundException
from litestar.params import JSONBody
from msgspec import Meta

from router.feedback import Said
from router.http.schemas import Body
from router.http.services import identity, services

SOURCE = "user"  # while nobody is asked who they are, all of them are one


class FeedbackBody(Body, kw_only=True, forbid_unknown_fields=True):
    """How good an answer was, from 0 (useless) to 1 (right), and the right one where it is a label."""

    decision_id: Annotated[str, Meta(min_length=1, max_length=64)]
    score: Annotated[float, Meta(ge=0, le=1)]
    label: Annotated[str, Meta(max_length=1000)] | None = None


@post("/v1/feedback", status_code=200, summary="Say how good an answer was")
async def feedback(request: Request[Any, Any, Any], data: JSONBody[FeedbackBody]) -> dict[str, Any]:
    """Judge the answer of a decision, waiting first for its rows to be committed. Said again, it replaces the first.

    The model's quality for this intent, which `min_quality` is compared with, moves at once.
    """
    said = Said(data.decision_id, data.score, data.label, SOURCE, identity(request).sees)
    taken = await services(request).feedback.take(said)
    if taken is None:
        raise NotFoundException(f"No decision {data.decision_id!r} in the log.")
    value, source, weight = taken.quality
    return {
        "success": True,
        "decision_id": data.decision_id,
        "model": taken.model,
        "intent": taken.intent,
        "replaced": taken.replaced,
        "quality": {"value": value, "source": source, "weight": weight},
    }
