"""Health, System Health and metrics. Asking costs nothing and opens no connection."""

import time
from typing import Any, Literal

import msgspec
from litestar import MediaType, Request, Response, get, post

import router
from router.http.services import Services, services
from router.token_health import TokenReport

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


@post("/v1/system/token", status_code=200, summary="Ask the hub about the token now")
async def check_token(request: Request[Any, Any, Any]) -> TokenReport:
    """The token's state as the hub sees it at this moment. Spends nothing; offline nobody is asked."""
    return await services(request).far.health.check(force=True)


@get("/metrics", media_type=MediaType.TEXT, summary="Prometheus metrics")
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
    token = house.far.health.state().state
    house.metrics.admitted(house.lessons.admission.states())
    house.metrics.covered(house.lessons.estimator.coverage())
    body = house.metrics.render(house.log.stats(), breakers_open, models, house.budgets.states(), token)
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")


def report(house: Services) -> dict[str, Any]:
    """System Health as data: what `GET /v1/system` and `nearfar doctor` tell."""
    loaded = [
        {"candidate": c.id, "device": c.status.device, "queued": c.status.queued, "memory_bytes": c.status.memory_bytes}
        for entry in house.catalog
        for c in house.finder.of_model(entry)
        if c.near and c.status.loaded and c.target.backend == "local"
    ]
    problems = _problems(house)
    return {
        "version": router.__version__,
        "health": next((level for level in ("error", "warning") if level in problems.values()), "ok"),
        "problems": [{"level": level, "message": message} for message, level in problems.items()],
        "hardware": msgspec.to_builtins(house.probe),
        "rates": msgspec.to_builtins(house.near.rates),
        "energy": house.near.report(),
        "policy": house.settings.routing.policy,
        "offline": house.settings.routing.offline,
        "hub_token": msgspec.to_builtins(house.far.health.state()),
        "providers": sorted(house.catalog.providers),
        "listings": _listings(house),
        "price_drift": msgspec.to_builtins(house.refresher.drift),
        "budgets": msgspec.to_builtins(house.budgets.states()),
        "models_loaded": loaded,
        "admission": [state._asdict() for state in house.lessons.admission.states()],
        "shadowing": house.dispatcher.shadows.state()._asdict(),
        "log": msgspec.to_builtins(house.log.stats()),
    }


def _problems(house: Services) -> dict[str, Literal["error", "warning"]]:
    """Every sentence that somebody should read, with how bad it is. What is off on purpose is no problem."""
    found: dict[str, Literal["error", "warning"]] = {}
    token = house.far.health.state()
    if token.red:
        found[f"hub token {token.state}: {token.detail}; see {token.link}"] = "error"
    for key, why in house.lessons.breakers.open(time.monotonic()).items():
        found[f"{key}: {why}"] = "warning"
    for drift in filter(lambda drift: drift.in_force, house.refresher.drift):
        found[f"price of {drift}"] = "warning"
    if house.log.stats().lag_s >= LAG_WARNING_S:
        found["the decision log lags behind"] = "warning"
    return found


def _listings(house: Services) -> list[dict[str, Any]]:
    known = {name: house.far.listings.of(name) for name in house.far.listings}
    return [
        {"provider": name, "as_of": listing.as_of, "source": listing.source, "models": len(listing.models)}
        for name, listing in known.items()
        if listing is not None
    ]
