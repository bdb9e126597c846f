"""`nearfar run` and `nearfar route`: one inference from the shell, or its dry run, with the decision explained."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from backends.types import Task
from router.cli import showing
from router.cli.asking import Asked, asked_of, body_of, call_of, options
from router.cli.client import post
from router.cli.console import configured, opened_log, reported, show_json
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.http.answers import answer_of
from router.http.inference import body_of_answer, slate_of
from router.outcome import Begun, Outcome

if TYPE_CHECKING:
    from router.sections import Settings
    from router.settings import Secrets


@click.command()
@options
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where text-to-image writes its PNG (default: ./nearfar-SEED.png).",
)
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def run(
    *,
    config: Path | None,
    server: str | None,
    offline: bool,
    as_json: bool,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """Run one inference. INPUT is text, @FILE, or - for standard input; images and recordings are files.

    Text appears as it is made, and a drawing's steps as a bar.
    """
    with reported():
        asked = asked_of(given)
        showing.check_writable(asked, output, force=force)
        if server is not None:
            body, shown = post(server, "/v1/inference", body_of(asked)), False
        else:
            settings, secrets = configured(config, offline=offline)
            body, shown = asyncio.run(_run(settings, secrets, asked, live=not as_json))
        file = None
        if asked.task is Task.TEXT_TO_IMAGE and (output is not None or not as_json):
            file = showing.write_image(body, output, force=force)
        if as_json or (server is not None and file is None):
            show_json(body)
        else:
            showing.show_answer(asked, body, file, shown=shown)


@click.command()
@options
def route(*, config: Path | None, server: str | None, offline: bool, as_json: bool, **given: Any) -> None:
    """Show what would be decided for an inference, and why. Nothing is executed and nothing is logged."""
    with reported():
        asked = asked_of(given)
        if server is not None:
            slate = post(server, "/v1/route", body_of(asked))
        else:
            settings, secrets = configured(config, offline=offline)
            slate = asyncio.run(_route(settings, secrets, asked))
        if as_json:
            show_json(slate)
        else:
            showing.show_slate(slate)


async def _run(settings: Settings, secrets: Secrets, asked: Asked, *, live: bool) -> tuple[dict[str, Any], bool]:
    """The native answer, and whether its text was shown already: `live` shows it while it is made."""
    outcome: Outcome | None = None
    shown = showing.Live(text=live and showing.streams_text(asked))
    async with open_house(settings, secrets, opened_log(settings)) as house:
        call = call_of(house, asked, stream=live)
        async with aclosing(house.dispatcher.stream(call)) as pieces:
            with shown:
                async for piece in pieces:
                    if isinstance(piece, Outcome):
                        outcome = piece
                    elif not isinstance(piece, Begun):
                        shown.piece(piece)
    if outcome is None:
        raise AssertionError("a stream always ends with its outcome")
    answer = body_of_answer(call, answer_of(outcome), settings.local.credits_per_usd)
    return msgspec.to_builtins(answer), shown.wrote


async def _route(settings: Settings, secrets: Secrets, asked: Asked) -> dict[str, Any]:
    async with open_house(settings, secrets, DecisionLog.open(Path(":memory:"))) as house:
        return slate_of(await house.dispatcher.plan(call_of(house, asked, stream=False)))
