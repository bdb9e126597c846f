"""The page System Health: what is loaded, who failed, the hub's token, and what a key without admin is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Server
from tests.web.run import NASTY, visiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Route

    from tests.web.conftest import Visit

CONFIG = """
routing.offline = true
[[models]]
id = "test/chat"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "broken"
  script = { fail = "RemoteError", near = true }
  price = { per_request_usd = 0.001 }
[[budgets]]
limit_usd = 2.0
"""


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("system"), CONFIG)
    yield server
    server.stop()


def test_what_the_server_is_like_is_seen(visit: Visit) -> None:
    """Machine, log and money, with the link to the hub's settings, which nobody follows."""
    page = visit.open("system")

    expect(page.get_by_role("meter", name="Memory taken")).to_be_visible()
    expect(page.get_by_role("region", name="Decision log")).to_contain_text("Rows committed")
    expect(page.get_by_role("link", name="The hub's token settings")).to_have_attribute(
        "href", "https://huggingface.co/settings/tokens"
    )
    visit.picture("system")
    assert [] == visit.unfit()


@pytest.mark.slow
def test_the_token_is_asked_about_again(browser: Browser, offline: Server) -> None:
    """Offline nobody is asked, and that is said."""
    with visiting(browser, offline) as visit:
        page = visit.open("system")
        page.get_by_role("button", name="Ask the hub now").click()

        expect(page.get_by_role("region", name="Hub token").get_by_role("status")).to_contain_text("Asked:")
        expect(page.get_by_text("sealed: nothing leaves this machine").first).to_be_visible()
        expect(page.get_by_role("meter", name="Budget global, each day")).to_be_visible()


@pytest.mark.slow
def test_who_failed_appears_while_the_page_is_open(browser: Browser, offline: Server) -> None:
    """Breakers and problems are refreshed by themselves."""
    with visiting(browser, offline) as visit:
        page = visit.open("system")
        expect(page.get_by_role("region", name="Breakers", exact=True)).to_be_visible()
        ask = {"model": "test/chat", "task": "text-generation", "inputs": "hello"}
        statuses = [offline.post("/v1/inference", ask).status for _ in range(4)]

        assert 502 == statuses[0]

        expect(page.get_by_role("cell", name="broken:test/chat").first).to_be_visible()
        expect(page.get_by_role("cell", name="open", exact=True).first).to_be_visible()


@pytest.mark.slow
def test_a_problem_is_text_and_never_markup(visit: Visit) -> None:
    """Whatever a far side wrote into it."""

    def worse(route: Route) -> None:
        told = route.fetch().json()
        route.fulfill(json={**told, "health": "error", "problems": [{"level": "error", "message": NASTY}]})

    visit.page.route("**/v1/system", worse)
    page = visit.open("system")

    expect(page.get_by_text(NASTY)).to_be_visible()
    expect(page.get_by_text("Something does not work.")).to_be_visible()


def test_a_server_error_is_shown_and_tried_again(visit: Visit) -> None:
    """In words, where the figures would be."""
    visit.expected.append("500")
    failing = {"on": True}
    visit.page.route(
        "**/v1/system",
        lambda route: (
            route.fulfill(status=500, json={"error": {"message": "The log is gone."}})
            if failing["on"]
            else route.continue_()
        ),
    )
    page = visit.open("system")
    expect(page.get_by_role("alert")).to_contain_text("The log is gone.")
    failing["on"] = False
    page.get_by_role("button", name="Try again").click()

    expect(page.get_by_role("meter", name="Memory taken")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.slow
def test_it_fits_a_phone_in_the_dark(visit: Visit) -> None:
    """Nothing sticks out at 360 pixels."""
    visit.page.set_viewport_size({"width": 360, "height": 740})
    visit.page.emulate_media(color_scheme="dark")
    page = visit.open("system")
    expect(page.get_by_role("meter", name="Memory taken")).to_be_visible()

    visit.picture("system-phone")
    assert 360 >= page.evaluate("document.documentElement.scrollWidth")
    assert [] == visit.unfit()
