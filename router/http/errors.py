"""The one table from errors to status codes, and the shapes in which each API family tells them."""

import logging
import math
from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response
from litestar.enums import MediaType
from litestar.exceptions import HTTPException, ValidationException

from backends import errors as backend
from router import errors
from router.http.answers import Logged
from router.http.schemas import Body, invalid
from router.http.services import NAMED, identity, request_id, services, surface
from router.privacy.bugs import told_without_words
from router.rows import Refused

MAX_DRAINED_BYTES = 256 * 1024 * 1024

logger = logging.getLogger("nearfar.http")


class Told(NamedTuple):
    """How an error is told: a status, the type and code OpenAI's clients know, and when to come back."""

    status: int
    type: str
    code: str | None = None
    retry_after_s: float | None = None


# Most specific first. A chain of attempts is looked up by its first failure: what a fallback then refused for reasons
# of its own does not hide it.
TABLE: tuple[tuple[type[Exception], Told], ...] = (
    (errors.TooManyGuesses, Told(429, "rate_limit_error", "rate_limit_exceeded")),
    (errors.Unauthenticated, Told(401, "authentication_error", "invalid_api_key")),
    (errors.TooManyRequests, Told(429, "rate_limit_error", "rate_limit_exceeded")),
    (errors.BodyTimeout, Told(408, "timeout_error", "request_timeout")),
    (errors.UnknownKey, Told(404, "invalid_request_error", "key_not_found")),
    (errors.Forbidden, Told(403, "permission_error", "forbidden")),
    (errors.UnsupportedMediaType, Told(415, "invalid_request_error", "unsupported_media_type")),
    (errors.TooLarge, Told(413, "invalid_request_error", "too_large")),
    (errors.InvalidRequest, Told(400, "invalid_request_error", "invalid_value")),
    (errors.NotFound, Told(404, "not_found_error", "not_found")),
    (errors.Conflict, Told(409, "conflict_error", "conflict")),
    (errors.UnknownModel, Told(404, "invalid_request_error", "model_not_found")),
    (errors.NoSuchResource, Told(404, "invalid_request_error", "not_found")),
    (errors.NoCapacity, Told(503, "overloaded_error", "overloaded")),
    (errors.NotNow, Told(503, "overloaded_error", "unavailable")),
    (errors.NoCandidate, Told(422, "no_candidate", "no_candidate")),
    (errors.BudgetExceeded, Told(402, "insufficient_quota", "budget_exceeded")),
    (errors.DeadlineExceeded, Told(504, "timeout_error", "deadline_exceeded")),
    (errors.OwnerAway, Told(503, "overloaded_error", "owner_away")),
    (errors.QueryRefused, Told(400, "invalid_request_error", "query_refused")),
    (errors.ReplayStopped, Told(503, "overloaded_error", "replay_stopped")),
    (errors.RouterError, Told(500, "server_error", "internal_error")),
    (backend.Overloaded, Told(503, "overloaded_error", "overloaded")),
    (backend.RateLimited, Told(429, "rate_limit_error", "rate_limit_exceeded")),
    (backend.PaymentRequired, Told(402, "insufficient_quota", "insufficient_quota")),
    (backend.ContextLengthExceeded, Told(400, "invalid_request_error", "context_length_exceeded")),
    (backend.ContentRefused, Told(400, "invalid_request_error", "content_policy_violation")),
    (backend.InvalidInput, Told(400, "invalid_request_error", "invalid_value")),
    (backend.Timeout, Told(504, "timeout_error", "timeout")),
    (backend.OutOfMemory, Told(503, "overloaded_error", "out_of_memory")),
    (backend.BackendError, Told(502, "upstream_error", "all_attempts_failed")),
)

_WAITING = backend.BackendError | errors.NotNow | errors.TooManyGuesses | errors.TooManyRequests


