"""One table through which every foreign exception of the cluster passes. Imports none of the libraries it names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from backends.errors import (
    BackendError,
    Interrupted,
    OutOfMemory,
    Overloaded,
    RemoteError,
    Timeout,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING = "the extra 'ray' is not installed: pip install 'nearfar[ray,local]'"

# Foreign messages are not repeated: they hold paths, addresses and tracebacks. `{kind}` is the exception's class.
# What died under a request is `Interrupted`: an embedding computed twice is the same embedding.
_TABLE: dict[str, tuple[type[BackendError], str]] = {
    "ray.exceptions.RayActorError": (Interrupted, "the replica of '{model}' died"),
    "ray.exceptions.WorkerCrashedError": (Interrupted, "the replica of '{model}' died"),
    "ray.exceptions.NodeDiedError": (Interrupted, "the node that '{model}' ran on died"),
    "ray.exceptions.ObjectLostError": (Interrupted, "the answer of '{model}' was lost with its node"),
    "ray.exceptions.TaskCancelledError": (Interrupted, "the cluster stopped the replica of '{model}'"),
    "ray.serve.exceptions.ReplicaUnavailableError": (Interrupted, "the replica of '{model}' went away"),
    "ray.serve.exceptions.BackPressureError": (Overloaded, "too many requests wait for a replica of '{model}'"),
    "ray.serve.exceptions.RayServeException": (Unavailable, "Ray Serve does not serve '{model}': {kind}"),
    "ray.exceptions.PendingCallsLimitExceeded": (Overloaded, "too many requests wait for a replica of '{model}'"),
    "ray.exceptions.OutOfMemoryError": (OutOfMemory, "the node that '{model}' ran on has no memory left"),
    "ray.exceptions.ObjectStoreFullError": (OutOfMemory, "the object store of the node of '{model}' is full"),
    "ray.exceptions.GetTimeoutError": (Timeout, "the cluster did not answer in time for '{model}'"),
    "ray.exceptions.RayTaskError": (Unavailable, "'{model}' failed in its replica: {kind}"),
    "ray.exceptions.AuthenticationError": (Unavailable, "the Ray cluster refuses this router's token"),
    "ray.exceptions.RayError": (Unavailable, "the Ray cluster failed '{model}': {kind}"),
    "builtins.ModuleNotFoundError": (Unavailable, MISSING),
    "builtins.ConnectionError": (Unavailable, "no Ray cluster answers"),
    "builtins.TimeoutError": (Timeout, "the cluster did not answer in time for '{model}'"),
    "builtins.Exception": (Unavailable, "the Ray cluster failed '{model}': {kind}"),
}


@contextmanager
def translated(model: str) -> Iterator[None]:
    """Let `BackendError`s through and turn everything else into one, by its most specific class in the table.

    What a replica raised is itself one of ours, in Ray's wrapping: that is taken off.
    """
    try:
        yield
    except Exception as error:
        ours = _ours(error, model)
        if ours is error:
            raise
        raise ours from error


def broken(error: BackendError, *, told: bool, others: bool) -> BackendError:
    """What a broken request means to whoever may ask again.

    Args:
        error: What it failed with.
        told: Pieces of its answer went out: asking again would say them twice.
        others: Another replica runs. Where none does, asking again waits for one to start, and somebody else is sooner.
    """
    if not isinstance(error, Interrupted):
        return error
    if told:
        return RemoteError(f"{error}, in the middle of an answer")
    return error if others else Unavailable(str(error))


def is_settling(error: Exception) -> bool:
    """Whether Serve has not heard yet that the deployment is there: for a moment after one of its name was deleted."""
    return type(error).__name__ == "DeploymentUnavailableError"


def _ours(error: Exception, model: str) -> BackendError:
    cause = getattr(error, "cause", None)  # what a task raised, in a RayTaskError
    if isinstance(cause, BackendError):
        return cause
    if isinstance(error, BackendError):
        return error
    name = next(name for name in map(_qualified, type(error).__mro__) if name in _TABLE)
    ours, sentence = _TABLE[name]
    kind = type(error if cause is None else cause).__name__
    return ours(sentence.format(model=model, kind=kind))


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
