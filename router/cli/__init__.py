"""The command `nearfar`: thin commands over the same parts that the HTTP API uses."""

import click

import router
from router.cli.batch import batch
from router.cli.calibrate import calibrate
from router.cli.catalogue import aliases, routes
from router.cli.compare import compare
from router.cli.console import sealed
from router.cli.dashboard import dashboard
from router.cli.doctor import doctor
from router.cli.explain import explain
from router.cli.export import export
from router.cli.infer import route, run
from router.cli.intents import intents
from router.cli.keys import keys
from router.cli.models import models
from router.cli.replay import replay
from router.cli.report import report
from router.cli.serve import serve
from router.settings import tame_libraries


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(router.__version__, prog_name="nearfar")
@click.option(
    "--offline",
    is_flag=True,
    expose_value=False,
    envvar="NEARFAR_ROUTING__OFFLINE",
    callback=sealed,
    help="Nothing may leave this machine, whatever the command.",
)
def main() -> None:
    """Decide near (this machine) or far (a remote API) for each inference request, and prove it was right."""
    tame_libraries()


for command in (
    serve, run, route, models, aliases, routes, intents, batch, keys, calibrate, doctor, report, explain, replay,
    export, dashboard, compare,
):  # fmt: skip
    main.add_command(command)
