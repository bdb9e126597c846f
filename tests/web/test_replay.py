"""The page of replay: what another policy would have cost and taken, why not to believe it, and a way out."""

from __future__ import annotations

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


@pytest.fixture(scope="module")
def pretending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of fakes that was asked some dozens of times."""
    server = Server(tmp_path_factory.mktemp("replay"), fakes.CONFIG)
    fakes.fill(server, 16)
    fakes.crowd(server, 320)  # with fewer no estimate is given
    yield server
    server.stop()


@pytest.fixture
def looking(browser: Browser, pretending: Server) -> Iterator[Visit]:
    """A visit to it."""
    with visiting(browser, pretending) as visit:
        yield visit


def test_a_policy_is_replayed(looking: Visit) -> None:
    """All policies can be chosen; there is a table for each that was replayed, and what speaks against believing it."""
    page = looking.open("replay")
    expect(page.get_by_label("Policy")).to_have_value("balanced")
    page.get_by_label("Weight of cost").fill("5")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("The replay is done.")).to_be_visible()
    page.get_by_label("Policy").select_option("cheapest")
    expect(page.get_by_label("Weight of cost")).to_have_count(0)
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("heading", name=re.compile(r"^cheapest \(\d+\)$"))).to_be_visible()

    for name in ("cheapest", "all-far", "oracle"):
        expect(page.get_by_role("region", name=f"What {name} would have cost and taken")).to_contain_text(
            "price per request"
        )
    price = page.get_by_role("region", name="What cheapest would").get_by_role("row").filter(has_text="price per")
    expect(price).to_contain_text(re.compile(r"\$[\d.]+ to \$[\d.]+"))
    expect(page.get_by_role("heading", name="Before you believe it")).to_be_visible()
    expect(page.get_by_role("region", name="What oracle would")).to_contain_text("No:")
    looking.picture("replay")
    assert [] == looking.unfit()
    assert set(looking.server.get("/v1/system").body["policies"]) == set(
        page.get_by_label("Policy").locator("option").all_inner_texts()
    )


@pytest.mark.slow
def test_a_window_without_decisions(looking: Visit) -> None:
    """It is said that there are none, and no figure is made up."""
    page = looking.open("replay")
    page.get_by_label("Compare with").uncheck()
    page.get_by_label("Since").fill("2099-01-01T00:00:00")
    page.get_by_label("Since").blur()
    page.get_by_role("button", name="Replay").click()

    expect(page.get_by_text("0 of 0 decisions were replayed")).to_be_visible()
    expect(page.get_by_text("no figure").first).to_be_visible()


@pytest.mark.slow
def test_it_can_be_cancelled(looking: Visit) -> None:
    """While it runs that is shown; cancelled, what one chose is still there."""
    looking.page.route("**/v1/replay", lambda _: None)  # never answered
    page = looking.open("replay")
    expect(page.get_by_label("Policy")).to_have_value("balanced")
    page.get_by_label("Policy").select_option("fastest")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("progressbar", name="Replay")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_text("Cancelled")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_label("Policy")).to_have_value("fastest")


@pytest.mark.slow
def test_a_refusal_is_told(looking: Visit) -> None:
    """In the server's words, with a way to try again."""
    looking.expected.append("503")
    looking.page.route(
        "**/v1/replay",
        lambda route: route.fulfill(status=503, json={"error": {"message": "Another replay is running here."}}),
    )
    page = looking.open("replay")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("alert")).to_contain_text("Another replay is running here.")
    page.unroute("**/v1/replay")
    page.get_by_role("button", name="Try again").click()

    expect(page.get_by_text("The replay is done.")).to_be_visible()


@pytest.mark.slow
def test_on_a_phone_in_the_dark(looking: Visit) -> None:
    """Nothing is wider than the screen but what scrolls by itself."""
    looking.page.set_viewport_size({"width": 360, "height": 740})
    looking.page.emulate_media(color_scheme="dark")
    page = looking.open("replay")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("The replay is done.")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    looking.picture("replay-phone")
    assert [] == looking.unfit()
