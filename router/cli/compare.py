"""`nearfar compare`: the same inputs on several candidates, and what can be said of them afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from router.cli import compare_shown, compare_vote
from router.cli.console import (
    config_option,
    configured,
    existing_log,
    json_option,
    log_file,
    offline_option,
    opened_log,
    reported,
    show_json,
    show_table,
    usd,
)
from router.compare.job import prepared
from router.compare.kept import before, run_of, votes_in
from router.compare.running import Running
from router.compare.suite import built_in, opened
from router.errors import NoSuchResource
from router.house import open_house
from router.http.comparing import parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.compare.job import Job
    from router.compare.run import Run
    from router.compare.suite import Suite
    from router.compare.votes import Vote
    from router.decision_log.taking import Log
    from router.sections import Settings
    from router.settings import Secrets


class Asked(NamedTuple):
    """What of a suite is to be run: the whole, or what is left of a run that was stopped."""

    suite: Suite
    folder: Path
    resume: str | None
    save: bool
    vote: bool


class Told(NamedTuple):
    """A run with what people said of its answers, and what of it routing took, in words."""

    run: Run
    votes: Sequence[Vote] = ()
    taken: Sequence[str] = ()


@click.command()
@click.argument("suite", required=False)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write one HTML page with plots to FILE.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write tables for a README to FILE.")
@click.option("--save-priors", is_flag=True, help="Let routing begin with what was measured of speed and quality.")
@click.option("--vote", is_flag=True, help="Show the answers without names, and ask which is best: it is feedback.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Of the order, in place of the suite's own.")
@click.option("--resume", metavar="RUN", help="Go on with a run of this suite that was stopped.")
@click.option("--show", metavar="RUN", help="Show a run of the log; nothing is asked.")
@click.option("--list", "listed", is_flag=True, help="List the ready-made suites, and the runs of the log.")
@config_option
@offline_option
@json_option
def compare(suite: str | None, *, config: Path | None, offline: bool, listed: bool, **given: Any) -> None:
    """Ask the same inputs of every candidate of SUITE, a file or the name of a ready-made one, and compare them.

    Trials are shuffled, each is a decision in the log, and nothing is learnt of them unless --save-priors is given.
    Stopped with Ctrl-C it can be gone on with. Exit code 1 where the budget ended it, or somebody answered nothing.
    """
    with reported():
        if listed:
            _list(config, as_json=given["as_json"])
            return
        if given["show"] is not None:
            told = _kept(config, given["show"], save=given["save_priors"])
        elif suite is None:
            raise click.UsageError("Name a SUITE, or use --list or --show RUN.")
        else:
            found, folder = opened(suite)
            if given["seed"] is not None:
                found = replace(found, seed=given["seed"])
            asked = Asked(found, folder, given["resume"], given["save_priors"], given["vote"])
            told = _asked(*configured(config, offline=offline), asked)
        compare_shown.show(*told, as_json=given["as_json"], out=given["out"], readme=given["markdown"])
        if told.run.stopped is not None or _silent(told.run):
            raise click.exceptions.Exit(1)


def _asked(settings: Settings, secrets: Secrets, asked: Asked) -> Told:
    """The run; and then, where votes are wanted, with those."""
    told, answers = asyncio.run(_compared(settings, secrets, asked))
    if answers is None:
        return told
    said = compare_vote.asked(answers)
    return told._replace(votes=asyncio.run(_voted(settings, secrets, told.run.run_id, said)))


async def _voted(settings: Settings, secrets: Secrets, run_id: str, said: dict[str, float]) -> Sequence[Vote]:
    async with open_house(settings, secrets, opened_log(settings)) as house:
        await compare_vote.taken(house.feedback, said)
        return (await asyncio.to_thread(_read, house.log, run_id)).votes


async def _compared(settings: Settings, secrets: Secrets, asked: Asked) -> tuple[Told, compare_vote.Answers | None]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with open_house(settings, secrets, opened_log(settings)) as house:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task(f"{asked.suite.name}: loading", total=None)
            parts = await parts_of(house)
            job = await prepared(parts, asked.suite, asked.folder)
            _left_out(job)
            kept = None
            if asked.resume is not None:
                kept = await asyncio.to_thread(before, house.log.reader(), asked.resume, job.digest)

            def tell(running: Running) -> None:
                spent = f", {usd(running.spent_usd)} spent far" if running.spent_usd else ""
                progress.update(
                    bar, description=f"{asked.suite.name}{spent}", total=running.planned, completed=running.finished
                )

            answers = compare_vote.Answers(job) if asked.vote else None
            running = Running(parts, job, kept, tell, None if answers is None else answers.hear)
            try:
                run = await running.go()
            except asyncio.CancelledError:
                kept_now = f"{running.finished} of {running.planned} trials are kept"
                click.echo(f"{kept_now}: go on with --resume {running.run.run_id}", err=True)
                raise
        return Told(run, taken=await compare_shown.taken(house, run) if asked.save else ()), answers


def _left_out(job: Job) -> None:
    for name, why in job.left_out.items():
        click.echo(f"left out: {name}: {why}", err=True)


def _kept(config: Path | None, run_id: str, *, save: bool) -> Told:
    """A run of the log, taken into routing if that is wanted."""
    settings, secrets = configured(config)
    if save:
        return asyncio.run(_saved(settings, secrets, run_id))
    with existing_log(settings) as log:
        return _read(log, run_id)


async def _saved(settings: Settings, secrets: Secrets, run_id: str) -> Told:
    log_file(settings)
    async with open_house(settings, secrets, opened_log(settings)) as house:
        found = await asyncio.to_thread(_read, house.log, run_id)
        return found._replace(taken=await compare_shown.taken(house, found.run))


def _read(log: Log, run_id: str) -> Told:
    row = log.reader().comparison(run_id)
    if row is None:
        raise NoSuchResource("run", run_id)
    return Told(run_of(row), votes_in(row))


def _list(config: Path | None, *, as_json: bool) -> None:
    settings, _ = configured(config)
    suites = {name: opened(name)[0] for name in built_in()}
    runs: list[dict[str, Any]] = []
    if Path(settings.log.path).expanduser().exists():
        with existing_log(settings) as log:
            runs = log.reader().comparisons()
    if as_json:
        show_json({"suites": suites, "runs": runs})
        return
    rows = [(name, one.task, ", ".join(one.names), one.description) for name, one in suites.items()]
    show_table("ready-made suites", ("suite", "task", "candidates", "what"), rows)
    columns = ("run", "suite", "started", "trials", "of", "stopped")
    show_table("runs", columns, [_row(run) for run in runs])


def _row(run: dict[str, Any]) -> tuple[Any, ...]:
    ended = run["stopped"] or ("" if run["ended"] else "not ended")
    return run["run_id"], run["suite"], run["started"][:16].replace("T", " "), run["finished"], run["planned"], ended


def _silent(run: Run) -> set[str]:
    """Who was asked and answered nothing."""
    asked = {trial.candidate for trial in run.counted}
    return asked - {trial.candidate for trial in run.counted if trial.status == "ok"}
