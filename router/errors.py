"""Every way the router itself can fail. HTTP status codes live in `router/http/errors.py` alone.

RouterError
├── InvalidRequest     a field is wrong; names it in `param`
│   ├── TooLarge       an input is over its size limit
│   └── UnsupportedMediaType  the body is not JSON
├── Unauthenticated    nobody knows who asks
│   └── TooManyGuesses of one address, too often; carries retry_after_s
├── Forbidden          the request comes from where nobody may ask, or its sender may not do this
├── TooManyRequests    a tenant is over a limit of its own; carries retry_after_s
├── BodyTimeout        the body did not arrive in time
├── UnknownKey         there is no API key of this name
├── NotFound           no such alias, route or snapshot
├── Conflict           somebody else has changed what this would change
├── UnknownModel       no such model; `alternatives` names near ones
├── NoSuchResource     no such file or batch, or it is somebody else's
├── NoCandidate        nothing may serve the request; carries the rejections
│   └── NotNow         somebody may, but is away now; carries retry_after_s
│       └── NoCapacity has too much to do now
├── BudgetExceeded     what may be spent far is spent, and the budget says to refuse then
├── DeadlineExceeded   the time allowed for the whole chain ran out
├── AllAttemptsFailed  every attempt failed; carries them
│   └── FellBack       a page could not do it itself, and asked this server
├── OwnerAway          the owner of what routers share does not answer, and this cannot be done without it
├── SettingsError      the configuration is broken (at start only)
├── CatalogError       the catalogue is broken (at start only)
└── LogError           the decision log cannot be opened or read
    ├── LogLocked      another process owns it
    ├── QueryRefused   this SQL may not run over the log, or ran past a limit
    └── ReplayStopped  a replay took too long, another one runs, or nobody waits for it any more
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.errors import BackendError


class Refusal(NamedTuple):
    """Why one candidate may not serve: its id, a short code and a sentence."""

    candidate_id: str
    code: str
    reason: str


class FailedAttempt(NamedTuple):
    """One attempt that failed, and how."""

    candidate_id: str
    error: BackendError


class RouterError(Exception):
    """Base of the family. The message is safe to show to the sender of the request.

    `decision_id` is set once the request has its rows in the log; `param` names the request's field at fault, if any.
    """

    decision_id: str | None = None
    param: str | None = None


class InvalidRequest(RouterError):
    """A field of the request is wrong. `param` names it."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class TooLarge(InvalidRequest):
    """An input is over its size limit."""


class UnsupportedMediaType(InvalidRequest):
    """The body is not what this route reads."""


class Unauthenticated(RouterError):
    """Nobody knows who asks. What is wrong with a credential is not said: it would help whoever guesses.

    `why` is for our own counting.
    """

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class TooManyGuesses(Unauthenticated):
    """Too many credentials that open nothing came from one address. `retry_after_s` says when it may try again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, "too_many")
        self.retry_after_s = retry_after_s


class Forbidden(RouterError):
    """The request comes from a web page or under a name that may not ask here, or its sender may not do this."""


class TooManyRequests(RouterError):
    """Its sender is over a limit of its own, `why` names which. `retry_after_s` says when it may ask again."""

    def __init__(self, message: str, why: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.why = why
        self.retry_after_s = retry_after_s


class BodyTimeout(RouterError):
    """The body did not arrive in time."""


class UnknownKey(RouterError):
    """There is no API key of this name."""


class NotFound(RouterError):
    """No such thing here; the message names what there is."""


class Conflict(RouterError):
    """What was to be changed is not what its sender believes: look at it again first."""


class UnknownModel(RouterError):
    """No such model, here or (where that may be asked) on the hub."""

    def __init__(self, model: str, alternatives: Sequence[str] = (), note: str = "") -> None:
        hint = f" Did you mean: {', '.join(alternatives)}?" if alternatives else ""
        super().__init__(f"Unknown model {model!r}.{hint}{' ' + note if note else ''}")
        self.alternatives = tuple(alternatives)
        self.param = "model"


class NoSuchResource(RouterError):
    """No such file or batch; one of somebody else's is none."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"There is no {kind} {name[:100]!r}.")


class NoCandidate(RouterError):
    """Nothing may serve this request."""

    def __init__(self, model: str, rejections: Sequence[Refusal]) -> None:
        reasons = "; ".join(f"{r.candidate_id}: {r.reason}" for r in rejections) or "the catalogue lists no candidate"
        super().__init__(f"No candidate may serve {model!r}: {reasons}.")
        self.rejections = tuple(rejections)


class NotNow(NoCandidate):
    """Somebody may serve this request, but not now: whoever may is away or left alone, and that ends by itself.

    Attributes:
        retry_after_s: Seconds after which that may be otherwise.
    """

    def __init__(self, model: str, rejections: Sequence[Refusal], retry_after_s: float) -> None:
        super().__init__(model, rejections)
        self.retry_after_s = retry_after_s


class NoCapacity(NotNow):
    """Whoever may serve it now is full, or could not answer in time."""


class BudgetExceeded(RouterError):
    """The request would have gone far, and a budget that refuses requests has nothing left for it."""


class DeadlineExceeded(RouterError):
    """The time allowed for the whole attempt chain ran out."""

    def __init__(self, deadline_s: float, attempts: Sequence[FailedAttempt] = ()) -> None:
        super().__init__(f"No answer within the deadline of {deadline_s * 1000:.0f} ms.")
        self.attempts = tuple(attempts)


class AllAttemptsFailed(RouterError):
    """Every attempt failed. The first one's error decides what the sender is told."""

    def __init__(self, attempts: Sequence[FailedAttempt]) -> None:
        what = "; ".join(f"{a.candidate_id}: {type(a.error).__name__}: {a.error}" for a in attempts)
        super().__init__(f"All attempts failed: {what}")
        self.attempts = tuple(attempts)


class FellBack(AllAttemptsFailed):
    """A page that was to serve its own request could not, and asked this server instead: that is another decision."""


class OwnerAway(RouterError):
    """The owner of what several routers share does not answer, and this cannot be done without it."""


class SettingsError(RouterError):
    """The configuration is broken: names the file, the key and what was expected."""


class CatalogError(RouterError):
    """The catalogue is broken: names the model and the field."""


class LogError(RouterError):
    """The decision log cannot be opened or read."""


class LogLocked(LogError):
    """Another process owns the log."""


class QueryRefused(LogError):
    """This SQL may not run over the log, or ran past a limit."""


class ReplayStopped(LogError):
    """A replay took too long, another one runs, or nobody waits for it any more."""
