"""Measures how well the pictures follow the prompts: `python -m backends.local.shapes.evaluation MODEL_DIR`.

Four rows: drawn pictures, which try the judge itself; pairs of shape and colour that were trained; pairs that never
were; and trained pairs asked for in other words. Every shape comes equally often, and the seeds are fixed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from backends.local.shapes import drawing, networks
from backends.local.shapes.drawing import OUTLINES, PIXELS, Drawing
from backends.local.shapes.judging import Judge, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image

STEPS = 10
GUIDANCE = 3.0
_BATCH = 16
_ASPECTS = ("ground", "colour", "shape", "size")
_SHEET_COLUMNS = 6
_CELL = (136, 148)  # a picture twice its size, and a line below it


@dataclass(frozen=True)
class Row:
    """One set of pictures: what was asked for and what the judge saw."""

    name: str
    asked: tuple[Drawing, ...]
    seen: tuple[Drawing, ...]

    def share(self, *aspects: str, shape: str | None = None) -> Share:
        """How many pictures are right in all these aspects, of all or of one shape's."""
        pairs = [(a, s) for a, s in zip(self.asked, self.seen, strict=True) if shape in {None, a.shape}]
        hits = sum(all(getattr(a, aspect) == getattr(s, aspect) for aspect in aspects) for a, s in pairs)
        return Share(hits, len(pairs))

    @property
    def adherence(self) -> Share:
        """Right in ground, colour and shape, which every prompt names."""
        return self.share("ground", "colour", "shape")


@dataclass(frozen=True)
class Painter:
    """A pipeline with its steps and guidance."""

    pipeline: Any
    steps: int = STEPS
    guidance: float = GUIDANCE

    def paint(self, prompts: Sequence[str], seed: int) -> list[Image.Image]:
        """One picture a prompt, each from noise of its own."""
        import torch

        pictures: list[Image.Image] = []
        for start in track(range(0, len(prompts), _BATCH), description="painting", transient=True):
            batch = list(prompts[start : start + _BATCH])
            noise = [torch.Generator().manual_seed(seed + start + index) for index in range(len(batch))]
            painted = self.pipeline(
                batch, num_inference_steps=self.steps, guidance_scale=self.guidance, generator=noise
            )
            pictures.extend(painted.images)
        return pictures


def wanted(pairs: Sequence[tuple[str, str]], count: int, seed: str) -> tuple[Drawing, ...]:
    """`count` drawings of these pairs on all grounds and in all sizes, every shape as often as the others."""
    rng = drawing.dice("evaluation", seed)
    of_shape = {shape: [pair for pair in pairs if pair[0] == shape] for shape in OUTLINES}
    shapes = [shape for shape, own in of_shape.items() if own]
    return tuple(drawing.draw_lot(rng.choice(of_shape[shapes[index % len(shapes)]]), rng) for index in range(count))


def judged(name: str, asked: Sequence[Drawing], pictures: Sequence[Image.Image], judge: Judge) -> Row:
    """The row of these pictures."""
    return Row(name, tuple(asked), tuple(judge.look(picture) for picture in pictures))


def trial(judge: Judge, count: int) -> Row:
    """The judge on drawn pictures, of all pairs: what it gets wrong here is its own mistake."""
    asked = wanted((*drawing.trained(), *drawing.held_out()), count, "judge")
    rng = drawing.dice("trial")
    return judged("drawn pictures (the judge)", asked, [drawing.render(each, rng) for each in asked], judge)


def measure(painter: Painter, count: int) -> list[Row]:
    """All four rows."""
    judge = Judge()
    rows = [trial(judge, count)]
    rng = drawing.dice("other words")
    kinds: tuple[tuple[str, Sequence[tuple[str, str]], Callable[[Drawing], str]], ...] = (
        ("trained pairs", drawing.trained(), drawing.prompt),
        ("held-out pairs", drawing.held_out(), drawing.prompt),
        ("other words", drawing.trained(), lambda each: drawing.caption(each, rng)),
    )
    for seed, (name, pairs, say) in enumerate(kinds):
        asked = wanted(pairs, count, name)
        pictures = painter.paint([say(each) for each in asked], seed=1000 * (seed + 1))
        rows.append(judged(name, asked, pictures, judge))
    return rows


