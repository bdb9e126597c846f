"""Drawings in both protocols: what is asked, and every known way to answer; only PNG files come out."""

import base64
import io
import sys

import pytest

from backends.errors import InvalidInput, RemoteError
from backends.fake.answers import png
from backends.media import png_size
from backends.remote.call import Call
from backends.remote.drawings_wire import as_png, hub_calls, openai_call, parse_hub, parse_openai, usage_for
from backends.types import DrawingInput, DrawingOutput, Usage

Image = pytest.importorskip("PIL.Image")
RED, BLUE = png(4, 2, (255, 0, 0)), png(4, 2, (0, 0, 255))
ONE, TWO = DrawingInput(prompt="p"), DrawingInput(prompt="p", images=2)


def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (3, 5)) -> bytes:
    """A picture as another library writes it."""
    file = io.BytesIO()
    Image.new(mode, size, (200, 10, 10, 128)[: len(mode)]).save(file, kind)
    return file.getvalue()


def b64(image: bytes) -> dict[str, str]:
    return {"b64_json": base64.b64encode(image).decode()}


def test_the_hub_is_asked_for_one_png_a_request_each_with_the_next_seed():
    """Only what was given is sent; a seed of 0 is given."""
    everything = DrawingInput(
        prompt="p", negative_prompt="n", width=64, height=32, steps=5, guidance_scale=0.0, seed=0, images=2
    )
    given = {"negative_prompt": "n", "width": 64, "height": 32, "num_inference_steps": 5, "guidance_scale": 0.0}

    assert [Call("/models/org/m", {"inputs": "p"}, accept="image/png")] == hub_calls(ONE, "org/m")
    assert [given | {"seed": 0}, given | {"seed": 1}] == [
        call.body["parameters"] for call in hub_calls(everything, "m")
    ]


def test_openai_is_asked_for_all_images_at_once():
    """With a size where one was given; what the protocol does not know is not sent."""
    call = openai_call(DrawingInput(prompt="p", width=64, height=32, steps=5, seed=1, images=2), "m")

    expected = {"model": "m", "prompt": "p", "n": 2, "response_format": "b64_json", "size": "64x32"}
    assert Call("/images/generations", expected) == call
    assert "size" not in openai_call(ONE, "m").body


@pytest.mark.parametrize("half", [{"width": 64}, {"height": 64}])
def test_openai_cannot_be_asked_for_half_a_size(half):
    """The other half is not guessed."""
    with pytest.raises(InvalidInput, match="width and height together"):
        openai_call(DrawingInput(prompt="p", **half), "m")


@pytest.mark.parametrize("answer", [RED, {"data": [b64(RED)]}], ids=["the file", "base64 in JSON"])
def test_the_hubs_picture_is_found_in_every_known_shape(answer):
    """The seed is the one that was sent, or nobody's knowledge."""
    assert DrawingOutput((RED,), (None,)) == parse_hub([answer], ONE)
    assert DrawingOutput((RED, BLUE), (8, 9)) == parse_hub([RED, BLUE], DrawingInput(prompt="p", seed=8, images=2))


def test_openais_pictures_keep_their_order():
    """Their seeds are not said."""
    assert DrawingOutput((RED, BLUE), (None, None)) == parse_openai({"data": [b64(RED), b64(BLUE)]}, TWO)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"data": [b64(RED)]}, "1 images, 2 were asked"),
        ({"data": [b64(RED), {"url": "http://169.254.169.254/x.png"}]}, "a link, which is not followed"),
        ({"data": [b64(RED), {}]}, "nothing for an image"),
        ({"data": [b64(RED), {"b64_json": "!!"}]}, "no base64"),
        ({"data": [b64(RED), b64(b"text")]}, "bytes of no known type"),
        ({"data": [b64(RED), b64(picture("GIF", "L"))]}, "image/gif"),
        ({"data": [b64(RED), b64(RED[:40])]}, "broken or unwanted image/png"),
        ({"data": [b64(RED), b64(picture("JPEG")[:200])]}, "broken image/jpeg"),
        ({"data": "text"}, "unknown shape"),
        ([], "unknown shape"),
        (None, "unknown shape"),
    ],
)
def test_anything_but_the_asked_pictures_is_refused(answer, said):
    """Too few, a link, half a file, another format: an error of the far side, never a guess."""
    with pytest.raises(RemoteError, match=said) as caught:
        parse_openai(answer, TWO)

    assert "169.254" not in str(caught.value)


def test_the_hub_gives_exactly_one_picture_an_answer():
    """Two are as wrong as none."""
    for answer in ({"data": [b64(RED), b64(RED)]}, {"data": []}, b"", b"<html>"):
        with pytest.raises(RemoteError):
            parse_hub([answer], ONE)


@pytest.mark.parametrize(
    ("kind", "mode", "kept"), [("JPEG", "RGB", "RGB"), ("WEBP", "RGBA", "RGBA"), ("JPEG", "L", "RGB")]
)
def test_other_formats_become_png(kind, mode, kept):
    """Pixels, size and transparency stay."""
    given = picture(kind, mode)
    made = as_png(given)

    assert (3, 5) == png_size(made)
    with Image.open(io.BytesIO(made)) as image, Image.open(io.BytesIO(given)) as before:
        assert kept == image.mode
        assert image.tobytes() == before.convert(kept).tobytes()


def test_a_png_is_left_as_it_is():
    """Byte for byte: its own comments may matter."""
    assert RED is as_png(RED)


def test_an_image_too_large_to_be_true_is_refused():
    """Before its pixels are decoded."""
    with pytest.raises(RemoteError, match="8000x7000 pixels"):
        as_png(picture("JPEG", "L", (8000, 7000)))


def test_without_pillow_the_error_says_what_to_install(monkeypatch):
    """A PNG needs none."""
    monkeypatch.setitem(sys.modules, "PIL", None)

    assert RED == as_png(RED)
    with pytest.raises(RemoteError, match=r"image/jpeg instead of image/png; .*pip install 'nearfar\[images\]'"):
        as_png(b"\xff\xd8\xff\xe0")


def test_usage_counts_images_and_their_pixels_by_the_steps():
    """Steps nobody told make the product unknown; what the far side said is kept."""
    output = DrawingOutput((RED, BLUE), (None, None))

    assert Usage(images=2, steps=2 * 5, pixel_steps=2 * 8 * 5, declared_cost_usd=0.5) == usage_for(
        output, Usage(declared_cost_usd=0.5), 5
    )
    assert Usage(images=2) == usage_for(output, Usage(), None)
