"""The ray backend over replicas in this process: what it keeps of the protocol's promises where Ray is not at hand."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.errors import Interrupted, InvalidInput, RemoteError, Timeout, Unavailable
from backends.local import preparation
from backends.local.backend import LocalOptions
from backends.ray import backend as ray_backend
from backends.ray import driving
from backends.ray.backend import RayBackend, RayOptions
from backends.ray.driving import Driving
from backends.types import (
    Delta,
    GenerationInput,
    InferenceRequest,
    InferenceResult,
    Limits,
    Target,
    Task,
)
from tests.unit.backends.local.test_backend import MACHINE, parrot, workers  # noqa: F401 -- a fixture
from tests.unit.backends.local.test_model_source import model, safetensors
from tests.unit.backends.ray.in_process import InProcess, Installed
from tests.unit.backends.ray.test_errors import ACTOR

HANG_S = 60


@pytest.fixture
def target(tmp_path):
    directory = model(tmp_path / "mine", {"model.safetensors": safetensors()})
    return Target(backend="ray", provider="ray", model="some/model", task=Task.TEXT_GENERATION, source=str(directory))


@pytest.fixture
def within(tmp_path, parrot, monkeypatch):  # noqa: F811
    """Runs `check(backend, cluster)` on a loop with a backend whose replicas are in this process."""
    monkeypatch.setattr(preparation.hardware, "probe", lambda: MACHINE)

    def run(check, **options):
        async def main():
            given = RayOptions(local=LocalOptions(models_dir=tmp_path), **options)
            cluster = InProcess()
            backend = RayBackend(given, Installed(given, cluster.driver))
            try:
                async with asyncio.timeout(HANG_S):
                    await check(backend, cluster)
            finally:
                await backend.aclose()
                await cluster.aclose()
                async with asyncio.timeout(HANG_S):
                    while workers():  # noqa: ASYNC110 -- a thread ends
                        await asyncio.sleep(0.001)

        asyncio.run(main())

    return run


def asking(prompt="a b c", **given):
    return InferenceRequest(
        task=Task.TEXT_GENERATION, model="some/model", payload=GenerationInput(prompt=prompt), **given
    )


async def until(so):
    """Return when it is so; what never is runs into the limit of the whole."""
    while not so():  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0.01)


async def pieces_of(backend, request, target):
    async with aclosing(backend.stream(request, target)) as items:
        return [item async for item in items]


async def heard_of(backend, target, heard):
    """Take a stream's pieces as they come."""
    async with aclosing(backend.stream(asking(stream=True), target)) as items:
        async for item in items:
            heard.append(item)


def test_importing_the_backend_imports_neither_ray_nor_a_model_library():
    """Whoever has no candidate there has nothing of it."""
    code = "import sys, backends.registry; print(sorted({'ray', 'torch', 'numpy'} & set(sys.modules)))"
    root = Path(__file__).parents[4]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)

    assert "[]" == answer.stdout.strip()


def test_without_a_target_no_cluster_is_asked(within):
    """Not when the house starts, nor when it ends."""

    async def check(backend, cluster):
        backend.start()
        await backend.aclose()

        assert [] == cluster.said

    within(check)


def test_preparing_asks_no_cluster(within, target):
    """A target that is known is cold, and available."""

    async def check(backend, cluster):
        assert "this target has not been prepared" == backend.status(target).unavailable
        await backend.prepare(target)
        status = backend.status(target)

        assert (None, False, [], None) == (status.unavailable, status.loaded, cluster.said, backend.calibration(target))

    within(check)


def test_a_request_deploys_what_it_needs_once_and_is_answered_as_near(within, target):
    """The replica is our own near side; the first answer tells the wait for it as loading."""

    async def check(backend, cluster):
        first = await backend.infer(asking(), target)
        second = await backend.infer(asking(), target)

        assert ("abc", "abc") == (first.output.text, second.output.text)
        assert ("ray", "some/model", "cpu") == (second.provider, second.model, second.device)
        assert first.timings.load_s > 0
        assert second.timings.load_s is None
        assert second.timings.device_s > 0
        assert (1, 1) == (cluster.said.count("connect"), cluster.said.count("deploy"))

    within(check)


def test_a_stream_gives_its_pieces_then_the_result(within, target):
    """As near."""

    async def check(backend, _cluster):
        *pieces, result = await pieces_of(backend, asking(stream=True), target)

        assert ["a", "b", "c"] == [piece.text for piece in pieces]
        assert "abc" == result.output.text

    within(check)


def test_a_stream_closed_early_stops_the_replica(within, target, parrot):  # noqa: F811
    """The work ends where it is done, and nothing is left under way."""

    async def check(backend, cluster):
        await backend.load(target)
        parrot.may_go_on.clear()
        stream = backend.stream(asking(stream=True), target)
        await anext(stream)
        (replica,) = [await task for task in cluster._replicas.values()]
        assert 1 == replica._local.status(target).queued
        await stream.aclose()
        await until(lambda: not replica._local.status(target).queued)

        assert 0 == backend.status(target).queued
        parrot.may_go_on.set()
        assert "abc" == (await backend.infer(asking(), target)).output.text

    within(check)


