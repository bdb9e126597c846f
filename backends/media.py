"""What the first bytes of a file say: its type, a picture's size, a recording's length. Decodes nothing."""

from __future__ import annotations

import struct

MAX_WAV_CHUNKS = 64

# What stands where; the first match wins.
_SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("image/png", 0, b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", 0, b"\xff\xd8\xff"),
    ("image/gif", 0, b"GIF87a"),
    ("image/gif", 0, b"GIF89a"),
    ("image/bmp", 0, b"BM"),
    ("image/webp", 8, b"WEBP"),
    ("audio/wav", 8, b"WAVE"),
    ("audio/flac", 0, b"fLaC"),
    ("audio/ogg", 0, b"OggS"),
    ("audio/webm", 0, b"\x1aE\xdf\xa3"),
    ("audio/mp4", 4, b"ftyp"),
    ("audio/mpeg", 0, b"ID3"),
)


def content_type(file: bytes) -> str | None:
    """The file's media type by its signature; None for one that is not known here."""
    for kind, at, signature in _SIGNATURES:
        if file.startswith(signature, at) and (at != 8 or file.startswith((b"RIFF", b"RF64"))):
            return kind
    # An MP3 without tags begins with a frame: eleven set bits, and a layer that is not 0 (as in AAC).
    if len(file) > 1 and file[0] == 0xFF and file[1] & 0xE0 == 0xE0 and file[1] & 0x06:
        return "audio/mpeg"
    return None


def png_size(file: bytes) -> tuple[int, int] | None:
    """A PNG's width and height in pixels, from its first chunk; None when the file does not begin like a PNG."""
    if content_type(file) != "image/png" or file[12:16] != b"IHDR" or len(file) < 24:
        return None
    width, height = struct.unpack_from(">II", file, 16)
    return (width, height) if width and height else None


def wav_seconds(file: bytes) -> float | None:
    """How long a WAV file sounds: bytes of sound over bytes a second, both from its header; None for other files.

    A size that is missing or longer than the file (as in a recording that was streamed) counts what is there.
    """
    if content_type(file) != "audio/wav":
        return None
    at, bytes_per_s = 12, 0
    for _ in range(MAX_WAV_CHUNKS):
        if at + 8 > len(file):
            return None
        name, size = struct.unpack_from("<4sI", file, at)
        at += 8
        if name == b"fmt " and at + 12 <= len(file):
            (bytes_per_s,) = struct.unpack_from("<I", file, at + 8)
        if name == b"data":
            there = len(file) - at
            sound = there if size in {0, 0xFFFFFFFF} else min(size, there)
            return sound / bytes_per_s if bytes_per_s else None
        at += size + size % 2  # chunks begin at even places
    return None
