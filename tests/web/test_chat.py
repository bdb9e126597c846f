"""Talking with models in the page: as a person does it, and when models, streams and microphones misbehave."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import soundfile
from playwright.sync_api import expect

from policies.registry import names
from tests.e2e.conftest import SMOLLM, Server
from tests.faults import scripts
from tests.faults.provider import Provider, running
from tests.integration.far_side import Reply, Request, reply_events
from tests.web.run import visiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

    from tests.web.conftest import Visit

JFK = Path(__file__).parents[1] / "data" / "jfk.ogg"
POLICIES = Path(__file__).parents[2] / "router/web/parts/policies.js"
CODE = "<script>alert(1)</script>\n  kept"
HOSTILE = f'<img src=x onerror="document.title = 1"> & <b>bold</b>\n\n```html\n{CODE}\n```\nIt ends. '
REFUSED = """navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));"""


def hostile(number: int, request: Request) -> Reply:
    """Markup, and code between fences."""
    pieces = re.findall(r"\s*\S+", HOSTILE)
    choice = {"id": "scripted", "model": request.body["model"]}
    return reply_events(
        *(choice | {"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces),
        choice | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        choice | {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": len(pieces)}},
        "[DONE]",
    )


SCRIPTS = {
    "hostile": hostile,
    "good": scripts.good,
    "cut-once": scripts.once(scripts.cut),
    "failing": scripts.failing_within,
    "stalling": scripts.breaking(then="hang"),
    "going-on": scripts.breaking(then="hang"),
    "dying": scripts.breaking(then="hang"),
}
MODEL = """
[[models]]
id = "far/{name}"
task = "text-generation"
context_length = 4096
  [[models.candidates]]
  backend = "remote"
  provider = "far"
  model = "{name}"
  price = {{ input_per_1m_usd = 1.0, output_per_1m_usd = 2.0 }}
"""


class House(NamedTuple):
    """A server, and the far side behind it."""

    server: Server
    far: Provider


def config(url: str) -> str:
    """Every scripted model, at this address."""
    provider = f'[[providers]]\nname = "far"\nprotocol = "openai"\nbase_url = "{url}/v1"\n'
    return provider + "".join(MODEL.format(name=name) for name in SCRIPTS)


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The microphone of this module's browser hears a sentence."""
    spoken = tmp_path_factory.mktemp("spoken") / "jfk.wav"
    sound, rate = soundfile.read(JFK)
    soundfile.write(spoken, sound, rate, subtype="PCM_16")
    return (f"--use-file-for-fake-audio-capture={spoken}",)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server over a far side that does as its models' names say."""
    with running(Provider(SCRIPTS)) as far:
        server = Server(tmp_path_factory.mktemp("chat"), config(far.url))
        yield House(server, far)
        server.stop()


@pytest.fixture
def faulty(browser: Browser, house: House) -> Iterator[Visit]:
    """A visit to it."""
    with visiting(browser, house.server) as visit:
        yield visit


def ask(page: Page, text: str, model: str = "") -> Locator:
    """Choose a model, write, press Enter; gives the last answer."""
    if model:
        page.get_by_label("Model").select_option(model)
    before = page.get_by_role("article", name="Answer").count()
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")
    return page.get_by_role("article", name="Answer").nth(before)


def short(page: Page, tokens: int) -> None:
    """Allow no longer answers."""
    page.get_by_text("Limits: none").click()
    page.get_by_label("Longest answer").fill(str(tokens))


