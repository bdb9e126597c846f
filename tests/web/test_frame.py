"""The frame around all pages: it is small, works by keyboard, and says when the server is away."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import MINILM

if TYPE_CHECKING:
    from playwright.sync_api import Response

    from tests.web.conftest import Visit

MOST_BYTES = 300_000
MOST_SHIFT, GOOD_SHIFT = 0.01, 0.1  # of the score that browsers call good below 0.1
PAGES = Path(str(resources.files("router").joinpath("web/pages")))
SHIFTS = """window.shifted = 0;
new PerformanceObserver((list) => { for (const { value } of list.getEntries()) window.shifted += value; })
    .observe({ type: "layout-shift", buffered: true });"""


def test_the_first_page_is_small_and_fit(visit: Visit) -> None:
    """All that it loads before anything is asked of it stays under 300 kB, and nobody is shut out."""
    sizes: list[int] = []
    visit.page.on("response", lambda response: sizes.append(int(response.headers.get("content-length", 0))))
    page = visit.open("")
    expect(page.get_by_role("heading", level=1)).to_be_visible()

    assert 0 < sum(sizes) < MOST_BYTES
    assert [] == visit.unfit()


def test_the_first_page_names_at_once_every_module_that_it_runs(visit: Visit) -> None:
    """Nothing is found out import by import: each link of such a chain is a wait."""
    scripts: set[str] = set()
    visit.page.on("request", lambda request: scripts.add(request.url) if request.resource_type == "script" else None)
    page = visit.open("")
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    named = page.evaluate("[...document.querySelectorAll('link[rel=modulepreload]')].map((link) => link.href)")

    assert len(named) == len(set(named)) > 10
    assert set() < scripts <= set(named)


def test_what_the_browser_holds_is_not_sent_again(visit: Visit) -> None:
    """It asks for each file whether there is another version."""
    answers: list[Response] = []
    visit.page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 -- Playwright marks it
    page = visit.open("")
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    page.wait_for_load_state("networkidle")
    answers.clear()
    page.reload()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    page.wait_for_load_state("networkidle")

    files = {answer.url: answer for answer in answers if "/ui/" in answer.url and not answer.from_service_worker}
    assert files
    assert 0 == sum(answer.request.sizes()["responseBodySize"] for answer in files.values())


def test_the_first_page_does_not_jump(visit: Visit) -> None:
    """Until all is there that it waits for, nothing moves that somebody may be about to click."""
    visit.page.add_init_script(SHIFTS)
    page = visit.open("")
    expect(page.get_by_label("Model").get_by_role("option").nth(1)).to_be_attached()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()

    assert page.evaluate("shifted") < MOST_SHIFT


@pytest.mark.parametrize("place", [page.stem for page in sorted(PAGES.glob("*.js"))])
def test_no_page_jumps_once_it_is_there(visit: Visit, place: str) -> None:
    """By what browsers call good, with answers in the log."""
    visit.page.add_init_script(SHIFTS)
    page = visit.open(place)
    page.wait_for_load_state("networkidle")
    expect(page.locator("main .busy")).to_have_count(0)

    assert page.evaluate("shifted") < GOOD_SHIFT


def test_a_decision_appears_in_the_feed(visit: Visit) -> None:
    """What somebody asks elsewhere is seen without a reload."""
    page = visit.open("decisions")
    visit.server.post("/v1/inference", {"model": MINILM, "task": "feature-extraction", "inputs": "hello"})

    expect(page.get_by_role("cell", name=MINILM).first).to_be_visible()
    visit.picture("decisions")
    assert [] == visit.unfit()
