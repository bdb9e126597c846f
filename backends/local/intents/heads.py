"""The classifiers that one loaded embedder answers with: read from their files, fitted where nobody has done it yet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from backends.errors import Unavailable
from backends.local.intents import storage
from backends.local.intents.classifier import Classifier
from backends.local.intents.definition import BUILTIN, PROBE, builtin
from backends.local.intents.fitting import Fitted, fit, texts_of
from backends.local.intents.storage import Stored

if TYPE_CHECKING:
    from pathlib import Path

    from backends.local.embedder import Embedder
    from backends.local.intents.definition import IntentSet

TEXTS_AT_ONCE = 64
logger = logging.getLogger("nearfar.local")


class _Known(NamedTuple):
    """A classifier, and the state of the file it came from."""

    stamp: tuple[int, ...] | None
    classifier: Classifier


class Heads:
    """Kept as long as the embedder, and used from one of its worker's threads at a time.

    A set that was fitted to another embedder, or not at all, is fitted again here: that takes a second for a hundred
    examples, once, and is written back.
    """

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._probe = model.unit_vectors([PROBE])[0]
        self._known: dict[str, _Known] = {}  # no more than there are files, and the built-in one

    def classifier(self, name: str) -> Classifier:
        """The classifier of the set of this name, as its file is now.

        Raises:
            Unavailable: There is no such set, or its file is damaged.
        """
        path = self._path(name)
        stamp = _stamp(path)
        known = self._known.get(name)
        if known is not None and known.stamp == stamp:
            return known.classifier
        self._known = {other: it for other, it in self._known.items() if other != name and self._is_there(other)}
        classifier = self._opened(path, name)
        self._known[name] = _Known(_stamp(path), classifier)
        return classifier

    def _is_there(self, name: str) -> bool:
        return name == BUILTIN or _stamp(self._path(name)) is not None

    def _path(self, name: str) -> Path:
        opening = self._model.opening
        if name == BUILTIN:
            return builtin_path(opening.cache_dir, opening.directory.name)
        if opening.intents_dir is None:
            raise Unavailable(f"there are no intents named '{name}' on this machine")
        return storage.path_of(opening.intents_dir, name)

    def _opened(self, path: Path, name: str) -> Classifier:
        stored = self._stored_builtin(path) if name == BUILTIN else storage.read(path)
        if stored.current is not None:
            classifier = Classifier(stored.current.head)
            if classifier.fits(self._probe):
                return classifier
        fitted = self._fit(stored.intents)
        try:
            storage.write(path, Stored(intents=stored.intents, digest=stored.intents.digest, fitted=fitted))
        except OSError as error:
            logger.warning("intents %r were fitted and cannot be kept: %s", name, type(error).__name__)
        return Classifier(fitted.head)

    def _stored_builtin(self, path: Path) -> Stored:
        """What was kept of the built-in set; whatever is no longer of use is made anew."""
        unfitted = Stored(intents=builtin())
        try:
            stored = storage.read(path) if path.exists() else unfitted
        except Unavailable:
            return unfitted
        return stored if stored.digest == unfitted.intents.digest else unfitted

    def _fit(self, intents: IntentSet) -> Fitted:
        return fit(intents, self._embedded(texts_of(intents)))

    def _embedded(self, texts: list[str]) -> Any:
        """Vectors in the order of the texts, computed in batches of similar lengths."""
        import numpy as np

        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors = np.empty((len(texts), self._model.dimensions), dtype=np.float32)
        for start in range(0, len(order), TEXTS_AT_ONCE):
            chunk = order[start : start + TEXTS_AT_ONCE]
            vectors[chunk] = self._model.unit_vectors([texts[index] for index in chunk])
        return vectors


def builtin_path(cache_dir: Path, embedder: str) -> Path:
    """Where the built-in set is kept once it is fitted; `embedder` is the name of its model's directory."""
    return storage.path_of(cache_dir / "intents", f"{BUILTIN}-{embedder}")


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is replaced; None when there is none."""
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino
