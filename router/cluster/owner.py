"""The owner of what routers share: answers their exchanges, one after the other, and writes down before it answers."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from router.budgets import bounds, exact
from router.cluster.accounts import Account, Holding
from router.cluster.board import Board
from router.cluster.demand import Demand
from router.cluster.wire import (
    CATALOGUE,
    KEYS,
    NONE,
    AccountId,
    Answer,
    BudgetId,
    Change,
    Document,
    Exchange,
    Granted,
    Row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.cluster.store import Store
    from router.sections import BudgetEntry

SKEW_S = 60.0  # by which routers' clocks may be wrong
THERE_S = 10.0  # a router that was not heard for longer counts no more where something is shared out
KEPT_S = 100 * 86_400.0  # a month and more: after that nobody asks any more what was spent


class _Router(Struct):
    """One start of a router, as it was heard last."""

    node: str
    number: int = 0
    heard_at: float = 0.0
    left: bool = False


class Owner:
    """Used from one thread at a time. `wall` gives seconds since 1970, `mono` seconds of any one clock."""

    def __init__(
        self,
        entries: Sequence[BudgetEntry],
        store: Store,
        survive_s: float,
        wall: Callable[[], float],
        mono: Callable[[], float],
    ) -> None:
        self.id = uuid.uuid4().hex
        self._entries = {(entry.scope, entry.period, entry.on_exceeded): entry for entry in entries}
        self._store = store
        self._survive_s = survive_s
        self._wall, self._mono = wall, mono
        self._routers: dict[str, _Router] = {}
        self._accounts: dict[AccountId, Account] = {}
        self._written: dict[tuple[AccountId, str], Holding] = {}
        self._demand, self._board = Demand(), Board()
        store.forget(int(wall() - KEPT_S))
        for account, holder, held in store.holdings():
            self._account(account).holdings[holder] = held
            self._written[account, holder] = replace(held)
        self._documents = {KEYS: Document(), CATALOGUE: Document()} | store.documents()

    def exchange(self, said: Exchange) -> Answer:
        """Take in what a router says, and answer. Whatever is granted is on disk before.

        Raises:
            sqlite3.Error: it cannot be written down; then nothing of this may be told.
        """
        now = self._mono()
        router = self._routers.setdefault(said.holder, _Router(said.node))
        newest = said.number > router.number
        if newest:
            router.number, router.heard_at, router.left = said.number, now, said.leaving
            self._board.post(said.holder, said.news, now)
        there = self._there(now)
        parts = self._demand.parts(said.holder, there)  # before what is news of this one, and old of all others
        if newest:
            self._demand.note(said.holder, said.asked, now)
        problems = self._problems(said)
        rows = [row for row in said.rows if self._take(row, said, newest=newest)]
        for row in rows:
            if newest and not problems and not said.leaving and self._present(row.account):
                self._accounts[row.account].grant(said.holder, row, max(1, len(there)), now)
        self._write([row.account for row in rows], said.holder)
        return Answer(
            owner=self.id,
            heard=self._board.number,
            routers=max(1, len(there)),
            rows=[self._granted(row.account, said.holder, now) for row in rows],
            parts=parts,
            news=self._board.since(said.heard if said.owner == self.id else 0, said.holder, there, now),
            documents={n: d for n, d in self._documents.items() if d.version != said.documents.get(n)},
            problems=problems,
        )

    def document(self, name: str) -> Document | None:
        """A document as it is; None where there is none of this name."""
        return self._documents.get(name)

    def change(self, name: str, change: Change) -> Document | None:
        """Put a document in place of the version that its writer saw; None where that is not the present one.

        Raises:
            sqlite3.Error: it cannot be written down; nothing has changed.
        """
        if self._documents[name].version != change.version:
            return None
        # By the clock, so that an owner who has lost what it kept begins behind no version that anybody has seen.
        document = Document(max(change.version + 1, int(self._wall() * 1000)), change.body)
        self._store.keep(name, document)
        self._documents[name] = document
        return document

    def state(self) -> dict[str, Any]:
        """Who is there, and how the present accounts stand, for people."""
        now, there = self._mono(), self._there(self._mono())
        routers = [
            {"node": r.node, "holder": holder, "silent_s": round(now - r.heard_at, 1), "there": holder in there}
            for holder, r in self._routers.items()
        ]
        accounts = [
            msgspec.to_builtins(account)
            | {
                "limit_usd": float(of.limit),
                "spent_usd": float(sum((h.spent + h.earlier for h in of.holdings.values()), NONE)),
                "committed_usd": float(sum((h.committed for h in of.holdings.values()), NONE)),
                "room_usd": float(of.room),
            }
            for account, of in self._accounts.items()
            if self._present(account)
        ]
        versions = {name: document.version for name, document in self._documents.items()}
        at = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="seconds")
        return {"owner": self.id, "at": at, "routers": routers, "accounts": accounts, "documents": versions}

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def _there(self, now: float) -> list[str]:
        for holder in [h for h, router in self._routers.items() if now - router.heard_at > self._survive_s + THERE_S]:
            del self._routers[holder]
        return [h for h, router in self._routers.items() if not router.left and now - router.heard_at <= THERE_S]

    def _problems(self, said: Exchange) -> list[str]:
        """Why this router is granted nothing: it would spend beside a budget of ours, or under one that is not."""
        if not said.rows:
            return []
        present = {row.account.budget for row in said.rows if self._is_now(row.account)}
        if not present:
            return [f"this router's clock or the owner's is wrong by more than {SKEW_S:g} s"]
        ours, theirs = self._entries.keys(), {row.account.budget for row in said.rows}
        found = [f"the budget {_named(budget)} is the owner's, and not this router's" for budget in ours - theirs]
        found += [f"the budget {_named(budget)} is this router's, and not the owner's" for budget in present - ours]
        return sorted(found)

    def _is_now(self, account: AccountId) -> bool:
        now = self._wall()
        return any(int(bounds(account.period, now + skew)[0]) == account.starts_at for skew in (-SKEW_S, 0.0, SKEW_S))

    def _present(self, account: AccountId) -> bool:
        return account.budget in self._entries and self._is_now(account)

    def _take(self, row: Row, said: Exchange, *, newest: bool) -> bool:
        """Take in how a router stands; whether there is such an account."""
        account = row.account
        if account not in self._accounts and not self._present(account):
            return False
        self._account(account).report(said.holder, said.node, row, newest=newest)
        return True

    def _account(self, account: AccountId) -> Account:
        found = self._accounts.get(account)
        if found is None:
            entry = self._entries.get(account.budget)
            found = self._accounts[account] = Account(NONE if entry is None else exact(entry.limit_usd))
        return found

    def _write(self, accounts: list[AccountId], holder: str) -> None:
        held = {account: self._accounts[account].holdings[holder] for account in accounts}
        changed = [(a, holder, h) for a, h in held.items() if _durable(h) != _durable(self._written.get((a, holder)))]
        if changed:
            self._store.write(changed)
            self._written |= {(account, holder): replace(h) for account, _, h in changed}

    def _granted(self, account: AccountId, holder: str, now: float) -> Granted:
        of = self._accounts[account]
        own = of.holdings[holder]
        spent, reserved = own.earlier, NONE
        for name, held in of.holdings.items():
            if name != holder:
                away = name not in self._routers
                spent += held.committed if away else held.spent + held.earlier
                reserved += NONE if away else held.reserved
        return Granted(
            account=account,
            granted=own.granted,
            limit=of.limit,
            spent=spent,
            reserved=reserved,
            room=of.room,
            scarce=of.scarce(now),
        )


def _durable(held: Holding | None) -> tuple[object, ...] | None:
    return None if held is None else (held.node, held.granted, held.returned, held.spent, held.earlier)


def _named(budget: BudgetId) -> str:
    scope, period, on_exceeded = budget
    return f"{scope} a {period} ({on_exceeded})"
