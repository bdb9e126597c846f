"""What things cost, as plain arithmetic: far by price times usage, near by occupancy. An unknown price stays so."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backends.types import Usage
from router.sections import Price

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backends.hardware import Probe
    from policies.types import Estimate
    from router.sections import CandidateEntry, LocalSettings, ModelEntry, ProviderSettings, RaySettings, Settings
    from router.slate import Candidate, Size

# Published prices of the hub's own endpoints: 2 vCPU for $0.067 an hour, a small GPU at $0.00012 a second.
CPU_USD_PER_CORE_HOUR = 0.0335
GPU_USD_PER_HOUR = 0.432
ELECTRICITY_USD_PER_KWH = 0.16  # what homes in the US paid on average in 2023 (EIA, Electric Power Annual)
CPU_WATTS_PER_CORE = 3.5  # a vCPU at full load, average of AWS's processors (Cloud Carbon Footprint, methodology)
JOULES_PER_KWH = 3.6e6
HOURLY = "usd_per_hour"  # the source of a price that is a provider's by the hour

CostMode = Literal["occupancy", "marginal"]
Basis = Literal["occupancy", "marginal", "unknown"]
Origin = Literal["settings", "default"]


class NearRates(Protocol):
    """Whoever can tell beforehand what a near request would cost."""

    def expected(self, seconds: float, device: str) -> tuple[float | None, Basis]:
        """US dollars for holding a device for so long, and on which basis; None and `unknown` go together."""
        ...


class LocalRates(Struct, frozen=True, kw_only=True):
    """What an hour of this machine costs, by device, and what its electricity does; and where each figure comes from.

    Attributes:
        cost_mode: Which of the two is what a near request costs. There is no third: what absorbs idle hours falls as
            load rises, and a policy that was fed with it would send requests away from a machine because it idles.
        watts: What a device takes while it is busy, where no meter says so; a device that is not here is not known.
        carbon_g_per_kwh: Grams of CO2 equivalents; None where nobody said.
    """

    cpu_usd_per_hour: float
    gpu_usd_per_hour: float
    source: Origin
    cost_mode: CostMode = "occupancy"
    electricity_usd_per_kwh: float = ELECTRICITY_USD_PER_KWH
    electricity_source: Origin = "default"
    watts: dict[str, float] = {}
    watts_source: Origin = "default"
    carbon_g_per_kwh: float | None = None

    def usd_per_hour(self, device: str) -> float:
        """What an hour of a device costs, busy or not."""
        return self.cpu_usd_per_hour if device == "cpu" else self.gpu_usd_per_hour

    def occupancy_usd(self, seconds: float, device: str) -> float:
        """Price of holding a device: seconds x rate / 3600, the unit in which the far side itself bills compute."""
        return seconds * self.usd_per_hour(device) / 3600

    def marginal_usd(self, joules: float | None) -> float | None:
        """Price of energy alone, for a machine that is owned and always on: joules / 3.6e6 x price of a kWh."""
        return None if joules is None else joules / JOULES_PER_KWH * self.electricity_usd_per_kwh

    def expected(self, seconds: float, device: str, watts: float | None = None) -> tuple[float | None, Basis]:
        """What holding a device for so long would cost, and on which basis: as `cost_mode` says.

        None and `unknown` where energy counts and nobody knows the device's power.

        Args:
            seconds: Of device time.
            device: Whose.
            watts: What the device was seen to take; None where nothing was seen, then `watts` of this card.
        """
        if self.cost_mode == "occupancy":
            return self.occupancy_usd(seconds, device), "occupancy"
        power = self.watts.get(device) if watts is None else watts
        return (None, "unknown") if power is None else (self.marginal_usd(power * seconds), "marginal")


def local_rates(configured_usd_per_hour: float | None, cores: float) -> LocalRates:
    """The configured rate for every device, or the published default by core count and per GPU."""
    watts = {"cpu": CPU_WATTS_PER_CORE * cores}
    if configured_usd_per_hour is not None:
        hourly = configured_usd_per_hour
        return LocalRates(cpu_usd_per_hour=hourly, gpu_usd_per_hour=hourly, source="settings", watts=watts)
    return LocalRates(
        cpu_usd_per_hour=CPU_USD_PER_CORE_HOUR * cores, gpu_usd_per_hour=GPU_USD_PER_HOUR, source="default", watts=watts
    )


def near_rates(local: LocalSettings, machine: Probe) -> LocalRates:
    """The rate card of this machine: what is configured, else published defaults; of a GPU its own power limit."""
    rates = local_rates(local.rate_usd_per_hour, machine.cores)
    limits = {gpu.device: gpu.power_limit_w for gpu in machine.gpus}
    devices = ("cpu", *limits)
    by_default = rates.watts | {device: limit for device, limit in limits.items() if limit is not None}
    price = local.electricity_usd_per_kwh
    return replace(
        rates,
        cost_mode=local.cost_mode,
        electricity_usd_per_kwh=ELECTRICITY_USD_PER_KWH if price is None else price,
        electricity_source="default" if price is None else "settings",
        watts=by_default if local.watts is None else dict.fromkeys(devices, local.watts),
        watts_source="default" if local.watts is None else "settings",
        carbon_g_per_kwh=local.carbon_g_per_kwh,
    )


def hourly(provider: ProviderSettings | None) -> Price | None:
    """The price of an engine's time, where an hour of it has one; it is shared out among who is served at once."""
    if provider is None or provider.usd_per_hour is None:
        return None
    return Price(per_second_usd=provider.usd_per_hour / 3600, source=HOURLY)


