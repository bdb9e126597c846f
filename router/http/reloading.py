"""Reading the settings again while requests run: the route for it, and the signal."""

import asyncio
import logging
import signal
from typing import Any

from litestar import Litestar, Request, post

from router.access.audit import entry
from router.errors import Conflict, RouterError
from router.far_servers import remote_of
from router.http.auditing import audited
from router.http.services import Services, identity
from router.reloading.reloader import RELOAD, Parts, Reloaded, Reloader, Source
from router.reloading.terminal import has_terminal

logger = logging.getLogger("nearfar.settings")
CONFIGURATION = "the configuration"  # what the audit calls that which was read


def reloader(house: Services, source: Source | None) -> Reloader | None:
    """Who reads the settings of this house again; None where nobody says how."""
    parts = Parts(
        in_force=house.in_force,
        far=house.far,
        remote=remote_of(house.backends),
        finder=house.finder,
        budgets=house.budgets,
        limits=house.access.limits,
        dispatcher=house.dispatcher,
        lessons=house.lessons,
        near=house.near,
        probe=house.probe,
        log=house.log,
        refresher=house.refresher,
    )
    return None if source is None else Reloader(parts, source)


@post("/v1/settings/reload", status_code=200, summary="Read the configuration again, without a restart")
async def reload(request: Request[Any, Any, Any]) -> Reloaded:
    """Put into force what can change, in one step; what is wrong is refused, and then all stays as it was.

    `waiting` names what is otherwise in the configuration and needs a restart.
    """
    found: Reloader | None = request.app.state.reloader
    if found is None:
        raise Conflict("A program gave this server its settings: there is nothing to read again.")
    async with audited(request, RELOAD, CONFIGURATION):
        return await found.reload_all(identity(request).tenant or None)


async def on_hangup(app: Litestar) -> None:
    """From now on SIGHUP reads the settings again, where there is such a signal."""
    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _Hangup(app, terminal=has_terminal()))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


class _Hangup:
    """What a SIGHUP does. To whoever was started from a terminal it may also say that this has gone: then, end."""

    def __init__(self, app: Litestar, *, terminal: bool) -> None:
        self._app = app
        self._terminal = terminal
        self._running: set[asyncio.Task[None]] = set()

    def __call__(self) -> None:
        if self._terminal and not has_terminal():
            signal.raise_signal(signal.SIGTERM)
            return
        task = asyncio.create_task(self._reload(), name="reloading")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _reload(self) -> None:
        house: Services = self._app.state.services
        result = "ok"
        try:
            await self._app.state.reloader.reload("SIGHUP")
        except RouterError as error:
            result = type(error).__name__
            logger.error("SIGHUP: %s", error)  # noqa: TRY400 -- it is told whole, and a trace tells no more
        await asyncio.to_thread(house.access.audit.add, entry("SIGHUP", RELOAD, CONFIGURATION, "signal", result))
