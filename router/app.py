"""The composition root: builds the house from settings, and the HTTP application around it.

Nothing happens at import; opening a house opens the log and looks at files, and no connection.
"""

import asyncio
import logging
import platform
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata, resources

import msgspec
from litestar import Litestar, Router, get
from litestar.config.cors import CORSConfig
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.response import Redirect
from litestar.static_files import create_static_files_router

import router
from backends import fake, hardware, registry
from backends.base import Backend
from backends.errors import BackendError, ModelNotFound
from backends.local.backend import LocalOptions
from backends.remote import hub
from backends.remote.provider import Provider
from backends.types import Target, Task
from policies.registry import create as create_policy
from router.attempts import Attempts
from router.availability import Breakers
from router.budgets import Budgets, Charge, check_scopes
from router.candidates import CandidateFinder, target_of
from router.catalog import BUILTIN_PROVIDERS, KNOWN_TASKS, Catalog
from router.decision_log.log import DecisionLog
from router.decision_log.record import NodeRow
from router.dispatch import Dispatcher
from router.errors import CatalogError, SettingsError
from router.estimates import Estimator
from router.hedging import Hedging
from router.http import audio, decisions, errors, guards, huggingface, images, inference, openai, system
from router.http import intents as intent_routes
from router.http.metrics import Metrics
from router.http.services import Services
from router.intents.sets import IntentSets
from router.intents.signal import IntentSignal
from router.ledger import Ledger, now_us
from router.lessons import Lessons
from router.patience import Patience
from router.planning import Planner, weights_of
from router.pricing import LocalRates, local_rates, price_book
from router.runs import Runner
from router.sections import CandidateEntry, ModelEntry, ProviderSettings, RoutingSettings, Settings
from router.settings import HUB_TOKEN, Secrets, check_listener, intents_dir, models_dir
from router.slate import Candidate

logger = logging.getLogger("nearfar")

HUB_TIMEOUT_S = 10.0
REMEMBERED_S = 120.0  # twice the longest pause of a breaker
ASSETS = "/assets/swagger-ui"
HANDLERS = (
    inference.inference,
    inference.route,
    openai.chat,
    openai.embeddings,
    images.generations,
    audio.transcriptions,
    huggingface.model,
    intent_routes.define,
    intent_routes.every,
    intent_routes.one,
    intent_routes.remove,
    openai.models,
    openai.model,
    decisions.decisions,
    decisions.decision,
    decisions.summary,
    decisions.sql,
    system.live,
    system.ready,
    system.system,
    system.metrics,
)


@asynccontextmanager
async def open_house(settings: Settings, secrets: Secrets, log: DecisionLog) -> AsyncIterator[Services]:
    """Everything a router consists of, ready to be asked. Closing it ends the backends, then drains the log.

    Raises:
        SettingsError, CatalogError, LogError: something named does not exist, or what was spent cannot be read.
    """
    async with AsyncExitStack() as closing:
        closing.push_async_callback(asyncio.to_thread, log.close)
        catalog, probe = checked(settings), await asyncio.to_thread(hardware.probe)
        rates = local_rates(settings.local.rate_usd_per_hour, probe.cores)
        backends = registry.create(_local(settings), _providers(catalog, secrets), probe)
        for backend in backends.values():
            closing.push_async_callback(backend.aclose)
        intents = await asyncio.to_thread(_intents, settings, catalog, backends)
        finder = CandidateFinder(catalog, backends, _discoverer(settings, secrets, catalog))
        await finder.prepare()
        log.append(_node(log, probe))
        lessons, metrics = Lessons(_estimator(rates, finder, backends), Breakers(), Patience()), Metrics()
        await asyncio.to_thread(_remember, lessons, finder.every(), log)
        ledger = Ledger(log, rates, price_book(catalog, rates), settings.log, metrics)
        budgets = await asyncio.to_thread(_budgets, settings, catalog, log)
        attempts = _attempts(Runner(backends, ledger, lessons, budgets), settings.routing)
        signal = IntentSignal(settings.routing.intents, catalog, backends["local"])
        dispatcher = Dispatcher(finder, Planner(finder, signal, lessons, budgets, settings.routing), attempts, ledger)
        closing.push_async_callback(_cancelled, asyncio.create_task(_warm(dispatcher, settings.local.warm)))
        yield Services(
            settings=settings,
            secrets=secrets,
            catalog=catalog,
            finder=finder,
            backends=backends,
            lessons=lessons,
            budgets=budgets,
            rates=rates,
            probe=probe,
            log=log,
            dispatcher=dispatcher,
            intents=intents,
            metrics=metrics,
        )


