"""Types, sizes and lengths from a file's first bytes, and nothing but None from what is no such file."""

import io
import struct
import wave
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.fake.answers import png
from backends.media import content_type, png_size, wav_seconds


def wav(seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    """A WAV file of silence, written by the standard library."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(bytes(2 * channels * round(rate * seconds)))
    return file.getvalue()


def decoded(image: bytes) -> tuple[int, int, set[bytes]]:
    """Width, height and the colours used, of a PNG with a palette of at most two; every checksum is checked."""
    at, chunks = 8, {}
    while at < len(image):
        (length,) = struct.unpack_from(">I", image, at)
        name, data = image[at + 4 : at + 8], image[at + 8 : at + 8 + length]
        assert zlib.crc32(name + data) == struct.unpack_from(">I", image, at + 8 + length)[0]
        chunks[name] = data
        at += 12 + length
    assert b"IEND" == image[-8:-4]
    width, height, depth, kind, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (1, 3) == (depth, kind)
    rows = zlib.decompress(chunks[b"IDAT"])
    assert len(rows) == height * (1 + (width + 7) // 8)
    return width, height, {chunks[b"PLTE"][3 * index : 3 * index + 3] for index in set(rows)}


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (png(1, 1, (0, 0, 0)), "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a..", "image/gif"),
        (b"BM......", "image/bmp"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (wav(0.1), "audio/wav"),
        (b"fLaC....", "audio/flac"),
        (b"OggS....", "audio/ogg"),
        (b"\x1aE\xdf\xa3....", "audio/webm"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90\0", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", None),
        (b"XXXX\0\0\0\0WAVE", None),
        (b"<html>", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_file_is_known_by_its_signature(file, kind):
    """Never by a name: whoever sends it may call it anything. AAC frames are not MP3."""
    assert kind == content_type(file)


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_pngs_size_stands_in_its_head(width, height):
    """Whatever the size."""
    assert (width, height) == png_size(png(width, height, (9, 8, 7)))


@pytest.mark.parametrize("file", [b"", b"\x89PNG\r\n\x1a\n", png(3, 3, (0, 0, 0))[:20], wav(0.1)])
def test_what_is_no_png_has_no_size(file):
    """Also one that ends too early."""
    assert png_size(file) is None


@given(st.integers(0, 2000), st.sampled_from([8000, 16_000, 44_100]), st.integers(1, 2))
def test_a_wavs_length_is_its_bytes_by_their_rate(milliseconds, rate, channels):
    """To within a sample."""
    found = wav_seconds(wav(milliseconds / 1000, rate, channels))

    assert pytest.approx(milliseconds / 1000, abs=1 / rate) == found


def test_a_wavs_length_is_what_is_there():
    """A size that lies, or that a streaming recorder never filled in, counts the bytes behind it."""
    whole = wav(1.0)
    at = whole.index(b"data") + 4

    assert pytest.approx(0.5) == wav_seconds(whole[: len(whole) - 16_000])
    for size in (0, 0xFFFFFFFF):
        assert 1.0 == wav_seconds(whole[:at] + struct.pack("<I", size) + whole[at + 4 :])


def test_other_chunks_before_the_sound_are_skipped():
    """Some recorders write notes first, and odd ones are padded."""
    whole = wav(1.0)
    at = whole.index(b"data")

    assert 1.0 == wav_seconds(whole[:at] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + whole[at:])
    assert wav_seconds(whole[:at] + 100 * (b"junk" + bytes(4)) + whole[at:]) is None


@pytest.mark.parametrize("file", [b"", b"RIFF\0\0\0\0WAVE", wav(1.0)[:30], b"fLaC" + bytes(50)])
def test_what_says_no_length_has_none(file):
    """Unknown is not 0."""
    assert wav_seconds(file) is None


@given(st.binary(max_size=100))
def test_any_bytes_can_be_looked_at(tail):
    """Nothing in a file makes looking at it fail."""
    for head in (b"", b"RIFF\0\0\0\0WAVEfmt ", b"RIFF\0\0\0\0WAVE", b"\x89PNG\r\n\x1a\n"):
        content_type(head + tail)
        png_size(head + tail)
        wav_seconds(head + tail)
