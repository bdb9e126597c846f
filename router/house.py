"""The composition root: builds everything a router consists of from settings, and takes it down again.

Nothing happens at import; opening a house opens the log and looks at files, and no connection.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec

from backends import hardware, registry
from backends.errors import BackendError
from backends.local.backend import LocalOptions
from backends.remote.backend import RemoteBackend
from backends.remote.provider import asked_for
from router.admission import Admission
from router.attempts import Attempts
from router.availability import Breakers
from router.budgets import Budgets, Charge, asked_providers
from router.candidates import CandidateFinder
from router.checks import checked, far_targets, providers_of
from router.decision_log.record import NodeRow
from router.discovery import discoverer
from router.dispatch import Dispatcher
from router.egress.guard import GUARD
from router.estimates import Estimator
from router.far_side import FarSide
from router.feedback import Feedback
from router.hedging import Hedging
from router.http.metrics import Metrics
from router.http.services import Services
from router.intents.sets import IntentSets
from router.intents.signal import IntentSignal
from router.judgement import Judgement
from router.ledger import Ledger, now_us
from router.lessons import Lessons
from router.near_costs import NearCosts
from router.patience import Patience
from router.planning import Planner
from router.policy_check import warnings_of
from router.pricing import price_book
from router.quality import Quality
from router.remembering import remember, remembering
from router.renewal import Refresher
from router.routes import Routes
from router.runs import Runner
from router.settings import Secrets, intents_dir, models_dir
from router.shadowing import Shadows
from router.telemetry.traces import Both, Traces
from router.telemetry.traces import opened as opened_traces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from backends.base import Backend
    from backends.remote.provider import Provider
    from router.catalog import Catalog
    from router.decision_log.log import DecisionLog
    from router.listings import Listings
    from router.quality import Prior
    from router.sections import RoutingSettings, Settings

logger = logging.getLogger("nearfar")

REMEMBERED_S = 120.0  # twice the longest pause of a breaker


@asynccontextmanager
async def open_house(settings: Settings, secrets: Secrets, log: DecisionLog) -> AsyncIterator[Services]:
    """Everything a router consists of, ready to be asked. Closing it ends the backends, then drains the log.

    Raises:
        SettingsError, CatalogError, LogError: something named does not exist, or what was spent cannot be read.
    """
    with GUARD.sealed(when=settings.routing.offline):
        async with _opened(settings, secrets, log) as house:
            yield house


@asynccontextmanager
async def _opened(settings: Settings, secrets: Secrets, log: DecisionLog) -> AsyncIterator[Services]:
    """The parts, each after those that it needs."""
    async with AsyncExitStack() as closing:
        closing.push_async_callback(asyncio.to_thread, log.close)
        catalog, probe = checked(settings), await asyncio.to_thread(hardware.probe)
        near = await _near(closing, settings, probe)
        backends = _backends(closing, settings, providers_of(catalog, secrets), probe)
        intents = await asyncio.to_thread(_intents, settings, catalog, backends)
        far, finder = await _finder(settings, secrets, catalog, backends)
        log.append(_node(log, probe))
        lessons = _lessons(await _estimator(closing, near, finder, backends, log), far, settings.routing, catalog)
        feedback = await asyncio.to_thread(_remembered, lessons, finder, log, settings.routing)
        book, metrics = partial(_book, catalog, near, far.listings), Metrics()
        traces = await _traces(closing, settings, catalog)
        watcher = metrics if traces is None else Both(metrics, traces)
        ledger = Ledger(log, near, book(), settings.log, watcher)
        budgets = await asyncio.to_thread(_budgets, settings, catalog, log)
        runner = Runner(backends, ledger, lessons, budgets, finder.standby)
        dispatcher = _dispatcher(runner, finder, _planner(settings, runner, finder), settings.routing)
        refresher = _refresher(far, catalog, finder, lessons, backends, lambda: ledger.reprice(book()))
        _beside(closing, **_works(dispatcher, refresher, settings.local.warm))
        yield Services(
            settings=settings,
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
            traces=traces,
        )


@asynccontextmanager
async def serving_house(settings: Settings, secrets: Secrets, log: DecisionLog) -> AsyncIterator[Services]:
    """A house open for long: it refreshes its listings as often as is configured. A single command asks nobody unasked.

    Raises:
        SettingsError, CatalogError, LogError: as `open_house`.
    """
    async with open_house(settings, secrets, log) as house, AsyncExitStack() as closing:
        for lack in warnings_of(settings, house.catalog):
            logger.warning("%s", lack)
        hours = settings.routing.refresh_hours
        if hours is not None and not settings.routing.offline:
            _beside(closing, refreshing=house.refresher.every(hours))
        yield house


async def _traces(closing: AsyncExitStack, settings: Settings, catalog: Catalog) -> Traces | None:
    """Where spans go, if anywhere."""
    base_urls = {name: entry.base_url for name, entry in catalog.providers.items()}
    traces = await asyncio.to_thread(opened_traces, settings, base_urls)
    if traces is not None:
        closing.push_async_callback(asyncio.to_thread, traces.close)
    return traces


def _backends(
    closing: AsyncExitStack, settings: Settings, providers: Sequence[Provider], probe: hardware.Probe
) -> dict[str, Backend]:
    backends = registry.create(_local(settings), providers, probe)
    for backend in backends.values():
        closing.push_async_callback(backend.aclose)
    return backends


async def _near(closing: AsyncExitStack, settings: Settings, probe: hardware.Probe) -> NearCosts:
    near = await asyncio.to_thread(NearCosts.opened, settings.local, probe)
    closing.push_async_callback(asyncio.to_thread, near.close)
    return near


async def _finder(
    settings: Settings, secrets: Secrets, catalog: Catalog, backends: Mapping[str, Backend]
) -> tuple[FarSide, CandidateFinder]:
    """What is known of the far side, and who finds candidates with it."""
    far = await asyncio.to_thread(FarSide.opened, settings, secrets, catalog.providers)
    finder = CandidateFinder(catalog, backends, discoverer(settings, far, catalog), far.listings, far.routed)
    await finder.prepare()
    return far, finder


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


def _planner(settings: Settings, runner: Runner, finder: CandidateFinder) -> Planner:
    lessons, budgets, catalog = runner.lessons, runner.budgets, finder.catalog
    signal = IntentSignal(settings.routing.intents, catalog, runner.backends["local"], runner.standby)
    return Planner(finder, signal, lessons, budgets, settings.routing, Routes(settings.routes, catalog))


def _budgets(settings: Settings, catalog: Catalog, log: DecisionLog) -> Budgets:
    """The budgets, with what the log remembers of their present periods. It does not know whose requests they were."""
    budgets = Budgets(settings.budgets, time.time)
    since = budgets.since()
    if since is not None:
        log.flush()  # also what a process that was killed had left in the spill file
        listed: dict[tuple[str, str], list[str]] = {}
        for entry, target in far_targets(catalog):
            listed.setdefault((target.provider, target.model), []).append(entry.id)
        for spent in log.reader().spent(datetime.fromtimestamp(since, UTC)):
            far = asked_for(spent.provider, catalog.providers)
            entries = listed.get((spent.provider, spent.model), listed.get((far, spent.model), []))
            charge = Charge("", (spent.asked_model, spent.model, *entries), asked_providers(spent.provider, far))
            budgets.spend(charge, spent.usd, spent.day_s)
    return budgets


def _intents(settings: Settings, catalog: Catalog, backends: Mapping[str, Backend]) -> IntentSets:
    sets = IntentSets(settings, catalog, backends["local"])
    sets.open()
    return sets


def _lessons(estimator: Estimator, far: FarSide, routing: RoutingSettings, catalog: Catalog) -> Lessons:
    judgement, admission = _judgement(routing, catalog), Admission(limiting=routing.admission)
    return Lessons(estimator, Breakers(), Patience(), far.health, judgement, admission)


def _dispatcher(runner: Runner, finder: CandidateFinder, planner: Planner, routing: RoutingSettings) -> Dispatcher:
    hedging = Hedging(routing.hedging, runner.lessons.patience)
    attempts = Attempts(runner, hedging, max_attempts=routing.max_attempts)
    shadows = Shadows(runner, finder.every, routing.shadow)
    return Dispatcher(finder, planner, attempts, runner.ledger, shadows)


async def _estimator(
    closing: AsyncExitStack,
    near: NearCosts,
    finder: CandidateFinder,
    backends: Mapping[str, Backend],
    log: DecisionLog,
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


def _remembered(lessons: Lessons, finder: CandidateFinder, log: DecisionLog, routing: RoutingSettings) -> Feedback:
    """What was said of answers before still counts, and who failed shortly before this start is left alone still."""
    feedback = Feedback(log, lessons.judgement, finder, routing.quality)
    feedback.restore()
    by_id = {candidate.id: candidate for candidate in finder.every()}
    now = time.monotonic()
    for candidate_id, error_class, age_s in log.reader().recent_attempts(REMEMBERED_S):
        if candidate_id in by_id:
            lessons.remember(by_id[candidate_id], error_class, now - age_s)
    return feedback


def _judgement(routing: RoutingSettings, catalog: Catalog) -> Judgement:
    """What is known of answers, by the catalogue's word alone so far."""

    def prior(model: str) -> Prior:
        entry = catalog.find(model)
        return None if entry is None else entry.quality

    return Judgement(Quality(routing.quality, prior, time.time), routing.cascade)


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
    remote = backends["remote"]
    if not isinstance(remote, RemoteBackend):
        raise TypeError(f"the remote backend is a {type(remote).__name__}")
    return Refresher(far, catalog, remote, reprice, lambda providers: lessons.rekeyed(finder.every(), providers))


def _book(catalog: Catalog, near: NearCosts, listings: Listings) -> tuple[str, str]:
    return price_book(catalog, near.rates, listings.prices())


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _told(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:  # by its class: what a bug says may hold anything
        kind = type(error).__name__
        logger.error("%s was ended by a bug (%s); it begins again with the next start", task.get_name(), kind)


def _local(settings: Settings) -> LocalOptions:
    return LocalOptions(
        models_dir=models_dir(settings),
        intents_dir=intents_dir(settings),
        memory_fraction=settings.local.memory_fraction,
        downloads=settings.local.downloads and not settings.routing.offline,
        threads=settings.local.threads,
        max_queue=settings.local.max_queue,
        pickles=settings.local.pickles,
    )


def _node(log: DecisionLog, probe: hardware.Probe) -> NodeRow:
    packages = ("nearfar", "duckdb", "litestar", "torch", "transformers", "sentence-transformers")
    software = {name: _version(name) for name in packages} | {"python": platform.python_version()}
    return NodeRow(
        boot_id=log.boot_id,
        node_id=log.node_id,
        ts_us=now_us(),
        hardware=msgspec.json.encode(probe).decode(),
        software=msgspec.json.encode(software).decode(),
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
