"""Models in the page itself: the server's vectors and intents, with and without the server, or a plain word why not."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import MINILM, Server
from tests.web.conftest import PATIENCE_MS, Visit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Browser, Page, Request, Route

RECORDING = Path(__file__).parents[1] / "data/jfk.ogg"
TEXTS = [
    "hello world",
    "Größe, naïve café; 東京は日本の首都です。",
    "SELECT a FROM b WHERE c = 'd'",
    "seven sailors " * 300,
]
PROMPTS = ["write a python function that sorts a list", "translate this sentence into german", "hello, how are you?"]
SUPPORT = {
    "name": "support",
    "intents": {
        "refund": {"examples": ["I want my money back", "please refund my order", "can I have a refund", "refund me"]},
        "parcel": {"examples": ["where is my parcel", "the parcel is late", "track my delivery", "has it arrived yet"]},
    },
}
SHOWN = """async () => {
    const { html, render } = await import("/ui/vendor/htm/standalone.module.js");
    const { BrowserTier } = await import("/ui/parts/browser_tier.js");
    const main = document.querySelector("main");
    render(null, document.querySelector("#app"));
    document.body.replaceChildren(main);
    main.replaceChildren();
    render(html`<h1>Playground</h1><${BrowserTier} />`, main);
}"""  # as a page shows it
LOADED = """async () => {
    const { tier } = await import("/ui/browser/tier.js");
    await tier.load();
    return tier.state;
}"""
EMBEDDED = """async (texts) => {
    const { tier } = await import("/ui/browser/tier.js");
    return (await tier.embed(texts)).vectors.map((vector) => [...vector]);
}"""
WANTED = """async ([set, texts]) => {
    const { tier } = await import("/ui/browser/tier.js");
    const found = [];
    for (const text of texts) found.push((await tier.intent(set, text)).labels);
    return found;
}"""
SERVED = """async ([model, texts, routing]) => {
    const { served } = await import("/ui/browser/hybrid.js");
    const asked = { model, task: "feature-extraction", inputs: texts, routing };
    const { result, ...told } = await served(asked, new AbortController().signal);
    return { ...told, width: result[0].length };
}"""  # by whom the policy chooses
ONLY_HERE, FIRST_HERE, ANYWHERE = {"backend": "browser"}, {"order": ["browser"]}, {}
CHOSEN = """async ([model, text]) => {
    const { served } = await import("/ui/browser/hybrid.js");
    const asked = { model, task: "text-classification", inputs: text, routing: { backend: "browser" } };
    return (await served(asked, new AbortController().signal)).result[0].label;
}"""
CUT = """async (texts) => (await (await import("/ui/browser/tier.js")).tier.embed(texts)).cut"""
LOST = """() => { Worker.prototype.postMessage = () => { throw new Error("the worker is gone"); }; }"""
ABILITIES = """async () => (await import("/ui/browser/tier.js")).tier.page()"""
BOTH = """async () => {
    const { EMBEDDING, SPEECH, tier } = await import("/ui/browser/tier.js");
    await Promise.all([tier.load(EMBEDDING), tier.load(SPEECH)]);
    return [EMBEDDING, SPEECH].map((task) => tier.state.models[task].phase);
}"""
HEARD = """async (sound) => {
    const { SPEECH, tier } = await import("/ui/browser/tier.js");
    await tier.load(SPEECH);
    if (!tier.ready(SPEECH)) return tier.state.models[SPEECH].why;
    const bytes = Uint8Array.from(atob(sound), (c) => c.charCodeAt(0));
    return (await tier.transcribe(new Blob([bytes]))).text;
}"""
NO_WORKER = "delete Navigator.prototype.serviceWorker;"  # so that what a test puts in the server's place is seen


@pytest.fixture
def alone(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """A visit to a server of its own, which may be stopped."""
    server = Server(tmp_path_factory.mktemp("tier"))
    opened = Visit(browser, server)
    yield opened
    opened.close()
    server.stop()


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


def servers_vectors(server: Server) -> list[list[float]]:
    answer = server.post("/v1/embeddings", {"model": MINILM, "input": TEXTS, "truncate": True})

    assert 200 == answer.status, answer.body
    return [one["embedding"] for one in answer.body["data"]]


def servers_intents(server: Server, model: str, texts: list[str]) -> list[dict[str, float]]:
    answers = [
        server.post(
            "/v1/inference",
            {"task": "text-classification", "model": model, "inputs": text, "parameters": {"top_k": 50}},
        )
        for text in texts
    ]

    assert {200} == {answer.status for answer in answers}, answers[0].body
    return [{one["label"]: one["score"] for one in answer.body["result"]} for answer in answers]


def same_intents(own: list[list[dict[str, Any]]], theirs: list[dict[str, float]]) -> None:
    """The same label first, and like probabilities: the page's weights are rounded to 8 bits."""
    for labels, wanted in zip(own, theirs, strict=True):
        assert max(wanted, key=lambda label: wanted[label]) == labels[0]["label"]
        assert pytest.approx(wanted, abs=0.06) == {
            one["label"]: one["score"] for one in labels if one["label"] in wanted
        }


