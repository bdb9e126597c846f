"""Models that nobody configured: looked up in the router's listing, or on the hub, where either may be used."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from backends.errors import BackendError, ModelNotFound
from backends.remote import hub
from backends.remote.provider import ROUTER
from backends.types import Task
from router.catalog import KNOWN_TASKS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.catalog import Catalog
    from router.far_side import FarSide
    from router.sections import ModelEntry, Settings

logger = logging.getLogger("nearfar")

HUB_TIMEOUT_S = 10.0


def discoverer(settings: Settings, far: FarSide, catalog: Catalog) -> Callable[[str], Awaitable[ModelEntry | None]]:
    """How a model that the catalogue does not list is looked up: in the router's listing, else on the hub.

    Both only where this router may use them. Where models may be downloaded the hub goes first: it knows their sizes.
    """

    async def discover(model_id: str) -> ModelEntry | None:
        listed = far.routed() and far.listings.model(ROUTER, model_id) is not None
        if listed and not settings.local.downloads:
            return catalog.discover(model_id, Task.TEXT_GENERATION, None)
        allowed = not far.offline and (far.keys.hub_token is not None or settings.local.downloads)
        if not allowed or model_id.count("/") != 1:
            return None
        try:
            card = await asyncio.to_thread(hub.model_info, model_id, far.keys.hub_token, HUB_TIMEOUT_S)
        except ModelNotFound:
            return None
        except BackendError as error:
            logger.warning("the hub could not be asked for a model: %s", type(error).__name__)
            return catalog.discover(model_id, Task.TEXT_GENERATION, None) if listed else None
        if card.task not in KNOWN_TASKS:
            return None
        return catalog.discover(model_id, card.task, card.parameters, far=listed or card.served is not False)

    return discover