def test_a_near_model_answers_and_says_why(visit: Visit) -> None:
    """Written, sent with Enter, streamed, and explained; the focus stays in the box."""
    page = visit.open("chat")
    short(page, 12)
    answer = ask(page, "Say hello to Ada.", SMOLLM)

    expect(answer.get_by_role("link", name="why?")).to_contain_text(re.compile(r"near.*SmolLM2.*\d m?s.*\$", re.DOTALL))
    expect(answer).to_have_attribute("aria-busy", "false")
    expect(answer).to_contain_text("longest answer allowed")
    expect(page.get_by_label("Message")).to_be_focused()
    expect(page.get_by_label("Message")).to_have_value("")
    said = answer.locator(".said").inner_text()
    expect(page.get_by_role("log")).to_contain_text(said.split()[-1])
    visit.picture("chat")
    assert [] == visit.unfit()

    answer.get_by_role("link", name="why?").click()
    expect(page).to_have_url(re.compile(r"#/decisions/[0-9a-f-]{36}$"))
    page.go_back()
    expect(page.get_by_role("article", name="Answer").locator(".said")).to_have_text(said)


@pytest.mark.slow
def test_auto_lets_the_router_choose(visit: Visit) -> None:
    """Nothing is chosen: somebody answers, and the chip says who."""
    page = visit.open("chat")
    expect(page.get_by_label("Model")).to_have_value("auto")
    short(page, 3)

    expect(ask(page, "Hello!").get_by_role("link", name="why?")).to_be_visible()


@pytest.mark.slow
def test_who_may_be_asked(visit: Visit) -> None:
    """`auto`, the aliases and the models that chat, and no others; those whom nobody serves are marked."""
    page = visit.open("chat")
    options = page.get_by_label("Model").get_by_role("option")
    expect(options.filter(has_text="fake/chat")).to_have_count(1)
    told = options.all_inner_texts()

    assert told[0].startswith("auto")
    assert any(one.startswith("chat: the best of") for one in told)
    assert SMOLLM in told
    assert not any("MiniLM" in one or "whisper" in one for one in told)


def test_what_a_model_writes_is_text(faulty: Visit) -> None:
    """Markup stands there as it was written; code between fences is set apart, its spaces kept."""
    page = faulty.open("chat")
    answer = ask(page, "<i>Attack</i>", "far/hostile")

    expect(answer.locator("pre")).to_have_text(CODE)
    expect(answer.locator(".said").first).to_contain_text('<img src=x onerror="document.title = 1"> & <b>bold</b>')
    expect(page.get_by_role("article", name="You")).to_have_text("<i>Attack</i>")
    expect(answer.get_by_role("link", name="why?")).to_contain_text("far")
    expect(page.get_by_role("log").get_by_text("It ends.")).to_have_count(1)
    expect(page.locator("img[src=x], main b:not(.side), main i, main script")).to_have_count(0)
    expect(page).to_have_title("Chat · Nearfar")


def test_a_broken_stream_is_marked_and_tried_again(faulty: Visit) -> None:
    """What came stays, marked as not whole; once more, and it is whole."""
    page = faulty.open("chat")
    answer = ask(page, "Hello", "far/cut-once")

    expect(answer).to_contain_text("Cut off: the answer is not whole.")
    expect(answer).to_contain_text(scripts.SAID)
    expect(answer.get_by_role("alert")).to_be_visible()
    faulty.picture("chat-cut")
    assert [] == faulty.unfit()

    answer.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Message")).to_be_focused()
    expect(answer.get_by_role("link", name="why?")).to_contain_text("$")
    expect(answer.locator(".said")).to_have_text(scripts.TEXT)
    expect(page.get_by_role("article")).to_have_count(2)


@pytest.mark.slow
def test_an_error_within_the_stream_is_shown(faulty: Visit, house: House) -> None:
    """In the words of whoever failed, where the answer stands; the next question goes on from there."""
    page = faulty.open("chat")
    answer = ask(page, "Hello", "far/failing")
    expect(answer.get_by_role("alert")).to_contain_text("the engine died")
    expect(answer).to_contain_text("Cut off")

    expect(ask(page, "And now?", "far/good").get_by_role("link", name="why?")).to_contain_text("$")
    expect(answer.get_by_role("button", name="Try again")).to_have_count(0)
    said = house.far.asked("good")[-1].body["messages"]
    assert ["user", "assistant", "user"] == [message["role"] for message in said]