def with_replicas_priced(settings: Settings) -> tuple[ModelEntry, ...]:
    """The configured models, with a price for each ray candidate that has none: what its replica holds, by the second.

    A replica holds its cores and its part of a GPU whoever owns the cluster, so that is what a request occupies.
    """
    return tuple(
        replace(model, candidates=tuple(_replica_priced(candidate, settings.ray) for candidate in model.candidates))
        if any(candidate.backend == "ray" for candidate in model.candidates)
        else model
        for model in settings.models
    )


def _replica_priced(candidate: CandidateEntry, ray: RaySettings) -> CandidateEntry:
    if candidate.backend != "ray" or candidate.price is not None:
        return candidate
    cpus = ray.num_cpus if candidate.ray.num_cpus is None else candidate.ray.num_cpus
    gpus = ray.num_gpus if candidate.ray.num_gpus is None else candidate.ray.num_gpus
    given = (ray.cpu_usd_per_core_hour, ray.gpu_usd_per_hour if gpus else None)
    core_usd = CPU_USD_PER_CORE_HOUR if ray.cpu_usd_per_core_hour is None else ray.cpu_usd_per_core_hour
    gpu_usd = GPU_USD_PER_HOUR if ray.gpu_usd_per_hour is None else ray.gpu_usd_per_hour
    source = "default" if given == (None, None) else "settings"
    return replace(candidate, price=Price(per_second_usd=(cpus * core_usd + gpus * gpu_usd) / 3600, source=source))


def priced_usd(price: Price | None, usage: Usage) -> float | None:
    """Price times usage in US dollars, over all units; None when the price, or a usage it charges, is not known.

    Where cached tokens have a price of their own, the rest of the input has the other: nothing is charged twice.
    """
    if price is None or not price.known:
        return None
    fresh, cached = _input(price, usage)
    total = price.per_request_usd or 0.0
    charges: tuple[tuple[float | None, float | None, int], ...] = (
        (price.input_per_1m_usd, fresh, 1_000_000),
        (price.cached_input_per_1m_usd, cached, 1_000_000),
        (price.output_per_1m_usd, usage.completion_tokens, 1_000_000),
    )
    if price.per_image_usd or price.per_step_usd or price.per_audio_minute_usd or price.per_second_usd:
        charges += (
            (price.per_image_usd, usage.images, 1),
            (price.per_step_usd, usage.steps, 1),
            (price.per_audio_minute_usd, usage.audio_s, 60),
            (price.per_second_usd, usage.compute_s, 1),
        )
    for unit_usd, used, units in charges:
        if not unit_usd:
            continue
        if used is None:
            return None
        total += unit_usd * used / units
    return total