def test_the_page_gives_the_servers_vectors_and_intents_also_without_the_server(alone: Visit) -> None:
    """Cosine 0.99 at least, asking nobody else; so it stays when the server is stopped and the page loaded again."""
    server = alone.server
    defined = server.post("/v1/intents", SUPPORT)
    theirs = servers_vectors(server)
    builtin = servers_intents(server, "nearfar/minilm-intent", PROMPTS)
    support = servers_intents(server, defined.body["model"], ["I would like a refund", "is my parcel there"])
    page = alone.open("decisions")
    expect(page.get_by_role("heading", level=1)).to_be_visible()

    state = page.evaluate(LOADED)
    own = page.evaluate(EMBEDDED, TEXTS)
    assert "ready" == state["models"]["feature-extraction"]["phase"], state
    assert state["offline"]
    assert page.evaluate("crossOriginIsolated")
    assert min(cosine(a, b) for a, b in zip(own, theirs, strict=True)) >= 0.99
    same_intents(page.evaluate(WANTED, ["builtin", PROMPTS]), builtin)
    same_intents(page.evaluate(WANTED, ["support", ["I would like a refund", "is my parcel there"]]), support)

    server.stop()
    alone.expected += ["Failed to load resource", "net::ERR_CONNECTION_REFUSED"]
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    state = page.evaluate(LOADED)

    assert "ready" == state["models"]["feature-extraction"]["phase"], state
    assert page.evaluate("crossOriginIsolated")
    assert own == page.evaluate(EMBEDDED, TEXTS)
    same_intents(page.evaluate(WANTED, ["builtin", PROMPTS]), builtin)
    same_intents(page.evaluate(WANTED, ["support", ["I would like a refund", "is my parcel there"]]), support)


def test_a_recorded_sentence_is_transcribed_also_without_the_server(alone: Visit) -> None:
    """Whisper in the page, on a recording that the browser decodes."""
    page = alone.open("decisions")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    sound = base64.b64encode(RECORDING.read_bytes()).decode()
    with_server = page.evaluate(HEARD, sound)
    alone.server.stop()
    alone.expected += ["Failed to load resource", "net::ERR_CONNECTION_REFUSED"]
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()

    assert "ask not what your country can do for you" in with_server.lower()
    assert with_server == page.evaluate(HEARD, sound)


@pytest.mark.slow
def test_every_file_comes_over_the_wire_once(visit: Visit) -> None:
    """Of both models, and of what computes them: no byte is asked for twice, the second time from nobody."""
    page = visit.open("decisions")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    finished: list[Request] = []
    page.context.on("requestfinished", lambda request: finished.append(request))  # noqa: PLW0108 -- Playwright marks it
    index = page.evaluate("() => fetch('/browser-models').then((answer) => answer.json())")
    states = page.evaluate(BOTH)
    came = {request.url: request for request in finished if "/browser-models/" in request.url}
    runtime = [request.url for request in finished if "/ui/vendor/onnxruntime/" in request.url]
    sizes = {
        model["at"]: sum(came[url].sizes()["responseBodySize"] for url in came if f"/{model['at']}/" in url)
        for model in index["models"]
    }

    assert ["ready", "ready"] == states
    assert len(came) == sum("/browser-models/" in request.url for request in finished)
    assert {model["at"]: model["bytes"] for model in index["models"]} == sizes
    assert not any(".jspi." in url for url in runtime), "there is no graphics card here to load it for"

    finished.clear()
    page.reload()
    assert ["ready", "ready"] == page.evaluate(BOTH)
    assert [] == [request.url for request in finished if "/browser-models/" in request.url]


