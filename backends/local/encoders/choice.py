"""Chooses what computes a model's vectors: one encoder for few tokens and one for many, by measured seconds."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from backends.errors import BackendError, Unavailable
from backends.local.encoders import onnx, packed, parity
from backends.local.encoders.reference import TorchEncoder
from backends.local.errors import translated
from backends.local.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from backends.local.encoders.base import Encoder
    from backends.local.types import Opening

logger = logging.getLogger("nearfar")
REFERENCE = "torch"
NAMES = (REFERENCE, "packed", "onnx")
WORTH = 0.10  # a second encoder costs memory: it must save this share of the seconds at its size
ROUNDS = 7  # measurements of a shape; the fastest is kept, since other processes only ever add to it
_SHORT = "Please move my appointment to next Tuesday."
_MIXED = tuple((_SHORT + " ") * repeats for repeats in (1, 2, 6, 12, 3, 24, 8, 16)) * 4  # about 90 tokens each


class EncoderChoice(Struct, frozen=True):
    """Which encoder computes what.

    Attributes:
        small: For at most `threshold_tokens` tokens at once.
        large: For more.
        threshold_tokens: 0 when both are the same.
    """

    small: str
    large: str
    threshold_tokens: int


class Speed(Struct, frozen=True, kw_only=True):
    """What was measured of an encoder: one short text, and a batch of 32 texts of mixed lengths.

    Attributes:
        agreement: Smallest cosine with the reference.
    """

    name: str
    agreement: float
    short_tokens: int
    short_s: float
    batch_tokens: int
    batch_s: float

    def seconds(self, tokens: float) -> float:
        """What a number of tokens should take: a line through the two shapes."""
        slope = (self.batch_s - self.short_s) / (self.batch_tokens - self.short_tokens)
        return self.short_s + slope * (tokens - self.short_tokens)


class _Shapes(Struct, frozen=True):
    """Token sequences that encoders are compared on."""

    probes: list[list[int]]
    short: list[list[int]]
    batch: list[list[int]]


def choose(speeds: Sequence[Speed]) -> EncoderChoice:
    """The fastest encoder at each size, of those that agree with the reference; one alone where two gain too little."""
    exact = [speed for speed in speeds if speed.name == REFERENCE or speed.agreement >= parity.floor]
    exact.sort(key=lambda speed: NAMES.index(speed.name))  # of equals, the first
    if not exact:
        return EncoderChoice(REFERENCE, REFERENCE, 0)
    small = min(exact, key=lambda speed: speed.short_s)
    large = min(exact, key=lambda speed: speed.batch_s)

    def lost(speed: Speed) -> float:
        """The greater share of its seconds that the best of a size would save."""
        return max(1 - small.short_s / speed.short_s, 1 - large.batch_s / speed.batch_s)

    alone = min(exact, key=lost)
    if lost(alone) < WORTH:
        return EncoderChoice(alone.name, alone.name, 0)
    return EncoderChoice(small.name, large.name, _threshold(small, large))


def calibrate(opening: Opening) -> EncoderChoice:
    """Measure every encoder that can compute the model of `opening` here, and choose. Blocks for some seconds.

    An encoder that fails is named in the log and left out; only the reference must not.
    """
    reference = _opened(REFERENCE, opening)
    shapes = _shapes(opening)
    encoders, agreements = [reference], [1.0]
    for name in _others(opening):
        try:
            with translated(opening.directory.name):
                other = _opened(name, opening)
                agreements.append(parity.agreement(reference, other, shapes.probes))
                encoders.append(other)
        except BackendError as error:
            logger.warning("encoder '%s' is left out: %s", name, error, exc_info=error)
    short, batch = measure(encoders, shapes.short), measure(encoders, shapes.batch)
    speeds = [
        Speed(
            name=encoder.name,
            agreement=agreement,
            short_tokens=_total(shapes.short),
            short_s=short_s,
            batch_tokens=_total(shapes.batch),
            batch_s=batch_s,
        )
        for encoder, agreement, short_s, batch_s in zip(encoders, agreements, short, batch, strict=True)
    ]
    for speed in speeds:
        logger.info("%s: %s", opening.directory.name, speed)
    return choose(speeds)


def measure(
    encoders: Sequence[Encoder], sequences: Sequence[Sequence[int]], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Seconds that `sequences` take each encoder: the fastest of a few rounds after one that is not counted.

    They take turns in every round, so that a machine that is busy for a while is busy for all of them.
    """
    seconds: list[list[float]] = [[] for _ in encoders]
    for _ in range(ROUNDS + 1):
        for encoder, own in zip(encoders, seconds, strict=True):
            started = clock()
            encoder.encode(sequences)
            own.append(clock() - started)
    return [min(own[1:]) for own in seconds]


def open_encoder(name: str, directory: Path, device: str, dtype: str, threads: int, cache_dir: Path) -> Encoder:
    """Load the model in `directory` for the encoder `name`; only the reference runs elsewhere than float32 on a CPU.

    Raises:
        Unavailable: There is no such encoder, or it does not support the model, the device or the dtype.
    """
    if name == REFERENCE:
        return TorchEncoder(directory, device, dtype, threads)
    if (device, dtype) != ("cpu", "float32"):
        raise Unavailable(f"encoder '{name}' computes float32 on the CPU, not {dtype} on {device}")
    if name == "packed":
        return packed.PackedEncoder(directory, threads)
    if name == "onnx":
        return onnx.OnnxEncoder(directory, cache_dir, threads)
    raise Unavailable(f"there is no encoder '{name}', only {', '.join(NAMES)}")


def _shapes(opening: Opening) -> _Shapes:
    tokens = Tokens(opening.directory)
    probes = tokens.ids(parity.texts, truncate=True)
    return _Shapes(
        probes=[*probes, *(probe[:1] for probe in probes[:1] if probe)],
        short=tokens.ids([_SHORT], truncate=True),
        batch=tokens.ids(_MIXED, truncate=True),
    )


def _others(opening: Opening) -> list[str]:
    """What else than the reference supports the model."""
    if (opening.device, opening.dtype) != ("cpu", "float32"):
        return []
    reasons = {"packed": packed.supports(opening.directory), "onnx": onnx.supports(opening.directory)}
    for name, reason in reasons.items():
        if reason is not None:
            logger.info("%s: encoder '%s' is left out: %s", opening.directory.name, name, reason)
    return [name for name, reason in reasons.items() if reason is None]


def _opened(name: str, opening: Opening) -> Encoder:
    return open_encoder(name, opening.directory, opening.device, opening.dtype, opening.most_threads, opening.cache_dir)


def _threshold(small: Speed, large: Speed) -> int:
    """Tokens from which on the large one is faster: where their lines cross between the two shapes."""
    behind = large.seconds(small.short_tokens) - small.short_s
    ahead = small.seconds(small.batch_tokens) - large.seconds(small.batch_tokens)
    share = behind / (behind + ahead)
    return round(small.short_tokens + share * (small.batch_tokens - small.short_tokens))


def _total(sequences: Sequence[Sequence[int]]) -> int:
    return sum(map(len, sequences))