def test_a_request_nobody_waits_for_stops_in_its_replica(within, target, parrot):  # noqa: F811
    """Cancelling passes through."""

    async def check(backend, cluster):
        await backend.load(target)
        parrot.running.clear()
        parrot.may_go_on.clear()
        asked = asyncio.create_task(backend.infer(asking(), target))
        await asyncio.to_thread(parrot.running.wait, HANG_S)
        (replica,) = [await task for task in cluster._replicas.values()]
        asked.cancel()
        await asyncio.wait([asked])
        await until(lambda: not replica._local.status(target).queued)

        assert asked.cancelled()
        assert 0 == backend.status(target).queued

    within(check)


def test_what_the_replica_refuses_is_refused_here(within, target):
    """Its own error, whole or streamed."""

    async def check(backend, _cluster):
        for ask in (backend.infer, lambda *given: pieces_of(backend, *given)):
            with pytest.raises(InvalidInput, match=r"^no$"):
                await ask(asking("wrong"), target)

    within(check)


@pytest.mark.parametrize(("replicas", "kind"), [(2, Interrupted), (1, Unavailable)])
def test_a_replica_that_dies_is_asked_again_only_where_another_runs(within, target, replicas, kind):
    """The chain of attempts goes by the class; where none runs any more, the target is cold."""

    async def check(backend, cluster):
        await backend.load(target)
        backend._targets[target].running = replicas
        cluster.dies = ACTOR("it died")
        with pytest.raises(Unavailable) as caught:
            await backend.infer(asking(), target)

        assert kind is type(caught.value)
        assert (replicas > 1) == backend.status(target).loaded
        cluster.dies = None
        assert "abc" == (await backend.infer(asking(), target)).output.text

    within(check)


def test_a_replica_that_dies_in_the_middle_is_not_asked_again(within, target):
    """What was said would be said twice."""

    async def check(backend, cluster):
        await backend.load(target)
        cluster.dies_after_a_piece = ACTOR("it died")
        stream = backend.stream(asking(stream=True), target)

        assert Delta("a") == Delta((await anext(stream)).text)
        with pytest.raises(RemoteError, match="in the middle of an answer"):
            await anext(stream)

    within(check)


def test_a_cancellation_that_is_not_ours_is_a_replica_that_stopped(within, target, parrot):  # noqa: F811
    """Ray cancels what a replica works on when that is stopped; whoever waits here was not cancelled."""

    async def check(backend, cluster):
        await backend.load(target)
        cluster.dies = asyncio.CancelledError()
        with pytest.raises(Unavailable, match="stopped"):
            await backend.infer(asking(), target)

    within(check)


def test_limits_of_a_far_attempt_hold(within, target, parrot):  # noqa: F811
    """Whole or streamed: the first piece may be late, and so may any after it."""

    async def check(backend, _cluster):
        await backend.load(target)
        parrot.may_go_on.clear()
        with pytest.raises(Timeout):
            await backend.infer(asking(limits=Limits(total_s=0.05)), target)
        for limits in (Limits(idle_s=0.05), Limits(total_s=0.05)):
            with pytest.raises(Timeout):
                await pieces_of(backend, asking(stream=True, limits=limits), target)

        parrot.may_go_on.set()

        assert 0 == backend.status(target).queued

    within(check)


def test_what_is_wanted_is_deployed_and_watched(within, target):
    """From the start on, and without a request."""

    async def check(backend, cluster):
        await backend.prepare(target)
        backend.start()
        await until(lambda: "deploy" in cluster.said)
        report = await backend.load(target)
        again = await backend.load(target)

        assert report.measured
        assert (True, 0.0, 1) == (backend.status(target).loaded, again.load_s, cluster.said.count("deploy"))
        assert (await backend.load(target, thorough=True)).measured
        assert ("float32", "parrot") == (backend.status(target).dtype, backend.status(target).runtime)

    within(check)


def test_what_was_unloaded_is_deployed_anew_by_the_next_request(within, target):
    """And by nothing before it."""

    async def check(backend, cluster):
        await backend.load(target)
        assert [True, False] == [await backend.unload(target) for _ in range(2)]
        assert not backend.status(target).loaded
        await cluster.aclose()  # the replica's process ends
        cluster._replicas.clear()

        assert isinstance(await backend.infer(asking(), target), InferenceResult)
        assert 2 == cluster.said.count("deploy")

    within(check)


