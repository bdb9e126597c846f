"""Text to image in both protocols: request bodies, and answers into PNG files. Opens no connection.

Hugging Face's gives the picture itself, one a request; OpenAI's gives base64 in JSON. What is no PNG is made one where
Pillow is installed: `DrawingOutput` holds PNG files, whatever the far side preferred.
"""

from __future__ import annotations

import binascii
import io
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from backends import media
from backends.errors import InvalidInput, RemoteError
from backends.remote.call import Call
from backends.remote.huggingface_wire import model_path
from backends.remote.openai_wire import converted
from backends.types import DrawingOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import DrawingInput, Usage

PNG = "image/png"
CONVERTIBLE = {"image/jpeg": "JPEG", "image/webp": "WEBP"}
MOST_PIXELS = 50_000_000


class _Picture(Struct):
    b64_json: str | None = None
    url: str | None = None


class _Pictures(Struct):
    data: list[_Picture]


def hub_calls(payload: DrawingInput, model: str) -> list[Call]:
    """Hugging Face's: one request an image, each with the next seed."""
    return [_hub_call(payload, model, seed) for seed in _seeds(payload)]


def openai_call(payload: DrawingInput, model: str) -> Call:
    """OpenAI's: all images in one request. It knows no steps, guidance, negative prompt or seed: those are not sent.

    Raises:
        InvalidInput: Only one of width and height is given: the protocol names both or none.
    """
    body: dict[str, Any] = {
        "model": model,
        "prompt": payload.prompt,
        "n": payload.images,
        "response_format": "b64_json",
    }
    if (payload.width is None) != (payload.height is None):
        msg = "this provider's protocol takes width and height together, or neither"
        raise InvalidInput(msg)
    if payload.width is not None:
        body["size"] = f"{payload.width}x{payload.height}"
    return Call("/images/generations", body)


def parse_hub(answers: Sequence[Any], payload: DrawingInput) -> DrawingOutput:
    """One answer an image: the file, or JSON with it in base64. The seeds are those that were sent.

    Raises:
        RemoteError: An answer is no picture, or one that cannot be made a PNG.
    """
    images = [answer if isinstance(answer, bytes) else _only(answer) for answer in answers]
    return DrawingOutput(tuple(as_png(image) for image in images), tuple(_seeds(payload)))


def parse_openai(answer: Any, payload: DrawingInput) -> DrawingOutput:
    """The images of one answer; what seeds they had is not said.

    Raises:
        RemoteError: Not as many as were asked for, or one that is no picture.
    """
    images = _pictures(answer)
    if len(images) != payload.images:
        msg = f"the far side gave {len(images)} images, {payload.images} were asked"
        raise RemoteError(msg)
    return DrawingOutput(tuple(as_png(image) for image in images), (None,) * len(images))


def usage_for(output: DrawingOutput, said: Usage, steps: int | None) -> Usage:
    """What the far side said, with the images and the steps and pixels of all; None where those are not known."""
    sizes = [media.png_size(image) or (0, 0) for image in output.images]
    pixels = sum(width * height for width, height in sizes)
    if steps is None:
        return replace(said, images=len(sizes))
    return replace(said, images=len(sizes), steps=len(sizes) * steps, pixel_steps=pixels * steps)


def as_png(image: bytes) -> bytes:
    """The image as a PNG file: as it came where it is one, else converted, which loses nothing more.

    Raises:
        RemoteError: It is no picture, broken, of more than 50 megapixels, or Pillow is missing to convert it.
    """
    kind = media.content_type(image)
    if kind == PNG and media.png_size(image) is not None and b"IEND" in image[-32:]:
        return image
    if kind not in CONVERTIBLE:
        msg = f"the far side gave {f'a broken or unwanted {kind}' if kind else 'bytes of no known type'} for an image"
        raise RemoteError(msg)
    try:
        from PIL import Image  # an extra, needed only where a far side sends no PNG
    except ImportError as error:
        msg = f"the far side gave {kind} instead of {PNG}; to convert it: pip install 'nearfar[images]'"
        raise RemoteError(msg) from error
    broken = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(image), formats=[CONVERTIBLE[kind]]) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                msg = f"the far side gave an image of {picture.width}x{picture.height} pixels"
                raise RemoteError(msg)
            file = io.BytesIO()
            picture.convert("RGBA" if picture.has_transparency_data else "RGB").save(file, "PNG")
            return file.getvalue()
    except broken as error:
        msg = f"the far side gave a broken {kind}"
        raise RemoteError(msg) from error


def _hub_call(payload: DrawingInput, model: str, seed: int | None) -> Call:
    given = {
        "negative_prompt": payload.negative_prompt,
        "width": payload.width,
        "height": payload.height,
        "num_inference_steps": payload.steps,
        "guidance_scale": payload.guidance_scale,
        "seed": seed,
    }
    parameters = {name: value for name, value in given.items() if value is not None}
    body: dict[str, Any] = {"inputs": payload.prompt} | ({"parameters": parameters} if parameters else {})
    return Call(model_path(model), body, accept=PNG)


def _seeds(payload: DrawingInput) -> list[int | None]:
    if payload.seed is None:
        return [None] * payload.images
    return [payload.seed + number for number in range(payload.images)]


def _only(answer: Any) -> bytes:
    images = _pictures(answer)
    if len(images) != 1:
        msg = f"the far side gave {len(images)} images, 1 was asked"
        raise RemoteError(msg)
    return images[0]


def _pictures(answer: Any) -> list[bytes]:
    """What OpenAI's shape holds. A URL is not followed: that would send us wherever a far side points."""
    images = []
    for picture in converted(answer, _Pictures).data:
        if not picture.b64_json:
            msg = f"the far side gave {'a link, which is not followed,' if picture.url else 'nothing'} for an image"
            raise RemoteError(msg)
        try:
            images.append(b64decode(picture.b64_json, validate=True))
        except (binascii.Error, ValueError) as error:
            msg = "the far side gave an image that is no base64"
            raise RemoteError(msg) from error
    return images
