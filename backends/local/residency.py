"""Which models stay in memory and which go: a pure decision on figures, so that it can be tested without any model.

A model goes by reload cost x recency (GreedyDual-Size with a uniform size, Cao and Irani 1997, its clock being real
time): the one whose reloading costs least for each second it has been idle. What is in use never goes. A model stays
at least as long as its loading is worth: idle for as long as it took to load, or at work for `TURN` times that, after
which those who wait for its place come first. So two models that do not fit together spend at most one part in
`TURN + 1` of the time on loading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

TURN = 10.0  # a busy model keeps its place for this many times its loading
LEAST_TURN_S = 2.0
MOST_GRACE_S = 5.0  # an idle model's place is free after this at the latest


N = TypeVar("N")


class Resident(Struct, Generic[N], frozen=True, kw_only=True):
    """A model in memory at one instant. Instants are seconds of one monotonic clock.

    Attributes:
        users: Requests that hold it, its own loading included.
        load_s: What reloading would take.
        since: When it was loaded.
        last_use: When its last request ended.
    """

    name: N
    memory_bytes: int
    users: int
    load_s: float
    since: float
    last_use: float

    @property
    def turn_over(self) -> float:
        """When others may have its place though it is wanted."""
        return self.since + max(LEAST_TURN_S, TURN * self.load_s)

    @property
    def free_from(self) -> float:
        """When others may have its place if it stays idle."""
        return min(self.turn_over, max(self.since, self.last_use) + min(self.load_s, MOST_GRACE_S))


class Room(Struct, Generic[N], frozen=True, kw_only=True):
    """How room can be made.

    Attributes:
        evict: Models to drop now; they make room enough.
        drain: Models that take no new requests from now on, because their turn is over and others wait.
        look_again: When something changes though nobody does anything; None when only a request's end can help.
    """

    evict: tuple[N, ...] | None = None
    drain: tuple[N, ...] = ()
    look_again: float | None = None


def make_room(needed: int, budget: int, residents: Sequence[Resident[N]], now: float) -> Room[N]:
    """How `needed` bytes can be had of a device's `budget`. `needed` must not be above it."""
    missing = needed - (budget - sum(resident.memory_bytes for resident in residents))
    if missing <= 0:
        return Room(evict=())
    by_worth = sorted(residents, key=lambda resident: _worth(resident, now))
    free = [resident for resident in by_worth if not resident.users and resident.free_from <= now]
    chosen = _enough(free, missing)
    if chosen is not None:
        return Room(evict=tuple(resident.name for resident in chosen))
    # Not yet: those whose turn is over stop taking requests, cheapest first, no more than needed, and nobody in vain.
    over = [resident for resident in by_worth if resident.turn_over <= now]
    drain = _enough([*free, *(resident for resident in over if resident not in free)], missing) or ()
    instants = [at for resident in residents for at in (_changes(resident),) if at > now]
    return Room(
        drain=tuple(resident.name for resident in drain if resident.users),
        look_again=min(instants, default=None),
    )


def expected_wait_s(needed: int, budget: int, residents: Sequence[Resident[N]], now: float) -> float:
    """How long a model would wait for its place at most, if the others stay as busy as they are."""
    missing = needed - (budget - sum(resident.memory_bytes for resident in residents))
    wait_s = 0.0
    for resident in sorted(residents, key=_changes):
        if missing <= 0:
            break
        missing -= resident.memory_bytes
        wait_s = max(wait_s, _changes(resident) - now)
    return wait_s


def _changes(resident: Resident[N]) -> float:
    return resident.turn_over if resident.users else resident.free_from


def _worth(resident: Resident[N], now: float) -> float:
    """Seconds of reloading for each second of idleness: high for what is dear or was just used."""
    return resident.load_s / (max(0.0, now - resident.last_use) + 1e-3)


def _enough(residents: Sequence[Resident[N]], missing: int) -> list[Resident[N]] | None:
    """The first residents that together hold `missing` bytes, without those that turn out to be needless; or None."""
    chosen: list[Resident[N]] = []
    held = 0
    for resident in residents:
        if held >= missing:
            break
        chosen.append(resident)
        held += resident.memory_bytes
    if held < missing:
        return None
    for resident in tuple(chosen):
        if held - resident.memory_bytes >= missing:
            chosen.remove(resident)
            held -= resident.memory_bytes
    return chosen
