"""The composition root: builds everything a router consists of from settings, and takes it down again.

Nothing happens at import; opening a house opens the log and looks at files, and no connection.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from backends import hardware, registry
from backends.errors import BackendError
from backends.local.backend import LocalBackend
from backends.ray.backend import RayBackend
from router.access import gate
from router.admission import Admission
from router.attempts import Attempts
from router.availability import Breakers
from router.backend_options import local_options, ray_options
from router.caching.answers import AnswerCache
from router.candidates import CandidateFinder
from router.checks import providers_of
from router.decision_log.node import node_row
from router.discovery import discoverer
from router.dispatch import Dispatcher
from router.editing import editor
from router.editing.in_force import InForce, Parts, Swap
from router.egress.guard import GUARD
from router.estimates import Estimator
from router.far_servers import remote_of
from router.far_side import FarSide
from router.feedback import Feedback
from router.hedging import Hedging
from router.http.metering import Metering
from router.http.metrics import Metrics
from router.http.services import Services
from router.intents.sets import IntentSets
from router.intents.signal import IntentSignal
from router.judgement import judgement_of
from router.ledger import Ledger, now_us
from router.lessons import Lessons
from router.near_costs import NearCosts
from router.patience import Patience
from router.planning import Planner
from router.pricing import price_book
from router.privacy.keyed import Hasher
from router.remembering import remember, remembering
from router.renewal import Refresher
from router.reported import Reported
from router.routes import Routes
from router.runs import Runner
from router.shadowing import Shadows
from router.shipping.service import Shipping
from router.spending import spent_budgets
from router.telemetry.traces import Traces, Watchers
from router.telemetry.traces import opened as opened_traces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from backends.base import Backend
    from backends.remote.provider import Provider
    from backends.types import Target
    from router.access.gate import Access
    from router.budgets import Budgets
    from router.catalog import Catalog
    from router.cluster.member import Member
    from router.decision_log.taking import Log
    from router.editing.editor import Made
    from router.editing.keeping import Kept
    from router.listings import Listings
    from router.section_of_routing import RoutingSettings
    from router.sections import Settings
    from router.settings import Secrets

logger = logging.getLogger("nearfar")

REMEMBERED_S = 120.0  # twice the longest pause of a breaker


@asynccontextmanager
async def open_house(settings: Settings, secrets: Secrets, log: Log) -> AsyncIterator[Services]:
    """Everything a router consists of, ready to be asked. Closing it ends the backends, then drains the log.

    Raises:
        SettingsError, CatalogError, LogError: something named does not exist, or what was spent cannot be read.
    """
    with GUARD.sealed(when=settings.routing.offline):
        async with _opened(settings, secrets, log) as house, AsyncExitStack() as closing:
            _take_part(closing, house)
            yield house


@asynccontextmanager
async def _opened(settings: Settings, secrets: Secrets, log: Log) -> AsyncIterator[Services]:
    """The parts, each after those that it needs."""
    async with AsyncExitStack() as closing:
        made, kept, member = await _begun(closing, settings, secrets, log)
        settings, catalog, probe = made.settings, made.catalog, await asyncio.to_thread(hardware.probe)
        near = await _near(closing, settings, probe, log)
        backends = _backends(closing, settings, providers_of(catalog, secrets), probe)
        intents, far, finder = await _finder(settings, secrets, catalog, backends)
        estimator = await _estimator(closing, near, finder, backends, log)
        lessons, feedback = await _lessons(estimator, far, finder, log, settings.routing)
        book, metrics = partial(_book, catalog, near, far.listings), Metrics()
        budgets, access = await _remembered_files(settings, catalog, log, member)
        traces, watcher = await _watchers(closing, settings, catalog, Metering(metrics, access.limits))
        ledger = await _ledger(log, near, book(), settings, watcher)
        runner, routes = Runner(backends, ledger, lessons, budgets, finder.standby), Routes(settings.routes, catalog)
        dispatcher = _dispatcher(runner, finder, settings, routes)
        refresher = _refresher(far, catalog, finder, lessons, backends, lambda: ledger.reprice(book()))
        _beside(closing, **_works(dispatcher, refresher, settings.local.warm))
        yield Services(
            far=far,
            refresher=refresher,
            catalog=catalog,
            finder=finder,
            backends=backends,
            lessons=lessons,
            budgets=budgets,
            near=near,
            probe=probe,
            log=log,
            dispatcher=dispatcher,
            intents=intents,
            metrics=metrics,
            feedback=feedback,
            reported=Reported(ledger),
            access=access,
            in_force=await _in_force(made, kept, runner, Parts(finder, routes, ledger, log, refresher.renewed)),
            traces=traces,
            cluster=member,
        )


@asynccontextmanager
async def serving_house(settings: Settings, secrets: Secrets, log: Log) -> AsyncIterator[Services]:
    """A house open for long: it refreshes its listings as often as is configured, and ships its log.

    A single command asks nobody unasked.

    Raises:
        SettingsError, CatalogError, LogError: as `open_house`.
    """
    async with open_house(settings, secrets, log) as opened, AsyncExitStack() as closing:
        shipping = Shipping(settings.log, log)
        house = msgspec.structs.replace(opened, shipping=shipping)
        for lack in house.in_force.made.warnings:
            logger.warning("%s", lack)
        house.access.serve(settings, secrets)
        closing.push_async_callback(asyncio.to_thread, house.access.close)
        closing.push_async_callback(asyncio.to_thread, shipping.close)
        shipping.start()
        _beside(closing, watching_access=house.access.watch())
        _ray(house.backends).start()
        if settings.server.workers > 1:  # each has the catalogue in memory, and one of them changes it
            intents = house.intents.follow(house.finder.cache.clear)
            _beside(closing, following=house.in_force.follow(), following_intents=intents)
        hours = settings.routing.refresh_hours
        if hours is not None and not settings.routing.offline:
            _beside(closing, refreshing=house.refresher.every(hours))
        if not settings.routing.offline:
            _beside(closing, watching_engines=remote_of(house.backends).watch.run())
        yield house


async def _watchers(
    closing: AsyncExitStack, settings: Settings, catalog: Catalog, metering: Metering
) -> tuple[Traces | None, Watchers]:
    """Where spans go, if anywhere, and who hears of every end."""
    base_urls = {name: entry.base_url for name, entry in catalog.providers.items()}
    traces = await asyncio.to_thread(opened_traces, settings, base_urls)
    if traces is not None:
        closing.push_async_callback(asyncio.to_thread, traces.close)
    return traces, Watchers((metering, *(() if traces is None else (traces,))))


def _backends(
    closing: AsyncExitStack, settings: Settings, providers: Sequence[Provider], probe: hardware.Probe
) -> dict[str, Backend]:
    backends = registry.create(local_options(settings), ray_options(settings), providers, probe)
    for backend in backends.values():
        closing.push_async_callback(backend.aclose)
    return backends


async def _near(closing: AsyncExitStack, settings: Settings, probe: hardware.Probe, log: Log) -> NearCosts:
    """What this machine costs; what it is, is in the log from now on."""
    log.append(node_row(log, probe, now_us()))
    near = await asyncio.to_thread(NearCosts.opened, settings.local, probe)
    closing.push_async_callback(asyncio.to_thread, near.close)
    return near


async def _finder(
    settings: Settings, secrets: Secrets, catalog: Catalog, backends: Mapping[str, Backend]
) -> tuple[IntentSets, FarSide, CandidateFinder]:
    """The sets of intents as models, what is known of the far side, and who finds candidates with both."""
    intents = await asyncio.to_thread(_intents, settings, catalog, backends)
    far = await asyncio.to_thread(FarSide.opened, settings, secrets, catalog.providers)
    discover, cache = discoverer(settings, far, catalog), AnswerCache(settings.cache)
    finder = CandidateFinder(catalog, backends, discover, far.listings, far.routed, cache)
    await finder.prepare()
    return intents, far, finder


def _beside(closing: AsyncExitStack, **works: Coroutine[None, None, None]) -> None:
    """Let these run beside the requests, until the house closes. A bug in one is told, and ends nothing else."""
    for name, work in works.items():
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_told)
        closing.push_async_callback(_cancelled, task)


def _works(
    dispatcher: Dispatcher, refresher: Refresher, models: Sequence[str]
) -> dict[str, Coroutine[None, None, None]]:
    """What runs beside the requests, by name."""
    return {
        "warming": _warm(dispatcher, models),
        "watching": refresher.watch(),
        "shadowing": dispatcher.shadows.run(),
    }


async def _in_force(made: Made, kept: Kept, runner: Runner, parts: Parts) -> InForce:
    """Who puts another catalogue into force: what is learnt and loaded of the present one has to follow."""
    local = runner.backends["local"]
    if not isinstance(local, LocalBackend):
        raise TypeError(f"the local backend is a {type(local).__name__}")

    ray = _ray(runner.backends)

    def release(target: Target) -> None:
        if target.backend == local.name:
            local.forget(target)
        elif target.backend == ray.name:
            ray.forget(target)

    def forget_answers(swap: Swap) -> None:
        for model in swap.models:
            parts.finder.cache.clear(model)

    found = InForce(made, kept, parts._replace(release=release, unlearn=runner.lessons.estimator.forget))
    found.subscribe(forget_answers)
    await found.begin()
    return found


def _planner(settings: Settings, runner: Runner, finder: CandidateFinder, routes: Routes) -> Planner:
    lessons, budgets, catalog = runner.lessons, runner.budgets, finder.catalog
    signal = IntentSignal(settings.routing.intents, catalog, runner.backends["local"], runner.standby)
    return Planner(finder, signal, lessons, budgets, settings.routing, routes)


async def _remembered_files(
    settings: Settings, catalog: Catalog, log: Log, member: Member | None
) -> tuple[Budgets, Access]:
    """What files remember: what was spent, and who may ask. In a cluster both are shared."""
    budgets, keys = await asyncio.to_thread(spent_budgets, settings, catalog, log), None
    if member is not None:
        member.lease(budgets)
        keys = member.keys
    return budgets, await asyncio.to_thread(gate.opened, settings, in_memory=log.path is None, keys=keys)


async def _begun(
    closing: AsyncExitStack, settings: Settings, secrets: Secrets, log: Log
) -> tuple[Made, Kept, Member | None]:
    """What is in force, by the owner of the cluster where there is one: only then is anything of that imported."""
    closing.push_async_callback(asyncio.to_thread, log.close)
    member = None
    if settings.cluster.state is not None:
        from router.cluster.member import opened  # noqa: PLC0415 -- see above

        member = await opened(settings, secrets, log)
    return *await asyncio.to_thread(editor.opened, settings), member


def _take_part(closing: AsyncExitStack, house: Services) -> None:
    """Have the cluster's owner heard in this house, until it closes; then everything goes back to it."""
    if house.cluster is not None:
        near = {candidate.id for candidate in house.finder.every() if candidate.near}
        house.cluster.attach(house.access, house.lessons.breakers, house.in_force, near)
        closing.push_async_callback(house.cluster.leave)
        _beside(closing, sharing=house.cluster.run())


