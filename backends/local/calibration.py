"""What was measured of a model on this hardware, kept in a file of its own. Measures nothing itself."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from backends.reports import LoadReport
from backends.types import Task

if TYPE_CHECKING:
    from backends.hardware import Probe
    from backends.local.model_cache import Key

logger = logging.getLogger("nearfar")
_GIB = 1 << 30


class Calibration(Struct, frozen=True, kw_only=True):
    """One loaded model on one machine.

    Attributes:
        runtimes: Which runtime serves: `encoders.choice.EncoderChoice`, or `runtime` and `why` of a language model;
            empty where there is no choice.
        reports: What loading and a few requests took, by task.
    """

    runtimes: dict[str, str | int] = {}
    reports: dict[Task, LoadReport] = {}


def fingerprint(probe: Probe, threads: int) -> str:
    """What must be equal for a measurement to hold: platform, cores and their abilities, memory, GPUs, threads."""
    gpus = [(gpu.name, gpu.vram_total_bytes // _GIB) for gpu in probe.gpus]
    parts = (probe.platform, probe.cores, sorted(probe.cpu_flags), probe.ram_total_bytes // _GIB, gpus, threads)
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


class Calibrations:
    """The measurements of one machine."""

    def __init__(self, models_dir: Path, machine: str) -> None:
        self._folder = models_dir / "calibration" / machine
        self._read: dict[Key, Calibration] = {}
        self.chosen: set[Key] = set()  # whose runtimes were chosen by this process

    def of(self, key: Key) -> Calibration:
        """What is known of a model; an empty one when nothing is, or its file is damaged. Reads its file once."""
        if key not in self._read:
            self._read[key] = self._from_file(key)
        return self._read[key]

    def keep(self, key: Key, calibration: Calibration) -> None:
        """Remember, and write the file, whole or not at all; a disk that takes none costs the next start only."""
        self._read[key] = calibration
        try:
            self._write(self._file(key), msgspec.json.format(msgspec.json.encode(calibration)))
        except OSError as error:
            logger.warning("what was measured of %s cannot be kept (%s)", key.directory.name, type(error).__name__)

    def _write(self, file: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".writing-", dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as writing:
                writing.write(content)
            Path(name).replace(file)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    def _from_file(self, key: Key) -> Calibration:
        file = self._file(key)
        if not file.is_file():
            return Calibration()
        try:
            return msgspec.json.decode(file.read_bytes(), type=Calibration)
        except (OSError, msgspec.MsgspecError) as error:
            logger.warning("what was measured of %s cannot be read (%s)", key.directory.name, type(error).__name__)
            return Calibration()

    def _file(self, key: Key) -> Path:
        whole = "|".join((str(key.directory), key.family, *([key.runtime] if key.runtime else [])))
        name = hashlib.blake2b(whole.encode(), digest_size=6).hexdigest()
        return self._folder / f"{key.directory.name}-{key.family}-{name}.json"
