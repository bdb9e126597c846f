"""The one table of foreign failures: pyreqwest's exceptions and far statuses into `BackendError`s.

Messages name the provider and its own words, cut to 300 characters, never a token, a path of the far machine
or an HTML page.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from pyreqwest.exceptions import (
    BuilderError,
    ClientClosedError,
    ConnectError,
    ConnectTimeoutError,
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
    WriteError,
)

from backends.errors import (
    BackendError,
    ContentRefused,
    ContextLengthExceeded,
    Interrupted,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    RateLimited,
    RemoteError,
    Timeout,
    Unauthorized,
    Unavailable,
)
from backends.remote.retry_after import retry_after_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_MESSAGE = 300

# The most specific first: the first match wins.
_EXCEPTIONS: tuple[tuple[type[PyreqwestError], type[BackendError], str], ...] = (
    (PoolTimeoutError, Overloaded, "all connections are in use"),
    (ConnectTimeoutError, Unavailable, "no connection within the connect limit"),
    (ConnectError, Unavailable, "cannot be reached"),
    (WriteError, Interrupted, "closed the connection before it had read the request"),
    (RequestTimeoutError, Timeout, "no answer within the total limit"),
    (ClientClosedError, Unavailable, "the remote backend was closed"),
    (BuilderError, Unavailable, "no request could be built for its base_url"),
    (PyreqwestError, RemoteError, "the connection broke before the answer was complete"),
)

_CODES: dict[str, type[BackendError]] = {
    "context_length_exceeded": ContextLengthExceeded,
    "string_above_max_length": ContextLengthExceeded,
    "content_filter": ContentRefused,
    "content_policy_violation": ContentRefused,
    "moderation": ContentRefused,
    "insufficient_quota": PaymentRequired,
    "billing_hard_limit_reached": PaymentRequired,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "overloaded": Overloaded,
    "overloaded_error": Overloaded,
    "model_not_found": ModelNotFound,
    "model_not_supported": ModelNotFound,
    "invalid_api_key": Unauthorized,
    "authentication_error": Unauthorized,
    "permission_error": Unauthorized,
}

_STATUSES: dict[int, type[BackendError]] = {
    400: InvalidInput,
    401: Unauthorized,
    402: PaymentRequired,
    403: Unauthorized,
    404: ModelNotFound,
    408: Timeout,
    410: ModelNotFound,
    413: InvalidInput,
    422: InvalidInput,
    429: RateLimited,
    503: Overloaded,
    504: Timeout,
    524: Timeout,
    529: Overloaded,
}

# Servers without error codes say it in words; looked for in refusals of the input only.
_INPUT_STATUSES = frozenset({400, 403, 413, 422})
_WORDS: tuple[tuple[re.Pattern[str], type[BackendError]], ...] = (
    (
        re.compile(
            r"context (length|window|size)|too many tokens|less than \d+ tokens|max_new_tokens.{0,20}must be <=",
            re.IGNORECASE,
        ),
        ContextLengthExceeded,
    ),
    (re.compile(r"content (policy|filter|management)|flagged|moderation|safety system", re.IGNORECASE), ContentRefused),
    (
        re.compile(r"model .{0,200}(not supported by any provider|does not exist|not found)", re.IGNORECASE),
        ModelNotFound,
    ),
)

_SECRETS = re.compile(r"(?i)(bearer\s+\S+|\b(?:hf|sk|pk|gsk|key|api|r8|nvapi|xai|tgp)[_-][\w*.-]{4,}|\beyJ[\w.-]{8,})")

# Absolute paths only, where a word begins with one; in quotes a path may hold spaces.
_PATH_START = r"(?<![\w./~\\-])(?:(?:file://)?/[^\s/'\"`<>(),;]+/|~/|[A-Za-z]:[\\/])"
_PATHS = re.compile(
    rf"""(?P<quote>['"`]){_PATH_START}[^'"`]*(?P=quote)|{_PATH_START}(?:[^\s'"`<>(),;]*[^\s'"`<>(),;.:])?"""
)


@contextmanager
def translated(provider: str) -> Iterator[None]:
    """Everything pyreqwest may raise leaves this block as a `BackendError` that names the provider."""
    try:
        yield
    except PyreqwestError as error:
        raise from_client(error, provider) from error


def from_client(error: PyreqwestError, provider: str) -> BackendError:
    """What an exception of pyreqwest's is called here."""
    kind, sentence = next((kind, text) for foreign, kind, text in _EXCEPTIONS if isinstance(error, foreign))
    if isinstance(error, ConnectError) and _was_connected(error):
        kind, sentence = Interrupted, "closed the connection before it answered"
    return kind(f"provider {provider}: {sentence}{_cause(error)}")


