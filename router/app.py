"""The composition root: builds the house from settings, and the HTTP application around it.

Nothing happens at import; opening a house opens the log and looks at files, and no connection.
"""

import asyncio
import logging
import platform
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
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
from backends.remote.backend import RemoteBackend
from backends.remote.provider import ROUTER, Provider
from backends.types import Task
from policies.registry import create as create_policy
from router.attempts import Attempts
from router.availability import Breakers
from router.candidates import CandidateFinder, target_of
from router.catalog import BUILTIN_PROVIDERS, KNOWN_TASKS, Catalog
from router.decision_log.log import DecisionLog
from router.decision_log.record import NodeRow
from router.dispatch import Dispatcher
from router.errors import CatalogError, SettingsError
from router.estimates import Estimator
from router.http import audio, decisions, errors, guards, huggingface, images, inference, openai, system
from router.http import intents as intent_routes
from router.http.metrics import Metrics
from router.http.services import Services
from router.intents.sets import IntentSets
from router.intents.signal import IntentSignal
from router.ledger import Ledger, now_us
from router.listings import Listings
from router.planning import Planner, weights_of
from router.pricing import LocalRates, local_rates, price_book
from router.renewal import FarSide, Refresher
from router.sections import CandidateEntry, ModelEntry, ProviderSettings, Settings
from router.settings import Secrets, check_listener, intents_dir, models_dir

logger = logging.getLogger("nearfar")

HUB_TIMEOUT_S = 10.0
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
    system.check_token,
    system.metrics,
)


@asynccontextmanager
async def open_house(settings: Settings, secrets: Secrets, log: DecisionLog) -> AsyncIterator[Services]:
    """Everything a router consists of, ready to be asked. Closing it ends the backends, then drains the log.

    Raises:
        SettingsError, CatalogError: the configuration names what does not exist.
    """
    async with AsyncExitStack() as closing:
        closing.push_async_callback(asyncio.to_thread, log.close)
        catalog = checked(settings)
        probe = await asyncio.to_thread(hardware.probe)
        rates = local_rates(settings.local.rate_usd_per_hour, probe.cores)
        backends = _backends(closing, settings, _providers(catalog, secrets), probe)
        intents = await asyncio.to_thread(_intents, settings, catalog, backends)
        far, finder = await _finder(settings, secrets, catalog, backends)
        log.append(_node(log, probe))
        estimator, breakers, metrics = _estimator(rates, catalog, finder, backends), Breakers(), Metrics()
        book = partial(_book, catalog, rates, far.listings)
        ledger = Ledger(log, rates, book(), settings.log, metrics)
        attempts = Attempts(backends, ledger, estimator, breakers, max_attempts=settings.routing.max_attempts)
        signal = IntentSignal(settings.routing.intents, catalog, backends["local"])
        planner = Planner(finder, signal, estimator, breakers, settings.routing)
        dispatcher = Dispatcher(finder, planner, attempts, ledger)
        refresher = Refresher(far, catalog, _remote(backends), lambda: ledger.reprice(book()))
        _beside(closing, _warm(dispatcher, settings.local.warm), refresher.watch(), _refreshed(settings, refresher))
        yield Services(
            settings=settings,
            far=far,
            refresher=refresher,
            catalog=catalog,
            finder=finder,
            backends=backends,
            breakers=breakers,
            estimator=estimator,
            rates=rates,
            probe=probe,
            log=log,
            dispatcher=dispatcher,
            intents=intents,
            metrics=metrics,
        )


def _backends(
    closing: AsyncExitStack, settings: Settings, providers: Sequence[Provider], probe: hardware.Probe
) -> dict[str, Backend]:
    backends = registry.create(_local(settings), providers, probe)
    for backend in backends.values():
        closing.push_async_callback(backend.aclose)
    return backends


async def _finder(
    settings: Settings, secrets: Secrets, catalog: Catalog, backends: Mapping[str, Backend]
) -> tuple[FarSide, CandidateFinder]:
    """What is known of the far side, and who finds candidates with it."""
    far = await asyncio.to_thread(FarSide.opened, settings, secrets, catalog.providers)
    finder = CandidateFinder(catalog, backends, _discoverer(settings, far, catalog), far.listings, far.routed)
    await finder.prepare()
    return far, finder


def _beside(closing: AsyncExitStack, *works: Coroutine[None, None, None]) -> None:
    """Let these run beside the requests, until the house closes."""
    for work in works:
        closing.push_async_callback(_cancelled, asyncio.create_task(work))


