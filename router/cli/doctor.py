"""`nearfar doctor`: what works here, what does not, and what to do about it."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from router.cli.console import config_option, configured, json_option, opened_log, reported, show_json, show_table, size
from router.cli.doctor_access import access_lines
from router.cli.doctor_cluster import cluster_lines
from router.cli.doctor_engines import engine_lines
from router.cli.finding import Finding
from router.decision_log.log import DecisionLog
from router.editing.overlay import outdated
from router.egress.guard import GUARD
from router.errors import CatalogError, LogError, SettingsError
from router.house import open_house
from router.policy_check import warnings_of
from router.routes import name_of
from router.shipping.names import segments_of
from router.shipping.places import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.http.services import Services
    from router.sections import Settings
    from router.settings import Secrets
    from router.token_health import TokenReport


@click.command()
@config_option
@click.option("--check-token", is_flag=True, help="Ask the hub whether the token is valid (one free request).")
@json_option
def doctor(config: Path | None, *, check_token: bool, as_json: bool) -> None:
    """Check configuration, hardware, models, hub token and log. Exit code 1 when something is an error."""
    with reported():
        findings = _findings(config, check_token=check_token)
        if as_json:
            show_json([finding._asdict() for finding in findings])
        else:
            show_table("doctor", ("what", "state", "detail", "hint"), findings)
        if any(finding.state == "error" for finding in findings):
            raise click.exceptions.Exit(1)


def _findings(config: Path | None, *, check_token: bool) -> list[Finding]:
    try:
        settings, secrets = configured(config)
    except SettingsError as error:
        return [Finding("configuration", "error", str(error), "correct the key it names")]
    findings = [Finding("configuration", "ok", _settings(settings))]
    try:
        findings += asyncio.run(_house(settings, secrets, check_token=check_token))
    except (SettingsError, CatalogError) as error:
        findings.append(Finding("configuration", "error", str(error), "correct the key it names"))
    findings += access_lines(settings, secrets)
    findings.append(_libraries())
    findings.append(_log(settings))
    findings += _shipping(settings)
    return findings


def _settings(settings: Settings) -> str:
    tree: dict[str, Any] = msgspec.to_builtins(settings)
    shown = {key: tree[key] for key in ("server", "auth", "routing", "log", "local", "telemetry")}
    shown |= {"providers": [p.name for p in settings.providers], "models": [m.id for m in settings.models]}
    return "\n".join(f"{section}: {msgspec.json.encode(values).decode()}" for section, values in shown.items())


async def _house(settings: Settings, secrets: Secrets, *, check_token: bool) -> list[Finding]:
    async with open_house(settings, secrets, DecisionLog.open(Path(":memory:"))) as house:
        token = await house.far.health.check() if check_token else house.far.health.state()
        near = [*_hardware(house), *_near_costs(house), *_models(house)]
        shared, engines = cluster_lines(house.cluster), await engine_lines(house)
        return [*near, *_routing(house), *shared, _egress(house), _token(token), *engines, *_listings(house)]


def _hardware(house: Services) -> Iterator[Finding]:
    probe = house.probe
    yield Finding(
        "hardware",
        "ok",
        f"{probe.cores:g} usable cores, {size(probe.ram_available_bytes)} of {size(probe.ram_total_bytes)} RAM free",
    )
    for gpu in probe.gpus:
        yield Finding("gpu", "ok", f"{gpu.name}: {size(gpu.vram_free_bytes)} of {size(gpu.vram_total_bytes)} free")
    if not probe.gpus:
        yield Finding("gpu", "ok", probe.gpu_note or "none: models run on the CPU")


def _near_costs(house: Services) -> Iterator[Finding]:
    """On which basis near requests are priced, and whose figure their energy is."""
    rates = house.near.rates
    detail = f"{rates.cost_mode}: ${rates.cpu_usd_per_hour:g} an hour of CPU ({rates.source}), "
    if house.probe.gpus:
        detail += f"${rates.gpu_usd_per_hour:g} of a GPU, "
    detail += f"${rates.electricity_usd_per_kwh:g} a kWh ({rates.electricity_source})"
    if rates.carbon_g_per_kwh is not None:
        detail += f", {rates.carbon_g_per_kwh:g} g CO2e a kWh"
    yield Finding("near costs", "ok", detail, "set local.rate_usd_per_hour" if rates.source == "default" else "")
    for of in house.near.report():
        unknown = rates.cost_mode == "marginal" and of["watts"] is None and of["meter"] is None
        watts = "unknown power" if of["watts"] is None else f"{of['watts']:g} W while busy ({of['watts_source']})"
        detail = f"metered by {of['meter']}" if of["meter"] else f"{watts}; {of['no_meter']}"
        yield Finding(
            f"energy {of['device']}", "warning" if unknown else "ok", detail, "set local.watts" if unknown else ""
        )


def _models(house: Services) -> Iterator[Finding]:
    for entry in house.catalog:
        for candidate in house.finder.of_model(entry):
            why = candidate.status.unavailable or candidate.status.does_not_fit
            if candidate.target.backend == "local":
                yield Finding(
                    f"model {entry.id}", "warning" if why else "ok", why or f"runs on {candidate.status.device}"
                )


def _routing(house: Services) -> Iterator[Finding]:
    """How many rules hold, in which order, and what the policies lack of their candidates."""
    routes = [name_of(index, entry) for index, entry in enumerate(house.settings.routes) if entry.enabled]
    aliases = ", ".join(house.catalog.aliases) or "none"
    rules = f"{len(routes)}, first match wins: {', '.join(routes)}" if routes else "none"
    yield Finding("routes", "ok", f"{rules}; aliases: {aliases}; policy {house.settings.routing.policy}")
    for stale in outdated(house.in_force.made.held):
        yield Finding("catalogue", "warning", stale, "nearfar models|aliases|routes remove takes the file's again")
    for lack in warnings_of(house.settings, house.catalog):
        yield Finding("policy", "warning", lack, "give it one in the catalogue, or choose another policy")


def _egress(house: Services) -> Finding:
    """Whether anything may leave this machine, and where it may not, whether the guard holds: it is tried."""
    if not house.settings.routing.offline:
        return Finding("egress", "ok", "routing.offline is not set: what is asked far leaves this machine")
    if not GUARD.holds():
        return Finding("egress", "error", "offline, but the guard lets connections pass", "report this as a bug")
    denied = GUARD.state().total
    detail = f"offline: connections and lookups beyond this machine are refused ({denied} so far)"
    return Finding("egress", "warning" if denied else "ok", detail, "the log says whose they were" if denied else "")


def _libraries() -> Finding:
    missing = [name for name in ("torch", "transformers", "sentence_transformers") if find_spec(name) is None]
    if missing:
        return Finding("local extra", "warning", f"missing {', '.join(missing)}", "pip install 'nearfar[local]'")
    return Finding("local extra", "ok", "torch, transformers and sentence-transformers are installed")


def _token(token: TokenReport) -> Finding:
    """In the words of System Health."""
    detail = f"{token.state}: {token.detail}"
    if token.state == "not_configured":
        return Finding("hub token", "warning", f"{detail}; the far side is off", token.link)
    if token.red:
        return Finding("hub token", "error", detail, token.link)
    if token.state == "unknown" and token.checked_at is None:
        return Finding("hub token", "ok", detail, "--check-token asks the hub")
    return Finding("hub token", "ok" if token.state == "valid" else "warning", detail)


def _listings(house: Services) -> Iterator[Finding]:
    """How old the prices are, which have moved, and what is configured that its far side does not list."""
    for name in house.far.listings:
        if (listing := house.far.listings.of(name)) is not None:
            detail = f"{len(listing.models)} models as of {listing.as_of}, from {listing.source}"
            yield Finding(f"listing {name}", "ok", detail, "nearfar models refresh asks again")
    for drift in house.refresher.drift:
        hint = "correct [models.candidates.price], or leave it out" if drift.in_force else "the far side's own is used"
        yield Finding("price", "warning", str(drift), hint)
    for entry in house.catalog:
        for candidate in entry.candidates:
            listing = house.far.listings.fetched(candidate.provider or "")
            name = candidate.model or entry.id
            if listing is not None and house.far.listings.model(candidate.provider or "", name) is None:
                detail = f"{candidate.provider} did not list {name} as of {listing.as_of}"
                yield Finding(f"model {entry.id}", "warning", detail, "it may be gone, or go by another name there")


def _log(settings: Settings) -> Finding:
    path = Path(settings.log.path).expanduser()
    if not path.exists():
        return Finding("log", "ok", f"{path.name} will be made at the first start")
    try:
        log = opened_log(settings)
    except LogError as error:
        return Finding("log", "warning", str(error))
    stats = log.stats()
    log.close()
    return Finding("log", "ok", f"{path.name}, {size(stats.file_bytes)}")


def _shipping(settings: Settings) -> Iterator[Finding]:
    """Whether the place that the log is shipped to can be read now, and how much waits for it here."""
    to = settings.log.ship.to
    if to is None:
        return
    staged = Path(settings.log.path).expanduser()
    waiting = sorted(staged.with_name(f"{staged.name}.segments").rglob("*.parquet"))
    held = f"{len(waiting)} segments ({size(sum(file.stat().st_size for file in waiting))}) wait here"
    try:
        place = place_of(to)
        there = segments_of(place.names())
    except (LogError, SettingsError) as error:
        yield Finding("log shipping", "warning", f"{error} {held}", "rows wait here until it can be reached")
        return
    yield Finding("log shipping", "ok", f"{place.kind}: {len(there)} segments there; {held}")
