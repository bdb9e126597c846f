"""How long answers are, by what prompts want: the last lengths of a candidate, and what follows for a limit.

An answer that ended at its limit would have been longer, nobody knows by how much. So the distribution is the product
limit estimate of Kaplan and Meier (1958), in which such a length counts for all of the longer ones alike.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 256
MAX_INTENTS = 64
AT_ONCE, EVERY = 32, 8  # lengths, from which on the distribution is made anew only for every eighth: it hardly moves
MAX_TOLD = 32  # limits, for which what follows is kept until the distribution is made anew
LEAST = 8  # lengths of one intent that are trusted before all of the candidate's


class Expected(NamedTuple):
    """Tokens of an answer: the middle one for how long it takes, the mean for what it costs."""

    median: int
    mean: float


class Lengths:
    """The last lengths, and their distribution.

    Attributes:
        seen: Newest last; one that was cut at its limit is negative.
    """

    __slots__ = ("_masses", "_middle", "_new", "_old", "_ranked", "_tokens", "_told", "_weighted", "seen")

    def __init__(self, seen: Sequence[int] = ()) -> None:
        self.seen = list(seen[-WINDOW:])
        self._ranked = sorted(map(_place, self.seen))
        self._new = 0
        self.rank()

    def observe(self, tokens: int, limit: int | None) -> None:
        """An answer had this many tokens; at its limit it may have been cut."""
        cut = limit is not None and tokens >= limit
        self.seen.append(-tokens if cut else tokens)
        insort(self._ranked, _place(self.seen[-1]))
        if len(self.seen) > WINDOW:
            del self._ranked[bisect_left(self._ranked, _place(self.seen.pop(0)))]
        self._new += 1
        if len(self.seen) <= AT_ONCE or self._new >= EVERY:
            self._old = True
            self._new = 0

    def expected(self, limit: int | None) -> Expected:
        """Of an answer that may have so many; at least one token."""
        if self._old:
            self.rank()
        if limit not in self._told:
            if len(self._told) >= MAX_TOLD:
                self._told.clear()
            self._told[limit] = self._expected(limit)
        return self._told[limit]

    def _expected(self, limit: int | None) -> Expected:
        middle = self._middle
        below = len(self._tokens) if limit is None else bisect_left(self._tokens, limit)
        mean = self._weighted[below]
        if limit is not None:
            middle = min(middle, limit)
            mean += limit * (1.0 - (self._masses[below - 1] if below else 0.0))
        return Expected(max(1, middle), max(1.0, mean))

    def rank(self) -> None:
        """Make the distribution anew: the lengths in order, the share up to each, and their running sum by shares."""
        self._old = False
        self._new = 0
        self._told: dict[int | None, Expected] = {}
        left, masses, at_risk = 1.0, [], len(self._ranked)
        for place in self._ranked:
            mass = 0.0 if place & 1 else left / at_risk
            left -= mass
            at_risk -= 1
            masses.append(mass)
        if masses:
            masses[-1] += left  # the longest was cut: that is all that is known of what is left
        self._tokens = [place >> 1 for place in self._ranked]
        self._masses = list(accumulate(masses))
        half = min(bisect_left(self._masses, 0.5 - 1e-9), len(self._tokens) - 1)
        self._middle = self._tokens[half] if masses else 0
        self._weighted = [0.0, *accumulate(map(mul, self._tokens, masses))]


def _place(tokens: int) -> int:
    """By length, which is half of it; of the same length, the one that was cut comes last, and is odd."""
    return 2 * tokens if tokens > 0 else 1 - 2 * tokens


class IntentLengths:
    """Lengths of all answers together, and of each intent."""

    __slots__ = ("all", "of")

    def __init__(self, seen: dict[str, list[int]] | None = None) -> None:
        """`seen` is what `saved` gave."""
        by_intent = dict(seen or {})
        self.all = Lengths(by_intent.pop("", ()))
        self.of = {intent: Lengths(lengths) for intent, lengths in by_intent.items()}

    def saved(self) -> dict[str, list[int]]:
        """The lengths by intent, and those of all under the empty name. Afterwards both processes know the same."""
        for lengths in (self.all, *self.of.values()):
            lengths.rank()
        return {"": self.all.seen} | {intent: lengths.seen for intent, lengths in self.of.items()}

    def observe(self, intent: str | None, tokens: int, limit: int | None) -> None:
        """An answer to a prompt of this intent had this many tokens."""
        self.all.observe(tokens, limit)
        if intent is None:
            return
        if intent not in self.of and len(self.of) >= MAX_INTENTS:
            self.of.pop(next(iter(self.of)))
        self.of.setdefault(intent, Lengths()).observe(tokens, limit)

    def expected(self, intent: str | None, limit: int | None) -> Expected | None:
        """What is known of the intent, where that is enough, else of all; None where no answer was seen."""
        own = None if intent is None else self.of.get(intent)
        if own is not None and len(own.seen) >= LEAST:
            return own.expected(limit)
        return self.all.expected(limit) if self.all.seen else None
