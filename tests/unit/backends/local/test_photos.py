"""Encoded images: what becomes of each kind, and what is refused before a pixel is decoded."""

from __future__ import annotations

import io
import struct
import zlib

import pytest

from backends.errors import InvalidInput, Unavailable
from backends.local import photo_header, photos

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
SIZE = (40, 24)
each_format = pytest.mark.parametrize("kind", FORMATS)


def scene(size=SIZE):
    """Red above, blue below, green in the corner at the top left: no two ways of turning it look the same."""
    width, height = size
    image = Image.new("RGB", size, (200, 0, 0))
    image.paste((0, 0, 200), (0, height // 2, width, height))
    image.paste((0, 200, 0), (0, 0, width // 4, height // 4))
    return image


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data, side=224):
    return photos.decode(data, "the image", side)


def colours(image, near=60):
    """What is seen at the four corners: r, g, b or ?."""
    width, height = image.size
    names = ""
    for at in ((2, 2), (width - 3, 2), (2, height - 3), (width - 3, height - 3)):
        pixel = image.getpixel(at)
        names += next((name for name, value in zip("rgb", pixel, strict=True) if value > 255 - near - 60), "?")
    return names


@each_format
def test_every_format_is_read(kind):
    """As RGB, of its own size, with its own colours."""
    image = decoded(encoded(scene(), kind))

    assert ("RGB", SIZE, "grbb") == (image.mode, image.size, colours(image))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode):
    """Grey, palettes, transparency and printing colours."""
    kind = "JPEG" if mode == "CMYK" else "PNG"

    assert "RGB" == decoded(encoded(scene().convert(mode), kind)).mode


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_stands_as_the_camera_was_held(kind, orientation):
    """All eight ways of EXIF, as Pillow's own function turns them."""
    exif = Image.Exif()
    exif[photos.ORIENTATION] = orientation
    data = encoded(scene(), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as stored:
        expected = ImageOps.exif_transpose(stored).convert("RGB")

    assert expected.tobytes() == decoded(data).tobytes()


def test_a_broken_exif_block_is_no_reason_to_refuse_a_photo():
    """It is shown as it is stored, without a warning."""
    exif = Image.Exif()
    exif[photos.ORIENTATION] = 6
    exif[0x010F] = "maker"
    data = encoded(scene(), "JPEG", exif=exif)
    at = data.index(b"Exif\0\0") + 6
    assert SIZE == decoded(data).size[::-1]
    for head in (bytes(8), b"MM\0*\xff\xff\0\0", b"MM\0*\0\0\0\x08\xff\xff"):  # no TIFF, no entries, too many
        decoded(data[:at] + head + data[at + len(head) :])


def test_what_is_see_through_shows_white():
    """Whatever colour lies below it; half of it shows half."""
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    image.paste((0, 0, 0, 128), (0, 12, 40, 24))
    page = decoded(encoded(image, "PNG"))

    assert (255, 255, 255) == page.getpixel((5, 5))
    assert pytest.approx(127, abs=1) == page.getpixel((5, 20))[0]


def test_sixteen_bit_grey_keeps_its_shades():
    """They are scaled, not clipped to white."""
    image = Image.new("I;16", SIZE, 32768)

    assert (128, 128, 128) == decoded(encoded(image, "PNG")).getpixel((3, 3))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_frame(kind):
    """The others are not looked at."""
    first, second = Image.new("RGB", SIZE, (250, 0, 0)), Image.new("RGB", SIZE, (0, 0, 250))
    data = encoded(first, kind, save_all=True, append_images=[second], duration=10, loop=0)

    assert "rrrr" == colours(decoded(data))


def test_a_large_jpeg_is_decoded_smaller():
    """Never below four times what the model looks at, and only where that saves at least half."""
    large, small = encoded(scene((3000, 2000)), "JPEG"), encoded(scene((600, 400)), "JPEG")

    assert (750, 500) == decoded(large, side=100).size
    assert (3000, 2000) == decoded(large, side=400).size
    assert (600, 400) == decoded(small, side=100).size


# --- sizes --------------------------------------------------------------------------------------


@each_format
@pytest.mark.parametrize("size", [(8, 8), (40, 24), (500, 300), (300, 513)])
def test_the_header_says_the_size(kind, size):
    """As Pillow reads it, progressive and lossless variants too."""
    variants = [{}, *({"JPEG": [{"progressive": True}], "WEBP": [{"lossless": True}]}.get(kind, []))]
    for options in variants:
        assert photo_header.PhotoHeader(kind, size) == photo_header.read(encoded(scene(size), kind, **options))


def test_the_header_of_unusual_files():
    """A WebP with transparency, a BMP whose rows run downwards, and OS/2's BMP."""
    webp = encoded(scene().convert("RGBA"), "WEBP", exif=b"Exif\0\0")
    bmp = bytearray(encoded(scene(), "BMP"))
    struct.pack_into("<i", bmp, 22, -SIZE[1])
    os2 = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, *SIZE, 1, 24)

    assert [SIZE] * 3 == [photo_header.read(bytes(data)).size for data in (webp, bmp, os2)]


def test_a_hundred_megapixels_are_refused_unopened(monkeypatch):
    """The file is 30 kB; size and limit are named, and Pillow never sees it."""
    bomb = encoded(Image.new("1", (10_000, 10_000)), "PNG")
    monkeypatch.setattr(Image, "open", None)

    with pytest.raises(InvalidInput, match=r"10000 x 10000 pixels, which is 100.0 megapixels; at most 50 are read"):
        decoded(bomb)


def png(*chunks):
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_second_header_does_not_help():
    """A PNG that says 40 x 24 first and 10000 x 10000 then, and a GIF whose frame is larger than its screen."""
    small, large = (struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0) for size in (SIZE, (10_000, 10_000)))
    gif = bytearray(encoded(scene(), "GIF"))
    struct.pack_into("<HH", gif, bytes(gif).index(b"\x2c\0\0\0\0") + 5, 60_000, 60_000)

    for bomb in (png((b"IHDR", small), (b"IHDR", large), (b"IDAT", zlib.compress(bytes(100)))), bytes(gif)):
        with pytest.raises(InvalidInput):
            decoded(bomb)


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_a_pixel_shows_nothing(size):
    """Size and limit are named."""
    with pytest.raises(InvalidInput, match=rf"{size[0]} x {size[1]} pixels; at least 8 x 8"):
        decoded(encoded(Image.new("RGB", size), "PNG"))


def test_a_ribbon_is_refused():
    """Scaled until its short side fits a model, it would fill the memory."""
    with pytest.raises(InvalidInput, match="8 x 401 pixels; its long side may be at most 50 times"):
        decoded(encoded(Image.new("L", (8, 401)), "PNG"))

    assert (8, 400) == decoded(encoded(Image.new("L", (8, 400)), "PNG")).size


# --- no images ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\xff", b"hello", b"RIFF0000WAVEfmt ", b"%PDF-1.7", b"<svg/>", bytes(1000)])
def test_what_is_no_image_is_told_which_are(data):
    """Nothing, text, a sound, a document, a drawing."""
    with pytest.raises(InvalidInput, match=r"in no format .* \(\d+ bytes\): send PNG, JPEG, WebP, GIF or BMP"):
        decoded(data)


@each_format
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9])
def test_half_an_image_is_refused(kind, part):
    """Wherever it breaks off; it is never made up with grey."""
    noise = Image.effect_noise((200, 100), 90).convert("RGB")
    data = encoded(noise, kind)

    with pytest.raises(InvalidInput, match=r"damaged or cut short|in no format"):
        decoded(data[: max(3, int(len(data) * part))])


def test_a_damaged_image_is_refused():
    """A PNG with a flipped bit in its pixels: its checksum tells."""
    data = bytearray(encoded(Image.effect_noise((200, 100), 90), "PNG"))
    data[len(data) // 2] ^= 1

    with pytest.raises(InvalidInput, match="its PNG data cannot be decoded"):
        decoded(bytes(data))


def test_the_square_to_warm_up_with_is_an_image():
    """Grey, as large as asked."""
    square = decoded(photos.plain_png(64))

    assert ((64, 64), (128, 128, 128)) == (square.size, square.getpixel((10, 10)))


def test_without_pillow_the_extra_is_named(monkeypatch):
    """As for every library that may be missing."""
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)

    with pytest.raises(Unavailable, match=r"pip install 'nearfar\[images\]'"):
        decoded(photos.plain_png(64))
