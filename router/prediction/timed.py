"""What an answer's timings say of it: how long it took by itself, and altogether. Plain arithmetic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import astuple

if TYPE_CHECKING:
    from backends.types import Timings


def possible(timings: Timings, total_s: float) -> bool:
    """Whether these are durations: a broken clock somewhere teaches nothing."""
    return 0 < total_s < math.inf and all(s is None or 0 <= s < math.inf for s in astuple(timings))


def own_s(timings: Timings, total_s: float) -> float:
    """What the request took once its turn had come, its own share of a batch instead of the whole.

    The others of the batch stood before it in the queue when it was predicted, and are counted there. What is neither
    waiting, loading nor the device's (tokenising, our own event loop) is its own, too. A far side is seen as a whole.
    """
    if timings.service_s is None:
        return total_s if timings.device_s is None else timings.device_s
    if timings.device_s is None:
        return timings.service_s
    around_s = total_s - timings.service_s - (timings.queue_s or 0.0) - (timings.load_s or 0.0)
    return (
        timings.device_s + (timings.pre_s or 0.0) + (timings.post_s or 0.0)
        if streamed(timings)
        else (timings.device_s + max(0.0, around_s))
    )


def whole_s(timings: Timings, total_s: float) -> float:
    """From asking to the whole answer; of a stream without the pauses that its reader made."""
    if not streamed(timings) or timings.service_s is None:
        return total_s
    parts = (timings.queue_s, timings.load_s, timings.pre_s, timings.service_s, timings.post_s)
    return min(total_s, sum(seconds or 0.0 for seconds in parts))


def first_s(timings: Timings) -> float | None:
    """From asking to the first piece; None where no piece came before the whole."""
    if not timings.first_token_s:
        return None
    return timings.first_token_s + (timings.queue_s or 0.0) + (timings.load_s or 0.0) + (timings.pre_s or 0.0)


def streamed(timings: Timings) -> bool:
    """Whether pieces of the answer came before the whole."""
    return timings.first_token_s is not None
