"""From the dispatcher to a handler: only whole answers and opened streams get through, errors are raised."""

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

from litestar import Request

from backends.types import Delta, InferenceResult
from router.errors import RouterError
from router.http.services import services
from router.outcome import Attempt, Begun, Outcome
from router.request import Call


class Answer(NamedTuple):
    """An outcome that has a result, and the attempt that gave it."""

    outcome: Outcome
    result: InferenceResult
    winner: Attempt


async def answered(request: Request[Any, Any, Any], call: Call) -> Answer:
    """Run the call whole.

    Raises:
        RouterError: the outcome's own error, carrying its decision's id.
    """
    return counted(request, await services(request).dispatcher.infer(call))


async def opened(
    request: Request[Any, Any, Any], call: Call
) -> tuple[Begun, AsyncGenerator[Begun | Delta | Outcome, None]]:
    """Run the call until its first piece of text exists, so that a failure before it still has a status code.

    Raises:
        RouterError: nobody could begin an answer.
    """
    pieces = services(request).dispatcher.stream(call)
    first = await anext(pieces)
    if isinstance(first, Begun):
        return first, pieces
    if isinstance(first, Delta):
        raise TypeError("a stream begins by saying who serves it, or with its outcome")
    if first.error is not None:
        counted(request, first)
    return _silent(first), _only(first)


def counted(request: Request[Any, Any, Any], outcome: Outcome) -> Answer:
    """Count the outcome in the metrics, and pass on only an answer.

    Raises:
        RouterError: the outcome's own error, carrying its decision's id.
    """
    services(request).metrics.observe(request.scope["path_template"], outcome)
    return answer_of(outcome)


def answer_of(outcome: Outcome) -> Answer:
    """The outcome's answer.

    Raises:
        RouterError: it has none; the error carries its decision's id.
    """
    if outcome.result is not None and outcome.winner is not None:
        return Answer(outcome, outcome.result, outcome.winner)
    error = outcome.error or RouterError("The request was cancelled.")
    error.decision_id = outcome.decision_id
    raise error


async def _only(outcome: Outcome) -> AsyncGenerator[Begun | Delta | Outcome, None]:
    yield outcome


def _silent(outcome: Outcome) -> Begun:
    """An answer without any text: the stream begins and ends with it."""
    answer = answer_of(outcome)
    return Begun(
        plan=outcome.plan,
        backend=answer.winner.backend,
        provider=answer.winner.provider,
        model=answer.winner.model,
        attempts=len(outcome.attempts),
    )
