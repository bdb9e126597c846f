"""Routers and their owner with a network between them that loses, doubles and delays; all parts are the real ones."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction

from router.budgets import Budgets, Reservation
from router.charges import Charge
from router.cluster.leases import Leases
from router.cluster.owner import Owner
from router.cluster.store import Store
from router.cluster.wire import Answer, Exchange, decode, encode

NOON = datetime(2025, 10, 30, 12, tzinfo=UTC).timestamp()  # a month ends soon
DAY_S = 86_400.0
SURVIVE_S = 100.0
ALICE = Charge("alice", ("chat",), ("groq",))


class Clock:
    """One clock for everybody: the property holds whatever it says."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Node:
    """One start of a router: the real leases, and attempts under way."""

    def __init__(self, name: str, start: int, entries, clock: Clock, remembered=None) -> None:
        self.name, self.holder, self.number, self.clock = name, f"{name}-{start}", 0, clock
        self.budgets = Budgets(entries, clock)
        self.leases = Leases(self.budgets, 30.0, remembered or {})
        self.open: list[tuple[Reservation, float]] = []
        self.budgets.share(self.leases.opened, self._never)

    async def _never(self, asked) -> None:
        raise AssertionError("nobody plans here")

    def said(self, *, leaving: bool = False) -> Exchange:
        self.number += 1
        if leaving:
            self.leases.give_all_back()
        rows = self.leases.rows(self.clock.now, self.clock.now)
        said = Exchange(node=self.name, holder=self.holder, number=self.number, rows=rows, leaving=leaving)
        return decode(encode(said), Exchange)

    def reserve(self, charge: Charge, usd: float) -> bool:
        self.leases.lacking({"far": (charge, usd)})
        admitted = self.budgets.reserve(charge, usd)
        if isinstance(admitted, Reservation):
            self.open.append((admitted, usd))
        return isinstance(admitted, Reservation)


class World:
    """Two routers, their owner, and what is under way between them. `spent` is what was really spent, by account."""

    def __init__(self, entries) -> None:
        self.entries, self.clock, self.store = entries, Clock(), Store(None)
        self.spent: Counter = Counter()
        self.by_node: Counter = Counter()
        self.starts = 0
        self.asked: list[Exchange] = []
        self.answers: list[tuple[str, Answer]] = []
        self.restart(0, None)
        self.nodes = [self.new_node(name) for name in ("a", "b")]

    def new_node(self, name: str) -> Node:
        """With what its log remembers of the present periods."""
        self.starts += 1
        node = Node(name, self.starts, self.entries, self.clock)
        remembered = {a.budget: float(self.by_node[name, a]) for a in node.leases.leases}
        return Node(name, self.starts, self.entries, self.clock, remembered)

    def paid(self, node: Node, reservation: Reservation, usd: float | None, most: float) -> None:
        really = Fraction(most if usd is None else usd)
        for lease in reservation.periods:
            self.spent[lease.account] += really
            self.by_node[node.name, lease.account] += really
        reservation.settle(usd)

    def step(self, step) -> None:
        what, which, value = step
        getattr(self, what)(which, value)

    def reserve(self, which, value) -> None:
        self.nodes[which % 2].reserve(*value)

    def crowd(self, which, value) -> None:
        """Several want the same at once, and wait for the owner."""
        node, (charge, usd, n) = self.nodes[which % 2], value
        for _ in range(n):
            node.leases.lacking({"far": (charge, usd)})
        self.talk(which, None)
        for _ in range(n):
            node.reserve(charge, usd)

    def settle(self, which, value) -> None:
        node = self.nodes[which % 2]
        if node.open:
            reservation, most = node.open.pop(which % len(node.open))
            self.paid(node, reservation, None if value is None else int(value * most * 8) / 8, most)

    def send(self, which, value) -> None:
        self.asked.append(self.nodes[which % 2].said(leaving=bool(value)))

    def deliver(self, which, value) -> None:
        """An exchange reaches the owner, and perhaps again later."""
        if self.asked:
            said = self.asked[which % len(self.asked)] if value else self.asked.pop(which % len(self.asked))
            self.answers.append((said.holder, decode(encode(self.owner.exchange(said)), Answer)))

    def answer(self, which, value) -> None:
        """An answer reaches whoever it is for, if they live, and perhaps again later."""
        if self.answers:
            holder, answer = self.answers[which % len(self.answers)]
            if not value:
                self.answers.pop(which % len(self.answers))
            for node in self.nodes:
                if node.holder == holder:
                    node.leases.apply(answer.rows)

    def talk(self, which, value) -> None:
        """There and back, with nothing in between."""
        self.send(which, value)
        self.deliver(len(self.asked) - 1, False)
        self.answer(len(self.answers) - 1, False)

    def lose(self, which, value) -> None:
        self.asked.clear()
        self.answers.clear()

    def crash(self, which, value) -> None:
        """What was under way is charged by whoever was asked; the log does not know of it."""
        node = self.nodes[which % 2]
        for reservation, most in node.open:
            for lease in reservation.periods:
                self.spent[lease.account] += Fraction(most)
        self.nodes[which % 2] = self.new_node(node.name)

    def restart(self, which, value) -> None:
        """The owner is killed; what it has not answered, it may have written down all the same."""
        self.owner = Owner(self.entries, self.store, SURVIVE_S, self.clock, self.clock)

    def wait(self, which, value) -> None:
        self.clock.now += value

    def settle_all(self) -> None:
        """Whatever is under way ends, at what was set aside for it."""
        for node in self.nodes:
            for reservation, most in node.open:
                self.paid(node, reservation, most, most)
            node.open.clear()

    def check(self) -> None:
        taken = Counter(self.spent)
        for node in self.nodes:
            for reservation, most in node.open:
                for lease in reservation.periods:
                    taken[lease.account] += Fraction(most)
        for account, usd in taken.items():
            if account.on_exceeded != "warn":
                [entry] = [e for e in self.entries if (e.scope, e.period, e.on_exceeded) == account.budget]
                assert usd <= Fraction(entry.limit_usd), (account, float(usd))
