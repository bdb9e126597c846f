"""The world of `policy_regret.py`: when requests came and how large they were, and what each place takes for them.

Arrivals and token counts are a real trace's. The near place takes what was measured here; the far ones are modelled by
what is written below: a first token, a time per token, lognormal noise, and brown-outs that slow everything down.
Everything random is drawn once per world, so every chooser meets the same fate, and an oracle can know it.
"""

from __future__ import annotations

import csv
import math
import random
from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MOST_INPUT, MOST_OUTPUT = 3000, 512  # tokens; the small near model reads 8192 in all
BROWN_OUT_S, EVERY_S, SLOWER = 90.0, 900.0, 6.0


class Request(NamedTuple):
    """One request of the trace."""

    number: int
    at_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a request can run. Near serves one at a time; far ones any number.

    Attributes:
        noise: Ratios of observed to expected seconds that were measured; empty: lognormal with `sigma`.
        brown_outs: Whether it has any.
    """

    name: str
    near: bool
    first_s: float
    per_input_s: float
    per_output_s: float
    input_per_1m_usd: float = 0.0
    output_per_1m_usd: float = 0.0
    usd_per_hour: float = 0.0
    sigma: float = 0.0
    noise: tuple[float, ...] = ()
    brown_outs: bool = False

    def expected_s(self, request: Request) -> float:
        """Seconds of service on a good day."""
        return self.first_s + self.per_input_s * request.input_tokens + self.per_output_s * request.output_tokens

    def cost_usd(self, request: Request, held_s: float) -> float:
        """What a request costs: far by tokens, near by the seconds it holds the machine."""
        tokens_usd = request.input_tokens * self.input_per_1m_usd + request.output_tokens * self.output_per_1m_usd
        return self.usd_per_hour * held_s / 3600 if self.near else tokens_usd / 1e6


# Prices are those that the listing shipped with Nearfar has for Llama-3.1-8B-Instruct at three providers; the speeds
# are assumptions, in the range that public trackers show for such models. What is asked of the policies is the choice.
FAR = (
    Place(name="far-quick", near=False, first_s=0.25, per_input_s=5e-5, per_output_s=1 / 250,
          input_per_1m_usd=0.10, output_per_1m_usd=0.10, sigma=0.20),
    Place(name="far-middle", near=False, first_s=0.45, per_input_s=1e-4, per_output_s=1 / 90,
          input_per_1m_usd=0.06, output_per_1m_usd=0.06, sigma=0.35, brown_outs=True),
    Place(name="far-cheap", near=False, first_s=0.90, per_input_s=2e-4, per_output_s=1 / 35,
          input_per_1m_usd=0.02, output_per_1m_usd=0.05, sigma=0.45, brown_outs=True),
)  # fmt: skip


def read_trace(path: Path) -> list[Request]:
    """All requests of a trace, times from its first one."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(_seconds(row["TIMESTAMP"]), row) for row in csv.DictReader(file)]
    start = rows[0][0]
    return [
        Request(
            number,
            at_s - start,
            min(int(row["ContextTokens"]), MOST_INPUT),
            max(1, min(int(row["GeneratedTokens"]), MOST_OUTPUT)),
        )
        for number, (at_s, row) in enumerate(rows)
    ]


def thinned(requests: Sequence[Request], near: Place, load: float) -> list[Request]:
    """Every k-th request, so that all of them near would be `load` times what the near place can serve."""
    busy_s = sum(near.expected_s(request) for request in requests)
    keep = max(1, round(busy_s / (load * (requests[-1].at_s - requests[0].at_s))))
    return list(requests[::keep])


def hastened(requests: Sequence[Request], places: Sequence[Place], pace: float) -> tuple[list[Request], list[Place]]:
    """The same traffic `pace` times as fast: requests of that much smaller sizes, so that near takes less by itself."""
    smaller = [
        Request(r.number, r.at_s / pace, max(1, round(r.input_tokens / pace)), max(1, round(r.output_tokens / pace)))
        for r in requests
    ]
    return smaller, [place if place.near else replace(place, first_s=place.first_s / pace) for place in places]


class World:
    """What each place would take for each request, drawn once. Brown-outs come and go `pace` times as fast."""

    def __init__(self, requests: Sequence[Request], places: Sequence[Place], seed: int, *, pace: float = 1.0) -> None:
        self.requests, self.places = requests, tuple(places)
        self._brown_out_s = BROWN_OUT_S / pace
        chance = random.Random(seed)
        ends_s = requests[-1].at_s
        self._starts = {place.name: _brown_outs(chance, ends_s, pace) if place.brown_outs else [] for place in places}
        self._ratios = {place.name: [_ratio(chance, place) for _ in requests] for place in places}

    def service_s(self, place: Place, index: int) -> float:
        """Seconds of service of the index-th request there, at the time when it came."""
        request = self.requests[index]
        slower = SLOWER if self.browned_out(place, request.at_s) else 1.0
        return place.expected_s(request) * self._ratios[place.name][index] * slower

    def browned_out(self, place: Place, at_s: float) -> bool:
        """Whether the place is in a brown-out then."""
        starts = self._starts[place.name]
        latest = bisect_right(starts, at_s) - 1
        return latest >= 0 and at_s < starts[latest] + self._brown_out_s


def _brown_outs(chance: random.Random, ends_s: float, pace: float) -> list[float]:
    starts, at_s = [], chance.expovariate(pace / EVERY_S)
    while at_s < ends_s:
        starts.append(at_s)
        at_s += BROWN_OUT_S / pace + chance.expovariate(pace / EVERY_S)
    return starts


def _ratio(chance: random.Random, place: Place) -> float:
    return chance.choice(place.noise) if place.noise else math.exp(chance.gauss(0.0, place.sigma))


def _seconds(text: str) -> float:
    head, _, fraction = text.partition(".")
    return datetime.fromisoformat(head).timestamp() + float(f"0.{fraction or 0}")
