"""Compare: one input for several candidates side by side, judged, saved, and counted over runs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import SMOLLM, Server
from tests.web.conftest import PATIENCE_MS
from tests.web.run import visiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page, Route

    from tests.web.conftest import Visit

REAL = re.compile("^" + SMOLLM.replace("/", "."))  # a slash would end the pattern for the browser
EVIL = '<img src=x onerror="document.title=1">'
CONFIG = """
[[models]]
id = "test/chat"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "fast"
  price = { per_request_usd = 0.002 }
  script = { tokens = 4 }
  [[models.candidates]]
  backend = "fake"
  provider = "slow"
  script = { tokens = 400, per_token_ms = 500 }
  [[models.candidates]]
  backend = "fake"
  provider = "broken"
  script = { fail = "RemoteError" }
  [[models.candidates]]
  backend = "fake"
  provider = "cut"
  script = { tokens = 8, fail_after_tokens = 3 }
  [[models.candidates]]
  backend = "fake"
  provider = "other"
  script = { tokens = 6, per_token_ms = 2 }

[[models]]
id = "test/vectors"
task = "feature-extraction"
  [[models.candidates]]
  backend = "fake"
  provider = "one"
  [[models.candidates]]
  backend = "fake"
  provider = "two"
  model = "vectors-two"

[[models]]
id = "test/twice"
task = "text-classification"
  [[models.candidates]]
  backend = "fake"
  provider = "same"
  [[models.candidates]]
  backend = "fake"
  provider = "same"
  model = "another"
"""


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose candidates are quick, slow, broken, cut off, priced and not."""
    server = Server(tmp_path_factory.mktemp("compare"), CONFIG)
    yield server
    server.stop()


@pytest.fixture
def page(browser: Browser, fakes: Server) -> Iterator[Page]:
    """The page before those."""
    with visiting(
        browser, fakes, "the server responded with a status of 502", "net::ERR_FAILED"
    ) as visit:  # as told to
        yield visit.open("compare")


def choose(page: Page, *providers: str) -> None:
    for name in providers:
        box(page, name).check()


def box(page: Page, provider: str) -> Locator:
    return page.get_by_role("checkbox", name=re.compile(rf"^test.chat · .*\b{provider}\b"))


def select(page: Page, label: str, value: str) -> None:
    page.get_by_role("combobox", name=re.compile(f"^{label}")).select_option(value)


def compare(page: Page, prompt: str = "hello") -> None:
    page.get_by_role("textbox", name=re.compile("^Prompt")).fill(prompt)
    page.get_by_role("button", name="Compare", exact=True).click()


def column(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=re.compile(rf"^test.chat · .*\b{name}$|^{name}$"))


def test_each_column_has_its_own_answer_figures_and_failure(page: Page, fakes: Server) -> None:
    """What fails disturbs nobody else; each answer has its own decision; an unknown price is unknown, not nothing."""
    choose(page, "fast", "broken", "cut", "other")
    assert ["What to compare", "Saved runs", "Comparisons of this server"] == page.get_by_role(
        "heading", level=2
    ).all_inner_texts()
    expect(box(page, "slow")).to_be_disabled()
    compare(page, EVIL)
    expect(page.get_by_text("2 done, 2 failed. Saved as a run below.")).to_be_visible()

    fast = column(page, "fast")
    expect(fast.get_by_text("[fake]")).to_be_visible()
    expect(fast.get_by_role("link")).to_contain_text("$0.002")
    expect(column(page, "other").locator("dl")).to_contain_text("unknown")
    expect(page.get_by_text(" instead: these figures")).to_have_count(0)
    expect(column(page, "broken").get_by_role("alert")).to_be_visible()
    expect(column(page, "cut").get_by_text("Broken off: this is not the whole answer.")).to_be_visible()
    fast.get_by_role("link").click()
    expect(page).to_have_url(re.compile("#/decisions/"))
    found = fakes.get(f"/v1/decisions/{page.url.rsplit('/', 1)[-1]}").body
    assert ["fast:test/chat"] == [attempt["candidate_id"] for attempt in found["attempts"]]
    assert "1" != page.title()


