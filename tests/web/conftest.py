"""A real Chromium before a real server: what people do on the pages, and what must never happen there.

Each module has a browser of its own, closed with it: Playwright keeps an event loop running meanwhile, beside which
no other test's could run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from playwright.sync_api import Error, expect, sync_playwright

from tests.e2e.conftest import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
PICTURES = Path(__file__).parent / "pictures"  # of every page as its test left it; not in git
AXE = Path(__file__).parent.parent / "clients/js/node_modules/axe-core/axe.min.js"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
FOUND = """() => axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => violations
    .filter(({impact}) => impact === "serious" || impact === "critical")
    .map(({id, nodes}) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`))"""
HEARD = """document.addEventListener("securitypolicyviolation",
    (e) => console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));"""


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    """What a module's browser is started with beside the rest: for a module to say."""
    return ()


@pytest.fixture(scope="module")
def browser(flags: tuple[str, ...]) -> Iterator[Browser]:
    """Chromium without a window: the system's, or the one that Playwright installed."""
    with sync_playwright() as playwright:
        own = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if own is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("there is no Chromium here: make .venv/.chromium says why")
        extra = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
        opened = playwright.chromium.launch(executable_path=own, args=[*QUIET, *extra, *flags], env=dict(os.environ))
        yield opened
        opened.close()
        Visit.under_way.clear()  # those that a failing test left open


class Visit:
    """One page in a fresh profile, and what it reported."""

    under_way: ClassVar[list[Visit]] = []

    def __init__(self, browser: Browser, server: Server) -> None:
        self.server = server
        self.told: list[str] = []  # by the page itself: errors, and what its policy forbade
        self.foreign: list[str] = []  # addresses asked for beyond the server
        self.expected: list[str] = []  # parts of errors that a test brings about
        self.context = browser.new_context(permissions=["microphone"], viewport={"width": 1280, "height": 900})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.add_init_script(HEARD)
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("console", lambda said: self.told.append(said.text) if said.type == "error" else None)
        self.page.on("request", self._asked)
        self.under_way.append(self)

    def open(self, place: str) -> Page:
        """Go to `#/place`."""
        self.page.goto(f"{self.server.url}/#/{place}")
        return self.page

    def unfit(self) -> list[str]:
        """The serious faults of accessibility on the page as it is now."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[str] = self.page.evaluate(FOUND)
        return found

    def picture(self, name: str) -> None:
        """Keep how it looks."""
        PICTURES.mkdir(exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    def close(self) -> None:
        """Close it, and say what it must not have done."""
        self.under_way.remove(self)
        self.context.close()
        told = [said for said in self.told if not any(part in said for part in self.expected)]

        assert [] == told
        assert [] == self.foreign

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.server.url, f"blob:{self.server.url}", "data:")):
            self.foreign.append(request.url)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Of a test that fails, how the pages look at that moment is kept too."""
    report = yield
    if report.failed and call.when == "call":
        for number, visit in enumerate(Visit.under_way):
            with contextlib.suppress(Error):  # the browser is gone: the test's own failure says why
                visit.picture("-".join(["failed", *re.findall(r"\w+", item.name), str(number)]))
    return report


@pytest.fixture
def visit(browser: Browser, near: Server) -> Iterator[Visit]:
    """A visit to the server with the built-in models; what the page did is looked at when it ends."""
    opened = Visit(browser, near)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with the built-in catalogue."""
    server = Server(tmp_path_factory.mktemp("web"))
    yield server
    server.stop()
