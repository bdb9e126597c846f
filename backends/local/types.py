"""The values that pass between the local backend, its workers and its tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from backends.local.worker import Cancelled
from backends.types import Output, Usage

Family = Literal["embedder", "causal-lm"]


class LocalOptions(Struct, frozen=True, kw_only=True):
    """How the near side behaves.

    Attributes:
        models_dir: Where fetched weight packages lie.
        memory_fraction: The part of each device's memory that models may occupy together.
        downloads: Whether `load` may ask the hub for weights that are not here.
        threads: Threads for inference; None leaves one core to the server.
        max_queue: Requests that may wait for one model.
    """

    models_dir: Path
    memory_fraction: float = 0.7
    downloads: bool = False
    threads: int | None = None
    max_queue: int = 64


class Answer(Struct, frozen=True):
    """What a task made of a payload."""

    output: Output
    usage: Usage


class Control(Struct, frozen=True):
    """A running task's line to whoever waits: the sign to stop, and where text goes as soon as it exists."""

    cancelled: threading.Event
    emit: Callable[[str], None]

    def check(self) -> None:
        """Stop here when nobody waits any more."""
        if self.cancelled.is_set():
            raise Cancelled
