"""Routers and an owner in one process: everything is real but the connection, which can be cut."""

from __future__ import annotations

import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from router.cluster import member as members
from router.cluster.owner import Owner
from router.cluster.store import Store
from router.cluster.wire import Answer, Change, Document, Exchange, decode, encode
from router.decision_log.log import DecisionLog
from router.errors import OwnerAway
from router.house import open_house
from router.section import AuthSettings, ClusterSettings
from router.sections import BudgetEntry, LogSettings, Price, RoutingSettings, Settings
from router.settings import Secrets
from tests.unit.router.house import House, chat_model, fake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

SURVIVE_S = 60.0
DOLLAR = Price(per_request_usd=1.0)


class Cut:
    """The owner, and a connection to it that is there or not."""

    def __init__(self, budgets: Sequence[BudgetEntry] = ()) -> None:
        self.address = "http://owner"
        self.budgets, self.store = budgets, Store(None)
        self.up = True
        self.exchanges = 0
        self._turn = threading.Lock()  # as the one thread of the owner's door
        self.restart()

    def restart(self) -> None:
        self.owner = Owner(self.budgets, self.store, SURVIVE_S, _wall, _mono)

    def exchange(self, said: Exchange) -> Answer:
        self._reach()
        with self._turn:
            self.exchanges += 1
            return decode(encode(self.owner.exchange(decode(encode(said), Exchange))), Answer)

    def document(self, name: str) -> Document:
        self._reach()
        found = self.owner.document(name)
        assert found is not None
        return found

    def change(self, name: str, change: Change) -> Document | None:
        self._reach()
        with self._turn:
            return self.owner.change(name, change)

    def close(self) -> None:
        """Nothing was opened."""

    def _reach(self) -> None:
        if not self.up:
            raise OwnerAway("cut")


def _wall() -> float:
    """By the clock of whoever looks: a test runs on one of its own."""
    return time.time()


def _mono() -> float:
    return time.monotonic()


@asynccontextmanager
async def joined(cut: Cut, folder: Path, name: str, *models, auth: AuthSettings | None = None) -> AsyncIterator[House]:
    """A house with a file of its own for its log, whose cluster is owned over this connection."""
    path = folder / name / "nearfar.duckdb"
    path.parent.mkdir(exist_ok=True)
    settings = Settings(
        models=models or (chat_model(fake("a", price=DOLLAR), fake("b", near=True)),),
        budgets=tuple(cut.budgets),
        routing=RoutingSettings(policy="fastest"),
        log=LogSettings(path=str(path)),
        auth=auth or AuthSettings(),
        cluster=ClusterSettings(state=cut.address, survive_s=SURVIVE_S, hold_s=10.0),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "Link", lambda address, secret: cut)
        opening = open_house(settings, Secrets(), DecisionLog.open(path))
        services = await opening.__aenter__()
    try:
        yield House(services)
    finally:
        await opening.__aexit__(None, None, None)
