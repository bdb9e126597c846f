"""OpenAI's route for drawing: a prompt in, PNG files as base64 out. What an image model here cannot do is refused."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody
from litestar.response import Stream
from msgspec import Meta

from backends import media
from backends.types import DrawingInput, DrawingOutput, InferenceRequest, Piece, Progress, Task
from router.errors import InvalidRequest, RouterError
from router.http import headers
from router.http.answers import Answer, answer_of, answered, opened
from router.http.errors import body_of
from router.http.openai_schemas import refuse_unserved
from router.http.parameters import Guidance, Images, Steps, prompt_of
from router.http.schemas import Body, Name, ProviderBody, RoutingBody, Seed, routing_of
from router.http.services import call_of, model_and_routing, request_id
from router.outcome import Begun, Outcome
from router.rules import AUTO

encode = msgspec.json.encode


class ImagesBody(Body, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/images/generations`. `seed`, `steps`, `guidance_scale` and `negative_prompt` are ours."""

    prompt: str
    model: Name | None = None
    n: Images | None = None
    size: Annotated[str, Meta(pattern="^(auto|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})$")] | None = None
    stream: bool | None = None
    seed: Seed | None = None
    steps: Steps | None = None
    guidance_scale: Guidance | None = None
    negative_prompt: str | None = None
    routing: RoutingBody | None = None
    provider: ProviderBody | None = None
    # Accepted and without effect on the answer.
    user: str | None = None
    safety_identifier: str | None = None
    # Known, and refused unless they ask for nothing.
    response_format: Literal["b64_json", "url"] | None = None
    output_format: str | None = None
    output_compression: int | None = None
    partial_images: int | None = None
    quality: str | None = None
    style: str | None = None
    background: str | None = None
    moderation: str | None = None
    complexity: str | None = None
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    svg: dict[str, Any] | None = None


_NEUTRAL: dict[str, tuple[object, ...]] = {
    "output_format": (None, "png"),
    "output_compression": (None, 100),
    "partial_images": (None, 0),
    "quality": (None, "auto", "standard"),
    "style": (None,),
    "background": (None, "auto", "opaque"),
    "moderation": (None, "auto"),
    "complexity": (None,),
    "frame_count": (None,),
    "frame_duration_ms": (None,),
    "svg": (None,),
}


@post("/v1/images/generations", status_code=200, opt={"inference": True}, summary="Draw a prompt")
async def generations(request: Request[Any, Any, Any], data: JSONBody[ImagesBody]) -> Response[Any]:
    """One to ten PNG files. With `stream` one image comes as an event, after a comment line for each step."""
    given = data.model or AUTO
    model, routing = model_and_routing(request, given, routing_of(data.routing, data.provider))
    call = call_of(request, _request(data, model), routing)
    if call.request.stream:
        begun, pieces = await opened(request, call)
        said = headers.of_stream(begun, request_id(request))
        return Stream(_events(pieces), media_type="text/event-stream", headers=said)
    answer = await answered(request, call)
    output = drawing(answer)
    body = {
        "created": int(time.time()),
        "data": [{"b64_json": image, "seed": seed} for image, seed in zip(output.images, output.seeds, strict=True)],
        "background": "opaque",
        "output_format": "png",
        "size": _size(output),
        "usage": _usage(answer),
    }
    return Response(body, headers=headers.of_outcome(answer.outcome, request_id(request)))


def drawing(answer: Answer) -> DrawingOutput:
    """What was drawn."""
    output = answer.result.output
    if not isinstance(output, DrawingOutput):
        raise TypeError(f"text-to-image gave {type(output).__name__}")
    return output


def _request(body: ImagesBody, model: str) -> InferenceRequest:
    refuse_unserved(body, _NEUTRAL)
    if body.response_format == "url":
        said = "response_format: 'url' is not supported, because no image is kept here; use 'b64_json'."
        raise InvalidRequest(said, param="response_format")
    if body.stream and (body.n or 1) > 1:
        raise InvalidRequest("n: a stream carries one image; n must be 1.", param="n")
    width, height = (None, None) if body.size in {None, "auto"} else map(int, str(body.size).split("x"))
    return InferenceRequest(
        task=Task.TEXT_TO_IMAGE,
        model=model,
        stream=bool(body.stream),
        payload=DrawingInput(
            prompt=prompt_of(body.prompt, "prompt"),
            negative_prompt=body.negative_prompt,
            width=width,
            height=height,
            steps=body.steps,
            guidance_scale=body.guidance_scale,
            seed=body.seed,
            images=body.n or 1,
        ),
    )


async def _events(pieces: AsyncGenerator[Begun | Piece | Outcome, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Progress):
                yield f": step {piece.step} of {piece.steps}\n\n".encode()
            elif isinstance(piece, Outcome):
                yield _last(piece)


def _last(outcome: Outcome) -> bytes:
    try:
        answer = answer_of(outcome)
    except RouterError as error:
        return b"data: " + encode(body_of(error)) + b"\n\n"
    output = drawing(answer)
    body = {
        "type": "image_generation.completed",
        "b64_json": output.images[0],
        "seed": output.seeds[0],
        "created_at": int(time.time()),
        "background": "opaque",
        "output_format": "png",
        "quality": "auto",
        "size": _size(output),
        "usage": _usage(answer),
    }
    return b"event: image_generation.completed\ndata: " + encode(body) + b"\n\n"


def _size(output: DrawingOutput) -> str | None:
    """Width and height of the images as they are, not as they were asked for; null when a file is no PNG."""
    size = media.png_size(output.images[0])
    return None if size is None else "x".join(map(str, size))


def _usage(answer: Answer) -> dict[str, Any]:
    """Token counts as OpenAI's clients require them (0 where nobody counted), the images, and the cost beside them."""
    usage = answer.result.usage
    read = usage.prompt_tokens or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"text_tokens": read, "image_tokens": 0},
        "output_tokens": 0,
        "total_tokens": read,
        "images": usage.images,
        "cost": answer.outcome.cost.usd,
    }
