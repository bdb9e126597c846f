"""What holds of every page: it is reached by keyboard alone, fits a phone, and shuts nobody out, dark or light.

The pages are those that the frame's navigation names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.web.conftest import Visit

WEB = Path(__file__).parent.parent.parent / "router" / "web"
LISTED = re.findall(r'name: "([a-z-]+)"', (WEB / "pages.js").read_text(encoding="utf-8"))
NAMES = [name for name in LISTED if (WEB / f"pages/{name}.js").exists()]
PHONE = {"width": 360, "height": 740}
MOST_TABS = 40
WIDE = """() => [...document.querySelectorAll("main *")].filter((each) => !each.closest(".scroll, nav, .said")
    && each.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map((each) => each.outerHTML.slice(0, 200))"""


def settled(page: Page) -> None:
    """Wait until the page is there and nothing of it is on its way."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("main > :not(h1)").first).to_be_visible()
    expect(page.locator(".busy")).to_have_count(0)


def test_every_listed_page_exists() -> None:
    """The navigation leads nowhere else."""
    assert NAMES == LISTED


def test_all_pages_are_reached_by_keyboard_alone(visit: Visit) -> None:
    """The skip link is first and leads into the page; Tab and Enter go through the navigation, and focus follows."""
    page = visit.open(NAMES[0])
    settled(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    shown = [(link.get_attribute("href") or "").removeprefix("#/") for link in links.all()]
    assert LISTED == shown
    for name in NAMES:
        page.reload()
        link = page.locator(f'nav a[href="#/{name}"]')
        expect(link).to_be_visible()
        for _ in range(MOST_TABS):
            page.keyboard.press("Tab")
            if link.evaluate("(each) => each === document.activeElement"):
                break
        expect(link).to_be_focused()
        page.keyboard.press("Enter")
        expect(link).to_have_attribute("aria-current", "page")
        settled(page)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_a_phone_and_everybody(visit: Visit, name: str) -> None:
    """At 360 pixels one sees where one is, and the document is no wider; axe finds nothing serious, light or dark."""
    page = visit.page
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a TypedDict of its own
    visit.open(name)
    settled(page)

    expect(page.locator(".head [aria-current]")).to_be_in_viewport(
        ratio=0.9
    )  # the row of pages is wider than the screen
    assert [] == page.evaluate(WIDE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for theme in ("light", "dark"):
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        assert [] == visit.unfit(), theme