def sheet(painter: Painter) -> Image.Image:
    """What it paints for every shape, in a trained colour and then in its held-out one."""
    from PIL import Image, ImageDraw

    asked = (*wanted(drawing.trained(), len(OUTLINES), "sheet"), *wanted(drawing.held_out(), len(OUTLINES), "held out"))
    prompts = [drawing.prompt(each) for each in asked]
    width, height = _CELL
    page = Image.new("RGB", (_SHEET_COLUMNS * width, len(prompts) // _SHEET_COLUMNS * height), "white")
    pen = ImageDraw.Draw(page)
    for index, (text, picture) in enumerate(zip(prompts, painter.paint(prompts, seed=1), strict=True)):
        left, top = index % _SHEET_COLUMNS * width, index // _SHEET_COLUMNS * height
        page.paste(picture.resize((2 * PIXELS, 2 * PIXELS), Image.Resampling.NEAREST), (left + 4, top + 2))
        pen.text((left + 4, top + 2 * PIXELS + 4), text.removesuffix(" background"), fill="black", font_size=8)
    return page


def table(rows: Sequence[Row]) -> Table:
    """The shares of each row."""
    drawn = Table("pictures", "n", *_ASPECTS, "ground, colour and shape")
    for row in rows:
        drawn.add_row(
            row.name, str(len(row.asked)), *(f"{row.share(each).value:.2f}" for each in _ASPECTS), str(row.adherence)
        )
    return drawn


def shapes_table(rows: Sequence[Row]) -> Table:
    """The share of right ground, colour and shape for each shape."""
    drawn = Table("shape", *(row.name for row in rows))
    for shape in OUTLINES:
        shares = [row.share("ground", "colour", "shape", shape=shape) for row in rows]
        drawn.add_row(shape, *(f"{share.hits}/{share.total}" for share in shares))
    return drawn


def as_json(rows: Sequence[Row]) -> str:
    """Every share with its interval, and what was asked and seen."""
    found = []
    for row in rows:
        shares = {each: row.share(each).value for each in _ASPECTS}
        pairs = [[asdict(a), asdict(s)] for a, s in zip(row.asked, row.seen, strict=True)]
        found.append(
            {
                "name": row.name,
                "n": len(row.asked),
                **shares,
                "adherence": row.adherence.value,
                "adherence_interval": row.adherence.interval,
                "asked_and_seen": pairs,
            }
        )
    return json.dumps(found, indent=2)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="a joined pipeline, or the model beside --minilm")
    parser.add_argument(
        "--minilm", type=Path, help="the directory of all-MiniLM-L6-v2, where MODEL_DIR has no text parts"
    )
    parser.add_argument("--count", type=int, default=144, help="pictures a row")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="also write a page of pictures there")
    parser.add_argument("--json", action="store_true", help="write figures for programs instead of tables")
    return parser.parse_args()


def main() -> None:
    """Measure as the command line asks, on one core."""
    import torch

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    asked = _arguments()
    painter = Painter(networks.load(asked.model, asked.minilm), asked.steps, asked.guidance)
    if asked.sheet is not None:
        sheet(painter).quantize(256).save(asked.sheet, optimize=True)
    began = time.process_time()
    rows = measure(painter, asked.count)
    if asked.json:
        sys.stdout.write(as_json(rows) + "\n")
        return
    console = Console()
    console.print(table(rows), shapes_table(rows))
    console.print(f"{painter.steps} steps, guidance {painter.guidance:g}, {time.process_time() - began:.0f} CPU s")


if __name__ == "__main__":
    main()
