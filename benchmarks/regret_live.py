"""The trace of `policy_regret.py` through the real server: open-loop arrivals, a real near model, slow far sides.

Product policies are asked for by name; what others do is done by the callers here, who name the place themselves
(`routing.only`). Every arm has a server and a log of its own, fresh, so nobody begins with what another one learnt.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import httpx
from machine import ROOT
from regret_far import written
from regret_near import MODEL, messages
from regret_simulation import Done, Machine
from router_overhead import await_ready
from upstream import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from regret_simulation import Chooser
    from regret_world import Place, Request, World

ALIAS = "chat-anywhere"
GRACE_S = 5.0  # beyond the deadline, until a caller gives up on the router itself


@dataclass(frozen=True)
class Live:
    """What an arm is asked with.

    Attributes:
        policy: A policy of the product; None leaves the choice to `chooser`.
    """

    policy: str | None
    chooser: Chooser | None
    deadline_s: float


async def replayed(url: str, world: World, live: Live) -> list[Done]:
    """Every request of the world when its time has come, whatever the others are doing."""
    machine, places = Machine(), {place.name: place for place in world.places}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(timeout=live.deadline_s + GRACE_S, limits=limits) as client:
        began = time.monotonic()
        asked = []
        async with asyncio.TaskGroup() as group:
            for index, request in enumerate(world.requests):
                await asyncio.sleep(max(0.0, began + request.at_s - time.monotonic()))
                place = None if live.chooser is None else live.chooser.choose(index, request, machine)
                if place is not None:
                    machine.under_way[place.name] = machine.under_way.get(place.name, 0) + 1
                asked.append(group.create_task(_ask(client, url, request, live, place, machine, places)))
        return [task.result() for task in asked]


async def _ask(  # noqa: PLR0913, PLR0917 -- one caller, with all it was given
    client: httpx.AsyncClient,
    url: str,
    request: Request,
    live: Live,
    place: Place | None,
    machine: Machine,
    places: dict[str, Place],
) -> Done:
    routing: dict[str, Any] = {"deadline_ms": live.deadline_s * 1000}
    routing |= {"policy": live.policy} if place is None else {"only": [_provider(place)], "policy": "fastest"}
    body = {
        "model": ALIAS,
        "messages": [{"role": message.role, "content": message.content} for message in messages(request)],
        "max_tokens": request.output_tokens,
        "routing": routing,
    }
    began = time.monotonic()
    response = await client.post(f"{url}/v1/chat/completions", json=body)
    taken_s = time.monotonic() - began
    said, used = response.headers, response.json().get("usage") or {}
    served_by = said.get("x-nearfar-provider", "")
    name = "near" if served_by == "local" else served_by
    done = Done(
        request=request,
        place=places.get(name, place or world_first(places)),
        latency_s=taken_s,
        queue_s=float(said.get("x-nearfar-queue-ms") or 0) / 1000,
        service_s=float(said.get("x-nearfar-inference-ms") or taken_s * 1000) / 1000,
        cost_usd=float(used.get("cost") or 0.0),
        in_time=response.status_code == 200 and taken_s <= live.deadline_s,
    )
    if place is not None and live.chooser is not None:
        machine.under_way[place.name] -= 1
        live.chooser.learn(done)
    return done


def world_first(places: dict[str, Place]) -> Place:
    """Who a request without an answer is counted for: nobody served it."""
    return next(iter(places.values()))


def _provider(place: Place) -> str:
    return "local" if place.near else place.name


@contextmanager
def far_side(world: World, folder: Path) -> Iterator[Served]:
    """The far places of a world, as one server."""
    file = folder / "world.json"
    written(world, file)
    with served([sys.executable, str(ROOT / "benchmarks" / "regret_far.py"), str(file)]) as far:
        yield far


@contextmanager
def router(far: str, world: World, folder: Path, errors: IO[str]) -> Iterator[Served]:
    """A fresh Nearfar whose one alias has the near model and all far places as candidates."""
    file = folder / "nearfar.toml"
    log = folder / f"{time.monotonic_ns()}.duckdb"
    file.write_text(_config(far, world, log), encoding="utf-8")
    command = [sys.executable, "-m", "router", "serve", "--config", str(file), "--port", "0"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NEARFAR_", "HF_", "HUGGING"))}
    with served(command, cwd=ROOT, env=clean | {"HF_HOME": str(folder)}, stderr=errors) as server:
        await_ready(server)
        yield server


def _config(far: str, world: World, log: Path) -> str:
    places = [place for place in world.places if not place.near]
    lines = [
        f'[log]\npath = "{log}"\n[local]\nwarm = ["{MODEL}"]',
        f'[[aliases]]\nname = "{ALIAS}"\nmodels = ["{MODEL}", "far/chat"]',
        *(f'[[providers]]\nname = "{p.name}"\nprotocol = "openai"\nbase_url = "{far}/{p.name}/v1"' for p in places),
        '[[models]]\nid = "far/chat"\ntask = "text-generation"',
    ]
    for place in places:
        price = f"input_per_1m_usd = {place.input_per_1m_usd}, output_per_1m_usd = {place.output_per_1m_usd}"
        lines.append(
            f'[[models.candidates]]\nbackend = "remote"\nprovider = "{place.name}"\nmodel = "m"\nprice = {{ {price} }}'
        )
    return "\n".join(lines)
