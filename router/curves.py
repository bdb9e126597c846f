"""Measurements of a candidate at several sizes, as one curve over its prior. Measures nothing."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from msgspec import Struct

from router.priors import prior_service_s
from router.slate import Size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backends.reports import Measurement
    from backends.types import Usage
    from router.slate import Candidate

MAX_MEASURED = 32


class Curve(Struct, frozen=True):
    """Measured seconds over prior seconds: straight lines between the points, proportional beyond both ends.

    `prior_s` rises and `service_s` never falls, so a larger request is never expected to be faster.
    """

    prior_s: tuple[float, ...]
    service_s: tuple[float, ...]

    def at(self, prior_s: float) -> float:
        """Seconds of a request whose prior is this many."""
        above = bisect_left(self.prior_s, prior_s)
        if above in {0, len(self.prior_s)}:
            end = min(above, len(self.prior_s) - 1)
            return self.service_s[end] * prior_s / self.prior_s[end]
        x0, x1 = self.prior_s[above - 1], self.prior_s[above]
        y0, y1 = self.service_s[above - 1], self.service_s[above]
        return y0 + (y1 - y0) * (prior_s - x0) / (x1 - x0)


def curve_of(candidate: Candidate, measured: Iterable[Measurement]) -> Curve | None:
    """The curve through these measurements; None when none of them is a duration."""
    points: dict[float, float] = {}
    for one in measured:
        if 0 < one.service_s < math.inf and len(points) < MAX_MEASURED:
            points[prior_service_s(candidate, used_size(one.usage))] = one.service_s
    if not points:
        return None
    rising = sorted(points)
    never_falling = accumulate((points[prior_s] for prior_s in rising), max)  # noise makes no larger request faster
    return Curve(tuple(rising), tuple(never_falling))


def used_size(usage: Usage) -> Size:
    """The size of a request of which only its usage is known."""
    return Size(
        items=usage.images or 1,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        images=usage.images,
        pixel_steps=usage.pixel_steps,
        audio_s=usage.audio_s,
    )
