"""The drawn training set, the pairs kept out of it, and the judge that measures the model trained on it."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("PIL", reason="pictures need the `images` extra")

from backends.local.shapes import drawing, evaluation, networks
from backends.local.shapes.drawing import OUTLINES, PALETTE, RADII, Drawing
from backends.local.shapes.judging import NOTHING, Judge, Share

MODEL = Path(evaluation.__file__).parent / "model"


@pytest.fixture(scope="module")
def judge():
    return Judge()


def test_the_same_seed_draws_the_same_training_set():
    """Pictures and captions come from the seed alone, and another seed draws others."""
    first, again, other = (list(drawing.training_set(24, seed)) for seed in (0, 0, 1))

    assert [(picture.tobytes(), caption) for picture, caption in first] == [
        (picture.tobytes(), caption) for picture, caption in again
    ]
    assert {picture.tobytes() for picture, _ in first}.isdisjoint(picture.tobytes() for picture, _ in other)


def test_the_first_picture_is_the_one_the_model_learnt_from():
    """Who changes the drawing must train again: the weights beside it were trained on this."""
    picture, caption = next(iter(drawing.training_set(1, 0)))

    assert ((64, 64), "a small crimson dot with an orange background") == (picture.size, caption)
    assert (223, 37, 39) == picture.getpixel((32, 32))


def test_shapes_do_not_look_alike():
    """Of one size, no two have more than nine tenths of their pixels in common."""
    for size in RADII.values():
        lit = [
            {at for at, value in enumerate(drawing.mask(shape, size).tobytes()) if value > 127} for shape in OUTLINES
        ]

        assert 0.9 > max(len(one & other) / len(one | other) for one, other in itertools.combinations(lit, 2))


def test_colours_do_not_look_alike():
    """Two colours are further apart than what two tints of them can differ from one another."""
    assert 70 < min(math.dist(one, other) for one, other in itertools.combinations(PALETTE.values(), 2))


def test_held_out_pairs_are_fair():
    """Every shape once and every colour once, so that the row of them is no easier than the other."""
    held_out = drawing.held_out()

    assert 12 == len(held_out)
    assert set(OUTLINES) == {shape for shape, _ in held_out}
    assert set(PALETTE) == {colour for _, colour in held_out}
    assert len(OUTLINES) * len(PALETTE) == len(set(held_out) | set(drawing.trained()))


def test_no_training_picture_shows_a_held_out_pair(monkeypatch):
    """Looked at where a picture is drawn, not where it is planned."""
    drawn = []
    monkeypatch.setattr(drawing, "render", lambda each, rng: drawn.append((each.shape, each.colour)))
    list(drawing.training_set(4000, 0))

    assert set(drawing.trained()) == set(drawn)
    assert set(drawn).isdisjoint(drawing.held_out())


def test_a_training_set_shows_every_shape_equally_often(monkeypatch):
    """And every colour: a model that only knew the usual answer would be no good."""
    drawn = []
    monkeypatch.setattr(drawing, "render", lambda each, rng: drawn.append(each))
    list(drawing.training_set(1320, 0))

    assert {110} == set(Counter(each.shape for each in drawn).values())
    assert {110} == set(Counter(each.colour for each in drawn).values())
    assert all(each.colour != each.ground for each in drawn)


def test_captions_name_what_is_drawn():
    """Shape and colour always; the size unless it is the usual one; the ground unless it is white."""
    for index in range(2000):
        rng = drawing.dice("captions", index)
        each = drawing.draw_lot(rng.choice(drawing.trained()), rng)
        caption = drawing.caption(each, rng)

        assert drawing.names(caption, each.shape)
        assert drawing.names(caption, each.colour)
        assert each.size == "medium" or drawing.names(caption, each.size)
        assert each.ground == "white" or drawing.names(caption, each.ground)


def test_captions_vary():
    """The model hears the same picture called many ways."""
    rng = drawing.dice("variety")

    assert 40 < len({drawing.caption(Drawing("circle", "red", "blue", "large"), rng) for _ in range(200)})


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (Drawing("circle", "red", "blue"), "a red circle on a blue background"),
        (Drawing("oval", "orange", "white", "large"), "a large orange oval on a white background"),
        (Drawing("arrow", "orange", "orange"), "an orange arrow on an orange background"),
    ],
)
def test_the_prompt_is_the_plain_caption(each, expected):
    """Articles fit, and the usual size goes unsaid."""
    assert expected == drawing.prompt(each)


def test_the_judge_reads_drawn_pictures(judge):
    """What it gets wrong on real pictures would be counted against the model."""
    row = evaluation.trial(judge, 360)

    assert 0.98 <= row.share("ground", "colour", "shape", "size").value


def test_the_judge_sees_no_shape_in_noise_or_in_one_colour(judge):
    """A blob is not the shape it is least unlike."""
    from PIL import Image

    noise = Image.frombytes("RGB", (64, 64), drawing.dice("noise").randbytes(64 * 64 * 3))

    assert NOTHING == judge.look(noise).shape
    assert Drawing(NOTHING, NOTHING, "red", NOTHING) == judge.look(Image.new("RGB", (64, 64), PALETTE["red"]))


@pytest.mark.parametrize(
    ("share", "low", "high"), [(Share(0, 10), 0.0, 0.278), (Share(10, 10), 0.722, 1.0), (Share(81, 96), 0.758, 0.903)]
)
def test_intervals_are_wilsons(share, low, high):
    """Figures worked out by hand: certain-looking counts are not certain."""
    assert (pytest.approx(low, abs=0.001), pytest.approx(high, abs=0.001)) == share.interval


def test_a_row_counts_each_aspect_and_all_of_them():
    """A picture counts only if ground, colour and shape are all right; its size is counted apart."""
    asked = (Drawing("circle", "red", "blue"), Drawing("star", "red", "blue"))
    row = evaluation.Row("two", asked, (Drawing("circle", "red", "blue", "large"), Drawing("star", "pink", "blue")))

    assert (2, 1, 2, 1) == tuple(row.share(each).hits for each in ("ground", "colour", "shape", "size"))
    assert (1, 2) == (row.adherence.hits, row.adherence.total)
    assert 0 == row.share("colour", shape="star").value


def test_the_shipped_model_is_whole_and_small():
    """Every part its index names is there but MiniLM's, in safetensors, and the licence is ours."""
    index = json.loads((MODEL / "model_index.json").read_text(encoding="utf-8"))
    parts = {name for name, part in index.items() if isinstance(part, list) and part[0]}

    assert {"text_encoder", "tokenizer"} == {name for name in parts if not (MODEL / name).is_dir()}
    assert ["diffusion_pytorch_model.safetensors"] * 2 == [file.name for file in MODEL.rglob("*.safetensors")]
    assert 20_000_000 > sum(file.stat().st_size for file in MODEL.rglob("*") if file.is_file())
    assert "license: mit" in (MODEL / "README.md").read_text(encoding="utf-8")


def test_the_shipped_model_draws_64_pixels_a_side():
    """The pipeline's own default size follows from these two files: latents of 16, each four pixels wide."""
    unet, vae = (json.loads((MODEL / part / "config.json").read_text(encoding="utf-8")) for part in ("unet", "vae"))

    assert drawing.PIXELS == unet["sample_size"] * 2 ** (len(vae["decoder_block_out_channels"]) - 1)
    assert networks.LATENT_CHANNELS == unet["in_channels"] == vae["latent_channels"]
