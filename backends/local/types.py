"""The values that pass between the local backend, its workers and its tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from backends.types import Output, Payload, Piece, Task, Usage

DERIVED = "derived"  # below the directory of models: what loaders make of their files
CROWD = 8
"""Requests in a queue, from twice as many on of which a lane's batches grow with it."""
GPU_BATCHES = 16
"""So many times a processor's batch run together on a GPU, which is done with it sooner."""

Family = Literal["embedder", "sequence-classifier", "causal-lm", "diffusion", "image-classifier", "speech"]


class Cancelled(Exception):
    """The work saw that nobody waits for it any more."""


class LocalOptions(Struct, frozen=True, kw_only=True):
    """How the near side behaves.

    Attributes:
        models_dir: Where fetched weight packages, converted graphs and measurements lie.
        intents_dir: Where fitted intent heads lie.
        memory_fraction: The part of each device's memory that models may occupy together.
        downloads: Whether `load` may ask the hub for weights that are not here.
        threads: Threads for inference; None leaves one core to the server.
        max_queue: Requests that may wait for one model.
        pickles: Whether weights may be read from files that can run code.
    """

    models_dir: Path
    intents_dir: Path | None = None
    memory_fraction: float = 0.7
    downloads: bool = False
    threads: int | None = None
    max_queue: int = 64
    pickles: bool = False


class Opening(Struct, frozen=True, kw_only=True):
    """What a loader is told about the model it should load.

    Attributes:
        directory: With the model's files.
        device: `cpu`, `cuda:0`, `mps`.
        dtype: `float32`, `bfloat16`, `float16`.
        threads: For inference on the CPU; one core is left to the server.
        most_threads: For runtimes that watch what other processes use and take fewer when they must.
        cache_dir: Where a loader may keep what it derives from the files.
        intents_dir: Where fitted intent heads lie; None when there are none.
        runtimes: Which runtime serves, as measured on this machine; empty takes the reference.
        runtime: What must compute it, whatever was measured; None leaves it to `runtimes`.
        pickles: Whether weights may be read from files that can run code.
    """

    directory: Path
    device: str
    dtype: str
    threads: int
    most_threads: int = 1
    cache_dir: Path
    intents_dir: Path | None = None
    runtimes: dict[str, str | int] = {}
    runtime: str | None = None
    pickles: bool = False


class Answer(Struct, frozen=True):
    """What a task made of a payload."""

    output: Output
    usage: Usage


class Flag:
    """Set once, by any thread, and looked at by any: a `threading.Event` that nobody waits for, at no cost."""

    __slots__ = ("_set",)

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """From now on it is set."""
        self._set = True

    def is_set(self) -> bool:
        """Whether it is."""
        return self._set


class Control(Struct, frozen=True):
    """Running work's line to whoever waits: the sign to stop, and where pieces go as soon as they exist."""

    cancelled: Flag
    emit: Callable[[Piece], None]

    def check(self) -> None:
        """Stop here when nobody waits any more.

        Raises:
            Cancelled: nobody does.
        """
        if self.cancelled.is_set():
            raise Cancelled


class Unit(Struct, frozen=True):
    """The smallest thing a model's core computes: the tokens of one text, the pixels of one image, one prompt.

    `size` is in the family's own unit (tokens for texts); the sizes of a batch add up to at most the family's budget.
    """

    content: Any
    size: int = 1


class LocalFamily(Struct, frozen=True, kw_only=True):
    """A kind of model: how it is loaded, and how it computes.

    Attributes:
        load: Makes the model of its files. What it returns has `device`, `dtype` and `runtime`, all `str`; and `lanes`
            where it computes several batches side by side, which then come from so many threads.
        core: `(model, contents, control) -> one result per content`; the device's work and nothing else.
        budget: Sizes of units that run together, of whatever requests; 0 runs one request at a time, which alone
            may emit pieces and see the sign to stop.
        lane_budget: The same of a batch that runs beside others, for every `CROWD` requests that are queued.
    """

    load: Callable[[Opening], Any]
    core: Callable[[Any, list[Any], Control], list[Any]]
    budget: int = 0
    lane_budget: int = 0

    def budget_of(self, model: Any, queued: int, *, alone: bool) -> int:
        """The budget where it runs: a GPU is done with a batch that keeps a processor busy before it has warmed up.

        `alone` says that nothing else is computed, nor queued: then all lanes are there for this batch. Of others the
        small ones end soon, and leave the rest to whoever is free; where many wait anyway, they may as well be larger.
        """
        if lanes_of(model) > 1 and not alone:
            return min(self.budget, self.lane_budget * max(1, queued // CROWD))
        return self.budget * GPU_BATCHES if model.device.startswith("cuda") else self.budget


def lanes_of(model: Any) -> int:
    """How many batches a loaded model computes side by side."""
    lanes: int = getattr(model, "lanes", 1)
    return lanes


class LocalTask(Struct, frozen=True, kw_only=True):
    """How a task is done by a family of models.

    Attributes:
        pre: `(model, payload) -> units`: tokenises or decodes. Raises `InvalidInput` and its kin.
        post: `(model, payload, units, results) -> Answer`, with one result of the core per unit, in their order.
        warm_ups: Short requests to measure it with, smallest first.
    """

    task: Task
    family: Family
    pre: Callable[[Any, Any], list[Unit]]
    post: Callable[[Any, Any, list[Unit], list[Any]], Answer]
    warm_ups: tuple[Payload, ...]