def _budgets(settings: Settings, catalog: Catalog, log: DecisionLog) -> Budgets:
    """The budgets, with what the log remembers of their present periods. It does not know whose requests they were."""
    budgets = Budgets(settings.budgets, time.time)
    since = budgets.since()
    if since is not None:
        log.flush()  # also what a process that was killed had left in the spill file
        listed: dict[tuple[str, str], list[str]] = {}
        for entry, target in _far(catalog):
            listed.setdefault((target.provider, target.model), []).append(entry.id)
        for spent in log.reader().spent(datetime.fromtimestamp(since, UTC)):
            names = (spent.asked_model, spent.model, *listed.get((spent.provider, spent.model), ()))
            budgets.spend(Charge("", names, spent.provider), spent.usd, spent.day_s)
    return budgets


def _intents(settings: Settings, catalog: Catalog, backends: Mapping[str, Backend]) -> IntentSets:
    sets = IntentSets(settings, catalog, backends["local"])
    sets.open()
    return sets


def _attempts(runner: Runner, routing: RoutingSettings) -> Attempts:
    hedging = Hedging(routing.hedging, runner.lessons.patience)
    return Attempts(runner, hedging, max_attempts=routing.max_attempts)


def _estimator(rates: LocalRates, finder: CandidateFinder, backends: Mapping[str, Backend]) -> Estimator:
    """An estimator that begins with what was measured on this hardware before."""
    estimator = Estimator(rates, runtime_started=lambda: "torch" in sys.modules)
    for candidate in finder.every():
        report = backends[candidate.target.backend].calibration(candidate.target)
        if report is not None:
            estimator.learn_load(candidate, report, "calibrated")
    return estimator


def _remember(lessons: Lessons, candidates: Iterable[Candidate], log: DecisionLog) -> None:
    """Who failed shortly before this start is not asked as if nothing had been."""
    by_id = {candidate.id: candidate for candidate in candidates}
    now = time.monotonic()
    for candidate_id, error_class, age_s in log.reader().recent_attempts(REMEMBERED_S):
        if candidate_id in by_id:
            lessons.remember(by_id[candidate_id], error_class, now - age_s)


async def _warm(dispatcher: Dispatcher, models: Sequence[str]) -> None:
    for model in models:
        try:
            await dispatcher.warm(model)
        except BackendError as error:
            logger.warning("local.warm: %s could not be loaded: %s", model, error)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


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


def checked(settings: Settings) -> Catalog:
    """The catalogue of these settings, if all they name exists.

    Raises:
        SettingsError, CatalogError: naming what does not.
    """
    check_listener(settings)
    weights = weights_of(settings.routing)
    named = {f"aliases: {alias.name}": alias.policy for alias in settings.aliases if alias.policy is not None}
    for where, name in {"routing": settings.routing.policy, **named}.items():
        try:
            create_policy(name, weights)
        except ValueError as error:
            raise SettingsError(f"{where}: {error}.") from error
    catalog = Catalog(settings.models, settings.providers, settings.aliases)
    _providers(catalog, Secrets())  # each must be well-formed
    for model in settings.local.warm:
        if catalog.find(model) is None:
            raise SettingsError(f"local.warm: unknown model {model!r}; near ones: {catalog.alternatives(model)}.")
    for entry in catalog:
        for candidate in entry.candidates:
            if candidate.backend == "fake":
                _check_script(entry, candidate)
    _check_budgets(settings, catalog)
    return catalog


def _check_budgets(settings: Settings, catalog: Catalog) -> None:
    far = _far(catalog)
    models = {name for entry, target in far for name in (entry.id, target.model)}
    models |= {alias.name for alias in settings.aliases}
    check_scopes(settings.budgets, models, catalog.provider_names | {target.provider for _, target in far})