@pytest.mark.slow
def test_a_person_loads_and_unloads_the_model(visit: Visit) -> None:
    """What it takes and how fast it is stands there in figures, and for the router in its own words."""
    page = visit.open("decisions")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.evaluate(SHOWN)
    region = page.get_by_role("region", name="In this browser")
    region.get_by_role("button", name="Load into this browser").click()
    expect(region.get_by_role("progressbar", name="Model files")).to_be_visible()
    expect(region.get_by_role("status")).to_contain_text(f"Ready in this browser: {MINILM}", timeout=PATIENCE_MS)
    expect(region.get_by_text("cosine 0.99")).to_be_visible()
    expect(region.get_by_text("works, also after a reload")).to_be_visible()
    expect(region.get_by_text("the processor (WebAssembly)")).to_be_visible()
    expect(region.get_by_text("Not on the graphics card: ")).to_be_visible()
    told = page.evaluate(ABILITIES)
    [ability] = told["models"]

    assert (MINILM, "feature-extraction", True, "wasm") == tuple(
        ability[k] for k in ("model", "task", "loaded", "device")
    )
    assert ability["parity"] >= 0.99
    assert ability["speed"]["p50_ms"] > 0
    served = page.evaluate(SERVED, [MINILM, ["hello"], ONLY_HERE])
    assert ("browser", 384) == (served["backend"], served["width"])
    visit.picture("browser-tier")
    assert [] == visit.unfit()
    page.set_viewport_size({"width": 360, "height": 640})
    visit.picture("browser-tier-phone")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    region.get_by_role("button", name="Unload").click()
    expect(region.get_by_role("button", name="Load into this browser")).to_be_visible()
    assert "local" == page.evaluate(SERVED, [MINILM, ["hello"], ANYWHERE])["backend"]


def test_the_policy_may_choose_the_page_which_tells_what_became_of_it(visit: Visit) -> None:
    """In the Playground: an intent told by the page alone, and vectors by whoever is best, with the decision's row."""
    page = visit.open("playground/browser")
    page.get_by_role("region", name="embeddings and intents").get_by_role("button", name="Load into").click()
    here = page.get_by_role("region", name="told by this page")
    here.get_by_role("textbox", name="Text").fill("Write a function that reverses a string")
    here.get_by_role("button", name="Classify here").click()
    expect(here.get_by_role("list", name="Confidence by label")).to_contain_text("coding")
    anywhere = page.get_by_role("region", name="Where it is best")
    anywhere.get_by_role("button", name="Embed where it is best").click()
    chip = anywhere.get_by_role("link")
    expect(chip).to_be_visible()
    side, decision_id = chip.locator("b").inner_text(), chip.get_attribute("href").rpartition("/")[2]
    row = visit.server.get(f"/v1/decisions/{decision_id}").body

    visit.expected.append("ERR_FAILED")  # the server is out of reach from here on
    page.route("**/v1/**", lambda route: route.abort())
    anywhere.get_by_role("button", name="Embed where it is best").click()
    expect(anywhere.get_by_text("The server is away, so nobody chose and nothing was logged.")).to_be_visible()
    expect(anywhere.get_by_text("2 vectors of 384 numbers.")).to_be_visible()
    page.unroute("**/v1/**")

    assert {"browser": "browser", "near": "local"}[side] == row["backend"]
    assert {"browser:" + MINILM, "local:" + MINILM} <= {one["candidate_id"] for one in row["candidates"]}
    assert [] == visit.unfit()


def test_the_playground_asks_this_page_too(visit: Visit) -> None:
    """Once its model is loaded: similarity, also without the server, and intents by the set as it is now."""
    page = visit.open("playground/browser")
    page.get_by_role("region", name="embeddings and intents").get_by_role("button", name="Load into").click()
    expect(page.get_by_role("region", name="told by this page")).to_be_visible()
    page.get_by_role("tab", name="Embeddings").click()
    place = page.get_by_role("tabpanel", name="Embeddings")
    place.get_by_role("combobox", name="Model").select_option(MINILM)
    expect(place.get_by_text("The policy may leave it to this page")).to_be_visible()
    visit.expected.append("ERR_FAILED")  # the server is out of reach from here on
    page.route("**/v1/**", lambda route: route.abort())
    place.get_by_role("button", name="Embed").click()

    expect(place.get_by_text("The server is away, so nobody chose and nothing was logged.")).to_be_visible()
    expect(place.get_by_role("table", name="Cosine similarity")).to_be_visible()
    expect(place.locator(".chip b.browser")).to_be_visible()
    page.unroute("**/v1/**")

    visit.server.post("/v1/intents", SUPPORT)
    assert "refund" == page.evaluate(CHOSEN, ["intents/support", "I would like a refund"])
    renamed = {f"{name}s": examples for name, examples in SUPPORT["intents"].items()}
    visit.server.post("/v1/intents", {"name": "support", "intents": renamed})
    assert "refunds" == page.evaluate(CHOSEN, ["intents/support", "I would like a refund"])


