"""From the command line to a request: the options of `run` and `route`, the input's text or file, the native body."""

from __future__ import annotations

import base64
import math
import re
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from backends.types import Task
from router.cli.console import config_option, json_option, offline_option, server_option
from router.errors import InvalidRequest, TooLarge
from router.http.parameters import STREAMED, request_of
from router.http.schemas import InferenceBody, RoutingBody, routing_of, task_named
from router.request import Call, split_suffix
from router.rules import AUTO

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.http.services import Services

MAX_INPUT_CHARS = 1_000_000
MAX_FILE_BYTES = 100_000_000
FILE_TASKS = frozenset({Task.IMAGE_CLASSIFICATION, Task.AUTOMATIC_SPEECH_RECOGNITION})

# Option -> the parameter it sets, where they have two names. What does not fit the task, the request refuses by name.
_NAMES = {"guidance": "guidance_scale", "labels": "candidate_labels"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for, before it is a request. `inputs` of tasks that read files are base64."""

    task: Task
    inputs: str
    model: str | None
    policy: str | None
    parameters: dict[str, Any]


def _size(_context: click.Context, _option: click.Parameter, value: str | None) -> dict[str, int]:
    if value is None:
        return {}
    if re.fullmatch("[0-9]{1,4}x[0-9]{1,4}", value) is None:
        raise click.BadParameter(f"{value!r} is not WIDTHxHEIGHT, as in 512x512.")
    width, height = value.split("x")
    return {"width": int(width), "height": int(height)}


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what `run` and `route` have in common."""
    for option in (
        click.argument("task"),
        click.argument("text", metavar="INPUT"),
        click.option("--model", help="Model id (default: the catalogue's first for the task)."),
        click.option("--policy", help="Routing policy for this request."),
        click.option("--labels", help="Comma-separated labels, for zero-shot-classification."),
        click.option("--top-k", type=click.IntRange(1), help="How many labels, for classifications."),
        click.option("--truncate", is_flag=True, help="Cut texts that are too long instead of refusing them."),
        click.option("--max-tokens", type=click.IntRange(1), help="Longest answer, for text-generation."),
        click.option("--seed", type=click.IntRange(0), help="For text-generation and text-to-image."),
        click.option("--steps", type=click.IntRange(1), help="Denoising steps, for text-to-image."),
        click.option("--size", metavar="WxH", callback=_size, help="Pixels, for text-to-image."),
        click.option("--guidance", type=float, help="How closely to follow the prompt, for text-to-image."),
        click.option("--negative-prompt", help="What not to draw, for text-to-image."),
        click.option("--language", help="ISO 639-1 code, for automatic-speech-recognition."),
        click.option(
            "--timestamps",
            type=click.Choice(["segment", "word"]),
            help="Show when each was said, for automatic-speech-recognition.",
        ),
        config_option,
        server_option,
        offline_option,
        json_option,
    )[::-1]:
        command = option(command)
    return command


def asked_of(given: dict[str, Any]) -> Asked:
    """What these arguments and options ask for.

    Raises:
        InvalidRequest: nobody knows the task, or the input cannot be read.
    """
    task, model, policy = task_named(given.pop("task")), given.pop("model"), given.pop("policy")
    text, size = given.pop("text"), given.pop("size")
    said = {name: value for name, value in given.items() if value is not None and value is not False}  # 0 was said
    parameters = {_NAMES.get(name, name): value for name, value in said.items()} | size
    if "candidate_labels" in parameters:
        labels = str(parameters["candidate_labels"]).split(",")
        parameters["candidate_labels"] = [label.strip() for label in labels if label.strip()]
    if not math.isfinite(parameters.get("guidance_scale", 0.0)):
        raise InvalidRequest("--guidance: must be a finite number.")
    inputs = _file(text) if task in FILE_TASKS else _text(text)
    return Asked(task=task, inputs=inputs, model=model, policy=policy, parameters=parameters)


def body_of(asked: Asked) -> dict[str, Any]:
    """The native request body; a prompt from the shell is a chat of one message."""
    chat = asked.task is Task.TEXT_GENERATION
    body: dict[str, Any] = {
        "task": asked.task.value,
        "inputs": [{"role": "user", "content": asked.inputs}] if chat else asked.inputs,
        "parameters": asked.parameters,
        "routing": msgspec.to_builtins(RoutingBody(policy=asked.policy)),
    }
    return body | ({"model": asked.model} if asked.model is not None else {})


def call_of(house: Services, asked: Asked, *, stream: bool) -> Call:
    """The call that this is to a house of our own. A task that cannot be streamed is not.

    Raises:
        InvalidRequest: input or parameters do not fit the task.
    """
    body = msgspec.convert(body_of(asked), InferenceBody)
    body.stream = stream and asked.task in STREAMED
    model = asked.model or AUTO
    model, routing = split_suffix(model, routing_of(body.routing), house.catalog.provider_names)
    request = request_of(body, model, asked.task, house.settings.server.max_batch_items)
    traceparent = None if house.traces is None else ""
    return Call(request=request, routing=routing, surface="cli", received=time.monotonic(), traceparent=traceparent)


def _text(given: str) -> str:
    if given != "-" and not given.startswith("@"):
        return given
    name = _name(given)
    try:
        with nullcontext(sys.stdin) if given == "-" else Path(given[1:]).open(encoding="utf-8") as source:
            text = source.read(MAX_INPUT_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{name}: cannot be read as text ({type(error).__name__}).") from error
    if len(text) > MAX_INPUT_CHARS:
        raise TooLarge(f"{name}: longer than {MAX_INPUT_CHARS} characters.")
    return text


def _file(given: str) -> str:
    """The file's bytes as base64."""
    if given != "-" and not given.startswith("@"):
        raise InvalidRequest("INPUT: this task reads a file; write @FILE, or - for standard input.")
    name = _name(given)
    try:
        with nullcontext(sys.stdin.buffer) if given == "-" else Path(given[1:]).open("rb") as source:
            content = source.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"{name}: cannot be read ({type(error).__name__}).") from error
    if len(content) > MAX_FILE_BYTES:
        raise TooLarge(f"{name}: larger than {MAX_FILE_BYTES} bytes.")
    return base64.b64encode(content).decode()


def _name(given: str) -> str:
    return "standard input" if given == "-" else Path(given[1:]).name