def _far(catalog: Catalog) -> list[tuple[ModelEntry, Target]]:
    return [(entry, target_of(entry, c)) for entry in catalog for c in entry.candidates if c.backend != "local"]


def _check_script(entry: ModelEntry, candidate: CandidateEntry) -> None:
    try:
        fake.script_of(target_of(entry, candidate))
    except ValueError as error:
        raise CatalogError(f"models: {entry.id}: {error}.") from error


def create_app(settings: Settings, secrets: Secrets, log: DecisionLog) -> Litestar:
    """The HTTP application. Its lifespan opens the house, as `open_house` does, and closes it."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_house(settings, secrets, log) as house:
            app.state.services = house
            yield

    origins = list(settings.auth.cors_allow_origins)
    return Litestar(
        route_handlers=[*HANDLERS, _home, _static()],
        lifespan=[lifespan],
        exception_handlers={Exception: errors.handle},
        guards=[guards.from_here],
        request_max_body_size=settings.server.max_body_bytes,
        cors_config=CORSConfig(allow_origins=origins) if origins else None,
        openapi_config=_openapi(),
        logging_config=None,
    )


@get("/", include_in_schema=False)
async def _home() -> Redirect:
    """Until the web UI has its pages, the API's own description is the front page."""
    return Redirect("/schema")


def _static() -> Router:
    folder = str(resources.files("router").joinpath("web/vendor/swagger-ui"))
    return create_static_files_router(path=ASSETS, directories=[folder], include_in_schema=False)


def _openapi() -> OpenAPIConfig:
    viewer = SwaggerRenderPlugin(
        js_url=f"{ASSETS}/swagger-ui-bundle.js",
        css_url=f"{ASSETS}/swagger-ui.css",
        standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
        favicon="<link rel='icon' href='data:,'>",
    )
    return OpenAPIConfig(
        title="Nearfar",
        version=router.__version__,
        path="/schema",
        render_plugins=[viewer, JsonRenderPlugin()],
    )


def _providers(catalog: Catalog, secrets: Secrets) -> list[Provider]:
    """The far sides with their keys. A key goes to the provider that names its variable, and to no other host."""
    keys = secrets.provider_keys | {
        entry.name: secrets.hf_token
        for entry in catalog.providers.values()
        if entry.api_key_env == HUB_TOKEN and secrets.hf_token is not None
    }
    return [_provider(entry, keys.get(entry.name)) for entry in catalog.providers.values()]


def _provider(entry: ProviderSettings, api_key: str | None) -> Provider:
    try:
        return Provider(
            name=entry.name,
            protocol=entry.protocol,
            base_url=entry.base_url,
            api_key=api_key,
            needs_key=entry.api_key_env is not None,
            tasks=(Task.TEXT_GENERATION,) if entry == BUILTIN_PROVIDERS[0] else None,  # the hub's router only chats
            connect_timeout_s=entry.connect_timeout_s,
            first_token_timeout_s=entry.first_token_timeout_s,
            idle_timeout_s=entry.idle_timeout_s,
            total_timeout_s=entry.total_timeout_s,
        )
    except ValueError as error:
        raise SettingsError(f"providers: {entry.name}: {error}.") from error


def _discoverer(
    settings: Settings, secrets: Secrets, catalog: Catalog
) -> Callable[[str], Awaitable[ModelEntry | None]]:
    """How a model that the catalogue does not list is looked up: on the hub, where this router may use the hub."""
    allowed = not settings.routing.offline and (secrets.hf_token is not None or settings.local.downloads)

    async def discover(model_id: str) -> ModelEntry | None:
        if not allowed or model_id.count("/") != 1:
            return None
        try:
            card = await asyncio.to_thread(hub.model_info, model_id, secrets.hf_token, HUB_TIMEOUT_S)
        except ModelNotFound:
            return None
        except BackendError as error:
            logger.warning("the hub could not be asked for a model: %s", type(error).__name__)
            return None
        if card.task not in KNOWN_TASKS:
            return None
        return catalog.discover(model_id, card.task, card.parameters)

    return discover


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