def _intents(settings: Settings, catalog: Catalog, backends: Mapping[str, Backend]) -> IntentSets:
    sets = IntentSets(settings, catalog, backends["local"])
    sets.open()
    return sets


def _estimator(
    rates: LocalRates, catalog: Catalog, finder: CandidateFinder, backends: Mapping[str, Backend]
) -> Estimator:
    """An estimator that begins with what was measured on this hardware before."""
    estimator = Estimator(rates, runtime_started=lambda: "torch" in sys.modules)
    for entry in catalog:
        for candidate in finder.of_model(entry):
            report = backends[candidate.target.backend].calibration(candidate.target)
            if report is not None:
                estimator.learn_load(candidate, report, "calibrated")
    return estimator


async def _warm(dispatcher: Dispatcher, models: Sequence[str]) -> None:
    for model in models:
        try:
            await dispatcher.warm(model)
        except BackendError as error:
            logger.warning("local.warm: %s could not be loaded: %s", model, error)


async def _refreshed(settings: Settings, refresher: Refresher) -> None:
    hours = settings.routing.refresh_hours
    if hours is not None and not settings.routing.offline:
        await refresher.every(hours)


def _book(catalog: Catalog, rates: LocalRates, listings: Listings) -> tuple[str, str]:
    return price_book(catalog, rates, listings.prices())


def _remote(backends: Mapping[str, Backend]) -> RemoteBackend:
    remote = backends["remote"]
    if not isinstance(remote, RemoteBackend):
        raise TypeError(f"the remote backend is a {type(remote).__name__}")
    return remote


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
    try:
        create_policy(settings.routing.policy, weights_of(settings.routing))
    except ValueError as error:
        raise SettingsError(f"routing: {error}.") from error
    catalog = Catalog(settings.models, settings.providers)
    _providers(catalog, Secrets())  # each must be well-formed
    for model in settings.local.warm:
        if catalog.find(model) is None:
            raise SettingsError(f"local.warm: unknown model {model!r}; near ones: {catalog.alternatives(model)}.")
    for entry in catalog:
        for candidate in entry.candidates:
            if candidate.backend == "fake":
                _check_script(entry, candidate)
    return catalog


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
    return [_provider(entry, secrets.key_of(entry)) for entry in catalog.providers.values()]


def _provider(entry: ProviderSettings, api_key: str | None) -> Provider:
    try:
        return Provider(
            name=entry.name,
            protocol=entry.protocol,
            base_url=entry.base_url,
            api_key=api_key,
            needs_key=entry.api_key_env is not None or entry.api_key_file is not None,
            tasks=(Task.TEXT_GENERATION,) if entry == BUILTIN_PROVIDERS[0] else None,  # the hub's router only chats
            connect_timeout_s=entry.connect_timeout_s,
            first_token_timeout_s=entry.first_token_timeout_s,
            idle_timeout_s=entry.idle_timeout_s,
            total_timeout_s=entry.total_timeout_s,
        )
    except ValueError as error:
        raise SettingsError(f"providers: {entry.name}: {error}.") from error


def _discoverer(settings: Settings, far: FarSide, catalog: Catalog) -> Callable[[str], Awaitable[ModelEntry | None]]:
    """How a model that the catalogue does not list is looked up: in the router's listing, else on the hub.

    Both only where this router may use them. Where models may be downloaded the hub goes first: it knows their sizes.
    """

    async def discover(model_id: str) -> ModelEntry | None:
        listed = far.routed() and far.listings.model(ROUTER, model_id) is not None
        if listed and not settings.local.downloads:
            return catalog.discover(model_id, Task.TEXT_GENERATION, None)
        allowed = not far.offline and (far.keys.hub_token is not None or settings.local.downloads)
        if not allowed or model_id.count("/") != 1:
            return None
        try:
            card = await asyncio.to_thread(hub.model_info, model_id, far.keys.hub_token, HUB_TIMEOUT_S)
        except ModelNotFound:
            return None
        except BackendError as error:
            logger.warning("the hub could not be asked for a model: %s", type(error).__name__)
            return catalog.discover(model_id, Task.TEXT_GENERATION, None) if listed else None
        if card.task not in KNOWN_TASKS:
            return None
        return catalog.discover(model_id, card.task, card.parameters, far=listed or card.served is not False)

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
