"""Litestar without what it brings for others: a server's start and its memory are the better for it."""

from typing import Any, Self

from litestar import Litestar
from litestar.events import BaseEventEmitterBackend
from litestar.plugins import PluginProtocol


class Silent(BaseEventEmitterBackend):
    """Emits nothing. Nobody listens here, and the usual emitter keeps a task and a library for those who do."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def emit(self, event_id: str, *_: Any, **__: Any) -> None:
        """Refuse to.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"nobody hears of {event_id!r}")


class Application(Litestar):
    """Litestar with the plugins that it is given, and no others."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        """Those of pydantic and attrs take a quarter of a start where these are installed; no type here is theirs."""
        return plugins
