"""The HTTP application around a house: its routes, its errors and its description."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.openapi.config import OpenAPIConfig

import router
from router.decision_log.taking import Log
from router.house import serving_house
from router.http import (
    access,
    analytics,
    audio,
    batches,
    browser,
    browser_models,
    catalogue,
    compare,
    completions,
    decisions,
    errors,
    feedback,
    files,
    huggingface,
    images,
    inference,
    keys,
    loading,
    openai,
    pulling,
    reloading,
    replay,
    system,
    web,
)
from router.http import intents as intent_routes
from router.http.application import Application, Silent
from router.http.batch_lines import batching
from router.http.description.viewer import Document, Viewer
from router.http.door import EXPOSED, Door
from router.http.lane import Lane
from router.reloading.reloader import Source
from router.sections import Settings
from router.settings import Secrets
from router.telemetry.exchanges import Exchange, Watched, log_line

VIEWER = f"{web.FILES}/vendor/swagger-ui"
HANDLERS = (
    inference.inference,
    inference.route,
    openai.chat,
    completions.completions,
    openai.embeddings,
    images.generations,
    audio.transcriptions,
    huggingface.model,
    intent_routes.define,
    intent_routes.every,
    intent_routes.one,
    intent_routes.head,
    intent_routes.remove,
    openai.models,
    openai.model,
    decisions.decisions,
    decisions.decision,
    decisions.sql,
    browser.report,
    analytics.schema,
    analytics.question,
    feedback.feedback,
    replay.replay_policy,
    keys.every,
    keys.create,
    keys.revoke,
    keys.rotate,
    keys.audit_log,
    *files.HANDLERS,
    *batches.HANDLERS,
    *compare.HANDLERS,
    system.live,
    system.ready,
    system.system,
    system.check_token,
    system.metrics,
    *catalogue.HANDLERS,
    loading.load,
    loading.unload,
    pulling.pull,
    reloading.reload,
)


def create_app(settings: Settings, secrets: Secrets, log: Log, source: Source | None = None) -> Litestar:
    """The HTTP application. Its lifespan opens the house, as `serving_house` does, and closes it.

    `source` is where the settings can be read again; without one they stay as they are.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with (
            serving_house(settings, secrets, log) as house,
            batching(house, settings.server.drain_timeout_s) as app.state.batches,
            compare.comparing(house) as app.state.comparisons,
        ):
            app.state.services = house
            app.state.reloader = reloading.reloader(house, source)
            yield

    origins = list(settings.auth.cors_allow_origins)
    app = Application(
        route_handlers=[*HANDLERS, web.home, web.service_worker, web.static(), *browser_models.HANDLERS],
        lifespan=[lifespan],
        exception_handlers={Exception: errors.handle},
        guards=[access.let_in],
        request_max_body_size=settings.server.max_body_bytes,
        cors_config=CORSConfig(allow_origins=origins, expose_headers=list(EXPOSED)) if origins else None,
        openapi_config=_openapi(),
        logging_config=None,
        event_emitter_backend=Silent,
    )
    app.asgi_handler = Door(Lane(app, app.asgi_handler), settings.server.body_timeout_s)
    return app


def served(settings: Settings, secrets: Secrets, log: Log, source: Source) -> Watched:
    """The application of a process of its own, which reads its settings again when it gets SIGHUP."""
    app = create_app(settings, secrets, log, source)
    app.on_startup.append(reloading.on_hangup)
    return watched(app, settings)


def watched(app: Litestar, settings: Settings) -> Watched:
    """The application with every exchange counted, and logged where that is configured."""
    logs = settings.telemetry.logs is not None

    def tell(exchange: Exchange) -> None:
        app.state.services.metrics.exchanged(exchange)
        if logs:
            log_line(exchange)

    return Watched(app, tell)


def _openapi() -> OpenAPIConfig:
    viewer = Viewer(
        js_url=f"{VIEWER}/swagger-ui-bundle.js",
        css_url=f"{VIEWER}/swagger-ui.css",
        standalone_preset_js_url=f"{VIEWER}/swagger-ui-standalone-preset.js",
        favicon="<link rel='icon' href='data:,'>",
    )
    return OpenAPIConfig(
        title="Nearfar",
        version=router.__version__,
        path="/schema",
        render_plugins=[viewer, Document()],
    )
