"""The process that owns the log: it serves no HTTP, and ends when nobody sends rows any more."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

from router.errors import LogError
from router.shipping.service import Shipping
from router.telemetry.logs import logging_to
from router.workers.children import parent_gone, told_ready, told_why
from router.workers.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from router.decision_log.log import DecisionLog
    from router.sections import Settings

SOCKET = "log"
ALONE_IN_S = 90.0  # after the parent let go, which in order it does when no worker runs any more

logger = logging.getLogger("nearfar.workers")


def own(settings: Settings, opened_log: Callable[[Settings], DecisionLog], folder: Path, pipe: Connection) -> None:
    """Own the log until the parent lets go and every worker has ended, whatever signal comes meanwhile."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # a terminal or service manager tells the whole group; rows still come
    os.umask(0o077)
    with logging_to(sys.stderr, settings.telemetry.logs):
        try:
            log = opened_log(settings)
        except LogError as error:
            told_why(pipe, str(error))
            sys.exit(1)
        try:
            _ship_and_serve(settings, log, folder, pipe)
        finally:
            log.close()
    shutil.rmtree(folder, ignore_errors=True)  # the parent's work, which may be dead


def _ship_and_serve(settings: Settings, log: DecisionLog, folder: Path, pipe: Connection) -> None:
    shipping = Shipping(settings.log, log)
    shipping.start()
    try:
        _serve(log, folder, pipe, shipping, settings.server.drain_timeout_s + ALONE_IN_S)
    finally:
        shipping.close()


def _serve(log: DecisionLog, folder: Path, pipe: Connection, shipping: Shipping, patience_s: float) -> None:
    socket = folder / SOCKET
    if not socket.exists():  # else an owner died here, and the workers that are at work keep what it left unanswered
        log.gather()
    owner = Owner(log, socket, shipping.state)
    try:
        owner.start()
    except OSError as error:  # a folder for temporary files with a name that no socket's fits behind
        why = error.strerror or error
        told_why(pipe, f"No socket for the workers can be made in the folder for temporary files: {why}.")
        return
    told_ready(pipe, log.node_id)
    try:
        parent_gone(pipe)
        if not owner.alone(patience_s):
            logger.error("workers still send rows %g s after the server ended; they keep them", patience_s)
    finally:
        owner.close()
