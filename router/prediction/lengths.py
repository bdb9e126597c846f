"""How long answers are, by what prompts want: the last lengths of a candidate, and what follows for a limit.

An answer that ended at its limit would have been longer. It counts as the median of the longer ones that were seen,
else as long as it was (Efron's redistribution to the right, 1967).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 128
MAX_INTENTS = 64
LEAST = 8  # lengths of one intent that are trusted before all of the candidate's


class Expected(NamedTuple):
    """Tokens of an answer: the middle one for how long it takes, the mean for what it costs."""

    median: int
    mean: float


class Lengths:
    """The last lengths, newest last, and the same ranked with their running sums."""

    __slots__ = ("ranked", "seen", "sums")

    def __init__(self, seen: Sequence[int] = ()) -> None:
        self.seen = list(seen[-WINDOW:])
        self._rank()

    def observe(self, tokens: int, limit: int | None) -> None:
        """An answer had this many tokens; at its limit it may have been cut."""
        if limit is not None and tokens >= limit:
            longer = self.ranked[bisect_right(self.ranked, tokens) :]
            tokens = longer[len(longer) // 2] if longer else tokens
        self.seen = [*self.seen[1 - WINDOW :], tokens]
        self._rank()

    def expected(self, limit: int | None) -> Expected:
        """Of an answer that may have so many; at least one token."""
        count = len(self.ranked)
        middle = (self.ranked[(count - 1) // 2] + self.ranked[count // 2] + 1) // 2
        if limit is None:
            return Expected(max(1, middle), max(1.0, self.sums[-1] / count))
        below = bisect_left(self.ranked, limit)
        mean = (self.sums[below] + limit * (count - below)) / count
        return Expected(max(1, min(middle, limit)), max(1.0, mean))

    def _rank(self) -> None:
        self.ranked = sorted(self.seen)
        self.sums = [0, *accumulate(self.ranked)]


class IntentLengths:
    """Lengths of all answers together, and of each intent."""

    __slots__ = ("all", "of")

    def __init__(self, seen: dict[str, list[int]] | None = None) -> None:
        """`seen` is what `saved` gave."""
        by_intent = dict(seen or {})
        self.all = Lengths(by_intent.pop("", ()))
        self.of = {intent: Lengths(lengths) for intent, lengths in by_intent.items()}

    def saved(self) -> dict[str, list[int]]:
        """The lengths by intent, and those of all under the empty name."""
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
