"""`nearfar dashboard`: the Grafana dashboard of a server's metrics."""

from __future__ import annotations

from importlib import resources

import click


@click.command()
def dashboard() -> None:
    """Print a Grafana dashboard for `/metrics`, as JSON: import it there, and choose the Prometheus that scrapes it."""
    click.echo(resources.files("router.telemetry").joinpath("grafana-dashboard.json").read_text("utf-8"), nl=False)