def told(error: Exception) -> Told:
    """How this error is told to a client; anything nobody foresaw is a bare 500."""
    cause = error.attempts[0].error if isinstance(error, errors.AllAttemptsFailed) and error.attempts else error
    for kind, answer in TABLE:
        if isinstance(cause, kind):
            wait_s = cause.retry_after_s if isinstance(cause, _WAITING) else None
            if wait_s is None and answer.status in {429, 503}:
                wait_s = 1.0
            return answer._replace(retry_after_s=wait_s)
    return Told(500, "server_error", "internal_error")


def body_of(error: Exception) -> dict[str, Any]:
    """The error in OpenAI's shape, with what only we know beside it."""
    answer = told(error)
    inner: dict[str, Any] = {
        "message": str(error) if isinstance(error, errors.RouterError) else "Internal error.",
        "type": answer.type,
        "param": error.param if isinstance(error, errors.RouterError) else None,
        "code": answer.code,
        "decision_id": error.decision_id if isinstance(error, errors.RouterError) else None,
    }
    if isinstance(error, errors.NoCandidate):
        inner["candidates"] = [refusal._asdict() for refusal in error.rejections]
    if isinstance(error, errors.AllAttemptsFailed | errors.DeadlineExceeded):
        inner["attempts"] = [
            {"candidate_id": a.candidate_id, "error": type(a.error).__name__, "message": str(a.error)}
            for a in error.attempts
        ]
    return {"error": inner}


class _Acknowledged(Response[dict[str, Any]]):
    """A refusal that goes out only when its row may be relied upon (in strict durability: when it is on disk)."""

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> Any:
        inner = super().to_asgi_response(*args, **kwargs)
        request: Request[Any, Any, Any] = kwargs["request"]

        async def send_when_logged(scope: Any, receive: Any, send: Any) -> None:
            await services(request).dispatcher.acknowledged()
            if _unread(request):
                await _drain(receive)
            await inner(scope, receive, send)

        return send_when_logged


def _unread(request: Request[Any, Any, Any]) -> bool:
    """True when the body was refused by its announced length, before a byte of it was read."""
    length = request.headers.get("content-length", "")
    if _opt(request).get("reads_body"):
        return False  # its route has limits of its own, and reads to the end
    return length.isdigit() and int(length) > _body_limit(request)[1]


def _body_limit(request: Request[Any, Any, Any]) -> tuple[str, int]:
    """Who says how large a body may be, and what: a route that takes small ones only, else the configuration."""
    general = services(request).settings.server.max_body_bytes
    own = getattr(request.scope.get("route_handler"), "request_max_body_size", None)
    return ("this route", own) if isinstance(own, int) and own < general else ("server.max_body_bytes", general)


