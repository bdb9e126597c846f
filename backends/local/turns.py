"""Whose turn it is: tenants in turn, each tenant's requests in order, by batches of bounded size. No threads, no clock.

Deficit-free round robin over tenants (Nagle 1987, with the quantum in units of work instead of packets): each visit
takes at most `QUANTUM` of a tenant's work, so that a request of two thousand texts delays another tenant's one text by
a batch and not by itself.

Work in the background has turns of the same kind among itself, and none while anybody else waits: no batch holds both.
What is taken is handed out: the next batch may be taken before this one is computed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

QUANTUM = 512  # tokens a tenant may take in one visit


class Turn(Protocol):
    """Work that waits for its turn."""

    tenant: str
    background: bool

    def sizes(self) -> list[int]:
        """Sizes of the units that nobody has taken yet, in order."""
        ...

    def give(self, units: int) -> int:
        """Hand out the next `units` units; the place of the first of them."""
        ...


J = TypeVar("J", bound=Turn)


class Share(NamedTuple, Generic[J]):
    """Units of a job: so many, from that place on."""

    job: J
    first: int
    units: int


class Turns(Generic[J]):
    """Jobs by tenant. Used from one thread at a time, but for whether there are any."""

    def __init__(self, ready: Callable[[J], bool]) -> None:
        """`ready` prepares a job when its turn comes; False drops it (nobody waits, or it cannot be prepared)."""
        self._ready = ready
        self._tenants: OrderedDict[str, deque[J]] = OrderedDict()
        self._background: OrderedDict[str, deque[J]] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether there is anything to take. May be asked from any thread: another may be taking it just now."""
        return bool(self._tenants or self._background)

    def next(self) -> int:
        """Jobs that the next batch is taken of: everybody else's, and only where there are none, the background's."""
        return sum(map(len, self._line.values()))

    @property
    def _line(self) -> OrderedDict[str, deque[J]]:
        return self._tenants or self._background

    def add(self, job: J) -> None:
        """Put a job behind the others of its tenant."""
        line = self._background if job.background else self._tenants
        line.setdefault(job.tenant, deque()).append(job)

    def take(self, budget: int, takers: int = 1) -> list[Share[J]]:
        """The next batch: units whose sizes add up to at most `budget`, but at least one. Budget 0 takes one job whole.

        A job whose units are all taken leaves the queue; one with more stays first of its tenant. Of several `takers`
        each takes its part of the jobs at most: the others are free in a moment, and what is left is theirs.
        """
        jobs: dict[int, J] = {}
        taken: dict[int, int] = {}  # units of each job that are in this batch already
        room = budget
        line = self._line
        most = -(-self.next() // takers)
        while line:
            tenant, queue = next(iter(line.items()))
            job = queue[0]
            if len(jobs) >= most and id(job) not in jobs:
                break
            if not taken.get(id(job)) and not self._ready(job):
                _finish(line, tenant)
                continue
            sizes = job.sizes()[taken.get(id(job), 0) :]
            count = len(sizes) if budget == 0 else _fitting(sizes, room, first=not jobs)
            if count:
                taken[id(job)] = taken.get(id(job), 0) + count
                jobs[id(job)] = job
                room -= sum(sizes[:count])
            if count == len(sizes):
                _finish(line, tenant)
            elif count:
                line.move_to_end(tenant)
            if budget == 0 or room <= 0 or not count:
                break
        return [Share(job, job.give(taken[key]), taken[key]) for key, job in jobs.items()]


def _finish(line: OrderedDict[str, deque[J]], tenant: str) -> None:
    """The tenant's first job is done with; the tenant goes to the end of the line."""
    queue = line[tenant]
    queue.popleft()
    if queue:
        line.move_to_end(tenant)
    else:
        del line[tenant]


def _fitting(sizes: list[int], room: int, *, first: bool) -> int:
    """How many of the leading sizes one visit may take: a quantum, or one larger unit; the first of a batch always."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        alone = count == 0 and (first or size <= room)
        if total > min(room, QUANTUM) and not alone:
            return count
    return len(sizes)
