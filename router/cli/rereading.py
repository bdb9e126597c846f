"""How `nearfar serve` reads its settings: at its start and ever after in the same way, in every process of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from router.cli.console import loaded
from router.workers.sharing import check

if TYPE_CHECKING:
    from router.sections import Settings


class Reading(Struct, frozen=True):
    """What the command line said, which goes before file and environment. It can be sent to other processes."""

    config: Path | None
    offline: bool
    server: dict[str, Any]

    def __call__(self) -> Settings:
        """Read them.

        Raises:
            SettingsError: they are broken, or several workers could not serve them.
        """
        settings = self.over(loaded(self.config, offline=self.offline))
        check(settings)
        return settings

    def over(self, settings: Settings) -> Settings:
        """Settings that were read, under what the command line says of the server."""
        return replace(settings, server=replace(settings.server, **self.server))