@pytest.mark.slow
def test_one_is_stopped_and_the_others_go_on(page: Page) -> None:
    """A column has a stop of its own, what it had said stays and is marked; so does all of them together."""
    choose(page, "fast", "slow")
    compare(page)
    slow = column(page, "slow")
    expect(column(page, "fast").get_by_text("Done")).to_be_visible()
    expect(slow.get_by_text("[fake]")).to_be_visible()
    slow.get_by_role("button", name=re.compile("^Stop")).click()

    expect(slow.get_by_text("Broken off: this is not the whole answer.")).to_be_visible()
    expect(page.get_by_text("1 done, 1 stopped. Saved as a run below.")).to_be_visible()
    select(page, "Order", "in turn")
    box(page, "fast").uncheck()
    compare(page)
    expect(slow.get_by_text("[fake]")).to_be_visible()
    page.get_by_role("button", name="Stop all").click()
    expect(page.get_by_text("1 stopped. Nothing was saved.")).to_be_visible()


@pytest.mark.slow
def test_a_blind_vote_reaches_the_decisions(page: Page, fakes: Server) -> None:
    """Nobody sees who is who before the vote; the best gets 1 and the other 0, in the log and in the saved run."""
    choose(page, "fast", "other")
    page.get_by_role("checkbox", name=re.compile("^Blind")).check()
    compare(page)
    expect(page.get_by_role("button", name="This one is best: Answer B")).to_be_visible()
    expect(column(page, "fast")).to_have_count(0)
    with page.expect_response("**/v1/feedback") as first:
        page.get_by_role("button", name="This one is best: Answer A").click()
    assert first.value.ok
    expect(page.get_by_text("Your vote is in the log")).to_be_visible()

    expect(column(page, "fast")).to_be_visible()
    ids = [link.get_attribute("href") or "" for link in page.locator(".column a.chip").all()]
    found = [fakes.get(f"/v1/decisions/{one.rsplit('/', 1)[-1]}").body["feedback"] for one in ids]
    assert [0.0, 1.0] == sorted(feedback[0]["value"] for feedback in found)
    page.get_by_role("button", name="All equally good").click()
    expect(page.get_by_text("voted 0.50")).to_have_count(2)
    page.get_by_role("button", name="Results of hello").click()
    expect(page.get_by_role("region", name="Results of hello").get_by_role("cell", name="0.50")).to_have_count(2)


@pytest.mark.slow
def test_runs_are_counted_named_exported_and_deleted(page: Page, tmp_path: Path) -> None:
    """Six runs make an interval, fewer say that they are too few; a run has a name, leaves as JSON, and is deleted."""
    choose(page, "fast", "other")
    select(page, "Order", "in turn")
    compare(page)
    expect(page.get_by_text("n = 1 is too small: it takes 6").first).to_be_visible()
    page.get_by_role("spinbutton", name=re.compile("^Times")).fill("5")
    compare(page)
    rows = page.get_by_role("region", name=re.compile("^Total time by candidate")).get_by_role("row")
    expect(rows.nth(1)).to_contain_text(re.compile(r"6.* ms to .* ms.*0 of 6"))
    select(page, "Measure", "cost")
    expect(page.get_by_role("cell", name="unknown").first).to_be_visible()

    name = page.get_by_label(re.compile("^Name of the run")).first
    name.fill("mine")
    name.blur()
    page.reload()
    with page.expect_download() as taken:
        page.get_by_role("button", name="Export mine").click()
    taken.value.save_as(tmp_path / "run.json")
    [run] = json.loads((tmp_path / "run.json").read_text())
    assert ("mine", "hello", "in turn") == (run["name"], run["input"], run["order"])
    assert {"fast", "other"} == {one["provider"] for one in run["results"]}
    page.get_by_role("button", name="Delete mine").click()
    expect(page.get_by_role("button", name=re.compile("^Delete hello"))).to_have_count(5)
    page.get_by_role("button", name="Delete all", exact=True).click()
    page.get_by_role("button", name="Delete all 5 for good").click()
    expect(page.get_by_text("No run yet: compare something.")).to_be_visible()


@pytest.mark.slow
def test_vectors_are_compared_by_their_likeness(page: Page) -> None:
    """Each model says how alike the lines are; the choice of candidates is remembered by task."""
    select(page, "Task", "feature-extraction")
    vectors = page.get_by_role("checkbox", name=re.compile("^test.vectors"))
    vectors.first.check()
    vectors.last.check()
    page.get_by_role("textbox", name=re.compile("^Texts, one a line")).fill("one\ntwo\none")
    page.get_by_role("button", name="Compare", exact=True).click()

    expect(page.get_by_text("3 vectors of 384 numbers.")).to_have_count(2)
    expect(page.get_by_role("listitem").filter(has_text=re.compile(r"^one 1\.000$"))).to_have_count(2)
    page.reload()
    expect(page.get_by_role("combobox", name=re.compile("^Task"))).to_have_value("feature-extraction")
    expect(vectors.first).to_be_checked()


