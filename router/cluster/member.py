"""A router's part in its cluster: it talks with the owner twice a second, and at once where somebody waits for money.

Nothing that decides a request waits for the owner, except a request for which too little money is held here, and that
not for long (`cluster.wait_ms`). What comes of it is put where it is used: leases, limits, breakers, keys, catalogue.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from policies.base import dollars
from router.cluster.copies import SharedCatalogue, SharedKeys, catalogue_in
from router.cluster.leases import Leases
from router.cluster.link import Link
from router.cluster.told import SAID, ClusterState, LeaseState
from router.cluster.wire import CATALOGUE, KEYS, Answer, Document, Exchange, News
from router.editing import keeping
from router.errors import OwnerAway, RouterError, SettingsError
from router.settings import keys_file

if TYPE_CHECKING:
    from collections.abc import Container

    from router.access.gate import Access
    from router.availability import Breakers
    from router.budgets import Budgets
    from router.charges import Asked
    from router.cluster.told import Rule
    from router.cluster.wire import Row
    from router.decision_log.taking import Log
    from router.editing.in_force import InForce
    from router.sections import Settings
    from router.settings import Secrets

EVERY_S = 0.5

logger = logging.getLogger("nearfar.cluster")


class Place(NamedTuple):
    """What of a house the owner has a say in. The breakers of `near` are of this machine alone."""

    access: Access
    breakers: Breakers
    in_force: InForce
    near: Container[str]


class Member:
    """One start of a router. Used on the event loop; `link` is asked in a thread of its own."""

    def __init__(self, settings: Settings, link: Link, log: Log) -> None:
        cluster = settings.cluster
        self._survive_s, self._wait_s, self._hold_s = cluster.survive_s, cluster.wait_ms / 1000, cluster.hold_s
        self._link, self._settings = link, settings
        self._node, self._holder = log.node_id, uuid.uuid4().hex
        self._thread = ThreadPoolExecutor(1, "cluster")
        self.keys = SharedKeys(keys_file(settings), link, kept=log.path is not None)
        self._catalogue = SharedCatalogue(link)
        self._changed: Document | None = None  # changes of the catalogue that are not in force here yet
        self._change = asyncio.Event()
        self._leases: Leases | None = None
        self._place: Place | None = None
        self._wake = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._number = 0
        self._owner, self._heard, self._routers = "", 0, 1
        self._heard_at: float | None = None  # monotonic
        self._away_since: float | None = None  # wall clock
        self._parts: dict[str, float] = {}
        self._asked: Counter[str] = Counter()
        self._news: list[News] = []
        self._opened: dict[str, tuple[float, str]] = {}  # what this router saw open itself: until when, and why
        self._problems: list[str] = []
        self._trouble: str | None = None

    async def begin(self) -> None:
        """Hear what the owner has, before anything is made of it; without it, go by the copies."""
        silent_s = await asyncio.to_thread(self.keys.silent_s)
        if silent_s is not None:
            self._heard_at = time.monotonic() - silent_s
        await self.exchange()
        if self._changed is not None:
            await asyncio.to_thread(self._copy, self._changed)

    def _copy(self, document: Document) -> None:
        path = keeping.path_of(self._settings)
        if path is not None:  # where no file is kept, it comes into force a moment after the start
            keeping.write(path, catalogue_in(document))
            self._catalogue.version = document.version

    def lease(self, budgets: Budgets) -> None:
        """Have these budgets spend what is held here. What they know as spent is what the log remembers."""
        remembered = {(s.scope, s.period, s.on_exceeded): s.spent_usd for s in budgets.states()}
        self._leases = Leases(budgets, self._hold_s, remembered)
        budgets.share(self._leases.opened, self.widen)

    def attach(self, access: Access, breakers: Breakers, in_force: InForce, near: Container[str]) -> None:
        """Take part: from now on limits, breakers and the catalogue go by what the owner says as well."""
        self._place = Place(access, breakers, in_force, near)
        access.limits.part = self.part
        breakers.tell = self._tell
        in_force.keep_with(self._catalogue.keep)
        self._rule()

    async def run(self) -> None:
        """Talk with the owner for ever. Whatever ends this, nothing more is spent then: nobody would hear of it."""
        try:
            await asyncio.gather(self._talk(), self._follow())
        finally:
            self._heard_at, self._away_since = None, self._away_since or time.time()
            self._rule()

    async def leave(self) -> None:
        """Give everything back that is not spent; also what was granted in an answer that was no longer waited for."""
        await self.exchange(leaving=True)
        await self.exchange(leaving=True)
        await asyncio.to_thread(self._thread.shutdown)
        self._link.close()

    async def widen(self, asked: Asked) -> None:
        """Have more money brought, if too little is held for these; wait for it once, and not for long."""
        if self._leases is None or not self._leases.lacking(asked) or self._away_since is not None:
            return
        brought = asyncio.get_running_loop().create_future()
        self._waiting.append(brought)
        self._wake.set()
        with suppress(TimeoutError):  # then it is decided with what there is
            async with asyncio.timeout(self._wait_s):
                await brought

    def part(self, tenant: str) -> float:
        """The part of a tenant's limits that is given here; called for each of its requests."""
        self._asked[tenant] += 1
        return 1.0 if self._rule_in_force() == "closed" else self._parts.get(tenant, 1 / self._routers)

    def state(self) -> ClusterState:
        """How it stands."""
        rule = self._rule_in_force()
        away = self._away_since
        return ClusterState(
            owner=self._link.address,
            reachable=away is None,
            silent_s=None if self._heard_at is None else time.monotonic() - self._heard_at,
            away_since=None if away is None else datetime.fromtimestamp(away, UTC).isoformat(timespec="seconds"),
            rule=rule,
            said=SAID[rule],
            survive_s=self._survive_s,
            routers=self._routers,
            leases=self._lease_states(),
            versions={KEYS: self.keys.version, CATALOGUE: self._catalogue.version},
            problems=[*self._problems, *self._other_limits(), *([] if self._trouble is None else [self._trouble])],
        )

    async def exchange(self, *, leaving: bool = False) -> None:
        """Talk with the owner once. Whatever comes of it, whoever waits goes on."""
        self._wake.clear()
        waiting, self._waiting = self._waiting, []
        if leaving and self._leases is not None:
            self._leases.give_all_back()
        said, sent_at = self._said(leaving=leaving), time.monotonic()
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._asked_owner, said)
            self._hear(answer, sent_at)
            if KEYS in answer.documents and self._place is not None:
                await asyncio.to_thread(self._place.access.keyring.reread)
        except (OwnerAway, SettingsError) as error:
            self._miss(said, error)
        finally:
            self._rule()
            for brought in waiting:
                if not brought.done():
                    brought.set_result(None)

    async def _talk(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._wake.wait()
            await self.exchange()

    async def _follow(self) -> None:
        """Bring into force what other routers change of the catalogue. What does not go with our file is told."""
        while True:
            await self._change.wait()
            self._change.clear()
            document, place = self._changed, self._place
            if document is None or place is None or document.version <= self._catalogue.version:
                continue
            try:
                await place.in_force.adopt(catalogue_in(document))
                self._trouble = None
            except RouterError as error:
                self._trouble = f"the owner's catalogue does not go with this router's configuration: {error}"
                logger.error("%s", self._trouble)  # noqa: TRY400 - the message says it all
            self._catalogue.version = document.version

    def _asked_owner(self, said: Exchange) -> Answer:
        """Ask, and keep what of the answer is kept on disk. Blocks."""
        answer = self._link.exchange(said)
        keys = answer.documents.get(KEYS)
        if keys is not None:
            self.keys.adopt(keys)
        self.keys.heard()
        return answer

    def _said(self, *, leaving: bool) -> Exchange:
        self._number += 1
        asked, self._asked = self._asked, Counter()
        news, self._news = self._news, []
        return Exchange(
            node=self._node,
            holder=self._holder,
            number=self._number,
            rows=self._rows(),
            asked=dict(asked),
            news=news,
            owner=self._owner,
            heard=self._heard,
            documents={KEYS: self.keys.version, CATALOGUE: self._known_catalogue()},
            leaving=leaving,
        )

    def _rows(self) -> list[Row]:
        return [] if self._leases is None else self._leases.rows(time.time(), time.monotonic())

    def _known_catalogue(self) -> int:
        return max(self._catalogue.version, 0 if self._changed is None else self._changed.version)

    def _hear(self, answer: Answer, sent_at: float) -> None:
        now = time.monotonic()
        if self._away_since is not None:
            logger.info("the owner of what the routers share answers again")
        self._away_since, self._heard_at = None, sent_at
        self._routers, self._parts, self._problems = answer.routers, answer.parts, answer.problems
        if self._leases is not None:
            self._leases.apply(answer.rows)
        if answer.owner != self._owner and self._owner:  # another start of it: it knows of no breaker
            self._news += [News(key, until - now, why) for key, (until, why) in self._opened.items() if until > now]
        self._owner = answer.owner
        if self._place is not None:
            self._heard = answer.heard
            for news in answer.news:
                self._opened.pop(news.breaker, None)
                self._place.breakers.heard(news.breaker, news.open_s, news.why, now)
        changes = answer.documents.get(CATALOGUE)
        if changes is not None and changes.version > self._known_catalogue():
            self._changed = changes
            self._change.set()

    def _miss(self, said: Exchange, error: RouterError) -> None:
        if self._away_since is None:
            self._away_since = time.time()
            logger.warning("%s", error)
        self._asked.update(said.asked)
        self._news = [*said.news, *self._news]

    def _tell(self, breaker: str, open_s: float | None, why: str) -> None:
        """A breaker of ours opened or closed. One of what is near is nobody else's concern."""
        if self._place is None or breaker in self._place.near:
            return
        self._opened.pop(breaker, None)
        if open_s is not None:
            self._opened[breaker] = time.monotonic() + open_s, why
        self._news = [*(news for news in self._news if news.breaker != breaker), News(breaker, open_s, why)]
        self._wake.set()

    def _rule_in_force(self) -> Rule:
        if self._away_since is None:
            return "shared"
        if self._heard_at is None or time.monotonic() - self._heard_at > self._survive_s:
            return "closed"
        return "alone"

    def _rule(self) -> None:
        """See that whoever goes by the rule in force hears of it."""
        closed = self._rule_in_force() == "closed"
        if closed and self._leases is not None:
            self._leases.close("their owner has not answered for too long")
        if self._place is not None:
            self._place.access.keyring.doubtful = _DOUBTFUL if closed else None

    def _other_limits(self) -> list[str]:
        leases = [] if self._leases is None else list(self._leases.leases.values())
        return [
            f"the budget {lease.account.scope} a {lease.account.period}: {dollars(float(lease.own_limit), 6)} is "
            f"allowed here, and {dollars(float(lease.limit), 6)} by the owner, which holds"
            for lease in leases
            if lease.limit != lease.own_limit
        ]

    def _lease_states(self) -> list[LeaseState]:
        now = time.time()
        leases = [] if self._leases is None else list(self._leases.leases.values())
        return [
            LeaseState(
                scope=lease.account.scope,
                period=lease.account.period,
                on_exceeded=lease.account.on_exceeded,
                held_usd=float(lease.held),
                spent_usd=float(lease.spent),
                reserved_usd=float(lease.reserved),
            )
            for lease in leases
            if now < lease.ends_at
        ]


_DOUBTFUL = "The owner of the API keys has not answered for too long: nobody can say here which of them are good."


async def opened(settings: Settings, secrets: Secrets, log: Log) -> Member:
    """This router's part, with what the owner has to say at once."""
    address = settings.cluster.state
    if address is None:
        raise SettingsError("cluster.state: no owner is named.")
    member = Member(settings, Link(address, secrets.cluster_secret), log)
    await member.begin()
    return member
