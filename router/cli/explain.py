"""`nearfar explain`: why a decision was made, what became of it, and what would have been better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from router.cli.client import get
from router.cli.console import (
    config_option,
    configured,
    json_option,
    ms,
    reported,
    server_option,
    show_json,
    show_table,
    usd,
)
from router.cli.reading import from_option, read_log
from router.cli.sources import ServerSource
from router.errors import RouterError
from router.explanation.told import explained

if TYPE_CHECKING:
    from pathlib import Path

    from router.decision_log.queries import LogReader


@click.command()
@click.argument("decision_id", required=False)
@config_option
@from_option
@server_option
@json_option
def explain(
    decision_id: str | None, config: Path | None, shipped: str | None, server: str | None, *, as_json: bool
) -> None:
    """Explain one decision: DECISION_ID, or the newest one."""
    with reported():
        if server is not None:
            told = _asked(server, decision_id)
        else:
            with read_log(configured(config)[0], shipped) as reader:
                told = _read(reader, decision_id)
        if as_json:
            show_json(told)
        else:
            _show(told)


def _read(reader: LogReader, decision_id: str | None) -> dict[str, Any]:
    newest = decision_id or next((row["decision_id"] for row in reader.decisions(limit=1)[0]), None)
    found = None if newest is None else reader.decision(newest)
    if found is None:
        raise _no_decision(decision_id)
    told: dict[str, Any] = msgspec.to_builtins(explained(found))
    return told


def _asked(server: str, decision_id: str | None) -> dict[str, Any]:
    newest = decision_id or next((row["decision_id"] for row in get(server, "/v1/decisions?limit=1")["data"]), None)
    if newest is None:
        raise _no_decision(decision_id)
    return ServerSource(server).explained(newest)


def _no_decision(decision_id: str | None) -> RouterError:
    which = "The log has no decision yet." if decision_id is None else f"No decision {decision_id!r} in the log."
    return RouterError(f"{which} `nearfar run` and `nearfar serve` make them; each answer names its decision.")


def _show(told: dict[str, Any]) -> None:
    click.echo(f"{told['summary']}\n")
    rows = [
        (row["candidate"], row["verdict"], ms(row["predicted_ms"]), usd(row["predicted_cost_usd"]), row["words"])
        for row in told["candidates"]
    ]
    if rows:
        show_table(f"decision {told['decision_id']}", ("candidate", "verdict", "expected", "cost", "why"), rows)
    for attempt in told["happened"]["attempts"]:
        start = attempt["start_ms"]
        click.echo(f"{'' if start is None else f'+{start:.1f} ms':>12}  {attempt['words']}")
    for limit in told["limits"]:
        click.echo(f"Limit: {limit['words']}")
    click.echo(told["exploration"]["words"])