@pytest.mark.slow
def test_an_answer_is_stopped(faulty: Visit, house: House) -> None:
    """The button stops it everywhere; what came stays and is marked."""
    page = faulty.open("chat")
    answer = ask(page, "Hello", "far/stalling")
    expect(answer).to_contain_text(scripts.SAID)
    page.get_by_role("button", name="Stop").click()

    expect(answer).to_contain_text("Stopped: the answer is not whole.")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.get_by_label("Message")).to_be_focused()
    house.far.wait_until(lambda: len(house.far.left_at("stalling")) == 1)


@pytest.mark.slow
def test_an_answer_goes_on_while_other_pages_are_read(faulty: Visit) -> None:
    """Whoever looks at a decision meanwhile finds the answer where it was."""
    page = faulty.open("chat")
    expect(ask(page, "Hello", "far/going-on")).to_contain_text(scripts.SAID)
    page.get_by_role("link", name="Decisions").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Decisions")
    page.go_back()

    expect(page.get_by_role("article", name="Answer")).to_have_attribute("aria-busy", "true")
    page.reload()
    expect(page.get_by_role("article", name="Answer")).to_contain_text("closed before the answer was whole")
    expect(page.get_by_role("article", name="Answer")).to_contain_text(scripts.SAID)


@pytest.mark.slow
def test_limits_are_kept_or_the_refusal_is_told(faulty: Visit) -> None:
    """What is private is not sent far; a limit that is none is refused in words. Both stand where the answer would."""
    faulty.expected += ["422", "400"]
    page = faulty.open("chat")
    page.get_by_text("Limits: none").click()
    page.get_by_label("Private").check()
    expect(page.get_by_text("Limits: private")).to_be_visible()
    expect(ask(page, "A secret", "far/good").get_by_role("alert")).to_contain_text("private")

    page.get_by_label("Private").uncheck()
    page.get_by_label("Longest it may take").fill("-1")
    expect(ask(page, "Hello").get_by_role("alert")).to_contain_text("max_latency_ms")
    expect(page.get_by_role("button", name="Try again")).to_have_count(1)


@pytest.mark.slow
def test_a_policy_is_asked_for(faulty: Visit) -> None:
    """The one that was chosen decides, and stays chosen after a reload."""
    page = faulty.open("chat")
    page.get_by_label("Policy").select_option("cheapest")
    expect(ask(page, "Hello", "far/good").get_by_role("link", name="why?")).to_contain_text("$")

    (row,) = faulty.server.sql("select policy from decisions where model like '%good%' order by ts desc limit 1")
    assert ["cheapest"] == row
    page.reload()
    expect(page.get_by_label("Policy")).to_have_value("cheapest")
    expect(page.get_by_label("Model")).to_have_value("far/good")