async def _drain(receive: Any) -> None:
    """Read what the client still sends, within bounds: most clients look for an answer only when they have sent all."""
    read = 0
    while read < MAX_DRAINED_BYTES:
        try:
            message = await receive()
        except errors.BodyTimeout:
            return
        read += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Answer any error of any route. A refused inference request gets its row here if it has none yet."""
    error = _ours(request, error)
    if isinstance(error, HTTPException):
        return _plain(error)
    bug = error.__cause__ if isinstance(error, Logged) else error
    if bug is not None and not isinstance(bug, errors.RouterError):
        logger.error("unhandled on %s: %s", request.scope.get("path_template"), told_without_words(bug))
    if not isinstance(error, errors.RouterError):
        error = errors.RouterError("Internal error.")
    if isinstance(error, errors.Unauthenticated | errors.TooManyRequests):
        services(request).metrics.turned_away(error.why)
    if _is_inference(request) and error.decision_id is None and not isinstance(error, Logged) and _is_known(request):
        tenant = identity(request).tenant
        refused = Refused(error=error, surface=surface(request), request_id=request_id(request), tenant=tenant)
        error.decision_id = services(request).dispatcher.refuse(refused)
    return _Acknowledged(_shaped(request, error), status_code=told(error).status, headers=_headers(request, error))


def _shaped(request: Request[Any, Any, Any], error: errors.RouterError) -> dict[str, Any]:
    """The error as clients of this route read it: OpenAI's shape, the native one, or the hub's."""
    body = body_of(error)
    if _opt(request).get("shape") == "huggingface":
        answer = told(error)
        waiting = {"estimated_time": answer.retry_after_s} if answer.status == 503 else {}
        return {"error": body["error"]["message"], **waiting}
    if request.scope.get("path_template") in {"/v1/inference", "/v1/route"}:
        return {"success": False, **body}
    return body


def _ours(request: Request[Any, Any, Any], error: Exception) -> Exception:
    """Litestar's word for a bad or oversize body is turned into ours."""
    if isinstance(error, ValidationException):
        cause = error.__cause__
        if isinstance(cause, msgspec.ValidationError):
            return invalid(cause, _shape(request))
        return errors.InvalidRequest(_reasons(error))
    if isinstance(error, RecursionError | UnicodeDecodeError):  # texts are decoded nowhere but in bodies
        wrong = "nested too deeply" if isinstance(error, RecursionError) else "not UTF-8 text"
        return errors.InvalidRequest(f"The body is {wrong}.")
    if isinstance(error, HTTPException) and error.status_code == 413:
        who, limit = _body_limit(request)
        return errors.TooLarge(f"The body is larger than {who} allows: {limit} bytes.")
    if isinstance(error, HTTPException) and error.status_code == 400:
        return errors.InvalidRequest(error.detail)
    return error


def _reasons(error: ValidationException) -> str:
    extra = error.extra if isinstance(error.extra, list) else []
    texts = [f"{item.get('key')}: {item.get('message')}" for item in extra if isinstance(item, dict)]
    return "; ".join(texts) or error.detail


def _shape(request: Request[Any, Any, Any]) -> type[msgspec.Struct]:
    """The struct that the handler of this route wants as its body."""
    data = request.route_handler.parsed_fn_signature.parameters.get("data")
    return data.annotation if data is not None and issubclass(data.annotation, msgspec.Struct) else Body


def _plain(error: HTTPException) -> Response[dict[str, Any]]:
    """What Litestar itself refuses (no such route, wrong method): told in the same shape, no inference, no row."""
    kind = "not_found_error" if error.status_code == 404 else "invalid_request_error"
    inner = {"message": error.detail, "type": kind, "param": None, "code": None, "decision_id": None}
    return Response({"error": inner}, status_code=error.status_code, headers=error.headers, media_type=MediaType.JSON)


def _is_known(request: Request[Any, Any, Any]) -> bool:
    """Whether its sender was found, where anybody is asked: a stranger must not be able to fill the log.

    Strangers whose credential opens nothing are counted instead.
    """
    return not services(request).access.asks or NAMED in request.scope["state"]


def _is_inference(request: Request[Any, Any, Any]) -> bool:
    return bool(_opt(request).get("inference"))


def _opt(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """What the route's handler says of itself; nothing where no route was found."""
    handler = request.scope.get("route_handler")
    return {} if handler is None else handler.opt


def _headers(request: Request[Any, Any, Any], error: Exception) -> dict[str, str]:
    headers = {"x-request-id": request_id(request).encode("ascii", "replace").decode()}
    if isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="nearfar"'
    if isinstance(error, errors.BodyTimeout):
        headers["connection"] = "close"  # what still comes of it is nobody's request
    if isinstance(error, errors.RouterError) and error.decision_id is not None:
        headers["x-nearfar-decision-id"] = error.decision_id
    if isinstance(error, errors.AllAttemptsFailed):
        headers["x-nearfar-attempts"] = str(len(error.attempts))
        if len(error.attempts) > 1:
            headers["x-should-retry"] = "false"
    wait_s = told(error).retry_after_s
    if wait_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(wait_s)))
    return headers
