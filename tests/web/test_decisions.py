"""The page of decisions: what comes is seen, what is sought is found, and one decision is explained to its end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import MINILM, Server
from tests.web import fakes
from tests.web.run import visiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.web.conftest import Visit

PAGE = 50


@pytest.fixture(scope="module")
def pretending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of fakes with more decisions than a page takes."""
    server = Server(tmp_path_factory.mktemp("decisions"), fakes.CONFIG)
    fakes.fill(server, 26)
    yield server
    server.stop()


@pytest.fixture
def looking(browser: Browser, pretending: Server) -> Iterator[Visit]:
    """A visit to it."""
    with visiting(browser, pretending) as visit:
        yield visit


def _rows(page: Page) -> int:
    return page.locator("tbody tr").count()


def test_what_comes_is_marked_as_new(looking: Visit) -> None:
    """Without a reload, beside what was there; while it is paused nothing moves."""
    page = looking.open("decisions")
    expect(page.get_by_role("heading", name="Live feed")).to_be_visible()
    expect(page.locator("tbody tr").first).to_be_visible()
    expect(page.locator("mark.new")).to_have_count(0)
    decision = fakes.ask(looking.server, fakes.SHAKY)

    expect(
        page.get_by_role("row")
        .filter(has=page.locator(f'a[href="#/decisions/{decision}"]'))
        .get_by_text("new", exact=True)
    ).to_be_visible()
    expect(page.get_by_text("1 new", exact=True)).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused.")).to_be_visible()
    looking.picture("decisions")
    assert [] == looking.unfit()


@pytest.mark.slow
def test_filters_and_pages(looking: Visit) -> None:
    """Each filter leaves only its own; they are kept while a decision is read, and go with one button."""
    page = looking.open("decisions")
    page.get_by_label("Status").select_option("error")
    expect(page.get_by_role("heading", name="Filters (1 in force)")).to_be_visible()
    expect(page.locator("tbody .status.ok")).to_have_count(0)
    expect(page.locator("tbody .status.error").first).to_be_visible()
    page.locator("tbody tr").first.get_by_role("link", name="Why").click()
    page.get_by_role("link", name="All decisions").click()
    expect(page.get_by_label("Status")).to_have_value("error")
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_label("Model").select_option(fakes.BOTH)
    expect(page.locator("tbody tr td:nth-child(3)").filter(has_not_text=fakes.BOTH)).to_have_count(0)
    page.get_by_label("Since").fill("2099-01-01T00:00:00")
    page.get_by_label("Since").blur()
    expect(page.get_by_text("No decision matches these filters.")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_role("heading", name="Older decisions, page 2")).to_be_visible()
    expect(page.locator("tbody tr").first).to_be_visible()
    page.get_by_role("button", name="Newer").click()

    expect(page.get_by_role("heading", name="Live feed")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(PAGE)


def test_one_decision_is_explained(looking: Visit) -> None:
    """One whose first candidate failed: why, the slate, the attempts in time, regret, its request, and all columns."""
    decision = fakes.ask(looking.server, fakes.SHAKY, routing={"order": ["flaky"], "session": "a session"})
    page = looking.open(f"decisions/{decision}")
    expect(page.get_by_role("heading", name="Why")).to_be_visible()
    expect(page.get_by_role("region", name="What was predicted of each candidate")).to_contain_text(
        f"steady:{fakes.SHAKY}"
    )
    expect(page.get_by_role("heading", name="In hindsight")).to_be_visible()
    expect(page.get_by_text("Regret, time")).to_be_visible()
    expect(page.get_by_text(str(decision)).first).to_be_visible()
    page.get_by_text("Attempts as a table").click()
    expect(page.get_by_role("region", name="Attempts in the order")).to_be_visible()
    looking.picture("decision")
    page.get_by_text("Show it").click()
    expect(page.get_by_role("region", name="Columns of the decision")).to_contain_text("UUIDv7")
    assert [] == looking.unfit()


@pytest.mark.slow
def test_an_answer_is_judged(looking: Visit) -> None:
    """Good, then bad, with the right answer; it is said what became of it, and it stands there afterwards."""
    decision = fakes.ask(looking.server, fakes.BOTH)
    page = looking.open(f"decisions/{decision}")
    page.get_by_role("button", name="Good").click()
    expect(page.get_by_text(re.compile("^Taken. The quality of"))).to_be_visible()
    expect(page.get_by_role("button", name="Good")).to_have_attribute("aria-pressed", "true")
    page.get_by_label("The right answer").fill(fakes.EVIL)
    page.get_by_role("button", name="Bad").click()
    expect(page.get_by_text(re.compile("^Your earlier judgement is replaced"))).to_be_visible()

    expect(page.get_by_role("button", name="Bad")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text(fakes.EVIL).first).to_be_visible()
    assert 0 == page.locator("img[src=x]").count()


@pytest.mark.slow
def test_failures_are_told_where_they_happen(looking: Visit) -> None:
    """No such decision, no answer to judge, a judgement that the server does not take, a feed that it cannot tell."""
    looking.expected += ["404", "500", "503"]
    page = looking.open("decisions/nobody")
    expect(page.get_by_role("alert")).to_contain_text("No decision 'nobody' in the log.")
    failed = fakes.ask(looking.server, fakes.BROKEN)
    looking.open(f"decisions/{failed}")
    expect(page.get_by_text("There is no answer to judge.")).to_be_visible()
    expect(page.get_by_role("note")).to_contain_text("RemoteError")
    page.route(
        "**/v1/feedback", lambda route: route.fulfill(status=503, json={"error": {"message": "The log is full."}})
    )
    looking.open(f"decisions/{fakes.ask(looking.server, fakes.BOTH)}")
    page.get_by_role("button", name="Good").click()
    expect(page.get_by_role("alert")).to_contain_text("The log is full.")
    page.route("**/v1/decisions?*", lambda route: route.fulfill(status=500, json={"error": {"message": fakes.EVIL}}))
    looking.open("decisions")

    expect(page.get_by_role("alert").first).to_contain_text(fakes.EVIL)
    page.unroute("**/v1/decisions?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("tbody tr").first).to_be_visible()


@pytest.mark.slow
def test_a_real_answer_is_explained(visit: Visit) -> None:
    """MiniLM's own, near, with what was predicted of it."""
    answer = visit.server.post("/v1/inference", {"model": MINILM, "task": "feature-extraction", "inputs": "hello"})
    page = visit.open(f"decisions/{answer.headers['x-nearfar-decision-id']}")

    expect(page.locator("p.summary")).to_contain_text(MINILM)
    expect(page.get_by_role("heading", name="Predicted against what happened")).to_be_visible()
    assert [] == visit.unfit()


@pytest.mark.slow
def test_on_a_phone_in_the_dark(looking: Visit) -> None:
    """Nothing is wider than the screen but what scrolls by itself."""
    looking.page.set_viewport_size({"width": 360, "height": 740})
    looking.page.emulate_media(color_scheme="dark")
    page = looking.open(f"decisions/{fakes.ask(looking.server, fakes.SHAKY)}")
    expect(page.get_by_role("heading", name="In hindsight")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    looking.picture("decision-phone")
    assert [] == looking.unfit()
