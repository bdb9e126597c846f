"""What `run` and `route` show: pieces as they are made, the answer, the slate; and the file an image is written to."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backends.types import Delta, Task
from backends.types import Progress as Step
from router.cli.console import ms, show_json, show_table, usd
from router.errors import InvalidRequest, RouterError

if TYPE_CHECKING:
    from types import TracebackType

    from backends.types import Piece
    from router.cli.asking import Asked


class Live:
    """Shows an answer while it is made: text on standard output, steps as a bar on a terminal's standard error.

    Attributes:
        wrote: Whether any text was shown.
    """

    def __init__(self, *, text: bool) -> None:
        self._text = text
        self.wrote = False
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self.wrote:
            click.echo()

    def piece(self, piece: Piece) -> None:
        """Show the next piece."""
        if isinstance(piece, Step):
            task = self._bar.task_ids[0] if self._bar.task_ids else self._bar.add_task("step")
            self._bar.update(task, completed=piece.step, total=piece.steps)
        elif isinstance(piece, Delta) and self._text:
            click.echo(piece.text, nl=False)
            self.wrote = True


def streams_text(asked: Asked) -> bool:
    """Whether pieces of text are the answer; with timestamps, its lines are."""
    return asked.task is Task.TEXT_GENERATION or (
        asked.task is Task.AUTOMATIC_SPEECH_RECOGNITION and "timestamps" not in asked.parameters
    )


def show_answer(asked: Asked, body: dict[str, Any], file: Path | None, *, shown: bool) -> None:
    """Print a native answer; `shown` when its text was, while it was made."""
    if file is not None:
        click.echo(str(file))
    elif asked.task is Task.AUTOMATIC_SPEECH_RECOGNITION and "timestamps" in asked.parameters:
        for chunk in body["result"]["chunks"]:
            click.echo(f"{_span(*chunk['timestamp'])}  {chunk['text'].strip()}")
    elif not streams_text(asked):
        show_json(body["result"])
    elif not shown:  # a far side that gives its answer whole
        result = body["result"]
        click.echo(result["text"] if isinstance(result, dict) else result[0]["generated_text"])
    click.echo(
        f"{body['backend']} ({body['provider']}, {body['device']}) · {ms(body['latency_ms'])} · "
        f"{usd(body['cost_usd'])} {body['cost_source']} · decision {body['decision_id']}\n{body['reason']}",
        err=True,
    )


def check_writable(asked: Asked, output: Path | None, *, force: bool) -> None:
    """Say before the work begins that its answer could not be written.

    Raises:
        InvalidRequest: the file exists and may not be overwritten, its folder does not, or nothing would be written.
    """
    if output is not None and asked.task is not Task.TEXT_TO_IMAGE:
        raise InvalidRequest(f"--output: {asked.task.value} writes no file.")
    path = output
    if path is None and "seed" in asked.parameters:
        path = Path(_file_name(asked.parameters["seed"]))
    if asked.task is not Task.TEXT_TO_IMAGE or path is None:
        return
    if not path.absolute().parent.is_dir():
        raise InvalidRequest(f"--output: {path.name}: its folder does not exist.")
    if path.exists() and not force:
        raise InvalidRequest(f"{path.name}: exists already; --force overwrites it.")


def write_image(body: dict[str, Any], output: Path | None, *, force: bool) -> Path:
    """Write the image of a native answer, by default into the working directory, named for its seed.

    Raises:
        RouterError: it cannot be written, or the file has come into being since it was looked for.
    """
    seed = body["result"]["seed"]
    path = output or Path(_file_name(body["decision_id"] if seed is None else seed))
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(base64.b64decode(body["result"]["image"]))
    except OSError as error:
        raise RouterError(f"{path.name}: cannot be written ({type(error).__name__}).") from error
    return path


def show_slate(slate: dict[str, Any]) -> None:
    """Print what would be decided, and why."""
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


def _file_name(of: object) -> str:
    return f"nearfar-{of}.png"


def _span(start_s: float, end_s: float | None) -> str:
    end = "" if end_s is None else f"{end_s:.2f}"
    return f"{start_s:8.2f} - {end:>8} s"
