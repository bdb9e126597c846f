"""`nearfar run` and `nearfar route`: one inference from the shell, or its dry run, with the decision explained."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from backends.types import Delta, GenerationOutput, Task
from router.app import open_house
from router.cli.client import post
from router.cli.console import (
    config_option,
    configured,
    json_option,
    ms,
    opened_log,
    reported,
    server_option,
    show_json,
    show_table,
    usd,
)
from router.decision_log.log import DecisionLog
from router.errors import InvalidRequest, TooLarge
from router.http.answers import answer_of
from router.http.inference import body_of_answer, slate_of
from router.http.schemas import InferenceBody, RoutingBody, request_of, routing_of, task_named
from router.outcome import Outcome
from router.request import Call, split_suffix

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.http.services import Services
    from router.settings import Secrets, Settings

MAX_INPUT_CHARS = 1_000_000


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for, before it is a request."""

    task: str
    text: str
    model: str | None
    policy: str | None
    labels: str | None
    max_tokens: int | None


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.argument("task"),
        click.argument("text", metavar="INPUT"),
        click.option("--model", help="Model id (default: the catalogue's first for the task)."),
        click.option("--policy", help="Routing policy for this request."),
        click.option("--labels", help="Comma-separated labels, for zero-shot-classification."),
        click.option("--max-tokens", type=click.IntRange(1), help="Longest answer, for text-generation."),
        config_option,
        server_option,
        click.option("--offline", is_flag=True, help="Nothing may leave this machine."),
        json_option,
    )[::-1]:
        command = option(command)
    return command


@click.command()
@_options
def run(*, config: Path | None, server: str | None, offline: bool, as_json: bool, **asked: Any) -> None:
    """Run one inference. INPUT is text, @FILE, or - for standard input. Generated text appears as it is made."""
    with reported():
        wanted = _asked(asked)
        if server is not None:
            answer = post(server, "/v1/inference", _body(wanted, wanted.model))
            show_json(answer)
            return
        settings, secrets = configured(config, offline=offline)
        asyncio.run(_run(settings, secrets, wanted, as_json=as_json))


@click.command()
@_options
def route(*, config: Path | None, server: str | None, offline: bool, as_json: bool, **asked: Any) -> None:
    """Show what would be decided for an inference, and why. Nothing is executed and nothing is logged."""
    with reported():
        wanted = _asked(asked)
        if server is not None:
            slate = post(server, "/v1/route", _body(wanted, wanted.model))
        else:
            settings, secrets = configured(config, offline=offline)
            slate = asyncio.run(_route(settings, secrets, wanted))
        if as_json:
            show_json(slate)
        else:
            _show_slate(slate)


async def _run(settings: Settings, secrets: Secrets, asked: Asked, *, as_json: bool) -> None:
    async with open_house(settings, secrets, opened_log(settings)) as house:
        call = _call(house, asked, stream=not as_json)
        outcome: Outcome | None = None
        async with aclosing(house.dispatcher.stream(call)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Delta):
                    click.echo(piece.text, nl=False)
                elif isinstance(piece, Outcome):
                    outcome = piece
        if outcome is None:
            raise AssertionError("a stream always ends with its outcome")
        answer = answer_of(outcome)
        body = body_of_answer(call, answer, settings.local.credits_per_usd)
        if as_json:
            show_json(body)
            return
        if isinstance(answer.result.output, GenerationOutput):
            click.echo("" if call.request.stream else answer.result.output.text)
        else:
            show_json(body.result)
        click.echo(
            f"{body.backend} ({body.provider}, {body.device}) · {ms(body.latency_ms)} · {usd(body.cost_usd)} "
            f"{body.cost_source} · decision {body.decision_id}\n{body.reason}",
            err=True,
        )


async def _route(settings: Settings, secrets: Secrets, asked: Asked) -> dict[str, Any]:
    async with open_house(settings, secrets, DecisionLog.open(Path(":memory:"))) as house:
        return slate_of(await house.dispatcher.plan(_call(house, asked, stream=False)))


def _asked(options: dict[str, Any]) -> Asked:
    return Asked(**options | {"task": task_named(options["task"]).value, "text": _text(options["text"])})


def _call(house: Services, asked: Asked, *, stream: bool) -> Call:
    task = Task(asked.task)
    model = asked.model or house.catalog.first_for(asked.task)
    body = msgspec.convert(_body(asked, model), InferenceBody)
    body.stream = stream and task is Task.TEXT_GENERATION
    model, routing = split_suffix(model, routing_of(body.routing), house.catalog.provider_names)
    request = request_of(body, model, task, house.settings.server.max_batch_items)
    return Call(request=request, routing=routing, surface="cli", received=time.monotonic())


def _body(asked: Asked, model: str | None) -> dict[str, Any]:
    """The native request body; a prompt from the shell is a chat of one message."""
    parameters: dict[str, Any] = {}
    if asked.labels is not None:
        parameters["candidate_labels"] = [label.strip() for label in asked.labels.split(",") if label.strip()]
    if asked.max_tokens is not None:
        parameters["max_tokens"] = asked.max_tokens
    chat = asked.task == Task.TEXT_GENERATION.value
    body: dict[str, Any] = {
        "task": asked.task,
        "inputs": [{"role": "user", "content": asked.text}] if chat else asked.text,
        "parameters": parameters,
        "routing": msgspec.to_builtins(RoutingBody(policy=asked.policy)),
    }
    return body | ({"model": model} if model is not None else {})


def _text(given: str) -> str:
    if given != "-" and not given.startswith("@"):
        return given
    name = "standard input" if given == "-" else Path(given[1:]).name
    try:
        with nullcontext(sys.stdin) if given == "-" else Path(given[1:]).open(encoding="utf-8") as source:
            text = source.read(MAX_INPUT_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{name}: cannot be read as text ({type(error).__name__}).") from error
    if len(text) > MAX_INPUT_CHARS:
        raise TooLarge(f"{name}: longer than {MAX_INPUT_CHARS} characters.")
    return text


def _show_slate(slate: dict[str, Any]) -> None:
    rows = [
        (
            row["candidate"],
            row["device"],
            f"{ms(row['latency_ms'])} ({row['latency_source']})",
            ms(row["load_ms"]),
            f"{usd(row['cost_usd'])} ({row['cost_source']})",
            "chosen" if row["candidate"] == slate["chosen"] else "eligible" if row["eligible"] else row["rejection"],
        )
        for row in slate["candidates"]
    ]
    title = f"{slate['task']} · {slate['model']} · policy {slate['policy']} {slate['policy_version']}"
    show_table(title, ("candidate", "device", "latency (source)", "of it loading", "cost (source)", "verdict"), rows)
    click.echo(slate["reason"])
