"""The command `nearfar`: thin commands over the same parts that the HTTP API uses."""

from importlib import import_module

import click

import router
from router.cli.console import sealed
from router.settings import tame_libraries

COMMANDS = {
    "aliases": "catalogue",
    "batch": "batch",
    "calibrate": "calibrate",
    "compare": "compare",
    "dashboard": "dashboard",
    "doctor": "doctor",
    "explain": "explain",
    "export": "export",
    "intents": "intents",
    "keys": "keys",
    "log": "log",
    "models": "models",
    "replay": "replay",
    "report": "report",
    "route": "infer",
    "routes": "catalogue",
    "run": "infer",
    "serve": "serve",
    "state": "state",
}
"""The module of each command, which is imported when somebody asks for it: no start waits for the others."""


class Commands(click.Group):
    """The commands by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Their names, in alphabetical order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- likewise
        """The command of this name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"router.cli.{COMMANDS[cmd_name]}"), cmd_name)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
