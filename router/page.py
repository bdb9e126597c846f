"""What a page says of the browser it runs in: its sender's own machine, and nothing of it was measured here."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from backends.types import Task

Per = Literal["request", "text", "token", "audio_s", "window"]
TASKS = (Task.FEATURE_EXTRACTION, Task.TEXT_CLASSIFICATION, Task.AUTOMATIC_SPEECH_RECOGNITION)
"""What pages can do themselves."""


class Speed(Struct, frozen=True, kw_only=True):
    """What a page measured of one model, loaded.

    Attributes:
        per: What the seconds are for: a whole request, or one of its texts, tokens, seconds of sound, or windows of
            30 s (what speech models hear at once, however much of it is sound).
        p50_s: The median.
        p95_s: The 95th percentile; None where the page cannot tell.
        samples: How many were measured.
    """

    per: Per
    p50_s: float
    samples: int
    p95_s: float | None = None


class Ability(Struct, frozen=True, kw_only=True):
    """One model that a page runs, or could load. None is not known.

    Attributes:
        model: By the catalogue's id, or as a candidate calls it.
        load_s: Until it is loaded; means nothing where it is.
        parity: The least cosine between its vectors and this server's, of the same texts.
        memory_bytes: What loading it takes.
        device: What it runs on: `wasm` is the processor, `webgpu` the graphics card.
        dtype: The type of its weights, in the page's word.
    """

    model: str
    task: Task
    loaded: bool = False
    load_s: float | None = None
    speed: Speed | None = None
    parity: float | None = None
    revision: str | None = None
    memory_bytes: int | None = None
    device: Literal["wasm", "webgpu"] = "wasm"
    dtype: str | None = None


class Page(Struct, frozen=True, kw_only=True):
    """A browser that could serve its own requests.

    Attributes:
        memory_bytes: What it may take; None where the page does not know.
        threads: On which the processor's share of the work runs.
        online: False where it can load nothing now.
    """

    abilities: tuple[Ability, ...]
    memory_bytes: int | None = None
    threads: int | None = None
    online: bool = True
