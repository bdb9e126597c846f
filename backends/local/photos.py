"""Encoded images become upright RGB pixels; what is no image, or of no sensible size, is refused before it is decoded.

Knows Pillow; knows nothing of models.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

from backends.errors import InvalidInput, Unavailable
from backends.local import photo_header

if TYPE_CHECKING:
    from backends.local.photo_header import PhotoHeader

FORMATS = "PNG, JPEG, WebP, GIF or BMP"
MAX_PIXELS = 50_000_000  # 200 MB once decoded
MIN_SIDE = 8
MAX_ASPECT = 50  # a ribbon whose short side is scaled to what a model reads becomes very long
ORIENTATION = 0x0112  # the EXIF tag, with values as in `_TURNS`
_TURNS = {  # Exif 2.32, table 6: what brings the stored rows back to how the picture was seen
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
# What Pillow raises while it reads a damaged file; its words hold addresses of objects and are not repeated.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, struct.error)


def decode(data: bytes, name: str, side: int) -> Any:
    """The pixels of an encoded image as a PIL image in RGB: first frame, upright, on white where it is see-through.

    Args:
        data: The file.
        name: What to call it in an error, such as `image 2 of 3`.
        side: Pixels the model looks at along its longest side. A JPEG of at least 8 times that is decoded at half,
            a quarter or an eighth of its size, which costs a fraction and keeps at least 4 times what is looked at.

    Raises:
        InvalidInput: It is no image of a known format, damaged, cut short, too large, too small or too long.
        Unavailable: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise Unavailable("reading images needs Pillow: pip install 'nearfar[images]'") from error

    header = photo_header.read(data)
    if header is None:
        raise InvalidInput(f"{name} is in no format that can be read here ({len(data)} bytes): send {FORMATS}")
    _check(header.size, header, name)
    # Pillow warns of every oddity in an EXIF block, of which only the orientation matters here.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
    try:
        with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
            _check(image.size, header, name)  # a file may hold a second header
            image.draft("RGB", (4 * side, 4 * side))
            image.load()
            return _upright(_on_white(image))
    except (*_DAMAGED, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInput(f"{name} is damaged or cut short: its {header.format} data cannot be decoded") from error


def _check(size: tuple[int, int] | None, header: PhotoHeader, name: str) -> None:
    """Refuse what would cost too much to decode, or shows nothing."""
    if size is None:
        raise InvalidInput(f"{name} is damaged or cut short: its {header.format} header does not say its size")
    width, height = size
    extent = f"{name} has {width} x {height} pixels"
    if width < MIN_SIDE or height < MIN_SIDE:
        raise InvalidInput(f"{extent}; at least {MIN_SIDE} x {MIN_SIDE} are needed")
    if width * height > MAX_PIXELS:
        raise InvalidInput(
            f"{extent}, which is {width * height / 1e6:.1f} megapixels; at most {MAX_PIXELS / 1e6:.0f} are read"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidInput(f"{extent}; its long side may be at most {MAX_ASPECT} times its short one")


def _on_white(image: Any) -> Any:
    """In RGB. Transparency shows white, as on a page; 16-bit grey keeps its upper eight bits."""
    from PIL import Image

    if image.has_transparency_data:
        seen_through = image.convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(seen_through, mask=seen_through.getchannel("A"))
        return page
    if image.mode.startswith("I"):
        return image.point(lambda level: level / 256).convert("L").convert("RGB")
    return image.convert("RGB")


def _upright(image: Any) -> Any:
    """Turned as the camera was held; where the EXIF block cannot be read, as it is stored, like viewers do."""
    from PIL import Image

    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(Image.Transpose[turn])


def _orientation(image: Any) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except _DAMAGED:
        return 1


def plain_png(side: int) -> bytes:
    """A mid-grey square as PNG, made without any image library: something to warm up with."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\x00" + b"\x80" * side) * side
    parts = (
        chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
