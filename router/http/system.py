"""Health, System Health and metrics. Asking costs nothing and opens no connection."""

import time
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get

import router
from router.http.services import Services, services

LAG_WARNING_S = 5.0


@get("/health/live", summary="The process answers")
async def live() -> dict[str, str]:
    """Always `ok` while the process can answer at all."""
    return {"status": "ok"}


@get("/health/ready", summary="Requests can be served and logged")
async def ready(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """503 while the log cannot take rows."""
    stats = services(request).log.stats()
    healthy = stats.lag_s < LAG_WARNING_S
    body = {"status": "ok" if healthy else "degraded", "log_lag_s": stats.lag_s, "log_queued": stats.queued}
    return Response(body, status_code=200 if healthy else 503)


@get("/v1/system", summary="System Health")
async def system(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Hardware, models, breakers, budgets, log and the hub token's state, as known here and now."""
    return report(services(request))


@get("/metrics", media_type=MediaType.TEXT, summary="Prometheus metrics", include_in_schema=False)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The exposition format, version 0.0.4."""
    house = services(request)
    models = {
        candidate.target.model: candidate.status
        for entry in house.catalog
        for candidate in house.finder.of_model(entry)
        if candidate.target.backend == "local" and candidate.status.unavailable is None
    }
    breakers_open = len(house.lessons.breakers.open(time.monotonic()))
    body = house.metrics.render(house.log.stats(), breakers_open, models, house.budgets.states())
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")


def report(house: Services) -> dict[str, Any]:
    """System Health as data: what `GET /v1/system` and `nearfar doctor` tell."""
    loaded = [
        {"candidate": c.id, "device": c.status.device, "queued": c.status.queued, "memory_bytes": c.status.memory_bytes}
        for entry in house.catalog
        for c in house.finder.of_model(entry)
        if c.near and c.status.loaded and c.target.backend == "local"
    ]
    return {
        "version": router.__version__,
        "hardware": msgspec.to_builtins(house.probe),
        "rates": msgspec.to_builtins(house.rates),
        "policy": house.settings.routing.policy,
        "offline": house.settings.routing.offline,
        "hub_token": "configured (not checked)" if house.secrets.hf_token else "not configured",
        "providers": sorted(house.catalog.providers),
        "budgets": msgspec.to_builtins(house.budgets.states()),
        "models_loaded": loaded,
        "log": msgspec.to_builtins(house.log.stats()),
    }
