"""The page Models: models are loaded, fetched, added and removed, and two editors do not overwrite each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests import hub_peer
from tests.e2e.conftest import MINILM, Server
from tests.e2e.test_access import created
from tests.e2e.test_pull import CHAT, CONFIG
from tests.web.conftest import PATIENCE_MS
from tests.web.run import NASTY, give_key, visiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.web.conftest import Visit

SETTINGS = """
[[models]]
id = "lab/chat"
task = "text-generation"
  [[models.candidates]]
  backend = "local"
  source = "hub"
[[models]]
id = "lab/old"
task = "text-generation"
  [[models.candidates]]
  backend = "local"
  source = "hub"
[[models]]
id = "test/chat"
task = "text-generation"
description = "As the file has it"
  [[models.candidates]]
  backend = "fake"
  provider = "a"
  price = { input_per_1m_usd = 1.0 }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server beside a hub of its own, with a model that is not fetched yet and one whose weights it refuses."""
    folder = tmp_path_factory.mktemp("models")
    with hub_peer.running() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        hub.models = {"lab/chat": CHAT, "lab/old": {"config.json": CONFIG, "pytorch_model.bin": b"\x80\x02"}}
        card = {"pipeline_tag": "text-generation", "safetensors": {"parameters": {"F32": 250_000}, "total": 250_000}}
        hub.cards = {"lab/chat": card, "lab/old": {"pipeline_tag": "text-generation"}}
        running = Server(folder, SETTINGS)
        yield running
        running.stop()


@pytest.fixture
def seen(browser: Browser, server: Server) -> Iterator[Visit]:
    with visiting(browser, server) as visit:
        yield visit


def entry(server: Server, model: str) -> dict[str, Any] | None:
    models = server.get("/v1/catalog").body["models"]
    found: dict[str, Any] | None = next((one for one in models if one["id"] == model), None)
    return found


def add(page: Page, model: str, provider: str = "b") -> None:
    """Fill in the form for a model, and send it."""
    page.get_by_label(re.compile("^Id")).fill(model)
    page.get_by_label(re.compile("^Runs")).select_option("fake")
    page.get_by_label("Pretends to be").fill(provider)
    page.get_by_label("$ for a request").fill("0.25")
    page.get_by_role("button", name="Add the model").click()


def test_a_model_is_loaded_and_its_memory_freed(seen: Visit) -> None:
    """With how long it took; the row says what is so without a reload."""
    page = seen.open("models")
    row = page.get_by_role("row").filter(has_text=MINILM)
    row.get_by_role("button", name=f"Load {MINILM}").click()

    expect(page.get_by_text("is loaded: it took")).to_be_visible(timeout=PATIENCE_MS)
    expect(row.get_by_text("loaded", exact=True)).to_be_visible()
    seen.picture("models")
    assert [] == seen.unfit()
    row.get_by_role("button", name=f"Unload {MINILM}").click()
    expect(page.get_by_text("is out of memory")).to_be_visible()
    expect(row.get_by_text("cold", exact=True)).to_be_visible()


@pytest.mark.slow
def test_weights_are_fetched_with_their_progress(seen: Visit) -> None:
    """From the hub; what it refuses is told in words."""
    page = seen.open("models")
    page.get_by_role("button", name="Fetch lab/chat").click()
    expect(page.get_by_text("The weights of lab/chat are here.")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Fetch lab/old").click()

    expect(page.get_by_role("alert")).to_contain_text("pickled weights", timeout=PATIENCE_MS)
    assert [] == seen.unfit()


@pytest.mark.slow
def test_a_fetch_that_breaks_off_is_not_taken_for_a_success(seen: Visit) -> None:
    """The stream ends without its last event."""
    begun = 'event: progress\ndata: {"stage":"download","done":5,"total":10}\n\n'
    seen.page.route("**/v1/pulls", lambda route: route.fulfill(content_type="text/event-stream", body=begun))
    page = seen.open("models")
    page.get_by_role("button", name="Fetch lab/old").click()

    expect(page.get_by_role("alert")).to_contain_text("broke off")


def test_a_model_is_added_changed_and_removed(seen: Visit, server: Server) -> None:
    """Its description is text, whatever stands in it."""
    page = seen.open("models/add")
    add(page, "team/writer")
    expect(page.get_by_role("heading", name="team/writer")).to_be_visible()
    page.get_by_label("Description").fill(NASTY)
    page.get_by_label("$ for a request").fill("0.5")
    page.get_by_role("button", name="Save the changes").click()
    expect(page.get_by_text("team/writer is changed.")).to_be_visible()
    seen.picture("models-edit")
    assert [] == seen.unfit()
    changed = entry(server, "team/writer")
    page.get_by_role("link", name="All models").click()
    expect(page.get_by_text(NASTY)).to_be_visible()
    page.get_by_role("link", name="team/writer").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Remove it").click()

    expect(page.get_by_role("heading", name="Models", level=2)).to_be_visible()
    expect(page.get_by_role("link", name="team/writer")).to_have_count(0)
    assert changed is not None
    assert 0.5 == changed["entry"]["candidates"][0]["price"]["per_request_usd"]
    assert entry(server, "team/writer") is None


@pytest.mark.slow
def test_what_is_wrong_is_said_at_the_form(seen: Visit, server: Server) -> None:
    """And nothing that was typed is lost."""
    seen.expected += ["400", "409"]
    page = seen.open("models/add")
    page.get_by_label(re.compile("^Id")).fill("team/far")
    page.get_by_label("Far side").fill("nobody")
    page.get_by_role("button", name="Add the model").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown provider 'nobody'")
    assert "team/far" == page.get_by_label(re.compile("^Id")).input_value()

    add(page, "test/chat")
    expect(page.get_by_role("alert")).to_contain_text("exists already")
    expect(page.get_by_role("button", name="Save mine all the same")).to_have_count(0)
    assert entry(server, "team/far") is None


@pytest.mark.slow
def test_two_editors_do_not_overwrite_each_other(seen: Visit, server: Server) -> None:
    """Who was overtaken is told, keeps what was typed, and may look first or save all the same."""
    seen.expected.append("409")
    page = seen.open("models/edit/test%2Fchat")
    page.get_by_label("Description").fill("Mine")
    server.ask("PATCH", "/v1/models/test/chat", b'{"context_length": 4096}')
    page.get_by_role("button", name="Save the changes").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed, and what you wrote is still here")
    before = entry(server, "test/chat")
    page.get_by_role("button", name="Save mine all the same").click()
    expect(page.get_by_text("test/chat is changed.")).to_be_visible()
    after = entry(server, "test/chat")
    server.ask("DELETE", "/v1/models/test/chat")

    assert before is not None
    assert after is not None
    assert ("As the file has it", "Mine") == (before["entry"]["description"], after["entry"]["description"])
    assert 4096 == after["entry"]["context_length"]


@pytest.mark.slow
def test_a_model_of_the_file_is_disabled_and_enabled(seen: Visit, server: Server) -> None:
    """It cannot be removed, and that is said; what was changed is taken back."""
    page = seen.open("models/edit/lab%2Fold")
    expect(page.get_by_text("it can be disabled, not removed")).to_be_visible()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("lab/old is disabled")).to_be_visible()
    page.get_by_role("button", name="Take back what was changed").click()
    page.get_by_role("dialog").get_by_role("button", name="Take it back").click()

    expect(page.get_by_role("heading", name="Models", level=2)).to_be_visible()
    found = entry(server, "lab/old")
    assert found is not None
    assert found["enabled"]


@pytest.mark.slow
def test_an_alias_is_set_and_removed(seen: Visit) -> None:
    """Under a name of its own."""
    page = seen.open("models/aliases")
    page.get_by_role("button", name="Set an alias").click()
    page.get_by_label("Name", exact=True).fill("team")
    page.get_by_label("Models, one a line").fill("test/chat\n")
    page.get_by_role("button", name="Save the alias").click()
    expect(page.get_by_text("team is set.")).to_be_visible()
    seen.picture("models-aliases")
    assert [] == seen.unfit()
    page.get_by_role("button", name="Remove team").click()
    page.get_by_role("dialog").get_by_role("button", name="Do it").click()

    expect(page.get_by_role("cell", name="team", exact=True)).to_have_count(0)


@pytest.mark.slow
def test_routes_are_added_moved_and_given_back(seen: Visit) -> None:
    """Their order counts; a rollback is in the history."""
    page = seen.open("models/routes")
    for name in ("first", "second"):
        page.get_by_role("button", name="Add a route").click()
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Takes the tags, one a line").fill(name)
        page.get_by_label("Gives the side").select_option("fake")
        page.get_by_role("button", name="Save the route").click()
        expect(page.get_by_role("cell", name=name, exact=True)).to_be_visible()
    page.get_by_role("button", name="Move second up").click()
    expect(page.get_by_text("second is number 1 now.")).to_be_visible()
    seen.picture("models-routes")
    assert [] == seen.unfit()
    page.get_by_role("button", name="Take the file's routes again").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget them").click()
    expect(page.get_by_text("No route")).to_be_visible()

    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("took the file's routes").first).to_be_visible()


@pytest.mark.slow
def test_who_is_no_admin_sees_the_models_and_what_is_needed(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No button that would be refused."""
    folder = tmp_path_factory.mktemp("models-keys")
    (folder / "nearfar.toml").write_text('[auth]\nmode = "keys"\n', encoding="utf-8")
    secret = created(folder, "reader", "--scope", "read")
    server = Server(folder, '[auth]\nmode = "keys"\n')
    try:
        with visiting(browser, server, "401", "403") as visit:
            page = visit.open("models")
            give_key(page, secret)

            expect(page.get_by_text("need a key with the scope admin")).to_be_visible()
            expect(page.get_by_role("row").filter(has_text=MINILM)).to_be_visible()
            expect(page.get_by_role("button", name=f"Load {MINILM}")).to_have_count(0)
    finally:
        server.stop()


@pytest.mark.slow
def test_it_fits_a_phone_in_the_dark(seen: Visit) -> None:
    """Nothing sticks out at 360 pixels but what scrolls by itself."""
    seen.page.set_viewport_size({"width": 360, "height": 740})
    seen.page.emulate_media(color_scheme="dark")
    page = seen.open("models/edit/test%2Fchat")
    expect(page.get_by_role("button", name="Save the changes")).to_be_visible()

    seen.picture("models-phone")
    assert 360 >= page.evaluate("document.documentElement.scrollWidth")
    assert [] == seen.unfit()
