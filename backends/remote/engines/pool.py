"""The servers of one provider, and which of them a request goes to: the less loaded of two that are drawn by lot.

To everybody above they are one candidate: what is learnt of a model is learnt of all of them, a decision costs the same
for one as for a hundred, and an address that a scheduler moves is no stranger. Among servers that are alike the choice
of two does nearly as well as the choice of the best (Mitzenmacher, "The Power of Two Choices in Randomized Load
Balancing", 2001), and does not send everybody to whoever was idle when it was last looked at.
Where all are left alone for failing, the one that is tried again soonest is asked all the same: whether the candidate
is to be left alone altogether is decided elsewhere. Where all say themselves that they cannot serve, nobody is.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from backends.errors import BackendError, Unavailable
from backends.remote.client import Connections
from backends.remote.engines.dialects import DIALECTS
from backends.remote.engines.replica import Replica, ReplicaState, speaks_against

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backends.remote.provider import Provider
    from backends.types import Timings

LEARNING_RATE = 0.05  # weight of one answer in how many run together
MAX_NUMBERS = 10_000  # places whose number is remembered


class Queue(Struct, frozen=True):
    """What a request that comes now has before it; None where nobody knows.

    Attributes:
        outstanding: All that was asked and is not answered, at every server.
        turns: How many answers' time it would wait, where that is shortest.
        wait_s: The same in seconds, where the engine foresees it.
    """

    outstanding: int | None = None
    turns: float | None = None
    wait_s: float | None = None


class Pool:
    """The servers of a provider. Everything happens on the event loop.

    Attributes:
        together: How many requests usually run at once on a server; None until an answer of a watched one came.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.together: float | None = None
        self.why_unresolved: str | None = None
        self.resolving = asyncio.Lock()
        self._numbers: dict[str, str] = {}
        self._numbered = 0
        self._replicas: list[Replica] = []
        if not provider.dns:
            self._replicas = [self._made(url, None) for url in provider.base_urls or (provider.base_url,)]

    @property
    def replicas(self) -> Sequence[Replica]:
        """Those there are, the draining ones too."""
        return self._replicas

    @property
    def refusal(self) -> str | None:
        """Why nobody can be asked at all; None where somebody can, or that is not known yet."""
        if not self._replicas:
            return None if self.why_unresolved is None else f"provider {self.provider.name}: {self.why_unresolved}"
        if any(replica.usable for replica in self._replicas):
            return None
        said = {replica.unready: replica for replica in self._replicas if replica.unready is not None}
        of = "its server" if len(self._replicas) == 1 else f"all {len(self._replicas)} servers"
        return f"provider {self.provider.name}: {of} cannot serve ({'; '.join(map(str, said)) or 'gone'})"

    @property
    def back_in_s(self) -> float:
        """How often it is looked whether anybody is there again."""
        return self.provider.watch_every_s if self._replicas else self.provider.dns_every_s

    @contextmanager
    def lease(self) -> Iterator[Replica]:
        """A server for one request. That it failed is remembered here; that it answered, whoever knows must say.

        Raises:
            Unavailable: Nobody can be asked.
            BackendError: What the request raised, with who failed, and whether another server could be asked now.
        """
        replica = self._picked(time.monotonic())
        replica.in_flight += 1
        try:
            yield replica
        except BackendError as error:
            now = time.monotonic()
            replica.failed(error, now)
            error.replica = self.told(replica)
            error.replaceable = speaks_against(error) and any(one.able(now) for one in self._replicas)
            raise
        finally:
            replica.in_flight -= 1

    def answered(self, replica: Replica, timings: Timings) -> float | None:
        """A leased server answered. What it computed for that, where an engine is watched: a share of its time."""
        replica.answered()
        if self.provider.engine is None:
            return None
        together = replica.together(time.monotonic())
        known = self.together
        self.together = together if known is None else known + LEARNING_RATE * (together - known)
        return None if timings.service_s is None else timings.service_s / together

    def told(self, replica: Replica) -> str | None:
        """How the log calls the server; None where there is only one place that it can have been."""
        return replica.number if self.provider.watched or self.provider.base_urls else None

    def queue(self, model: str) -> Queue:
        """What a request for this model would have before it."""
        if self.provider.engine is None:
            return Queue()
        now = time.monotonic()
        able = [r for r in self._replicas if r.able(now)] or [r for r in self._replicas if r.usable]
        known = [figure for r in able if (figure := r.outstanding(now)) is not None]
        loads = [load for r in able if (load := r.load(now)) is not None]
        return Queue(
            outstanding=round(sum(known)) if known and len(known) == len(able) else None,
            turns=min((turns for r in able if (turns := r.turns(now)) is not None), default=None),
            wait_s=min((load.wait_s[model] for load in loads if model in load.wait_s), default=None),
        )

    def states(self) -> list[ReplicaState]:
        """How each server is, for people."""
        provider, now = self.provider, time.monotonic()
        if not self._replicas and self.why_unresolved is not None:
            return [
                ReplicaState(
                    provider=provider.name,
                    engine=provider.engine,
                    replica="none",
                    address=provider.base_url,
                    state="unready",
                    why=self.why_unresolved,
                )
            ]
        return [replica.state(provider.name, provider.engine, now) for replica in self._replicas]

    def found(self, addresses: Sequence[str]) -> list[Replica]:
        """Take these addresses of the provider's name for its servers; returns who is gone and has nothing under way.

        Whoever is not among them any more drains. An address that comes back has the number that it had.
        """
        for replica in self._replicas:
            replica.draining = replica.address not in addresses
        known = {replica.address for replica in self._replicas}
        self._replicas += [self._made(self.provider.base_url, address) for address in addresses if address not in known]
        gone = [replica for replica in self._replicas if replica.draining and not replica.in_flight]
        self._replicas = [replica for replica in self._replicas if replica not in gone]
        self.why_unresolved = None
        return gone

    def rekey(self, api_key: str | None) -> None:
        """Use another key from the next request on; connections stay open."""
        self.provider = replace(self.provider, api_key=api_key)
        for replica in self._replicas:
            replica.connections = replica.connections.rekeyed(api_key)

    async def aclose(self) -> None:
        """Close every connection."""
        for replica in self._replicas:
            await replica.connections.aclose()

    @property
    def queue_ms_header(self) -> str | None:
        """The header in which the engine says how long a request waited there."""
        return None if self.provider.engine is None else DIALECTS[self.provider.engine].queue_ms

    def _picked(self, now: float) -> Replica:
        able = [replica for replica in self._replicas if replica.able(now)]
        if not able:
            usable = [replica for replica in self._replicas if replica.usable]
            if not usable:
                raise Unavailable(self.refusal or f"provider {self.provider.name}: it has no server")
            return min(usable, key=lambda replica: replica.paused_until)
        if len(able) == 1:
            return able[0]
        one, other = random.sample(able, 2)
        return one if _busy(one, other, now) <= _busy(other, one, now) else other

    def _made(self, url: str, address: str | None) -> Replica:
        place = address or url
        number = self._number(place)
        several = self.provider.dns or len(self.provider.base_urls) > 1
        name = f"{self.provider.name} (server {number})" if several else self.provider.name
        provider = replace(self.provider, name=name, base_url=url, base_urls=())
        return Replica(number, place, Connections(provider, address=address))

    def _number(self, place: str) -> str:
        """The number of a place: the next one, where it never had any."""
        if place not in self._numbers:
            if len(self._numbers) >= MAX_NUMBERS:
                self._numbers.pop(next(iter(self._numbers)))
            self._numbered += 1
            self._numbers[place] = str(self._numbered)
        return self._numbers[place]


def _busy(replica: Replica, other: Replica, now: float) -> float:
    """How much it has to do; where that is known of only one of the two, what is under way from here counts."""
    mine, theirs = replica.outstanding(now), other.outstanding(now)
    return float(replica.in_flight) if mine is None or theirs is None else mine
