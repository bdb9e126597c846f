"""What tests of the pages share: visits to servers of their own, and the key that such a server asks for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.web.conftest import Visit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.e2e.conftest import Server

NASTY = "<img src=x onerror=alert(1)>"


@contextlib.contextmanager
def visiting(browser: Browser, server: Server, *expected: str) -> Iterator[Visit]:
    """A visit to a server; `expected` are parts of errors that it brings about."""
    visit = Visit(browser, server)
    visit.expected += expected
    yield visit
    visit.close()


def give_key(page: Page, secret: str) -> None:
    """Type a key where the frame asks for it."""
    page.get_by_label("This server asks for a key or token").fill(secret)
    page.get_by_role("button", name="Use it in this tab").click()