def from_status(
    status: int, headers: Mapping[str, str], body: bytes, *, provider: str = "", secret: str | None = None
) -> BackendError:
    """The error that a far answer means. `headers` has lower-case names; `secret` is blotted out of the message."""
    payload = _decoded(body)
    words, codes = _said(payload)
    kind = _kind(status, codes, words)
    said = _clean(words, secret)
    head = f"provider {provider}: " if provider else ""
    msg = (f"{head}status {status}" + (f": {said}" if said else ""))[:MAX_MESSAGE]
    return kind(msg, retry_after_s=retry_after_s(headers, payload), http_status=status)


def raise_in_band(payload: Any, *, provider: str, secret: str | None = None) -> NoReturn:
    """Raise the error that came inside a stream, or under status 200."""
    body = payload if isinstance(payload, dict) and "error" in payload else {"error": payload}
    raise from_status(_in_band_status(body), {}, msgspec.json.encode(body), provider=provider, secret=secret)


def _kind(status: int, codes: list[str], words: str) -> type[BackendError]:
    for code in codes:
        if code in _CODES:
            return _CODES[code]
    if status in _INPUT_STATUSES:
        for pattern, kind in _WORDS:
            if pattern.search(words):
                return kind
    return _STATUSES.get(status, RemoteError)


def _in_band_status(body: dict[str, Any]) -> int:
    error = body["error"]
    places = (error, body) if isinstance(error, dict) else (body,)
    for place in places:
        for key in ("code", "status", "status_code", "http_status_code"):
            value = place.get(key)
            if isinstance(value, int) and 400 <= value <= 599:
                return value
    return 500


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        text = body[: 4 * MAX_MESSAGE].decode("utf-8", "replace").strip()
        return "an HTML page instead of an answer" if text.startswith("<") else text


def _said(payload: Any) -> tuple[str, list[str]]:
    """The message and the codes of a body: OpenAI's, Hugging Face's, FastAPI's shape, or none of them."""
    if isinstance(payload, str):
        return payload, []
    if isinstance(payload, list):
        return "; ".join(_said(item)[0] for item in payload[:5]), []
    if not isinstance(payload, dict):
        return "", []
    codes = [value for key in ("code", "type", "error_type") if isinstance(value := payload.get(key), str)]
    for key in ("error", "errors", "detail", "message", "msg", "error_description"):
        if payload.get(key):
            words, inner = _said(payload[key])
            return words, inner + codes
    return "", codes


def _clean(words: str, secret: str | None) -> str:
    words = words[: 4 * MAX_MESSAGE]
    if secret:
        words = words.replace(secret, "[secret]")
    words = _PATHS.sub(r"\g<quote>[path]\g<quote>", words)
    words = _SECRETS.sub("[secret]", words)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())


def _was_connected(error: PyreqwestError) -> bool:
    """Whether a connection was there, and broke: pyreqwest calls that a ConnectError, too; its causes say more."""
    return any("(SendRequest)" in str(cause.get("message", "")) for cause in _causes(error))


def _causes(error: PyreqwestError) -> list[dict[str, Any]]:
    return getattr(error, "details", {}).get("causes") or []


def _cause(error: PyreqwestError) -> str:
    """The innermost reason, which is the operating system's; the outer ones repeat the URL."""
    causes = _causes(error)
    reason = str(causes[-1].get("message", "")) if len(causes) > 1 else ""
    return f" ({_clean(reason, None)[:100]})" if reason else ""
