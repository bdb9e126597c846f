"""The dashboard: every figure is the API's own, for the range that is chosen, and one looks closer by dragging."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Server
from tests.web import fakes
from tests.web.run import visiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from tests.web.conftest import Visit

SECTIONS = (
    "Summary",
    "Over time",
    "Prediction coverage",
    "Savings",
    "Budget burn",
    "Top models",
    "Regret",
    "Break-even",
    "Any question",
)


@pytest.fixture(scope="module")
def pretending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of fakes that was asked some dozens of times."""
    server = Server(tmp_path_factory.mktemp("dashboard"), fakes.CONFIG)
    fakes.fill(server, 16)
    yield server
    server.stop()


@pytest.fixture
def looking(browser: Browser, pretending: Server) -> Iterator[Visit]:
    """A visit to it."""
    with visiting(browser, pretending) as visit:
        yield visit


def test_the_figures_are_the_apis(looking: Visit) -> None:
    """Requests and the shares of near and far; each section has its heading, and each chart its table."""
    page = looking.open("dashboard")
    for name in SECTIONS:
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    rows = looking.server.get("/v1/analytics/summary").body["rows"]
    total, ok = sum(row["requests"] for row in rows), sum(row["ok"] for row in rows)
    near = round(sum((row["near_share"] or 0) * row["ok"] for row in rows))
    share = math.floor(100 * near / ok + 0.5)  # halves go up in the page
    tiles = page.locator(".tiles")
    expect(tiles).to_contain_text(f"Requests{total}")
    expect(tiles).to_contain_text(f"Answered{ok}")
    expect(page.locator(".legend")).to_contain_text(f"near {share} %")
    expect(page.locator(".legend")).to_contain_text("browser 0 %")
    expect(page.locator("figure canvas").first).to_be_visible()
    charts = page.locator("figure.chart")
    for n in range(charts.count()):
        charts.nth(n).get_by_text("As a table").click()
    expect(page.get_by_role("region", name="Requests", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="What deciding saved")).to_contain_text("all-far")
    expect(page.get_by_role("meter")).to_be_visible()
    expect(page.get_by_role("region", name="Models and who served them")).to_contain_text(f"steady:{fakes.SHAKY}")
    looking.picture("dashboard")
    assert [] == looking.unfit()


def test_dragging_looks_closer_and_there_is_a_way_back(looking: Visit) -> None:
    """What was dragged over is the range from then on; by hand the same; back is where one was."""
    page = looking.open("dashboard")
    with page.expect_response("**/v1/analytics/timeseries*"):  # until then there is the chart of the day
        page.get_by_role("region", name="Range of time").locator("select").select_option("hour")
    expect(page.locator(".busy")).to_have_count(0)  # what is above it moves it no more
    chart = page.locator("figure.chart").first.locator(".u-over")
    expect(chart).to_be_visible()
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60, steps=5)
    page.mouse.up()
    expect(page.get_by_role("region", name="Range of time").locator("select")).to_have_value("custom")
    expect(page.get_by_text(re.compile("^From .* to .*"))).to_be_visible()
    page.get_by_role("button", name="Zoom back").click()
    expect(page.get_by_role("region", name="Range of time").locator("select")).to_have_value("hour")
    page.get_by_label("From", exact=True).fill("2020-01-01T00:00:00")
    page.get_by_label("To", exact=True).fill("2020-01-02T00:00:00")
    page.get_by_role("button", name="Look there").click()

    expect(page.get_by_text("Nobody answered in this range.")).to_be_visible()
    expect(page.locator("figure.chart > .empty").first).to_be_visible()
    page.get_by_role("button", name="Zoom back").click()
    expect(page.get_by_role("region", name="Range of time").locator("select")).to_have_value("hour")


@pytest.mark.slow
def test_any_question_of_the_api(looking: Visit) -> None:
    """Chosen with what it is grouped by; its columns are explained."""
    page = looking.open("dashboard")
    page.get_by_text("Ask another way").click()
    page.get_by_role("region", name="Any question", exact=True).locator("select").nth(0).select_option("regret")
    page.get_by_role("region", name="Any question", exact=True).locator("select").nth(1).select_option("model")

    expect(page.get_by_role("region", name="The answer to “regret”")).to_contain_text(fakes.BOTH)
    page.get_by_text("What its columns mean").click()
    expect(page.get_by_text("Answered decisions whose slate is known", exact=False)).to_be_visible()


@pytest.mark.slow
def test_one_question_that_fails_leaves_the_others(looking: Visit) -> None:
    """It is told in its section, with a way to try again."""
    looking.expected.append("503")
    looking.page.route(
        "**/v1/analytics/savings*",
        lambda route: route.fulfill(status=503, json={"error": {"message": "savings ran longer than 30 s."}}),
    )
    page = looking.open("dashboard")
    section = page.get_by_role("region", name="Savings", exact=True)
    expect(section.get_by_role("alert")).to_contain_text("savings ran longer than 30 s.")
    expect(page.locator(".tiles")).to_be_visible()
    looking.page.unroute("**/v1/analytics/savings*")
    section.get_by_role("button", name="Try again").click()

    expect(section.get_by_role("region", name="What deciding saved")).to_contain_text("all-near")


@pytest.mark.slow
def test_on_a_phone_in_the_dark(looking: Visit) -> None:
    """Nothing is wider than the screen but what scrolls by itself."""
    looking.page.set_viewport_size({"width": 360, "height": 740})
    looking.page.emulate_media(color_scheme="dark")
    page = looking.open("dashboard")
    expect(page.locator("figure canvas").first).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    looking.picture("dashboard-phone")
    assert [] == looking.unfit()
