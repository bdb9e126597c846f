"""Every way a backend can fail. Foreign exceptions pass through one table per backend, `raise ... from`.

    BackendError
    ├── Unavailable            nobody answers there: connection refused, name not found
    │   └── Interrupted        the connection broke before anything of an answer came
    ├── Overloaded             the queue is full; carries retry_after_s
    ├── OutOfMemory            the model or the request does not fit the device
    ├── ModelNotFound          no such model there
    ├── Timeout                no answer in time; `phase` says which limit
    ├── RateLimited            the provider asks to wait; carries retry_after_s
    ├── Unauthorized           the token is missing, wrong or lacks the permission
    ├── PaymentRequired        credits are gone
    ├── ContextLengthExceeded  the input is longer than the model can read
    ├── ContentRefused         the provider refuses this content; never routed around
    ├── InvalidInput           the model cannot take this input or parameter
    └── RemoteError            any other answer that is not one: 5xx, broken or truncated bodies

Messages name the thing and the value, never a token, a prompt or a local path.
"""

from __future__ import annotations

from typing import ClassVar


class BackendError(Exception):
    """Base of the family.

    Attributes:
        elsewhere: True when another candidate may well succeed.
        billed: False when surely nothing was charged; None when nobody can know (also set on one error of its class).
        retry_after_s: Seconds to wait before asking the same place again, when it said so.
        replica: Which of the candidate's servers it was, where there are several.
        replaceable: True when another of its servers can be asked at once: it says nothing of the candidate.
    """

    elsewhere: ClassVar[bool] = True
    billed: bool | None = False
    replica: str | None = None
    replaceable: bool = False

    def __init__(self, message: str, *, retry_after_s: float | None = None, http_status: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.http_status = http_status


class Unavailable(BackendError):
    """Nobody answers there."""


class Interrupted(Unavailable):
    """The connection broke before anything of an answer came: asking again is safe.

    Providers charge for what they completed, and nothing was (the hub asks those behind its router to do so).
    """


class Overloaded(BackendError):
    """The bounded queue is full."""


class OutOfMemory(BackendError):
    """The model or the request does not fit the device."""


class ModelNotFound(BackendError):
    """No such model there."""


class Timeout(BackendError):
    """No answer in time. The work may have been done, and charged."""

    billed: bool | None = None


class RateLimited(BackendError):
    """The provider asks to wait."""


class Unauthorized(BackendError):
    """The token is missing, wrong or lacks the permission."""


class PaymentRequired(BackendError):
    """Credits are gone."""


class ContextLengthExceeded(BackendError):
    """The input is longer than the model can read; only a larger context can help."""

    elsewhere: ClassVar[bool] = False


class ContentRefused(BackendError):
    """The provider refuses this content; it is not routed around."""

    elsewhere: ClassVar[bool] = False


class InvalidInput(BackendError):
    """The model cannot take this input or parameter."""

    elsewhere: ClassVar[bool] = False


class RemoteError(BackendError):
    """The far side failed or sent something that is no answer. It may have charged."""

    billed: bool | None = None
