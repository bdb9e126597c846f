"""From a suite to what can be run: each candidate found, loaded if it is near, and with its requests made."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backends.errors import BackendError
from backends.types import InferenceRequest, Payload, Task
from router.compare.inputs import Input, inputs_of
from router.compare.machine import Machine, machine_of
from router.compare.plan import Shape
from router.compare.run import Served
from router.compare.suite import MOST_TRIALS, Suite
from router.errors import InvalidRequest, RouterError, UnknownModel
from router.pricing import asked_usd, most_used
from router.request import Call, Routing
from router.slate import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from backends.base import Backend
    from backends.hardware import Probe
    from router.candidates import CandidateFinder
    from router.compare.suite import CandidateEntry
    from router.decision_log.taking import Log
    from router.dispatch import Dispatcher
    from router.privacy.keyed import Hasher
    from router.sections import ModelEntry

    Payloads = Callable[[Task, str | list[Any], dict[str, Any]], Payload]

SURFACE = "compare"


class Parts(NamedTuple):
    """What of the house a comparison needs.

    Attributes:
        payloads: Makes of an input and parameters what the task takes, as the native API does.
        traced: Whether traces are kept.
    """

    dispatcher: Dispatcher
    finder: CandidateFinder
    backends: Mapping[str, Backend]
    log: Log
    hasher: Hasher
    probe: Probe
    payloads: Payloads
    traced: bool = False


class Contender(Struct, frozen=True, kw_only=True):
    """A candidate of the suite as it is asked: one request for each input.

    `expected_usd` is what each may cost, where it is far and money has a limit.
    """

    name: str
    model: str
    candidate: Candidate
    requests: tuple[InferenceRequest, ...]
    expected_usd: tuple[float, ...] = ()

    @property
    def served(self) -> Served:
        """Who it is, for the run."""
        target, status = self.candidate.target, self.candidate.status
        return Served(
            name=self.name,
            candidate_id=self.candidate.id,
            model=self.model,
            backend=target.backend,
            provider=target.provider,
            runtime=status.runtime or target.runtime,
            device=status.device,
            revision=target.revision,
        )


class Job(Struct, frozen=True, kw_only=True):
    """A suite that can be run.

    Attributes:
        left_out: Candidates that cannot be asked and need not be, each with why.
        digest: Keyed hash of the suite with its inputs, and of whom it asks.
        machine: What it runs on, as it is now.
    """

    suite: Suite
    inputs: tuple[Input, ...]
    contenders: tuple[Contender, ...]
    left_out: dict[str, str]
    tenant: str
    digest: str
    machine: Machine

    @property
    def shape(self) -> Shape:
        """What the order of its trials depends on."""
        return Shape(
            seed=self.suite.seed,
            loads=self.suite.loads,
            repeats=self.suite.repeats,
            warm_up=self.suite.warm_up,
            inputs=len(self.inputs),
            candidates=tuple(one.name for one in self.contenders),
        )


class _Unable(Exception):
    """A candidate cannot be asked."""


async def prepared(parts: Parts, suite: Suite, folder: Path | None, tenant: str = "") -> Job:
    """Find and load everybody. `folder` is where the suite's files lie; None where it may name none.

    Raises:
        InvalidRequest: the suite cannot be run here: names the key and why.
    """
    inputs = await asyncio.to_thread(inputs_of, suite, folder)
    found: list[Contender] = []
    left_out: dict[str, str] = {}
    for place, entry in enumerate(suite.candidates):
        try:
            found.append(await _contender(parts, suite, entry, (inputs, tenant)))
        except _Unable as error:
            if entry.required or entry.called == suite.reference:
                key = f"candidates[{place}]"
                raise InvalidRequest(f"{key}: {entry.called!r} cannot be asked: {error}", param=key) from error
            left_out[entry.called] = str(error)
    if len(found) < 2:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise InvalidRequest(f"candidates: fewer than two can be asked here ({why}).", param="candidates")
    whole = msgspec.json.encode((suite, inputs, [one.candidate.target for one in found])).decode()
    job = Job(
        suite=suite,
        inputs=inputs,
        contenders=tuple(found),
        left_out=left_out,
        tenant=tenant,
        digest=parts.hasher.of(tenant, whole),
        machine=await asyncio.to_thread(machine_of, parts.probe),
    )
    if job.shape.trials > MOST_TRIALS:
        raise InvalidRequest(f"repeats: {job.shape.trials} trials are more than {MOST_TRIALS}.", param="repeats")
    return job


def call_of(parts: Parts, suite: Suite, contender: Contender, number: int, request_id: str | None = None) -> Call:
    """The call that asks a contender about an input, now; `request_id` tags it with its run."""
    return Call(
        request=contender.requests[number],
        routing=Routing(allow_fallbacks=False, explore=False, cache=False, deadline_ms=suite.timeout_s * 1000),
        surface=SURFACE,
        request_id=request_id,
        received=time.monotonic(),
        traceparent="" if parts.traced else None,
        pinned=contender.candidate.target,
    )


async def _contender(
    parts: Parts, suite: Suite, entry: CandidateEntry, asked: tuple[tuple[Input, ...], str]
) -> Contender:
    inputs, tenant = asked
    candidate, model = await _found(parts, suite, entry, tenant)
    parameters = suite.parameters | entry.parameters
    task = Task(suite.task)
    contender = Contender(
        name=entry.called,
        model=model.id,
        candidate=candidate,
        requests=tuple(
            InferenceRequest(
                task=task,
                model=model.id,
                payload=parts.payloads(task, one.value, parameters),
                stream=suite.streams,
                tenant=tenant,
            )
            for one in inputs
        ),
    )
    return await _checked(parts, suite, contender)


async def _found(parts: Parts, suite: Suite, entry: CandidateEntry, tenant: str) -> tuple[Candidate, ModelEntry]:
    """The one candidate of the catalogue that an entry means, loaded where it is near."""
    try:
        model = await parts.finder.model(entry.model, tenant)
    except UnknownModel as error:
        raise _Unable(str(error)) from error
    if model.task != suite.task:
        raise InvalidRequest(f"candidates: {model.id} does {model.task}, not {suite.task}.", param="candidates")
    only = (entry.provider,) if entry.provider else ()
    offered = parts.finder.of_model(model, only)
    meant = [one for one in offered if _is_meant(one, entry)]
    meant = [one for one in meant if one.target.runtime == entry.runtime] or meant
    if len(meant) != 1:
        which = "which of them is meant" if meant else "there is no such one"
        there = ", ".join(dict.fromkeys(one.id for one in meant or offered))
        raise _Unable(f"say by `backend`, `provider` or `candidate` who it is: {which} ({there})")
    target = meant[0].target
    if entry.runtime is not None:
        target = replace(target, runtime=entry.runtime)
    backend = parts.backends[target.backend]
    await backend.prepare(target)
    try:
        if meant[0].near and backend.status(target).unavailable is None:
            await backend.load(target)
    except BackendError as error:
        raise _Unable(str(error)) from error
    return parts.finder.pinned(model, target), model


def _is_meant(candidate: Candidate, entry: CandidateEntry) -> bool:
    target = candidate.target
    return (
        entry.candidate in {None, candidate.id}
        and entry.backend in {None, target.backend}
        and entry.provider in {None, target.provider}
        and (entry.runtime is None or (target.backend == "local" and target.runtime in {None, entry.runtime}))
    )


async def _checked(parts: Parts, suite: Suite, contender: Contender) -> Contender:
    """The contender, if it may be asked at all; with what each request may cost, where money has a limit."""
    costs: list[float] = []
    counts = suite.budget_usd is not None and not contender.candidate.near
    for number in range(len(contender.requests) if counts else 1):
        try:
            plan = await parts.dispatcher.plan(call_of(parts, suite, contender, number))
        except RouterError as error:
            raise _Unable(str(error)) from error
        if not plan.decision.ranked:
            reasons = [rejection.reason for rejection in plan.decision.rejections]
            raise _Unable(str(plan.refusal or "; ".join(reasons)))
        usd = asked_usd(contender.candidate, most_used(plan.size), plan.estimate(contender.candidate.id))
        if counts and usd is None:
            raise InvalidRequest(
                f"budget_usd: what {contender.name!r} costs is not known: give it a price, or leave out budget_usd.",
                param="budget_usd",
            )
        costs.append(usd or 0.0)
    return replace(contender, expected_usd=tuple(costs)) if counts else contender
