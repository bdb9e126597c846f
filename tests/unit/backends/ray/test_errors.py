"""The table of the cluster's exceptions, by the names of their classes: Ray itself need not be there."""

import pytest

from backends.errors import (
    ContextLengthExceeded,
    Interrupted,
    OutOfMemory,
    Overloaded,
    RemoteError,
    Timeout,
    Unavailable,
)
from backends.ray.errors import broken, translated

SECRET = "/home/somebody/prompt"


def foreign(module: str, name: str, *bases: type) -> type:
    """A class that looks like one of a library's."""
    return type(name, bases or (Exception,), {"__module__": module, "__qualname__": name})


RAY = foreign("ray.exceptions", "RayError")
ACTOR = foreign("ray.exceptions", "RayActorError", RAY)
LOST = foreign("ray.exceptions", "ObjectLostError", RAY)
SERVE = foreign("ray.serve.exceptions", "RayServeException")
TASK = foreign("ray.exceptions", "RayTaskError", RAY)


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        (ACTOR, Interrupted),
        (foreign("ray.exceptions", "ActorDiedError", ACTOR), Interrupted),
        (foreign("ray.exceptions", "ActorUnavailableError", ACTOR), Interrupted),
        (foreign("ray.exceptions", "WorkerCrashedError", RAY), Interrupted),
        (foreign("ray.exceptions", "NodeDiedError", RAY), Interrupted),
        (foreign("ray.exceptions", "OwnerDiedError", LOST), Interrupted),
        (foreign("ray.serve.exceptions", "RequestCancelledError", SERVE), Unavailable),
        (foreign("ray.serve.exceptions", "ReplicaUnavailableError", SERVE), Interrupted),
        (foreign("ray.serve.exceptions", "BackPressureError", SERVE), Overloaded),
        (foreign("ray.serve.exceptions", "DeploymentUnavailableError", SERVE), Unavailable),
        (foreign("ray.exceptions", "GetTimeoutError", RAY, TimeoutError), Timeout),
        (foreign("ray.exceptions", "OutOfMemoryError", RAY), OutOfMemory),
        (TASK, Unavailable),
        (foreign("ray.exceptions", "RaySystemError", RAY), Unavailable),
        (ImportError, Unavailable),
        (ConnectionError, Unavailable),
        (ValueError, Unavailable),
    ],
    ids=lambda value: value.__name__,
)
def test_every_exception_becomes_one_of_ours(kind, ours):
    """By its most specific class, with the cause kept, and without a word of what it said."""
    with pytest.raises(ours) as caught, translated("some/model"):
        raise kind(SECRET)

    assert ours is type(caught.value)
    assert kind is type(caught.value.__cause__)
    assert SECRET not in str(caught.value)


def test_what_a_replica_raised_itself_is_taken_out_of_its_wrapping():
    """A task's error has its cause: ours is told as it was, without the traceback that Ray made its message."""
    wrapped = foreign("ray.exceptions", "RayTaskError(ContextLengthExceeded)", TASK, ContextLengthExceeded)(SECRET)
    wrapped.cause = ContextLengthExceeded("too long")

    with pytest.raises(ContextLengthExceeded, match=r"^too long$"), translated("some/model"):
        raise wrapped


def test_ours_passes_as_it_is():
    """Nothing is wrapped twice."""
    error = Overloaded("full", retry_after_s=2)

    with pytest.raises(Overloaded) as caught, translated("some/model"):
        raise error

    assert error is caught.value


def test_a_missing_extra_is_named():
    """Whoever reads it knows what to do."""
    with pytest.raises(Unavailable, match=r"pip install 'nearfar\[ray,local\]'"), translated("some/model"):
        raise ModuleNotFoundError("ray")


@pytest.mark.parametrize(
    ("told", "others", "kind"),
    [(False, True, Interrupted), (False, False, Unavailable), (True, True, RemoteError), (True, False, RemoteError)],
)
def test_what_broke_is_asked_again_there_only_where_somebody_is(told, others, kind):
    """Not after pieces went out; where no other replica runs, whoever else there is comes first."""
    assert kind is type(broken(Interrupted("died"), told=told, others=others))


def test_only_what_broke_is_looked_at():
    """A refusal stays one."""
    error = Overloaded("full")

    assert error is broken(error, told=True, others=False)
