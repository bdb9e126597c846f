"""Says what a picture shows without asking the model: colours by the palette, the shape by the stencil that fits best.

It reads pixels only and knows no prompt, so it can be tried on drawn pictures first and on generated ones then.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.local.shapes import drawing
from backends.local.shapes.drawing import OUTLINES, PALETTE, PIXELS, RADII, Drawing

if TYPE_CHECKING:
    from PIL.Image import Image

NOTHING = "nothing"
_FRAME = 4  # pixels along each side that show the ground
_FAINT = 30.0  # a colour this near the ground's is the ground
_FIT = 0.75  # of stencil and shape in common (intersection over union): below it, a blob is no shape
_STRETCHES = (0.92, 0.97, 1.0, 1.03, 1.08)
_SHIFTS = (-0.06, -0.03, 0.0, 0.03, 0.06)
_Z95 = 1.959964


@dataclass(frozen=True)
class Share:
    """How many of how many, with Wilson's 95 % interval: it stays within 0 and 1 and holds for small counts."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies, 95 times of 100."""
        spread = _Z95**2 / self.total
        centre = (self.value + spread / 2) / (1 + spread)
        half = _Z95 * math.sqrt(self.value * (1 - self.value) / self.total + spread / (4 * self.total)) / (1 + spread)
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        """`0.97 (0.93 to 0.99)`."""
        low, high = self.interval
        return f"{self.value:.2f} ({low:.2f} to {high:.2f})"


class Judge:
    """Looks at one picture at a time."""

    def __init__(self) -> None:
        import torch

        self._names: list[tuple[str, str]] = []
        stencils = []
        for shape, (size, radius), stretch in itertools.product(OUTLINES, RADII.items(), _STRETCHES):
            for shift in itertools.product(_SHIFTS, _SHIFTS):
                self._names.append((shape, size))
                stencils.append(_pixels(drawing.mask(shape, radius * stretch, shift=shift)).flatten() > 127)
        self._stencils = torch.stack(stencils).float()
        self._areas = self._stencils.sum(1)
        self._palette = torch.tensor(list(PALETTE.values())).float()

    def look(self, picture: Image) -> Drawing:
        """What the picture shows; the shape is `nothing` where no stencil fits well."""
        pixels = _pixels(picture.convert("RGB")).float().view(PIXELS, PIXELS, 3)
        ground = _frame(pixels).median(0).values
        distance = (pixels - ground).square().sum(-1).sqrt().flatten()
        shown = distance > max(_FAINT, 0.5 * float(distance.quantile(0.97)))
        if not shown.any():
            return Drawing(NOTHING, NOTHING, self._colour(ground), NOTHING)
        colour = pixels.view(-1, 3)[shown].median(0).values
        shape, size = self._shape(shown.float())
        return Drawing(shape, self._colour(colour), self._colour(ground), size)

    def _colour(self, rgb: Any) -> str:
        return list(PALETTE)[int((self._palette - rgb).square().sum(1).argmin())]

    def _shape(self, shown: Any) -> tuple[str, str]:
        common = self._stencils @ shown
        fits = common / (self._areas + shown.sum() - common)
        best = int(fits.argmax())
        return self._names[best] if float(fits[best]) >= _FIT else (NOTHING, NOTHING)


def _pixels(picture: Image) -> Any:
    import torch

    return torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)


def _frame(pixels: Any) -> Any:
    import torch

    edge = torch.ones(PIXELS, PIXELS, dtype=torch.bool)
    edge[_FRAME:-_FRAME, _FRAME:-_FRAME] = False
    return pixels[edge]