async def _ledger(log: Log, near: NearCosts, book: tuple[str, str], settings: Settings, watcher: Watchers) -> Ledger:
    """Who writes rows, with the key that inputs are hashed by."""
    return Ledger(log, near, book, settings.log, watcher, await asyncio.to_thread(Hasher.beside, log.path))


def _intents(settings: Settings, catalog: Catalog, backends: Mapping[str, Backend]) -> IntentSets:
    sets = IntentSets(settings, catalog, backends["local"])
    sets.open()
    return sets


async def _lessons(
    estimator: Estimator, far: FarSide, finder: CandidateFinder, log: Log, routing: RoutingSettings
) -> tuple[Lessons, Feedback]:
    """What is learnt, and what is said of answers; of both, what is known from before."""
    judgement, admission = judgement_of(routing, finder.catalog), Admission(limiting=routing.admission)
    lessons = Lessons(estimator, Breakers(), Patience(), far.health, judgement, admission)
    return lessons, await asyncio.to_thread(_remembered, lessons, finder, log, routing)


def _dispatcher(runner: Runner, finder: CandidateFinder, settings: Settings, routes: Routes) -> Dispatcher:
    routing, planner = settings.routing, _planner(settings, runner, finder, routes)
    hedging = Hedging(routing.hedging, runner.lessons.patience)
    attempts = Attempts(runner, hedging, max_attempts=routing.max_attempts)
    shadows = Shadows(runner, finder.every, routing.shadow)
    return Dispatcher(finder, planner, attempts, runner.ledger, shadows)


