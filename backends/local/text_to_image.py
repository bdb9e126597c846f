"""text-to-image: a prompt becomes PNG files, step by step. Checks what is asked; how it is drawn is the model's."""

from __future__ import annotations

import io
import secrets
import time
from functools import partial
from typing import Any

from backends.errors import ContextLengthExceeded, InvalidInput
from backends.local.diffusion import Diffusion, Picture
from backends.local.diffusion_loading import MAX_GUIDANCE, MAX_STEPS, load
from backends.local.types import Answer, Control, LocalFamily, LocalTask, Unit
from backends.types import DrawingInput, DrawingOutput, Progress, Task, Usage

MAX_PIXELS = 2048 * 2048
MAX_IMAGES = 10
MAX_SEED = 2**63 - 1
_PNG_LEVEL = 3  # of zlib: 0.3 s for 1024 x 1024 photo-like pixels instead of the usual level's 1.3, for 14 % more bytes
_NEW_SEEDS = 2**32  # a drawn seed is one that every JSON reader keeps whole


def pre(model: Diffusion, payload: DrawingInput) -> list[Unit]:
    """Decide everything about the drawing: what the request asks for, else the model's own defaults.

    Raises:
        ContextLengthExceeded: A prompt is longer than the text encoder reads.
        InvalidInput: A parameter is out of range, or this model cannot follow it.
    """
    _within("images", payload.images, 1, MAX_IMAGES)
    seed = secrets.randbelow(_NEW_SEEDS) if payload.seed is None else payload.seed
    _within("seed", seed, 0, MAX_SEED + 1 - payload.images)
    width = _chosen("width", payload.width, model.width)
    height = _chosen("height", payload.height, model.height)
    _check_size(width, height, model.multiple)
    guidance_scale = _guidance_scale(model, payload)
    picture = Picture(
        prompt=payload.prompt,
        negative_prompt=payload.negative_prompt,
        width=width,
        height=height,
        steps=_steps(model, payload),
        guidance_scale=guidance_scale,
        seeds=tuple(range(seed, seed + payload.images)),
        prompt_tokens=_read(model, "prompt", payload.prompt) + _negative_tokens(model, payload, guidance_scale),
    )
    return [Unit(picture)]


def core(model: Diffusion, contents: list[Picture], control: Control) -> list[Any]:
    """Draw each picture's images one after the other: in one batch they would not be those of single requests."""
    return [_drawn(model, picture, control) for picture in contents]


def post(_model: Diffusion, _payload: DrawingInput, units: list[Unit], results: list[Any]) -> Answer:
    """Write PNG files, without a word in them on how they came to be."""
    (unit,), (images,) = units, results
    picture: Picture = unit.content
    usage = Usage(
        prompt_tokens=picture.prompt_tokens,
        images=len(images),
        steps=len(images) * picture.steps,
        pixel_steps=len(images) * picture.width * picture.height * picture.steps,
    )
    return Answer(DrawingOutput(tuple(_png(image) for image in images), picture.seeds), usage)


class _Meter:
    """Counts the steps that were asked for, of all images: some schedulers predict more often than once a step."""

    def __init__(self, picture: Picture, control: Control) -> None:
        self._picture = picture
        self._control = control
        self._total = picture.steps * len(picture.seeds)
        self._sent = 0
        self._started = time.perf_counter()

    def after(self, image: int, done: int, of: int) -> None:
        """Called after each prediction. Raises `Cancelled` once nobody waits."""
        self._control.check()
        step = self._picture.steps * image + self._picture.steps * min(done, of) // of
        if step > self._sent:
            self._sent = step
            self._control.emit(Progress(step, self._total, time.perf_counter() - self._started))


def _drawn(model: Diffusion, picture: Picture, control: Control) -> list[Any]:
    meter = _Meter(picture, control)
    images = []
    for at, seed in enumerate(picture.seeds):
        control.check()
        images.append(model.draw(picture, seed, partial(meter.after, at)))
    return images


def _png(image: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # nor is NaN
        raise InvalidInput(f"{name} is {value}; it can be {least} to {most}")


def _chosen(name: str, asked: int | None, own: int | None) -> int:
    value = own if asked is None else asked
    if value is None:
        raise InvalidInput(f"this model has no {name} of its own: name one")
    return value


def _check_size(width: int, height: int, multiple: int) -> None:
    for name, value in (("width", width), ("height", height)):
        below = max(multiple, value // multiple * multiple)
        if value != below:
            nearest = f"{below}" if value < multiple else f"{below} or {below + multiple}"
            raise InvalidInput(f"{name} is {value}; this model draws multiples of {multiple} pixels: {nearest}")
    if width * height > MAX_PIXELS:
        raise InvalidInput(f"{width} x {height} is {width * height} pixels; at most {MAX_PIXELS} are drawn")


def _steps(model: Diffusion, payload: DrawingInput) -> int:
    steps = _chosen("steps", payload.steps, model.steps)
    _within("steps", steps, 1, MAX_STEPS)
    if not model.can_do(steps):
        raise InvalidInput(f"steps is {steps}, which this model's scheduler cannot do; its default is {model.steps}")
    return steps


def _guidance_scale(model: Diffusion, payload: DrawingInput) -> float | None:
    if payload.guidance_scale is None:
        return model.guidance_scale
    _within("guidance_scale", payload.guidance_scale, 0, MAX_GUIDANCE)
    if not model.takes_guidance:
        raise InvalidInput(f"guidance_scale is {payload.guidance_scale}; a {model.kind} takes none")
    return payload.guidance_scale


def _negative_tokens(model: Diffusion, payload: DrawingInput, guidance_scale: float | None) -> int:
    if not payload.negative_prompt:
        return 0
    if not model.heeds_negative(guidance_scale):
        raise InvalidInput(
            f"negative_prompt would have no effect: this {model.kind} heeds none at guidance_scale {guidance_scale}"
        )
    return _read(model, "negative_prompt", payload.negative_prompt)


def _read(model: Diffusion, name: str, text: str) -> int:
    length, limit = model.tokens(text)
    if limit is not None and length > limit:
        raise ContextLengthExceeded(f"{name} has {length} tokens; the model reads {limit}")
    return length


FAMILY = LocalFamily(load=load, core=core)

TASK = LocalTask(
    task=Task.TEXT_TO_IMAGE,
    family="diffusion",
    pre=pre,
    post=post,
    warm_ups=(
        DrawingInput(prompt="a red circle on a blue background", steps=1, seed=0),
        DrawingInput(prompt="a red circle on a blue background", steps=3, seed=0),
    ),
)