def test_the_server_answers_where_the_page_fails(visit: Visit) -> None:
    """And the log has that it was chosen, and failed. Of half a text no page says that it is the whole."""
    page = visit.open("decisions")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.evaluate(LOADED)
    cut = page.evaluate(CUT, ["hello", "red " * 400])
    before = given_up(visit.server)
    here = page.evaluate(SERVED, [MINILM, ["hello"], FIRST_HERE])
    page.evaluate(LOST)
    there = page.evaluate(SERVED, [MINILM, ["hello"], FIRST_HERE])

    visit.server.get(f"/v1/decisions/{there['decision_id']}")  # which waits for all rows until now

    assert ("browser", "local", 384, 384) == (here["backend"], there["backend"], here["width"], there["width"])
    assert 1 == len(given_up(visit.server) - before)
    assert 1 == cut


@pytest.mark.slow
def test_loading_can_be_stopped_and_begun_again(visit: Visit) -> None:
    """While the model's file is on its way."""
    page = opened(visit)
    page.context.route("**/onnx/model_quantized.onnx", lambda _route: None)  # it does not come, and does not fail
    region = shown(page)
    region.get_by_role("button", name="Load into this browser").click()
    expect(region.get_by_role("status")).to_contain_text("Loading the model")
    region.get_by_role("button", name="Stop").click()

    expect(region.get_by_role("button", name="Load into this browser")).to_be_visible()
    page.context.unroute("**/onnx/model_quantized.onnx")
    region.get_by_role("button", name="Load into this browser").click()
    expect(region.get_by_role("status")).to_contain_text("Ready in this browser", timeout=PATIENCE_MS)


@pytest.mark.slow
def test_vectors_that_are_not_the_servers_are_not_served(visit: Visit) -> None:
    """Nothing that was fitted there would mean anything; the server answers instead."""
    page = opened(visit)

    def turned(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for one in body["data"]:
            one["embedding"].reverse()
        route.fulfill(response=answer, json=body)

    page.route("**/v1/embeddings", turned)
    region = shown(page)
    region.get_by_role("button", name="Load into this browser").click()
    expect(region.get_by_role("alert")).to_contain_text("differ from the server's", timeout=PATIENCE_MS)
    expect(region.get_by_role("button", name="Try again")).to_be_visible()
    page.unroute("**/v1/embeddings")
    found = page.evaluate(SERVED, [MINILM, ["hello"], ANYWHERE])

    assert ("local", 384) == (found["backend"], found["width"])


@pytest.mark.slow
def test_a_small_device_asks_the_server(visit: Visit) -> None:
    """It is not even tried."""
    visit.page.add_init_script("Object.defineProperty(Navigator.prototype, 'deviceMemory', { get: () => 0.5 });")
    page = opened(visit)
    region = shown(page)
    region.get_by_role("button", name="Load into this browser").click()

    expect(region.get_by_role("alert")).to_contain_text("too little memory")
    assert "local" == page.evaluate(SERVED, [MINILM, ["hello"], ANYWHERE])["backend"]


@pytest.mark.parametrize("lacking", ["libraries", "model"])
@pytest.mark.slow
def test_what_the_server_lacks_is_said_with_the_remedy(visit: Visit, lacking: str) -> None:
    """In the server's own words, as text."""
    page = opened(visit)
    why = "Run <img src=x onerror=alert(1)> first."

    def without(route: Route) -> None:
        body = route.fetch().json()
        (body["libraries"] if lacking == "libraries" else body["models"][0]).update(available=False, why=why)
        route.fulfill(json=body)

    page.route("**/browser-models", without)
    region = shown(page)
    region.get_by_role("button", name="Load into this browser").click()

    expect(region.get_by_role("alert")).to_contain_text(why)


@pytest.mark.slow
def test_a_download_that_breaks_off_is_said_and_can_be_tried_again(visit: Visit) -> None:
    """The model's file does not come the first time."""
    page = opened(visit)
    visit.expected += ["Failed to load resource", "net::ERR_FAILED"]
    page.context.route("**/onnx/model_quantized.onnx", lambda route: route.abort())
    region = shown(page)
    region.get_by_role("button", name="Load into this browser").click()
    expect(region.get_by_role("alert")).to_be_visible(timeout=PATIENCE_MS)
    page.context.unroute("**/onnx/model_quantized.onnx")
    region.get_by_role("button", name="Try again").click()

    expect(region.get_by_role("status")).to_contain_text("Ready in this browser", timeout=PATIENCE_MS)


def given_up(server: Server) -> set[str]:
    """The decisions that pages were chosen for, and gave up."""
    rows = server.get("/v1/decisions?status=error&limit=100").body["data"]
    return {row["decision_id"] for row in rows if row["error_class"] == "FellBack"}


def opened(visit: Visit) -> Page:
    """The page without a service worker: what a test puts in the server's place is seen."""
    visit.page.add_init_script(NO_WORKER)
    page = visit.open("decisions")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page


def shown(page: Page) -> Any:
    page.evaluate(SHOWN)
    return page.get_by_role("region", name="In this browser")
