"""`nearfar report`: what was spent and how long it took, from the decision log."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from router.cli.client import get
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
from router.decision_log.questions import QUESTIONS
from router.errors import LogError

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.command()
@config_option
@click.option("--since", help="Only newer rows: an ISO 8601 instant, or an age such as 30m, 24h, 7d.")
@click.option("--by", type=click.Choice(QUESTIONS["summary"].by), default="backend")
@server_option
@json_option
def report(config: Path | None, since: str | None, by: str, server: str | None, *, as_json: bool) -> None:
    """Show requests, cost, latency, near share and estimate error, grouped by one column."""
    with reported():
        instant = instant_of(since)
        rows = _ask(server, instant, by) if server is not None else _read(config, instant, by)
        if as_json:
            show_json({"by": by, "rows": rows})
            return
        show_table(
            f"decisions by {by}" + (f" since {instant:%Y-%m-%d %H:%M} UTC" if instant else ""),
            (by, "requests", "ok", "failed", "cost", "of unknown cost", "p50", "p95", "near", "estimate error"),
            [_row(row, by) for row in rows],
        )


def _row(row: dict[str, Any], by: str) -> tuple[Any, ...]:
    near, error = row["near_share"], row["estimate_error"]
    return (
        row[by] or "(none)",
        row["requests"],
        row["ok"],
        row["failed"],
        usd(row["cost_usd"]),
        row["unknown_cost"],
        ms(row["p50_ms"]),
        ms(row["p95_ms"]),
        "" if near is None else f"{near:.0%}",
        "" if error is None else f"{error:.0%}",
    )


def _read(config: Path | None, since: datetime | None, by: str) -> list[dict[str, Any]]:
    settings, _ = configured(config)
    path = Path(settings.log.path)
    if not path.exists():
        raise LogError(f"There is no log {path.name} here yet: serve or run something first.")
    log = opened_log(settings)
    try:
        return log.reader().report(since, by)  # type: ignore[arg-type]  # click checked the choice
    finally:
        log.close()


def _ask(server: str, since: datetime | None, by: str) -> list[dict[str, Any]]:
    query = {"by": by} | ({"since": since.isoformat()} if since is not None else {})
    rows: list[dict[str, Any]] = get(server, f"/v1/analytics/summary?{urlencode(query)}")["rows"]
    return rows


def instant_of(text: str | None) -> datetime | None:
    """An instant, or an age before now; None for None.

    Raises:
        click.BadParameter: it is neither.
    """
    if text is None:
        return None
    age = re.fullmatch(r"(\d+)([mhd])", text)
    if age:
        return datetime.now(UTC) - timedelta(**{UNITS[age[2]]: int(age[1])})
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is neither an ISO 8601 instant nor an age like 24h.") from error
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
