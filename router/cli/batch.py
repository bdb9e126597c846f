"""`nearfar batch`: work through a file of requests, here or at a running server, and see how far batches are."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from router.cli import batches_here, batches_there
from router.cli.console import config_option, json_option, reported, server_option, show_json, show_table, usd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COLUMNS = ("batch", "status", "endpoint", "answered", "failed", "lines", "cost")


class Place(Protocol):
    """Where batches are: this machine's folder, or a server."""

    def every(self) -> list[dict[str, Any]]:
        """All batches, newest first."""

    def one(self, batch_id: str) -> dict[str, Any]:
        """One batch."""

    def copy(self, file_id: str, target: BinaryIO) -> None:
        """Write a file's content."""

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Begin no further line of it."""


def _place(config: Path | None, server: str | None) -> Place:
    return batches_here.Reader(config) if server is None else batches_there.Reader(server)


@click.group()
def batch() -> None:
    """Work through files of requests, as JSON lines in OpenAI's shape.

    With --server a running server does it; without one this command does, in the folder that a server here would use.
    """


@batch.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--endpoint", default="/v1/chat/completions", show_default=True, help="What each line is a request to.")
@click.option("--window", default="24h", show_default=True, help="Time for all of it, such as 30m, 24h or 7d.")
@click.option("--policy", help="Routing policy of lines that name none (default: cheapest).")
@click.option("--max-cost-usd", type=click.FloatRange(0), help="Begin no further line once so much is spent.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="File for the answers (default: print)."
)
@click.option("--errors", type=click.Path(path_type=Path, dir_okay=False), help="File for the lines that failed.")
@config_option
@server_option
@json_option
def run(
    file: Path, output: Path | None, errors: Path | None, config: Path | None, server: str | None, **given: Any
) -> None:
    """Work through the requests of FILE and wait for the end; its answers are lines of JSON. Exit code 1 if any failed.

    Stopped with Ctrl-C it can be gone on with: `nearfar batch resume`, or the next server in this folder.
    """
    with reported():
        as_json = given.pop("as_json")
        wanted = {
            "endpoint": given["endpoint"],
            "completion_window": given["window"],
            "max_cost_usd": given["max_cost_usd"],
            "routing": {} if given["policy"] is None else {"policy": given["policy"]},
        }
        states = batches_here.run(config, file, wanted) if server is None else batches_there.run(server, file, wanted)
        [told] = asyncio.run(_watched(states)).values()
        place = _place(config, server)
        _fetched(place, told["output_file_id"], output, printed=not as_json)
        _fetched(place, told["error_file_id"], errors, printed=False)
        _summary(told, as_json=as_json)
        if told["status"] != "completed" or told["request_counts"]["failed"]:
            raise click.exceptions.Exit(1)


@batch.command()
@config_option
@json_option
def resume(config: Path | None, *, as_json: bool) -> None:
    """Go on here with every batch that has not ended, and wait for the end of all of them."""
    with reported():
        found = list(asyncio.run(_watched(batches_here.resumed(config))).values())
        if as_json:
            show_json(found)
        else:
            show_table("batches", COLUMNS, [_row(told) for told in found])


@batch.command("list")
@config_option
@server_option
@json_option
def list_(config: Path | None, server: str | None, *, as_json: bool) -> None:
    """List the batches, newest first, and how far they are."""
    with reported():
        place = _place(config, server)
        found = place.every()
        if as_json:
            show_json(found)
        else:
            show_table("batches", COLUMNS, [_row(told) for told in found])


@batch.command()
@click.argument("batch_id", metavar="ID")
@config_option
@server_option
def show(batch_id: str, config: Path | None, server: str | None) -> None:
    """Show one batch, as JSON."""
    with reported():
        place = _place(config, server)
        show_json(place.one(batch_id))


@batch.command()
@click.argument("batch_id", metavar="ID")
@config_option
@server_option
def cancel(batch_id: str, config: Path | None, server: str | None) -> None:
    """Begin no further line of a batch; what is answered stays."""
    with reported():
        place = _place(config, server)
        click.echo(f"{batch_id}: {place.cancel(batch_id)['status']}")


@batch.command()
@click.argument("batch_id", metavar="ID")
@click.option("--errors", is_flag=True, help="The lines that failed, instead of the answers.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write (default: print).")
@config_option
@server_option
def get(batch_id: str, output: Path | None, config: Path | None, server: str | None, *, errors: bool) -> None:
    """Fetch the answers of a batch that has ended, as lines of JSON."""
    with reported():
        place = _place(config, server)
        told = place.one(batch_id)
        file_id = told["error_file_id" if errors else "output_file_id"]
        if file_id is None:
            raise click.ClickException(f"{batch_id} is {told['status']} and has no such lines.")
        _fetched(place, file_id, output, printed=True)


async def _watched(states: AsyncIterator[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last state of each batch; meanwhile a bar for each, on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars: dict[str, Any] = {}
    last: dict[str, dict[str, Any]] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        async for told in states:
            last[told["id"]] = told
            counts = told["request_counts"]
            if told["id"] not in bars:
                bars[told["id"]] = progress.add_task(told["status"], total=None)
            progress.update(
                bars[told["id"]],
                description=f"{told['id']} {told['status']}",
                total=counts["total"] or None,
                completed=counts["completed"] + counts["failed"],
            )
    return last


def _fetched(place: Place, file_id: str | None, output: Path | None, *, printed: bool) -> None:
    """Write a file to where it is wanted."""
    if file_id is None or (output is None and not printed):
        return
    if output is None:
        place.copy(file_id, sys.stdout.buffer)
        return
    with output.open("wb") as target:
        place.copy(file_id, target)


def _summary(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    counts, cost = told["request_counts"], told["nearfar"]
    unpriced = f" and {cost['unpriced']} of unknown cost" if cost["unpriced"] else ""
    why = "".join(f": {fault['message']}" for fault in (told["errors"] or {"data": []})["data"])
    click.echo(
        f"{told['id']} {told['status']}{why} · {counts['completed']} answered, {counts['failed']} failed of "
        f"{counts['total']} · {usd(cost['cost_usd'])}{unpriced}",
        err=True,
    )


def _row(told: dict[str, Any]) -> tuple[Any, ...]:
    counts = told["request_counts"]
    return (
        told["id"],
        told["status"],
        told["endpoint"],
        counts["completed"],
        counts["failed"],
        counts["total"] or None,
        usd(told["nearfar"]["cost_usd"]),
    )