@pytest.mark.slow
def test_the_policies_are_those_of_the_server() -> None:
    """No list of the page's own."""
    assert list(names()) == re.findall(r'"([a-z-]+)"', POLICIES.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_keys_of_the_box(faulty: Visit) -> None:
    """Enter sends, Shift and Enter begins a line, and nothing is not sent."""
    page = faulty.open("chat")
    page.get_by_label("Model").select_option("far/good")
    box = page.get_by_label("Message")
    box.press("Enter")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    box.press_sequentially("one")
    box.press("Shift+Enter")
    box.press_sequentially("two")
    box.press("Enter")

    expect(page.get_by_role("article", name="You").locator(".said")).to_have_text("one\ntwo", use_inner_text=True)


@pytest.mark.slow
def test_conversations_are_kept_here_until_they_are_deleted(faulty: Visit) -> None:
    """Two of them, told apart by how they begin; both outlive the page, and one goes."""
    page = faulty.open("chat")
    listed = page.get_by_role("navigation", name="Conversations")
    expect(ask(page, "The first", "far/good").get_by_role("link", name="why?")).to_contain_text("$")
    listed.get_by_role("button", name="New conversation").click()
    expect(page.get_by_text("Nothing said yet")).to_be_visible()
    expect(page.get_by_label("Message")).to_be_focused()
    expect(ask(page, "The second").get_by_role("link", name="why?")).to_contain_text("$")
    page.reload()
    expect(page.get_by_role("article", name="You")).to_have_text("The second")
    listed.get_by_role("button", name="The first").click()
    expect(page.get_by_role("article", name="You")).to_have_text("The first")

    page.once("dialog", lambda dialog: dialog.accept())
    listed.get_by_role("button", name="Delete this one").click()
    expect(listed.get_by_role("button", name="The first")).to_have_count(0)
    page.reload()
    expect(listed.get_by_role("button", name="The second")).to_be_visible()
    expect(listed.get_by_role("button", name="The first")).to_have_count(0)


@pytest.mark.slow
def test_a_full_or_broken_store_is_told_and_harms_nothing(faulty: Visit) -> None:
    """What cannot be read is left alone; what cannot be kept is said."""
    faulty.page.add_init_script('localStorage.setItem("nearfar.conversation.1", "{");')
    page = faulty.open("chat")
    page.evaluate("""() => { const set = Storage.prototype.setItem; Storage.prototype.setItem = function (name, value) {
        if (name.startsWith("nearfar.conversation.")) throw new DOMException("full", "QuotaExceededError");
        return set.call(this, name, value); } }""")

    expect(ask(page, "Hello", "far/good").get_by_role("link", name="why?")).to_contain_text("$")
    expect(page.get_by_role("alert")).to_contain_text("cannot be kept after the page is closed")


@pytest.mark.slow
def test_a_server_that_dies_leaves_its_words(browser: Browser, house: House, tmp_path: Path) -> None:
    """The half that came is marked, the lost connection is told, and nothing is lost."""
    server = Server(tmp_path / "dying", config(house.far.url))
    with visiting(browser, server, "net::ERR_") as visit:
        page = visit.open("chat")
        answer = ask(page, "Hello", "far/dying")
        expect(answer).to_contain_text(scripts.SAID)
        server.stop(signal.SIGKILL)

        expect(answer).to_contain_text("Cut off: the answer is not whole.")
        expect(page.get_by_text("The connection to the server is lost")).to_be_visible()
        expect(answer).to_contain_text(scripts.SAID)
        expect(ask(page, "Anybody there?").get_by_role("alert")).to_contain_text("cannot be reached")


@pytest.mark.slow
def test_what_is_spoken_stands_in_the_box(visit: Visit) -> None:
    """Recorded by the browser, written down by the server's own model, and still to be sent."""
    page = visit.open("chat")
    page.get_by_role("button", name="Speak").click()
    page.get_by_role("button", name="Stop recording (3 s)").click()

    expect(page.get_by_label("Message")).to_have_value(re.compile("fellow|american|country", re.IGNORECASE))
    expect(page.get_by_label("Message")).to_be_focused()
    expect(page.get_by_role("article")).to_have_count(0)


@pytest.mark.slow
def test_a_microphone_that_may_not_be_used(faulty: Visit) -> None:
    """Said in words, with what to do."""
    faulty.page.add_init_script(REFUSED)
    page = faulty.open("chat")
    page.get_by_role("button", name="Speak").click()

    expect(page.get_by_role("alert")).to_contain_text("Allow it in the settings of the browser")
    expect(page.get_by_role("button", name="Speak")).to_be_enabled()


@pytest.mark.slow
def test_on_a_phone_in_the_dark(faulty: Visit) -> None:
    """Nothing is wider than the page, and all of it can be read."""
    faulty.page.set_viewport_size({"width": 360, "height": 740})
    faulty.page.emulate_media(color_scheme="dark")
    page = faulty.open("chat")
    expect(ask(page, "Show me some markup.", "far/hostile").get_by_role("link", name="why?")).to_contain_text("$")

    wide: Any = page.evaluate("document.documentElement.scrollWidth")
    assert 360 >= wide
    faulty.picture("chat-phone")
    assert [] == faulty.unfit()
