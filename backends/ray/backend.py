"""A Ray cluster as a `Backend`: joins targets, deployments and calls. The router stays outside the cluster."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backends.errors import BackendError, Interrupted, Unavailable
from backends.ray import calls, wire
from backends.ray.deployment import Deployment
from backends.ray.driving import Driving
from backends.ray.errors import MISSING, broken
from backends.ray.options import OWN, Opening, RayOptions, Shape, application, shape_of
from backends.types import Delta, Limits, Status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from backends.reports import LoadReport
    from backends.types import InferenceRequest, InferenceResult, Piece, Target

__all__ = ["OWN", "Opening", "RayBackend", "RayOptions", "Shape"]

logger = logging.getLogger("nearfar.ray")

LOOK_S = 2.0  # how often the cluster is asked how it stands
STRIKES = 3  # unanswered looks after which the connection is made anew
CLOSED = "the ray backend is shutting down"
_UNKNOWN = Status(unavailable="this target has not been prepared", device="cpu")
_CLOSED = Status(unavailable=CLOSED, device="cpu")
_MISSING = Status(unavailable=MISSING, device="cpu")
_UNSOURCED = Status(unavailable="it has no source to load its weights from", device="cpu")


class RayBackend:
    """Calls models that run as deployments of a cluster. Without a target of its own it touches nothing of Ray."""

    def __init__(self, options: RayOptions, cluster: Driving | None = None) -> None:
        self._options = options
        self._cluster = cluster or Driving(options)
        self._deployments: dict[str, Deployment] = {}
        self._targets: dict[Target, Deployment] = {}
        self._turn = asyncio.Lock()  # connecting, deploying and leaving, one at a time
        self._connected = False
        self._failure: str | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def name(self) -> str:
        """What users and the log call it."""
        return "ray"

    @property
    def near(self) -> bool:
        """Whether a request stays here: surely in a cluster of our own, which nobody else can join.

        Of any other cluster its scheduler decides where a replica runs, and other machines may join it at any time.
        """
        return self._options.own

    async def prepare(self, target: Target) -> None:
        """Know the target and its deployment. Asks no cluster."""
        if target in self._targets:
            return
        shape = shape_of(target, self._options.shape)
        name = application(target, shape, self._options.namespace)
        self._targets[target] = self._deployments.setdefault(name, Deployment(name, target, shape))

    def status(self, target: Target) -> Status:
        """The target's state as the cluster was last seen; reads memory only. `queued` counts this router's own."""
        deployment = self._targets.get(target)
        if self._closed or deployment is None:
            return _CLOSED if self._closed else _UNKNOWN
        if not self._cluster.installed():
            return _MISSING
        if target.source is None:
            return _UNSOURCED
        status = deployment.status()
        if self._connected or self._failure is None:
            return status
        return replace(status, unavailable=self._failure, back_in_s=LOOK_S)

    def calibration(self, target: Target) -> LoadReport | None:  # noqa: ARG002 -- the protocol's signature
        """Nothing is kept here: a replica has what was measured on the machine that it runs on."""
        return None

    def start(self) -> None:
        """Deploy every target that was prepared, and watch the cluster, until closed. Without a target: nothing."""
        if self._watching is None and self._targets and not self._closed and self._cluster.installed():
            self._watching = asyncio.get_running_loop().create_task(self._watch(), name="watching ray")

    async def load(self, target: Target, *, thorough: bool = False) -> LoadReport:
        """Return when a replica serves the target, which `thorough` then measures: on the machine where it runs."""
        began, deployment = time.perf_counter(), await self._known(target)
        was_running = deployment.running > 0
        with self._failing(deployment, told=[]):
            await self._awake(deployment)
            described = deployment.described or await self._describe(deployment)
            if thorough:
                measured: LoadReport = await calls.whole(self._cluster.call(deployment.name, "measure"), Limits())
                return measured
        load_s = 0.0 if was_running else time.perf_counter() - began
        return replace(described.report, load_s=load_s)

    async def unload(self, target: Target) -> bool:
        """End the target's deployment, once its requests have ended; the next request deploys it anew."""
        deployment = self._targets.get(target)
        if deployment is None or not deployment.deployed:
            return False
        async with self._turn:
            held = deployment.running > 0
            deployment.wanted = False
            await self._cluster.delete(deployment.name)
            deployment.gone()
        return held

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        """Answer the request whole; waits for a replica where none runs."""
        deployment = await self._known(target)
        with deployment.carrying(request), self._failing(deployment, told=[]):
            began, cold = time.perf_counter(), not deployment.running
            await self._awake(deployment)
            reply = self._cluster.call(deployment.name, "infer", wire.ask(request, target))
            served: wire.Served = await calls.whole(reply, request.limits)
            outside_s = max(0.0, time.perf_counter() - began - served.inside_s)
        return self._answered(deployment, request, wire.answer(served, target, outside_s, cold=cold))

    async def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Piece | InferenceResult, None]:
        """Yield pieces as they come to be, then the result. Closing early stops the replica within a token or step."""
        told: list[bool] = []
        deployment = await self._known(target)
        with deployment.carrying(request), self._failing(deployment, told=told):
            began, cold = time.perf_counter(), not deployment.running
            await self._awake(deployment)
            reply = self._cluster.call(deployment.name, "stream", wire.ask(request, target))
            async with aclosing(calls.pieces(reply, request.limits)) as pieces:
                async for piece in pieces:
                    if not isinstance(piece, wire.Served):
                        told += [True] if isinstance(piece, Delta) else []
                        yield piece
                        continue
                    outside_s = max(0.0, time.perf_counter() - began - piece.inside_s)
                    result = wire.answer(piece, target, outside_s, cold=cold)
                    yield self._answered(deployment, request, result)

    def forget(self, target: Target) -> None:
        """Nobody will ask for the target again. What is deployed in a cluster that others share stays theirs."""
        deployment = self._targets.pop(target, None)
        if deployment is None or deployment in self._targets.values():
            return
        self._deployments.pop(deployment.name, None)
        if self._options.own and deployment.deployed:
            ending = asyncio.get_running_loop().create_task(self._ended(deployment))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def aclose(self) -> None:
        """Leave the cluster: one of our own ends, and another keeps its deployments."""
        self._closed = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        async with self._turn:
            await self._left()
            await self._cluster.aclose()

    # --- the cluster ----------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Keep what is wanted deployed, and look how it stands, as long as the backend is open."""
        strikes = 0
        while not self._closed:
            try:
                await self._look()
                strikes = 0
            except BackendError as error:
                strikes += 1
                self._say(str(error))
                if strikes >= STRIKES and self._connected:
                    async with self._turn:
                        await self._left()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        for deployment in list(self._deployments.values()):
            if deployment.wanted and deployment.target.source is not None:
                await self._deployed(deployment)
        if not self._connected:  # nothing is wanted of a cluster, or it would have been joined
            self._failure = None
            return
        known = [one for one in self._deployments.values() if one.deployed]
        seen = await self._cluster.seen()
        for deployment in known:
            deployment.see(seen.get(deployment.name))
            if deployment.doubted:
                self._waking(deployment)
            if deployment.running and deployment.described is None:
                await self._describe(deployment, Limits(total_s=LOOK_S))

    async def _deployed(self, deployment: Deployment) -> None:
        """Have it deployed; what is wrong with it alone keeps nobody from the others."""
        try:
            await self._ready(deployment)
        except BackendError as error:
            if not self._connected:
                raise
            deployment.refused(str(error))

    async def _ready(self, deployment: Deployment) -> None:
        """Have the deployment there: it is deployed where it is not, in a cluster that is joined where it is not."""
        if deployment.deployed:
            return
        async with self._turn:
            if self._closed:
                raise Unavailable(CLOSED)
            self.start()
            if not self._connected:
                await self._join()
            if not deployment.deployed:
                await self._cluster.deploy(deployment.name, deployment.target, deployment.shape)
            deployment.wanted = deployment.deployed = True

    async def _awake(self, deployment: Deployment) -> None:
        """Return once a replica runs. Those that wait for one wait together, for one call of it.

        Raises:
            BackendError: none will come, as far as the cluster knows.
        """
        await self._ready(deployment)
        if deployment.running:
            return
        waking = self._waking(deployment)
        failing = asyncio.get_running_loop().create_task(deployment.failing.wait())
        try:
            await asyncio.wait([waking, failing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            failing.cancel()
        if waking.done() and not waking.cancelled():
            waking.result()
            return
        why = deployment.status().unavailable if self._connected else self._failure
        raise Unavailable(why or f"'{deployment.target.model}' was taken out of the cluster")

    def _waking(self, deployment: Deployment) -> asyncio.Task[wire.Described]:
        """The one call that waits for a replica to answer."""
        if deployment.waking is None or deployment.waking.done():
            deployment.waking = asyncio.get_running_loop().create_task(self._describe(deployment))
            deployment.waking.add_done_callback(_seen)
        return deployment.waking

    async def _describe(
        self,
        deployment: Deployment,
        limits: Limits = Limits(),  # noqa: B008 -- immutable
    ) -> wire.Described:
        described: wire.Described = await calls.whole(self._cluster.call(deployment.name, "describe"), limits)
        deployment.described = described
        deployment.serves()
        return described

    async def _join(self) -> None:
        try:
            await self._cluster.connect(self._lost)
        except BackendError as error:
            self._say(str(error))
            raise
        self._connected, self._failure = True, None

    async def _left(self) -> None:
        """Leave the cluster; nothing of what was known of it holds any more."""
        self._forget_all()
        await self._cluster.disconnect()

    def _lost(self, why: str) -> None:
        """The cluster is lost, with all that is under way there; the next request, or look, asks for it anew."""
        self._say(why)
        self._forget_all()

    def _forget_all(self) -> None:
        self._connected = False
        for deployment in self._deployments.values():
            deployment.gone()

    async def _ended(self, deployment: Deployment) -> None:
        async with self._turn:
            with suppress(BackendError):  # a cluster that is gone has ended it, too
                await self._cluster.delete(deployment.name)

    def _say(self, failure: str) -> None:
        if failure != self._failure:
            logger.warning("%s", failure)
        self._failure = failure

    # --- one request ----------------------------------------------------------------------------

    async def _known(self, target: Target) -> Deployment:
        if self._closed:
            raise Unavailable(CLOSED)
        if target.source is None:
            raise Unavailable(str(_UNSOURCED.unavailable))
        if target not in self._targets:
            await self.prepare(target)
        return self._targets[target]

    def _answered(self, deployment: Deployment, request: InferenceRequest, result: InferenceResult) -> InferenceResult:
        deployment.serves()
        deployment.learn(request, result)
        return result

    @contextmanager
    def _failing(self, deployment: Deployment, *, told: list[bool]) -> Iterator[None]:
        """Turn what goes wrong inside into one of our errors; `told` is not empty once pieces went out."""
        try:
            yield
        except Interrupted as error:
            raise broken(error, told=bool(told), others=deployment.lost()) from error


def _seen(task: asyncio.Task[wire.Described]) -> None:
    """Whoever waited for it may have left: what it failed with is known all the same."""
    if not task.cancelled():
        task.exception()
