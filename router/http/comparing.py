"""What a comparison is handed of the house."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from router.compare.job import Parts
from router.http.parameters import payload_for
from router.privacy.keyed import Hasher

if TYPE_CHECKING:
    from router.http.services import Services


async def parts_of(house: Services) -> Parts:
    """The parts that it asks through and writes with.

    Raises:
        LogError: the key beside the log cannot be read.
    """
    return Parts(
        dispatcher=house.dispatcher,
        finder=house.finder,
        backends=house.backends,
        log=house.log,
        hasher=await asyncio.to_thread(Hasher.beside, house.log.path),
        probe=house.probe,
        payloads=partial(payload_for, max_items=house.settings.server.max_batch_items),
        traced=house.traces is not None,
    )
