"""Images: a prompt drawn step by step, kept, cancelled and refused, with a real diffusion model and with slow fakes."""

from __future__ import annotations

import io
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Server
from tests.e2e.media import IMAGE, SHAPES
from tests.web.run import visiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

    from tests.web.conftest import Visit

PROMPT = "a red circle on a blue background"
FAKES = """
[[models]]
id = "test/slow"
task = "text-to-image"
  [[models.candidates]]
  backend = "fake"
  script = { tokens = 1000, per_token_ms = 50 }
  price = { per_request_usd = 0.0 }
[[models]]
id = "test/broken"
task = "text-to-image"
  [[models.candidates]]
  backend = "fake"
  script = { tokens = 6, fail_after_tokens = 3 }
  price = { per_request_usd = 0.0 }
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The built-in models, one that takes its time and one that breaks."""
    server = Server(tmp_path_factory.mktemp("studio"), FAKES)
    yield server
    server.stop()


@pytest.fixture
def visit(browser: Browser, studio: Server) -> Iterator[Visit]:
    """A visit to the studio."""
    with visiting(browser, studio) as opened:
        yield opened


def draw(page: Page, model: str, prompt: str = PROMPT, **figures: int) -> None:
    page.get_by_label("Prompt", exact=False).first.fill(prompt)
    page.get_by_role("combobox", name="Model").select_option(model)
    for label, figure in figures.items():
        page.get_by_label(label, exact=True).fill(str(figure))
    page.get_by_role("button", name="Draw").click()


def test_a_prompt_is_drawn_kept_and_taken_home(visit: Visit) -> None:
    """With its seed, time and cost; it is still there after a look at its decision, and its file is the picture."""
    page = visit.open("images")
    draw(page, SHAPES, Steps=12, Seed=3)
    image = page.get_by_role("img", name=PROMPT)
    expect(image).to_be_visible()
    card = page.get_by_role("listitem").filter(has=image)
    expect(card).to_contain_text("Seed 3 · 12 steps")
    expect(card).to_contain_text(re.compile(r"near.*nearfar/shapes-64.* m?s.*\$"))
    expect(page.get_by_role("status").filter(has_text="Drawn in")).to_be_visible()
    visit.picture("images")
    assert [] == visit.unfit()

    card.get_by_role("link", name="why?").click()
    expect(page).to_have_url(re.compile(r"#/decisions/."))
    page.go_back()
    expect(image).to_be_visible()

    name, file = taken(page, card, "Download")
    assert name == "nearfar-3.png"
    assert is_red_on_blue(file)


def taken(page: Page, card: Locator, link: str) -> tuple[str, bytes]:
    """The name and the content of the file behind a link."""
    with page.expect_download() as begun:
        card.get_by_role("link", name=link, exact=True).click()
    return begun.value.suggested_filename, Path(begun.value.path()).read_bytes()


def is_red_on_blue(png: bytes) -> bool:
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    (red, _, blue), (edge_red, _, edge_blue) = image.getpixel((32, 32)), image.getpixel((2, 2))
    return red > 2 * max(blue, 1) and edge_blue > 2 * max(edge_red, 1)


@pytest.mark.slow
def test_steps_are_seen_and_cancelled_between(visit: Visit) -> None:
    """The page counts along, also when one comes back to it; after Cancel the server stops, and its log says so."""
    page = visit.open("images")
    draw(page, "test/slow")
    expect(page.get_by_role("progressbar", name="Steps drawn")).to_be_visible()
    expect(page.get_by_text(re.compile(r"Step \d+ of 1000"))).to_be_visible()
    page.get_by_role("link", name="Decisions").click()
    expect(page.get_by_role("heading", name="Decisions")).to_be_visible()
    page.get_by_role("link", name="Images").click()
    expect(page.get_by_text(re.compile(r"Step \d+ of 1000"))).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text(re.compile(r"Cancelled at step \d+ of 1000; there is no picture"))).to_be_visible()
    link = page.get_by_role("link", name="Its decision").get_attribute("href") or ""
    asked = f"select status from decisions where decision_id = '{link.rpartition('/')[2]}' and status <> 'open'"
    while not (ended := visit.server.sql(asked)):
        assert visit.server.process.poll() is None

    assert [["cancelled"]] == ended
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("None yet.")).to_be_visible()