def most_used(size: Size) -> Usage:
    """The most a request of this size can use: all the output it allows, and nothing of its input cached.

    None for what has no bound: it has no limit of its own, or is charged by what only the far side can tell.
    """
    if size.max_output_tokens is not None:
        completion_tokens: int | None = size.max_output_tokens
    else:  # texts and photos generate nothing; how many tokens a recording or a drawing is counted as, nobody knows
        drawn = size.images is not None and size.input_tokens is not None
        completion_tokens = None if drawn or size.audio_s is not None or size.output_tokens is not None else 0
    return Usage(
        prompt_tokens=size.input_tokens,
        completion_tokens=completion_tokens,
        images=size.images,
        steps=None if size.images is None or size.steps is None else size.images * size.steps,
        audio_s=size.audio_s,
        cached_tokens=0,
    )


def most_usd(price: Price | None, most: Usage) -> float | None:
    """What the most that can be used costs, whatever of its input was cached; None when that has no bound."""
    cost = priced_usd(price, most)
    if cost is None or price is None or price.cached_input_per_1m_usd is None:
        return cost
    cached = priced_usd(price, replace(most, cached_tokens=most.prompt_tokens))
    return None if cached is None else max(cost, cached)


def asked_usd(candidate: Candidate, most: Usage, estimate: Estimate) -> float | None:
    """What a budget must have left before this candidate is asked: the most it can cost, else what is expected."""
    cost = most_usd(candidate.price, most)
    return estimate.cost_usd if cost is None else cost


def price_book(
    models: Iterable[ModelEntry],
    rates: LocalRates,
    listed: Mapping[str, Mapping[str, Price]] | None = None,
    providers: Mapping[str, ProviderSettings] | None = None,
) -> tuple[str, str]:
    """Every price in force as canonical JSON, with its hash: `(id, body)`. Equal content has an equal id.

    A candidate without a price of its own has that of its provider's hours, where one of `providers` has it.
    `listed` are the prices that far sides list, by far side and `PROVIDER:MODEL`; models found later have theirs there.
    """
    sides = providers or {}
    remote = {
        f"{model.id}@{candidate.provider or candidate.backend}:{candidate.model or model.id}": candidate.price
        or hourly(sides.get(candidate.provider or ""))
        for model in models
        for candidate in model.candidates
        if candidate.backend != "local"
    }
    prices: dict[str, object] = {"local": rates, "remote": remote}
    if listed:
        prices["listed"] = {side: {key: _figures(price) for key, price in of.items()} for side, of in listed.items()}
    body = msgspec.json.encode(prices, order="sorted")
    return hashlib.blake2b(body, digest_size=8).hexdigest(), body.decode()


def _figures(price: Price) -> dict[str, float]:
    """A price without its date: the same figures, fetched again, are the same book."""
    found: dict[str, object] = msgspec.to_builtins(price)
    return {unit: figure for unit, figure in found.items() if isinstance(figure, float)}


def _input(price: Price, usage: Usage) -> tuple[int | None, int | None]:
    """The input that costs the full price, and the part that costs the cached one: together the whole prompt."""
    if price.cached_input_per_1m_usd is None:
        return usage.prompt_tokens, 0
    if usage.prompt_tokens is None or usage.cached_tokens is None:
        return None, None
    cached = min(usage.cached_tokens, usage.prompt_tokens)
    return usage.prompt_tokens - cached, cached
