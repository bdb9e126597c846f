"""How long a far candidate usually takes to its first byte, and so how long to wait for it. No clock of its own.

Kept for each candidate: the last ratios of what was seen to what its request's size lets expect (`router.priors`), so
that one long prompt says something about short ones. Quantiles are nearest-rank, of at most `WINDOW` requests; with
fewer than `LEAST` nothing is claimed. After a time-out its limit is counted as seen: a candidate that became slower is
waited for longer next time, instead of never being heard again.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from backends.types import Task
from router.priors import FAR_OVERHEAD_S, FAR_S_PER_INPUT_TOKEN, prior_service_s

if TYPE_CHECKING:
    from router.slate import Candidate, Size

WINDOW, LEAST = 200, 20
MAX_CANDIDATES = 1000
LIMIT_OF_P99 = 3.0  # a first byte that takes three times as long as the slowest in a hundred is not expected any more
SHORTEST_LIMIT_S = 1.0
HEDGE_QUANTILE = 0.95


class Patience:
    """Seconds to the first byte of far candidates: what was seen, and what follows from it."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def observe(self, candidate: Candidate, size: Size, first_byte_s: float) -> None:
        """A first byte came after so long; or none came until then."""
        if candidate.near or not 0 < first_byte_s < math.inf:
            return
        if candidate.id not in self._seen and len(self._seen) >= MAX_CANDIDATES:
            self._seen.popitem(last=False)
        ratios = self._seen.setdefault(candidate.id, deque(maxlen=WINDOW))
        ratios.append(first_byte_s / _expected_s(candidate, size))

    def limit_s(self, candidate: Candidate, size: Size) -> float | None:
        """How long to wait for the first byte at most; None while too little is known."""
        usual_s = self._quantile_s(candidate, size, 0.99)
        return None if usual_s is None else max(SHORTEST_LIMIT_S, LIMIT_OF_P99 * usual_s)

    def hedge_after_s(self, candidate: Candidate, size: Size) -> float | None:
        """When the first byte is later than 95 in 100 were; None while too little is known."""
        return self._quantile_s(candidate, size, HEDGE_QUANTILE)

    def _quantile_s(self, candidate: Candidate, size: Size, share: float) -> float | None:
        ratios = self._seen.get(candidate.id, ())
        if len(ratios) < LEAST:
            return None
        ranked = sorted(ratios)
        return ranked[math.ceil(share * len(ranked)) - 1] * _expected_s(candidate, size)


def _expected_s(candidate: Candidate, size: Size) -> float:
    """To the first token of a generation; else to the whole answer, which comes at once."""
    if candidate.target.task is Task.TEXT_GENERATION:
        return FAR_OVERHEAD_S + FAR_S_PER_INPUT_TOKEN * (size.input_tokens or 0)
    return prior_service_s(candidate, size)
