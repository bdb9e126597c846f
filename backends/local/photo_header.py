"""What the first bytes of an encoded image say: its format and its size in pixels. Decodes nothing, imports no library.

Sources: PNG (ISO/IEC 15948) 11.2.2, JPEG (ITU-T T.81) B.2.2, GIF89a 18, BITMAPINFOHEADER of Windows, WebP (RFC 9649) 2.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

from backends import media

Format = Literal["PNG", "JPEG", "WEBP", "GIF", "BMP"]
_FORMATS: dict[str, Format] = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
}
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's SOF0-SOF15, less DHT, JPG and DAC
_LONE_MARKERS = frozenset(range(0xD0, 0xD8)) | {0x01}  # no length follows them
_LAST_MARKERS = frozenset({0xD9, 0xDA})  # end of image, start of scan: no frame header can follow
_CORE_HEADER_BYTES = 12  # of OS/2's BMP, whose sizes are 16-bit


class PhotoHeader(NamedTuple):
    """Width and height are those that the file declares, before it is turned upright; None where it is broken off."""

    format: Format
    size: tuple[int, int] | None


def read(data: bytes) -> PhotoHeader | None:
    """The header of a PNG, JPEG, WebP, GIF or BMP file; None when it is none of these."""
    kind = _FORMATS.get(media.content_type(data) or "")
    if kind is None:
        return None
    try:
        return PhotoHeader(kind, _SIZES[kind](data))
    except (struct.error, IndexError):  # shorter than a header
        return PhotoHeader(kind, None)


def _png(data: bytes) -> tuple[int, int] | None:
    return struct.unpack_from(">II", data, 16) if data[12:16] == b"IHDR" else None


def _gif(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _bmp(data: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    if header_bytes == _CORE_HEADER_BYTES:
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # negative: the rows run from the top


def _webp(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X" if len(data) >= 30:
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker in _LAST_MARKERS:
            return None
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _LONE_MARKERS:
            at += 2
        else:
            at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])


_SIZES = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp, "GIF": _gif, "BMP": _bmp}
