"""What the cascade's benchmark reads: prompts with what two models made of them, and vectors that are kept in a file.

The prompts are 15,361 questions of MMLU and GSM8K with whether a weak model (Mixtral-8x7B-Instruct) and a strong one
(gpt-4-1106-preview) answered each right, from the evaluation data of lm-sys/RouteLLM (Apache-2.0; Ong et al., 2024,
arXiv:2406.18665). Reads files; measures nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import numpy as np  # noqa: TID253 -- arithmetic on arrays is what this file does
from intents_data import Vectors

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress

FILE = "routellm_weak_strong.parquet"


class Prompts(NamedTuple):
    """One row a prompt: its text, its subject, and whether each model was right."""

    texts: list[str]
    subjects: list[str]
    weak: np.ndarray
    strong: np.ndarray

    def only(self, rows: np.ndarray) -> Prompts:
        """These rows, by their numbers."""
        return Prompts(
            [self.texts[row] for row in rows],
            [self.subjects[row] for row in rows],
            self.weak[rows],
            self.strong[rows],
        )


def prompts(folder: Path) -> Prompts:
    """All prompts, in an order that does not depend on the file's."""
    query = "SELECT prompt, subject, weak_correct, strong_correct FROM read_parquet(?) ORDER BY ALL"
    rows = duckdb.connect().execute(query, [str(folder / FILE)]).fetchall()
    texts, subjects, weak, strong = zip(*rows, strict=True)
    return Prompts(list(texts), list(subjects), np.array(weak, dtype=float), np.array(strong, dtype=float))


def halves(texts: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The row numbers of two halves. Equal texts fall into one half, so that none is judged by its own twin."""
    low = np.array([_hash(text, seed) % 2 == 0 for text in texts])
    return np.flatnonzero(low), np.flatnonzero(~low)


class KeptVectors(Vectors):
    """Unit vectors of texts that outlive the process, in a file outside the project."""

    def __init__(self, cache: Path | None) -> None:
        """`cache` is a folder; None keeps nothing."""
        super().__init__()
        self._file = None if cache is None else cache / "minilm-vectors.npz"
        if self._file is not None and self._file.is_file():
            with np.load(self._file) as kept:
                self._by_key = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))
        else:
            self._by_key = {}

    def learn(self, texts: list[str], progress: Progress, name: str) -> None:
        """Embed what is neither known nor kept, and keep it."""
        for text in texts:
            if _key(text) in self._by_key:
                self._known[text] = self._by_key[_key(text)]
        new = set(texts) - self._known.keys()
        super().learn(texts, progress, name)
        if self._file is None or not new:
            return
        self._by_key |= {_key(text): self._known[text] for text in new}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(self._file, keys=np.array(list(self._by_key)), vectors=np.stack(list(self._by_key.values())))


def _key(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _hash(text: str, seed: int) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little")
