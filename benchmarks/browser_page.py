"""A page of Nearfar's in a real Chromium without a window: opened fresh again and again; what came over the wire."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Playwright, Request

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PATIENCE_MS = 300_000
USABLE = """globalThis.usable = new Promise((then) => {
    const look = () => {
        const box = document.getElementById("chat-message");
        const there = box && !box.disabled && box.getClientRects().length > 0;
        requestAnimationFrame(there ? () => then(performance.now()) : look);
    };
    requestAnimationFrame(look);
});"""  # milliseconds from the navigation's start until the box to write into was drawn, and takes words


class Bytes:
    """What came over the wire since the last `taken`: what a service worker answered from its cache did not."""

    def __init__(self, context: BrowserContext) -> None:
        self._finished: list[Request] = []
        context.on("requestfinished", lambda request: self._finished.append(request))  # noqa: PLW0108 -- Playwright marks it

    def taken(self) -> dict[str, int]:
        """How many answers, and the bytes of their bodies as they arrived."""
        finished = list(self._finished)
        self._finished.clear()
        answers = [(request, request.response()) for request in finished]
        fetched = [request for request, answer in answers if answer is not None and not answer.from_service_worker]
        return {"requests": len(fetched), "bytes": sum(request.sizes()["responseBodySize"] for request in fetched)}


def chromium(playwright: Playwright) -> Browser:
    """The system's, or the one that Playwright installed."""
    own = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return playwright.chromium.launch(executable_path=own, args=list(QUIET))


def fresh_loads(browser: Browser, url: str, loads: int) -> list[dict[str, Any]]:
    """The first page in a profile that never saw it, `loads` times; one before them is not counted."""
    return [_fresh_load(browser, url) for _ in range(loads + 1)][1:]


def _fresh_load(browser: Browser, url: str) -> dict[str, Any]:
    context = browser.new_context()
    moved = Bytes(context)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(USABLE)
    page.goto(url)
    usable_ms = page.evaluate("() => usable")
    page.wait_for_load_state("networkidle")  # what it asks for once it is usable counts, too
    told = {"usable_ms": usable_ms, **moved.taken()}
    context.close()
    return told
