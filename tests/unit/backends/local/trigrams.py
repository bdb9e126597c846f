"""An embedder for tests of intents: vectors of hashed letter trigrams, so that texts that share words are alike."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.local.intents.definition import Intent, IntentSet
from backends.local.types import Opening

if TYPE_CHECKING:
    from pathlib import Path

SUPPORT = IntentSet(
    name="support",
    intents={
        "refund": Intent((
            "I want my money back", "please refund my money", "give the money back to me", "can I have a refund",
            "my money back please", "refund the order please",
        )),
        "delivery": Intent((
            "where is my parcel", "the parcel did not arrive", "when will the parcel arrive", "parcel delivery is late",
            "track my parcel delivery", "has my delivery arrived",
        )),
        "password": Intent((
            "I forgot my password", "reset the password", "my password is wrong", "change my account password",
            "password does not work", "the login password is lost",
        )),
    },
)  # fmt: skip


def vectors_of(texts, dimensions: int = 128) -> np.ndarray:
    """One unit vector a text."""
    rows = np.zeros((len(texts), dimensions), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        padded = f"  {text.casefold()}  "
        for start in range(len(padded) - 2):
            row[zlib.crc32(padded[start : start + 3].encode()) % dimensions] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Trigrams:
    """Stands where an `Embedder` does, and counts the texts it was given."""

    def __init__(self, folder: Path, dimensions: int = 128) -> None:
        self.opening = Opening(
            directory=folder / "weights",
            device="cpu",
            dtype="float32",
            threads=1,
            cache_dir=folder / "cache",
            intents_dir=folder / "sets",
        )
        self.dimensions = dimensions
        self.embedded = 0

    def unit_vectors(self, texts) -> Any:
        self.embedded += len(texts)
        return vectors_of(texts, self.dimensions)
