"""Writing down what admins do through the API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Request

from router.access.audit import entry
from router.errors import RouterError
from router.http.services import Services, identity, services
from router.identity import Identity

NOBODY_ASKED = "(nobody asked: loopback)"


async def audit(house: Services, who: Identity, action: str, subject: str, *, result: str = "ok") -> None:
    """Write down that `who` did `action` (such as `keys.create`) to `subject`. Never give it a secret.

    Raises:
        LogError: it cannot be written.
    """
    line = entry(who.tenant or NOBODY_ASKED, action, subject, "http", result)
    await asyncio.to_thread(house.access.audit.add, line)


@asynccontextmanager
async def audited(request: Request[Any, Any, Any], action: str, subject: str) -> AsyncIterator[None]:
    """Write down what happens inside, with how it ended: `ok`, or the name of the error of ours that came out."""
    house, who = services(request), identity(request)
    try:
        yield
    except RouterError as error:
        await audit(house, who, action, subject, result=type(error).__name__)
        raise
    await audit(house, who, action, subject)