@pytest.mark.slow
def test_who_cannot_be_told_apart_is_not_offered(page: Page) -> None:
    """Two candidates of one model at one provider: no request can mean one of them alone."""
    select(page, "Task", "text-classification")
    page.get_by_text("that cannot serve now").click()
    expect(page.get_by_text("it cannot be told from another candidate of this provider")).to_have_count(2)
    page.get_by_role("textbox", name=re.compile("^Text")).fill("hello")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Choose a candidate first.")).to_be_visible()


@pytest.mark.slow
def test_a_broken_connection_stays_in_its_column(page: Page) -> None:
    """Who is not reached and who breaks off are told where it happened; what came is text; a vote needs two answers."""

    def meddle(route: Route) -> None:
        asked = route.request.post_data or ""
        if '"other"' in asked:
            route.abort()
        elif '"slow"' in asked:
            piece = json.dumps({"text": EVIL})
            route.fulfill(content_type="text/event-stream", body=f"event: delta\ndata: {piece}\n\n")
        else:
            route.continue_()

    page.route("**/v1/inference", meddle)
    choose(page, "fast", "other", "slow")
    compare(page)
    expect(column(page, "other").get_by_role("alert")).to_contain_text("cannot be reached")
    expect(column(page, "slow").get_by_role("alert")).to_contain_text("The connection ended before the answer did.")
    expect(column(page, "slow").get_by_text(EVIL)).to_be_visible()
    expect(column(page, "fast").get_by_text("Done")).to_be_visible()
    expect(page.get_by_role("button", name="All equally good")).to_have_count(0)
    assert "1" != page.title()


@pytest.mark.slow
def test_a_real_model_beside_a_fake(visit: Visit) -> None:
    """Both stream at once, the real one with its own figures; the page is fit for everybody, dark and narrow too."""
    page = visit.open("compare")
    page.get_by_role("checkbox", name=REAL).check()
    page.get_by_role("checkbox", name=re.compile("^fake.chat")).check()
    page.get_by_role("spinbutton", name=re.compile("^Tokens")).fill("12")
    compare(page, "Say hello.")
    expect(page.get_by_text("2 done. Saved as a run below.")).to_be_visible(timeout=PATIENCE_MS)  # it loads first

    real = page.get_by_role("region", name=REAL)
    expect(real.locator("dl")).to_contain_text(re.compile(r"Tokens/s\d"))
    expect(real.get_by_role("link")).to_contain_text("near")
    page.get_by_role("button", name="Results of Say hello.").click()
    visit.picture("compare")
    assert [] == visit.unfit()
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.set_viewport_size({"width": 360, "height": 800})
    visit.picture("compare-dark-narrow")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert [] == visit.unfit()


def test_what_the_server_compared_is_shown(page: Page, fakes: Server) -> None:
    """How far each run is, and what it says: figures with intervals, findings and doubts."""
    candidates = [{"model": "test/chat", "provider": provider} for provider in ("fast", "other")]
    asked = {"task": "text-generation", "inputs": [f"say {n}" for n in range(8)], "candidates": candidates}
    begun = fakes.post("/v1/compare", asked | {"name": "two fakes", "repeats": 2})
    page.reload()
    runs = page.get_by_role("region", name="Comparisons of this server", exact=True)

    assert 202 == begun.status
    expect(runs.get_by_role("row", name=re.compile("two fakes.*34 of 34.*completed"))).to_be_visible()
    runs.get_by_role("button", name=re.compile("^Findings of two fakes")).click()
    expect(runs.get_by_role("row", name=re.compile("^fast.*16 of 16.*ms.*to.*\\$2"))).to_be_visible()
    expect(runs.get_by_role("row", name=re.compile("^other.*16 of 16.*unknown"))).to_be_visible()
    expect(runs.get_by_text(re.compile("after Holm|longer|times as long")).first).to_be_visible()
    expect(runs.get_by_text("Nobody knows what these answers cost: other (16 of 16).")).to_be_visible()
