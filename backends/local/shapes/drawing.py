"""Pictures of one coloured shape on a coloured ground, and the captions that name what is drawn.

All of it comes from a seed: the training set, the pairs kept out of it, and the pictures the judge is tried on.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

Point: TypeAlias = tuple[float, float]
Outline: TypeAlias = tuple[Point, ...]
Rgb: TypeAlias = tuple[int, int, int]

PIXELS = 64
_FINE = 4  # each pixel is the mean of 4 x 4 drawn ones: smooth edges

PALETTE: dict[str, Rgb] = {
    "red": (220, 30, 35),
    "green": (30, 160, 60),
    "blue": (35, 80, 220),
    "yellow": (250, 220, 35),
    "orange": (250, 125, 15),
    "purple": (125, 45, 175),
    "pink": (250, 140, 190),
    "brown": (125, 75, 35),
    "black": (15, 15, 15),
    "white": (255, 255, 255),
    "gray": (135, 135, 140),
    "cyan": (40, 205, 215),
}
RADII: dict[str, float] = {"small": 0.5, "medium": 0.68, "large": 0.88}  # of half a picture's side

# What else a caption may call it.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("disc", "disk", "dot", "round dot"),
    "square": ("box", "block"),
    "triangle": ("triangular shape",),
    "star": ("five-pointed star",),
    "heart": ("love heart", "heart shape"),
    "diamond": ("rhombus",),
    "hexagon": ("six-sided shape",),
    "cross": ("plus sign", "plus"),
    "ring": ("hoop", "donut"),
    "crescent": ("crescent moon", "moon"),
    "oval": ("ellipse",),
    "arrow": ("arrow sign",),
    "red": ("crimson", "scarlet"),
    "green": ("emerald",),
    "blue": ("royal blue",),
    "yellow": ("golden",),
    "orange": ("tangerine",),
    "purple": ("violet",),
    "pink": ("rose",),
    "brown": ("chocolate",),
    "black": ("jet black",),
    "white": ("snow white",),
    "gray": ("grey",),
    "cyan": ("turquoise",),
    "small": ("tiny", "little"),
    "medium": ("medium", "medium-sized"),
    "large": ("big", "huge"),
}
_SYNONYM_SHARE = 0.3
_PLAIN_GROUND_SHARE = 0.5  # of the captions over white that leave the ground unsaid
_WHITE_SHARE = 0.15
_OPENINGS = ("a picture of ", "an image of ", "a drawing of ", "draw ")
_GROUNDS = (
    "{what} on {a_ground} background",
    "{what} on {ground} background",
    "{what} on {ground}",
    "{what}, {ground} background",
    "{what} with {a_ground} background",
    "{what} against {a_ground} background",
)


@dataclass(frozen=True)
class Drawing:
    """What a picture shows, in the words of `OUTLINES`, `PALETTE` and `RADII`."""

    shape: str
    colour: str
    ground: str
    size: str = "medium"


def _arc(start: float, end: float, radius: float = 1.0, centre: Point = (0.0, 0.0), points: int = 96) -> Outline:
    angles = [math.radians(start + (end - start) * index / points) for index in range(points + 1)]
    return tuple((centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)) for angle in angles)


def _polygon(corners: int, radius: float = 1.0, turn: float = -90.0) -> Outline:
    return _arc(turn, turn + 360.0, radius, points=corners)[:-1]


def _heart() -> Outline:
    angles = [2 * math.pi * index / 96 for index in range(96)]
    lobes = [13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a) for a in angles]
    return tuple((16 * math.sin(a) ** 3 / 17, -(y + 2.5) / 17) for a, y in zip(angles, lobes, strict=True))


def _star() -> Outline:
    return tuple(p for pair in zip(_polygon(5, 1.08), _polygon(5, 0.45, -54.0), strict=True) for p in pair)


def _cross(arm: float = 0.33) -> Outline:
    corner = ((arm, -1.0), (arm, -arm), (1.0, -arm))
    quarters = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    return tuple((x * cos - y * sin, x * sin + y * cos) for cos, sin in quarters for x, y in corner)


# Each shape around (0, 0) with radius 1, y downwards: the first outline is filled, the others are cut out of it.
OUTLINES: dict[str, tuple[Outline, ...]] = {
    "circle": (_arc(0, 360),),
    "square": (tuple((x * 0.84, y * 0.84) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))),),
    "triangle": (tuple((x, y + 0.2) for x, y in _polygon(3, 1.12)),),
    "star": (_star(),),
    "heart": (_heart(),),
    "diamond": (((0, -1), (0.7, 0), (0, 1), (-0.7, 0)),),
    "hexagon": (_polygon(6, turn=0.0),),
    "cross": (_cross(),),
    "ring": (_arc(0, 360), _arc(0, 360, 0.56)),
    "crescent": (_arc(0, 360), _arc(0, 360, 0.86, (0.46, -0.1))),
    "oval": (tuple((x, y * 0.56) for x, y in _arc(0, 360)),),
    "arrow": (((-1, -0.28), (0.1, -0.28), (0.1, -0.8), (1, 0), (0.1, 0.8), (0.1, 0.28), (-1, 0.28)),),
}


def dice(*seeds: int | str) -> random.Random:
    """Random choices that are the same for the same seeds."""
    return random.Random("/".join(str(seed) for seed in seeds))  # noqa: S311 drawn pictures keep no secret


def held_out() -> tuple[tuple[str, str], ...]:
    """The (shape, colour) pairs no training picture shows: every shape once, every colour once."""
    colours = list(PALETTE)
    dice("held out").shuffle(colours)
    return tuple(zip(OUTLINES, colours, strict=True))


def trained() -> tuple[tuple[str, str], ...]:
    """The (shape, colour) pairs training pictures show."""
    kept_out = set(held_out())
    return tuple((shape, colour) for shape in OUTLINES for colour in PALETTE if (shape, colour) not in kept_out)


def mask(shape: str, radius: float, turn: float = 0.0, shift: Point = (0.0, 0.0)) -> Image.Image:
    """The shape, white on black: `radius` and `shift` in half sides of the picture, `turn` in degrees."""
    from PIL import Image, ImageDraw

    side = PIXELS * _FINE
    image = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(image)
    cos, sin = math.cos(math.radians(turn)) * radius, math.sin(math.radians(turn)) * radius
    for index, outline in enumerate(OUTLINES[shape]):
        placed = [(x * cos - y * sin + shift[0], x * sin + y * cos + shift[1]) for x, y in outline]
        pen.polygon([((x + 1) * side / 2, (y + 1) * side / 2) for x, y in placed], fill=0 if index else 255)
    return image.resize((PIXELS, PIXELS), Image.Resampling.BOX)


def render(drawing: Drawing, rng: random.Random) -> Image.Image:
    """The drawing as a picture, each a little differently placed, sized, turned and tinted."""
    from PIL import Image

    shift = (rng.uniform(-0.06, 0.06), rng.uniform(-0.06, 0.06))
    stencil = mask(drawing.shape, RADII[drawing.size] * rng.uniform(0.95, 1.05), rng.uniform(-4, 4), shift)
    picture = Image.new("RGB", stencil.size, _tint(drawing.ground, 4, rng))
    picture.paste(_tint(drawing.colour, 8, rng), (0, 0, *stencil.size), stencil)
    return picture


def _tint(colour: str, spread: int, rng: random.Random) -> Rgb:
    red, green, blue = (max(0, min(255, value + rng.randint(-spread, spread))) for value in PALETTE[colour])
    return red, green, blue


def prompt(drawing: Drawing) -> str:
    """The plainest caption, the one the model is measured with: `a large red circle on a blue background`."""
    size = () if drawing.size == "medium" else (drawing.size,)
    what = _with_article(" ".join((*size, drawing.colour, drawing.shape)))
    return f"{what} on {_with_article(drawing.ground)} background"


def caption(drawing: Drawing, rng: random.Random) -> str:
    """One of the many ways to say what the picture shows; over white the ground may go unsaid."""
    size = "" if drawing.size == "medium" and rng.random() < 0.8 else _word(drawing.size, rng)
    words = " ".join(filter(None, (size, _word(drawing.colour, rng), _word(drawing.shape, rng))))
    what = _with_article(words) if rng.random() < 0.75 else words
    if rng.random() < 0.25:
        what = rng.choice(_OPENINGS) + _with_article(words)
    if drawing.ground == "white" and rng.random() < _PLAIN_GROUND_SHARE:
        return what
    ground = _word(drawing.ground, rng)
    return rng.choice(_GROUNDS).format(what=what, ground=ground, a_ground=_with_article(ground))


def names(text: str, word: str) -> bool:
    """Whether a caption calls something by this word of ours or by one of its synonyms."""
    padded = f" {text.replace(',', ' ')} "
    return any(f" {name} " in padded for name in (word, *_SYNONYMS[word]))


def _word(word: str, rng: random.Random) -> str:
    return rng.choice(_SYNONYMS[word]) if rng.random() < _SYNONYM_SHARE or word == "medium" else word


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def training_set(count: int, seed: int) -> Iterator[tuple[Image.Image, str]]:
    """Pictures and captions of the pairs that are not held out; the same for the same seed."""
    pairs = trained()
    for index in range(count):
        rng = dice("training", seed, index)
        drawing = draw_lot(pairs[index % len(pairs)], rng)
        yield render(drawing, rng), caption(drawing, rng)


def draw_lot(pair: tuple[str, str], rng: random.Random) -> Drawing:
    """The pair on one of the other colours, at one of the sizes."""
    shape, colour = pair
    others = [ground for ground in PALETTE if ground != colour]
    ground = "white" if "white" in others and rng.random() < _WHITE_SHARE else rng.choice(others)
    return Drawing(shape, colour, ground, rng.choice(tuple(RADII)))
