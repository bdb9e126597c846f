"""What is known of a deployment: its status is arithmetic on what was seen, and on what is under way."""

from enum import StrEnum
from types import SimpleNamespace

import pytest

from backends.ray.deployment import Deployment
from backends.ray.options import Shape, application, shape_of
from backends.ray.seen import Seen, seen_of
from backends.types import (
    EmbeddingInput,
    EmbeddingOutput,
    InferenceRequest,
    InferenceResult,
    Target,
    Task,
    Timings,
    Usage,
)

TARGET = Target(backend="ray", provider="ray", model="Some/Model", task=Task.FEATURE_EXTRACTION, source="hub")
REQUEST = InferenceRequest(task=TARGET.task, model=TARGET.model, payload=EmbeddingInput(texts=("ab",)))


class State(StrEnum):
    """As Serve has them."""

    RUNNING = "RUNNING"
    STARTING = "STARTING"
    STOPPING = "STOPPING"


def deployment(**shape) -> Deployment:
    return Deployment("name", TARGET, Shape(**shape))


def answered(device_s: float) -> InferenceResult:
    return InferenceResult(
        output=EmbeddingOutput(()), usage=Usage(), timings=Timings(device_s=device_s), provider="ray", model="m",
        device="cpu",
    )  # fmt: skip


def test_a_deployment_without_a_replica_is_cold():
    """It is available all the same: a request wakes it."""
    status = deployment().status()

    assert (None, False, "cpu", 0, None, 0) == (
        status.unavailable, status.loaded, status.device, status.queued, status.queue_s, status.loads
    )  # fmt: skip
    assert "cuda:0" == deployment(num_gpus=0.5).status().device


def test_loads_count_the_replicas_that_came():
    """One that died and its successor are two."""
    one = deployment()
    for running in (0, 2, 2, 1, 2):
        one.see(Seen(running=running))

    assert (True, 3) == (one.status().loaded, one.status().loads)


def test_a_replica_that_died_under_a_request_is_not_counted_on():
    """Until the cluster is looked at again."""
    one = deployment()
    one.see(Seen(running=2))

    assert [True, False, False] == [one.lost() for _ in range(3)]
    assert not one.status().loaded
    one.serves()
    assert one.status().loaded


def test_an_application_that_is_gone_is_deployed_anew():
    """Somebody else has deleted it."""
    one = deployment()
    one.see(Seen(running=1))
    one.deployed = True
    one.see(None)

    assert (False, False) == (one.deployed, one.status().loaded)


def test_what_the_cluster_counts_is_doubted_after_the_last_replica_died_under_a_request():
    """It notices later: until then it counts the dead. It is believed when one answers, or when it has noticed."""
    for believed in (Deployment.serves, lambda one: one.see(Seen(running=0))):
        one = deployment()
        one.see(Seen(running=1))
        one.lost()
        one.see(Seen(running=1))
        assert (True, False) == (one.doubted, one.status().loaded)

        believed(one)
        one.see(Seen(running=1))
        assert (False, True) == (one.doubted, one.status().loaded)


def test_a_failure_is_why_it_is_unavailable_until_a_replica_answers():
    """The cluster says so."""
    one = deployment()
    one.see(Seen(failure="no files"))
    assert "no files" == one.status().unavailable

    one.serves()
    assert one.status().unavailable is None


def test_the_queue_is_what_is_under_way_by_what_such_requests_took_over_the_replicas():
    """Nothing is foreseen before something was measured."""
    one = deployment()
    one.see(Seen(running=2))
    with one.carrying(REQUEST):
        assert (1, None) == (one.status().queued, one.status().queue_s)
    one.learn(REQUEST, answered(3.0))

    with one.carrying(REQUEST), one.carrying(REQUEST):
        assert (2, pytest.approx(3.0)) == (one.status().queued, one.status().queue_s)
        one.lost()
        assert pytest.approx(6.0) == one.status().queue_s
    assert (0, 0.0) == (one.status().queued, one.status().queue_s)


def test_small_requests_do_not_make_the_wait_for_a_large_one():
    """A small one takes as long as a call does, whatever its weight."""
    one = deployment()
    one.see(Seen(running=1))
    large = InferenceRequest(task=TARGET.task, model="m", payload=EmbeddingInput(texts=("a long text " * 400,) * 8))
    one.learn(large, answered(4.0))
    for _ in range(5):
        one.learn(REQUEST, answered(0.004))

    with one.carrying(large):
        assert 2.0 < one.queue_s < 5.0


def test_what_is_in_the_background_keeps_nobody_waiting():
    """A replica serves it last."""
    one = deployment()
    one.learn(REQUEST, answered(3.0))
    background = InferenceRequest(task=TARGET.task, model="m", payload=REQUEST.payload, background=True)

    with one.carrying(background):
        assert (1, 0.0) == (one.status().queued, one.status().queue_s)


def of(message: str = "", **counts: int) -> SimpleNamespace:
    return SimpleNamespace(message=message, replica_states={State[name]: count for name, count in counts.items()})


def test_replicas_are_counted_by_their_state():
    """Those on their way out serve nobody new."""
    assert Seen(2, None) == seen_of("RUNNING", "", [of(RUNNING=2, STARTING=1, STOPPING=4)])


def test_of_a_failure_only_what_we_said_ourselves_is_repeated():
    """Serve's messages are tracebacks."""
    traceback = (
        "The deployment failed to start 3 times in a row.\n  File '/home/somebody/x.py', line 1\n"
        "backends.errors.Unavailable: there is no package 'x'\n more"
    )

    assert "there is no package 'x'" == seen_of("DEPLOY_FAILED", "", [of(traceback)]).failure
    assert "its replicas fail to start: Ray's own logs say why" == seen_of("UNHEALTHY", "/home/x", [of()]).failure
    assert seen_of("UNHEALTHY", "", [of(traceback, RUNNING=1)]).failure is None


def test_a_cluster_without_room_is_told():
    """Nobody waits for a replica that has no place."""
    waiting = of("Deployment 'model' has 1 replicas that have taken more than 30s to be scheduled.", STARTING=1)

    assert "no room" in seen_of("DEPLOYING", "", [waiting]).failure


def test_a_candidate_says_what_its_deployment_has_otherwise():
    """The rest is as all have it."""
    target = Target(backend="ray", provider="ray", model="m", task=TARGET.task, shape=(("num_gpus", 0.5),))

    assert Shape(max_replicas=4, num_gpus=0.5) == shape_of(target, Shape(max_replicas=4))


def test_the_same_weights_computed_the_same_way_are_one_application():
    """Whatever the task; another shape or runtime is another, and the name says whose it is."""
    name = application(TARGET, Shape(), "ours")
    other_task = Target(
        backend="ray", provider="ray", model=TARGET.model, task=Task.ZERO_SHOT_CLASSIFICATION, source="hub"
    )
    pinned = Target(backend="ray", provider="ray", model=TARGET.model, task=TARGET.task, source="hub", runtime="onnx")

    assert name.startswith("ours-Some-Model-")
    assert name == application(other_task, Shape(), "ours")
    assert 3 == len({name, application(TARGET, Shape(num_cpus=2), "ours"), application(pinned, Shape(), "ours")})
