"""Health, System Health and metrics. Asking costs nothing and opens no connection."""

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get, post

import router
from backends import hardware
from policies import registry
from router.egress.guard import GUARD
from router.errors import Forbidden
from router.far_servers import remote_of
from router.http.auditing import audited
from router.http.batches import batches_of
from router.http.problems import LAG_WARNING_S, problems_of
from router.http.services import Services, identity, services
from router.identity import is_known_to
from router.sections import ModelEntry
from router.shipping.shipper import ShippingState
from router.token_health import TokenReport

EVERYBODYS = (
    "version", "health", "hardware", "rates", "policy", "policies", "offline", "providers", "listings", "price_drift"
)  # fmt: skip


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
    """Hardware, models, breakers, budgets, log and the hub token's state, as known here and now.

    Whoever is no admin is told what all share, and its own budgets: no figure that adds up others' requests.
    """
    house, sees = services(request), identity(request).sees
    return report(house) if sees is None else told_to(sees, report(house))


@post("/v1/system/token", status_code=200, summary="Ask the hub about the token now")
async def check_token(request: Request[Any, Any, Any]) -> TokenReport:
    """The token's state as the hub sees it at this moment. Spends nothing; offline nobody is asked."""
    async with audited(request, "system.check_token", "hub token"):
        return await services(request).far.health.check(force=True)


@get("/metrics", media_type=MediaType.TEXT, summary="Prometheus metrics")
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The exposition format, version 0.0.4. For admins: every figure adds up everybody's requests."""
    if identity(request).sees is not None:
        raise Forbidden("Metrics add up everybody's requests: they need a key or token with the scope admin.")
    house = services(request)
    models = {
        candidate.target.model: candidate.status
        for entry in house.catalog
        for candidate in house.finder.of_model(entry)
        if candidate.target.backend == "local" and candidate.status.unavailable is None
    }
    breakers = house.lessons.breakers.states(time.monotonic())
    token = house.far.health.state().state
    house.metrics.admitted(house.lessons.admission.states())
    house.metrics.covered(house.lessons.estimator.coverage())
    house.metrics.batched(batches_of(request).store.batches.values())
    house.metrics.cached(house.finder.cache.state())
    house.metrics.guarded(GUARD.state())
    house.metrics.replicated(remote_of(house.backends).replicas())
    if house.cluster is not None:
        house.metrics.clustered(house.cluster.state())
    house.metrics.shipped(_shipping(house))
    body = house.metrics.render(house.log.stats(), breakers, models, house.budgets.states(), token)
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")


def report(house: Services) -> dict[str, Any]:
    """System Health as data: what `GET /v1/system` and `nearfar doctor` tell."""
    loaded = [
        {"candidate": c.id, "device": c.status.device, "queued": c.status.queued, "memory_bytes": c.status.memory_bytes}
        for entry in house.catalog
        for c in house.finder.of_model(entry)
        if c.near and c.status.loaded and c.target.backend == "local"
    ]
    problems = problems_of(house)
    return {
        "version": router.__version__,
        "started_at": datetime.fromtimestamp(house.started_at, UTC).isoformat(timespec="seconds"),
        "uptime_s": time.time() - house.started_at,
        "health": next((level for level in ("error", "warning") if level in problems.values()), "ok"),
        "problems": [{"level": level, "message": message} for message, level in problems.items()],
        "hardware": msgspec.to_builtins(house.probe),
        "now": msgspec.to_builtins(hardware.now()),
        "rates": msgspec.to_builtins(house.near.rates),
        "energy": house.near.report(),
        "policy": house.settings.routing.policy,
        "policies": list(registry.names()),
        "offline": house.settings.routing.offline,
        "egress": msgspec.to_builtins(GUARD.state()),
        "telemetry": _telemetry(house),
        "hub_token": msgspec.to_builtins(house.far.health.state()),
        "providers": sorted(house.catalog.providers),
        "listings": _listings(house),
        "price_drift": msgspec.to_builtins(house.refresher.drift),
        "budgets": msgspec.to_builtins(house.budgets.states()),
        "models": [_model(house, entry) for entry in house.catalog],
        "models_loaded": loaded,
        "breakers": _breakers(house),
        "replicas": msgspec.to_builtins(remote_of(house.backends).replicas()),
        "admission": [state._asdict() for state in house.lessons.admission.states()],
        "cache": house.finder.cache.state()._asdict() | {"enabled": house.settings.cache.enabled},
        "shadowing": house.dispatcher.shadows.state()._asdict(),
        "log": msgspec.to_builtins(house.log.stats()),
        "cluster": None if house.cluster is None else msgspec.to_builtins(house.cluster.state()),
        "shipping": msgspec.to_builtins(_shipping(house)),
    }


def told_to(sees: str, system: dict[str, Any]) -> dict[str, Any]:
    """Of System Health what a tenant is told. A figure that is new is told to nobody until it is named here."""
    return {name: system[name] for name in EVERYBODYS} | {
        "budgets": [budget for budget in system["budgets"] if budget["scope"] == f"key:{sees}"],
        "models_loaded": [loaded for loaded in system["models_loaded"] if is_known_to(_loaded_model(loaded), sees)],
    }


def _loaded_model(loaded: dict[str, Any]) -> str:
    return str(loaded["candidate"]).partition(":")[2]


def _model(house: Services, entry: ModelEntry) -> dict[str, Any]:
    """A model of the catalogue, and how many of its candidates could be asked at this moment."""
    candidates = house.finder.of_model(entry)
    usable = [c for c in candidates if c.status.unavailable is None and c.status.does_not_fit is None]
    return {"id": entry.id, "task": entry.task, "candidates": len(candidates), "usable": len(usable)}


def _breakers(house: Services) -> dict[str, dict[str, str | None]]:
    """By candidate or account: its breaker's state, and why it must not be tried now."""
    breakers, now = house.lessons.breakers, time.monotonic()
    why = breakers.open(now)
    return {name: {"state": state, "why": why.get(name)} for name, state in breakers.states(now).items()}


def _telemetry(house: Services) -> dict[str, Any]:
    """Whether lines are logged and spans sent; `traces` is null where no collector is asked."""
    traces = None if house.traces is None else msgspec.to_builtins(house.traces.state())
    return {"logs": house.settings.telemetry.logs, "traces": traces}


def _shipping(house: Services) -> ShippingState | None:
    """How shipping the log does; None where it is not shipped."""
    return None if house.shipping is None else house.shipping.state()


def _listings(house: Services) -> list[dict[str, Any]]:
    known = {name: house.far.listings.of(name) for name in house.far.listings}
    return [
        {"provider": name, "as_of": listing.as_of, "source": listing.source, "models": len(listing.models)}
        for name, listing in known.items()
        if listing is not None
    ]