def test_a_cluster_that_cannot_be_reached_is_why_its_targets_are_unavailable(within, target):
    """Said once, and tried again."""

    async def check(backend, cluster):
        cluster.away = ConnectionError("at /tmp/somewhere")
        await backend.prepare(target)
        with pytest.raises(Unavailable, match="no Ray cluster answers"):
            await backend.infer(asking(), target)
        assert "no Ray cluster answers" == backend.status(target).unavailable

        cluster.away = None
        await until(lambda: backend.status(target).unavailable is None)
        assert isinstance(await backend.infer(asking(), target), InferenceResult)

    within(check)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_driver_that_dies_fails_what_was_under_way_and_the_next_request_has_a_fresh_one(
    within,
    target,
    parrot,  # noqa: F811
    streamed,
):
    """Somebody else is asked instead; where a piece went out nobody is."""

    async def check(backend, cluster):
        await backend.load(target)
        parrot.running.clear()
        parrot.may_go_on.clear()
        heard = []
        ask = heard_of(backend, target, heard) if streamed else backend.infer(asking(), target)
        asked = asyncio.create_task(ask)
        await asyncio.to_thread(parrot.running.wait, HANG_S)
        await until(lambda: heard or not streamed)
        cluster.drivers[0].cancel()
        with pytest.raises(RemoteError if streamed else Unavailable, match="the process that speaks with the Ray"):
            await asked
        parrot.may_go_on.set()

        assert not backend.status(target).loaded
        assert "abc" == (await backend.infer(asking(), target)).output.text
        assert (2, 2) == (len(cluster.drivers), cluster.said.count("connect"))
        assert backend.status(target).unavailable is None

    within(check)


def test_a_cluster_that_was_lost_is_waited_for_and_joined_again(within, target, monkeypatch):
    """A request that nobody else may serve is told when the cluster is looked for again."""
    monkeypatch.setattr(ray_backend, "LOOK_S", 0.05)

    async def check(backend, cluster):
        await backend.load(target)
        cluster.away = Unavailable("nobody answers there")
        cluster.drivers[0].cancel()
        await until(lambda: backend.status(target).unavailable is not None)
        assert 0.05 == backend.status(target).back_in_s
        cluster.away = None
        await until(lambda: backend.status(target).unavailable is None)
        assert backend.status(target).back_in_s is None

    within(check)


def test_what_was_unloaded_before_the_cluster_was_lost_comes_back_when_it_is_asked_for(within, target, monkeypatch):
    """Nobody wants anything of the cluster meanwhile: that is no failure."""
    monkeypatch.setattr(ray_backend, "LOOK_S", 0.05)

    async def check(backend, cluster):
        await backend.load(target)
        await backend.unload(target)
        cluster.drivers[0].cancel()
        await until(lambda: backend.status(target).unavailable is not None)
        await until(lambda: backend.status(target).unavailable is None)

        assert "abc" == (await backend.infer(asking(), target)).output.text

    within(check)


def test_a_driver_that_does_not_answer_is_left_for_a_fresh_one(within, target, monkeypatch):
    """Ray hangs where its cluster is gone; whoever asks is not kept waiting by that."""
    usual_s = driving.LOOK_S
    monkeypatch.setattr(driving, "LOOK_S", 0.2)

    async def check(backend, cluster):
        await backend.load(target)
        cluster.may_look.clear()
        try:
            await until(lambda: len(cluster.drivers) > 1)
        finally:
            monkeypatch.setattr(driving, "LOOK_S", usual_s)
            cluster.may_look.set()
        await until(lambda: backend.status(target).unavailable is None)

        assert "abc" == (await backend.infer(asking(), target)).output.text

    within(check)


def test_without_the_extra_a_target_says_what_to_install(tmp_path, target, monkeypatch):
    """And a request is told the same."""
    monkeypatch.setattr(Driving, "installed", staticmethod(lambda: False))
    backend = RayBackend(RayOptions(local=LocalOptions(models_dir=tmp_path)))

    async def check():
        await backend.prepare(target)
        backend.start()
        assert "pip install 'nearfar[ray,local]'" in backend.status(target).unavailable
        with pytest.raises(Unavailable, match=r"pip install 'nearfar\[ray,local\]'"):
            await backend.infer(asking(), target)
        await backend.aclose()

    asyncio.run(check())


def test_a_closed_backend_is_unavailable(within, target):
    """It leaves the cluster once."""

    async def check(backend, cluster):
        await backend.load(target)
        await backend.aclose()
        await backend.aclose()

        assert 1 == cluster.said.count("disconnect")
        assert backend.status(target).unavailable
        with pytest.raises(Unavailable):
            await backend.infer(asking(), target)

    within(check)


@pytest.mark.parametrize(("address", "near"), [("local", True), ("auto", False), ("10.0.0.1:6379", False)])
def test_only_a_cluster_of_our_own_is_near(tmp_path, address, near):
    """Of any other its scheduler decides where a request goes."""
    backend = RayBackend(RayOptions(local=LocalOptions(models_dir=tmp_path), address=address))

    assert near == backend.near


def test_nobody_asks_for_a_target_that_was_forgotten(within, target):
    """In a cluster of our own its deployment ends."""

    async def check(backend, cluster):
        await backend.load(target)
        backend.forget(target)
        await until(lambda: "delete" in cluster.said)

        assert backend.status(target).unavailable

    within(check)


def test_a_target_without_a_source_is_unavailable_and_not_deployed(within, target):
    """Nobody knows its weights; what has some is deployed all the same."""
    bare = replace(target, source=None)

    async def check(backend, cluster):
        await backend.prepare(bare)
        await backend.load(target)

        assert "source" in backend.status(bare).unavailable
        with pytest.raises(Unavailable, match="source"):
            await backend.infer(asking(), bare)
        assert 1 == cluster.said.count("deploy")

    within(check)
