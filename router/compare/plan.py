"""The order of a run's trials, and when each is due: shuffled in blocks, so that drift hits all candidates alike. Pure.

A machine gets warmer, a provider busier: whoever is measured first is measured in another world. So an input is asked
of all candidates right after one another, in an order drawn anew each time (a randomised block design). Where a load
has several callers, that would mix up what each candidate gets done in a second: there a block is one candidate's,
and the blocks of all follow one another in an order drawn anew.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from router.compare.run import Closed, Load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.compare.run import Open

T = TypeVar("T")
DEEP = 2  # times its callers: so many trials a block has at least, so that most of it is under full load


class Slot(Struct, frozen=True, kw_only=True):
    """A trial to be: as `Trial` has it. `at_s` is when it is due, since its load began; None in a closed loop."""

    number: int
    load: int
    block: int
    repeat: int
    input: int
    candidate: str
    warm_up: bool = False
    at_s: float | None = None


class Shape(Struct, frozen=True, kw_only=True):
    """What the order depends on."""

    seed: int
    loads: tuple[Load, ...]
    repeats: int
    warm_up: int
    inputs: int
    candidates: tuple[str, ...]

    @property
    def trials(self) -> int:
        """How many there are, warm-up included."""
        return len(self.candidates) * (self.warm_up + len(self.loads) * self.repeats * self.inputs)


class _Asked(Struct, frozen=True):
    """One place in the order, before it is numbered."""

    block: int
    repeat: int
    input: int
    candidate: str


def planned(shape: Shape) -> tuple[Slot, ...]:
    """Every trial, in order. The same shape has the same order, anywhere."""
    slots = [_slot(number, each, 0, warm_up=True) for number, each in enumerate(_warm_up(shape))]
    for place, load in enumerate(shape.loads):
        asked = list(_turns(shape, place) if _takes_turns(load) else _blocks(shape, place, load))
        arrivals = _arrivals(shape, place, load, len(asked))
        slots += [
            _slot(number, each, place, at_s)
            for number, (each, at_s) in enumerate(zip(asked, arrivals, strict=True), start=len(slots))
        ]
    return tuple(slots)


def _slot(number: int, asked: _Asked, load: int, at_s: float | None = None, *, warm_up: bool = False) -> Slot:
    return Slot(
        number=number,
        load=load,
        block=asked.block,
        repeat=asked.repeat,
        input=asked.input,
        candidate=asked.candidate,
        warm_up=warm_up,
        at_s=at_s,
    )


def _takes_turns(load: Load) -> bool:
    return not isinstance(load, Closed) or load.concurrency == 1


def _warm_up(shape: Shape) -> Iterator[_Asked]:
    dice = _dice(shape, "warm-up")
    for turn in range(shape.warm_up):
        for candidate in _shuffled(shape.candidates, dice):
            yield _Asked(turn, turn // shape.inputs, turn % shape.inputs, candidate)


def _turns(shape: Shape, place: int) -> Iterator[_Asked]:
    """An input, of all candidates; the next input."""
    dice, block = _dice(shape, f"order {place}"), itertools.count()
    for repeat in range(shape.repeats):
        for number in _shuffled(range(shape.inputs), dice):
            here = next(block)
            for candidate in _shuffled(shape.candidates, dice):
                yield _Asked(here, repeat, number, candidate)


def _blocks(shape: Shape, place: int, load: Load) -> Iterator[_Asked]:
    """Some repeats of all inputs, of one candidate; the same of the next candidate; further repeats."""
    dice, block = _dice(shape, f"order {place}"), itertools.count()
    least = DEEP * load.concurrency if isinstance(load, Closed) else 1
    together = max(1, -(-least // shape.inputs))
    for start in range(0, shape.repeats, together):
        rounds = range(start, min(start + together, shape.repeats))
        asked = _shuffled([(repeat, number) for repeat in rounds for number in range(shape.inputs)], dice)
        for candidate in _shuffled(shape.candidates, dice):
            here = next(block)
            for repeat, number in asked:
                yield _Asked(here, repeat, number, candidate)


def _arrivals(shape: Shape, place: int, load: Load, count: int) -> Iterator[float | None]:
    """When each is due. Poisson arrivals come as independent senders' do: sometimes several at once."""
    if isinstance(load, Closed):
        yield from itertools.repeat(None, count)
        return
    dice, at_s = _dice(shape, f"arrivals {place}"), 0.0
    for _ in range(count):
        yield at_s
        at_s += _gap_s(load, dice)


def _gap_s(load: Open, dice: random.Random) -> float:
    return 1 / load.rate_per_s if load.process == "constant" else dice.expovariate(load.rate_per_s)


def _dice(shape: Shape, what: str) -> random.Random:
    """Chance that falls out the same each time."""
    return random.Random(f"{shape.seed} {what}")  # noqa: S311 -- an order, not a secret


def _shuffled(values: Sequence[T], dice: random.Random) -> list[T]:
    found = list(values)
    dice.shuffle(found)
    return found