@pytest.mark.slow
def test_several_pictures_of_one_wish(visit: Visit) -> None:
    """Each has its seed and its file, cost and time are of all; one of them is drawn again alone, and is the same."""
    page = visit.open("images")
    draw(page, SHAPES, Steps=8, Seed=3, Pictures=3)
    card = page.get_by_role("listitem").filter(has=page.get_by_role("img", name=f"{PROMPT}, picture 3"))
    expect(card.get_by_role("img")).to_have_count(3)
    expect(page.get_by_role("status").filter(has_text="3 pictures. Drawn in")).to_be_visible()
    for seed in (3, 4, 5):
        expect(card).to_contain_text(f"Seed {seed} · 8 steps")
    expect(card).to_contain_text(re.compile(r"For all 3; on average .* m?s and \$[\d.]+ a picture"))
    second = taken(page, card, "Download picture 2")
    visit.picture("images-several")
    assert [] == visit.unfit()

    card.get_by_role("button", name="Use again picture 2").click()
    expect(page.get_by_label("Seed")).to_have_value("4")
    expect(page.get_by_label("Pictures", exact=True)).to_have_value("")
    page.get_by_role("button", name="Draw").click()
    alone = page.get_by_role("listitem").filter(has=page.get_by_role("img", name=PROMPT, exact=True))
    assert ("nearfar-4.png", second[1]) == taken(page, alone, "Download")
    assert second[0] == "nearfar-4.png"


@pytest.mark.slow
def test_several_pictures_are_cancelled_as_one(visit: Visit) -> None:
    """Their steps are counted together, and it is said which picture is being drawn."""
    page = visit.open("images")
    draw(page, "test/slow", Steps=500, Pictures=2)
    expect(page.get_by_text(re.compile(r"Step \d+ of 1000 · picture 1 of 2"))).to_be_visible()
    expect(page.get_by_text("Drawing 2 pictures …")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_text(re.compile(r"Cancelled at step \d+ of 1000; there is no picture"))).to_be_visible()
    expect(page.get_by_role("img", name=PROMPT)).to_have_count(0)


@pytest.mark.slow
def test_a_size_that_cannot_be_is_refused_where_it_was_asked(visit: Visit) -> None:
    """In the server's words; what was written stays, for another try."""
    visit.expected.append("400")
    page = visit.open("images")
    draw(page, SHAPES, Width=63)
    expect(page.get_by_role("alert")).to_contain_text("width")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.get_by_label("Width")).to_have_value("63")

    assert [] == visit.unfit()


@pytest.mark.slow
def test_a_drawing_that_breaks_off_says_where(visit: Visit) -> None:
    """After three of six steps."""
    page = visit.open("images")
    draw(page, "test/broken")
    expect(page.get_by_text("It broke off at step 3 of 6.")).to_be_visible()
    expect(page.get_by_role("alert")).not_to_be_empty()


@pytest.mark.slow
def test_a_prompt_is_text_and_is_used_again(visit: Visit) -> None:
    """Whatever it looks like; the form takes it back with the seed that was drawn, also after a reload."""
    prompt = '<img src="x" onerror="document.title=1">'
    page = visit.open("images")
    draw(page, IMAGE, prompt)
    card = page.get_by_role("listitem").filter(has_text=prompt)
    expect(card).to_contain_text("Seed ")
    expect(page.get_by_label("Seed")).to_have_value("")
    card.get_by_role("button", name="Use again").click()
    expect(page.get_by_label("Seed")).not_to_have_value("")
    expect(page.get_by_label("Prompt", exact=False).first).to_be_focused()
    page.reload()

    expect(page.get_by_label("Prompt", exact=False).first).to_have_value(prompt)
    expect(page).to_have_title("Images · Nearfar")


@pytest.mark.slow
def test_a_server_that_dies_is_noticed(browser: Browser, tmp_path: Path) -> None:
    """The drawing says that it broke off, and the page that the connection is lost."""
    server = Server(tmp_path / "dying", FAKES)
    with visiting(browser, server, "net::ERR") as visit:
        page = visit.open("images")
        draw(page, "test/slow")
        expect(page.get_by_text(re.compile(r"Step \d+ of 1000"))).to_be_visible()
        server.stop(signal.SIGKILL)

        expect(page.get_by_text("The connection to the server is lost.")).to_be_visible()
        expect(page.get_by_text(re.compile(r"It broke off at step \d+ of 1000"))).to_be_visible()


@pytest.mark.slow
def test_it_fits_a_phone_in_the_dark(visit: Visit) -> None:
    """Nothing is wider than the screen."""
    page = visit.open("images")
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    draw(page, IMAGE, "a phone")
    expect(page.get_by_role("img", name="a phone")).to_be_visible()
    visit.picture("images-phone")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert [] == visit.unfit()
