"""What was learnt of candidates as text, so that it outlives the process. Reads and writes nothing itself.

A state is used only where the candidate still is the same: other weights, another device or another version of what the
state means make it worthless, and it is left aside.
"""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from router.prediction.history import History, Identity, State
from router.prediction.lengths import IntentLengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.reports import Measurement
    from router.slate import Candidate

VERSION: Final = 1  # of what a state means; another one is not read
logger = logging.getLogger("nearfar.prediction")


class Saved(Struct, frozen=True):
    """A state with what it belongs to."""

    version: int
    same: Identity
    state: State
    lengths: dict[str, list[int]]


class _Head(Struct):
    version: int


def saved(history: History) -> str:
    """The history as JSON of a few kilobytes."""
    whole = Saved(VERSION, history.same, history.state, history.lengths.saved())
    return msgspec.json.encode(whole).decode()


def restored(candidate: Candidate, text: str) -> History | None:
    """The history that `saved` gave; None where the candidate is another one now, or the text cannot be read."""
    try:
        version = msgspec.json.decode(text, type=_Head).version
        if version != VERSION:
            logger.info("what was learnt of %s is of version %d, and is left aside", candidate.id, version)
            return None
        found = msgspec.json.decode(text, type=Saved)
    except (msgspec.DecodeError, UnicodeError) as error:
        logger.warning(
            "what was learnt of %s cannot be read (%s), and is left aside", candidate.id, type(error).__name__
        )
        return None
    if found.same != identity(candidate):
        logger.info("%s is not what it was when it was learnt; that is left aside", candidate.id)
        return None
    return History(found.same, found.state, IntentLengths(found.lengths))


def checksum(measured: Sequence[Measurement]) -> int:
    """Tells one calibration from another."""
    return zlib.crc32(msgspec.json.encode(list(measured)))


def identity(candidate: Candidate) -> Identity:
    """What must not have changed. The shape that the factors belong to follows from these."""
    target, status = candidate.target, candidate.status
    return [
        target.backend, target.provider, target.model, target.revision, target.task.value, target.head,
        target.parameters, status.device, status.dtype,
    ]  # fmt: skip