async def _estimator(
    closing: AsyncExitStack,
    near: NearCosts,
    finder: CandidateFinder,
    backends: Mapping[str, Backend],
    log: Log,
) -> Estimator:
    """An estimator that begins with what was learnt before, and with what was measured on this hardware."""
    estimator = Estimator(near, runtime_started=lambda: "torch" in sys.modules)
    estimator.restore(await asyncio.to_thread(log.reader().predictors))
    for candidate in finder.every():
        report = backends[candidate.target.backend].calibration(candidate.target)
        if report is not None:
            estimator.begin_with(candidate, report)
    closing.callback(remember, estimator, log)
    _beside(closing, remembering=remembering(estimator, log))
    return estimator


def _remembered(lessons: Lessons, finder: CandidateFinder, log: Log, routing: RoutingSettings) -> Feedback:
    """What was said of answers before still counts, and who failed shortly before this start is left alone still."""
    feedback = Feedback(log, lessons.judgement, finder, routing.quality)
    feedback.restore()
    by_id = {candidate.id: candidate for candidate in finder.every()}
    now = time.monotonic()
    for candidate_id, error_class, age_s in log.reader().recent_attempts(REMEMBERED_S):
        if candidate_id in by_id:
            lessons.remember(by_id[candidate_id], error_class, now - age_s)
    return feedback


async def _warm(dispatcher: Dispatcher, models: Sequence[str]) -> None:
    for model in models:
        try:
            await dispatcher.warm(model)
        except BackendError as error:
            logger.warning("local.warm: %s could not be loaded: %s", model, error)


def _refresher(
    far: FarSide,
    catalog: Catalog,
    finder: CandidateFinder,
    lessons: Lessons,
    backends: Mapping[str, Backend],
    reprice: Callable[[], None],
) -> Refresher:
    remote = remote_of(backends)
    return Refresher(far, catalog, remote, reprice, lambda providers: lessons.rekeyed(finder.every(), providers))


def _book(catalog: Catalog, near: NearCosts, listings: Listings) -> tuple[str, str]:
    return price_book(catalog, near.rates, listings.prices(), catalog.providers)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _told(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:  # by its class: what a bug says may hold anything
        kind = type(error).__name__
        logger.error("%s was ended by a bug (%s); it begins again with the next start", task.get_name(), kind)


def _ray(backends: Mapping[str, Backend]) -> RayBackend:
    ray = backends["ray"]
    if not isinstance(ray, RayBackend):
        raise TypeError(f"the ray backend is a {type(ray).__name__}")
    return ray
