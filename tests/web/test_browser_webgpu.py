"""The graphics card: tried where there is one, proved against the server, and left for the processor where it fails.

Chromium's own SwiftShader stands for a card. The tier would pass over it, as a card that the processor imitates; so
most tests here have it say that it is none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import MINILM
from tests.web.conftest import PATIENCE_MS
from tests.web.test_browser_tier import ABILITIES, LOADED, ONLY_HERE, SERVED, SHOWN, TEXTS, servers_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Locator, Request, Route

    from tests.web.conftest import Visit

ADAPTER = "async () => Boolean(await navigator.gpu?.requestAdapter())"
A_CARD = "Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });"
OTHER_VECTORS = """() => {
    const send = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (message, ...more) {
        if (message.name === "start") this.card = message.given.device === "webgpu";
        if (message.name === "embed" && this.card) message.given = { texts: message.given.texts.map(() => "else") };
        return send.call(this, message, ...more);
    };
}"""  # only where the card computes
ON_CARD = """async (text) => {
    const { Crew } = await import("/ui/browser/crew.js");
    const { models: [{ at, task }] } = await (await fetch("/browser-models")).json();
    const crew = new Crew((error) => console.error(error.message));
    await crew.ask("start", { threads: 1, device: "webgpu" });
    await crew.ask("load", { task, at, device: "webgpu" });
    const { vectors: [vector] } = await crew.ask("embed", { texts: [text] });
    crew.dismiss(new Error("done"));
    return [...vector];
}"""
SPARED = {
    "parity.js": ("LONG.repeat(20)", '"more"'),
    "tier.js": ("const ROUNDS = 5;", "const ROUNDS = 1;"),
    "device.js": ("PATIENCE_MS = 60_000", "PATIENCE_MS = 600_000"),
}  # SwiftShader takes seconds for a word, and minutes for a long text
CARD, PROCESSOR = "the graphics card (WebGPU)", "the processor (WebAssembly)"


@pytest.fixture(scope="module")
def flags() -> tuple[str, ...]:
    """WebGPU by SwiftShader."""
    return ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


@pytest.fixture
def carded(visit: Visit) -> Visit:
    """A visit whose browser has a graphics card."""
    visit.page.add_init_script(A_CARD)
    visit.open("decisions")
    expect(visit.page.get_by_role("heading", level=1)).to_be_visible()
    if not visit.page.evaluate(ADAPTER):
        pytest.skip("this Chromium has no WebGPU by SwiftShader")
    return visit


def spared(route: Route) -> None:
    """One of the pages' modules, with less to compute."""
    answer = route.fetch()
    old, new = SPARED.get(route.request.url.rpartition("/")[2], ("", ""))
    assert old in answer.text()
    route.fulfill(response=answer, body=answer.text().replace(old, new) if old else answer.text())


def region(visit: Visit) -> Locator:
    visit.page.evaluate(SHOWN)
    return visit.page.get_by_role("region", name="In this browser")


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


def test_a_graphics_card_gives_the_servers_vector(carded: Visit) -> None:
    """By the worker alone, under the pages' policy of what may run."""
    own = carded.page.evaluate(ON_CARD, TEXTS[0])

    assert cosine(own, servers_vectors(carded.server)[0]) >= 0.99


@pytest.mark.slow
def test_the_graphics_card_is_used_and_told(carded: Visit) -> None:
    """By the runtime made for it and no other; the page, the policy and the log know what it ran on."""
    carded.context.route("**/ui/browser/*.js", spared)
    carded.page.reload()
    expect(carded.page.get_by_role("heading", level=1)).to_be_visible()
    finished: list[Request] = []
    carded.context.on("requestfinished", lambda request: finished.append(request))  # noqa: PLW0108 -- Playwright marks it
    page = carded.page
    place = region(carded)
    place.get_by_role("button", name="Load into this browser").click()
    expect(place.get_by_role("status")).to_contain_text("Ready in this browser", timeout=5 * PATIENCE_MS)
    expect(place.get_by_text(CARD)).to_be_visible()
    expect(place.get_by_text("Not on the graphics card")).to_have_count(0)
    [ability] = page.evaluate(ABILITIES)["models"]
    served = page.evaluate(SERVED, [MINILM, ["hello"], ONLY_HERE])
    row = carded.server.get(f"/v1/decisions/{served['decision_id']}").body
    runtime = {request.url.rpartition("/")[2] for request in finished if "/onnxruntime/" in request.url}

    assert ("webgpu", "q8", True) == (ability["device"], ability["dtype"], ability["parity"] >= 0.99)
    assert {"ort-wasm-simd-threaded.jspi.mjs", "ort-wasm-simd-threaded.jspi.wasm"} == runtime
    assert ("browser", "webgpu") == (row["backend"], row["attempts"][0]["device"])
    carded.picture("browser-tier-webgpu")
    assert [] == carded.unfit()


@pytest.mark.slow
def test_a_card_whose_vectors_are_not_the_servers_is_left(carded: Visit) -> None:
    """The processor's are, so those are served."""
    carded.context.route("**/ui/browser/*.js", spared)
    carded.page.reload()
    expect(carded.page.get_by_role("heading", level=1)).to_be_visible()
    carded.page.evaluate(OTHER_VECTORS)
    place = region(carded)
    place.get_by_role("button", name="Load into this browser").click()

    expect(place.get_by_role("status")).to_contain_text("Ready in this browser", timeout=5 * PATIENCE_MS)
    expect(place.get_by_text(PROCESSOR)).to_be_visible()
    expect(place.get_by_text("Not on the graphics card: it was tried, and failed")).to_contain_text("the cosine is")


def test_a_card_that_fails_is_left(carded: Visit) -> None:
    """Its runtime does not come; whatever is wrong is said, and the processor serves."""
    carded.expected += ["Failed to load resource", "ERR_FAILED", "wasm streaming compile failed", "falling back to"]
    carded.expected += [
        "failed to asynchronously prepare wasm",
        "both async and sync fetching of the wasm failed",
        "jspi.wasm",
    ]
    carded.context.route("**/*.jspi.wasm", lambda route: route.abort())
    state = carded.page.evaluate(LOADED)["models"]["feature-extraction"]

    assert ("ready", "wasm") == (state["phase"], state["device"]), state
    assert state["notCard"].startswith("it was tried, and failed: ")
    assert state["parity"] >= 0.99
    assert "browser" == carded.page.evaluate(SERVED, [MINILM, ["hello"], ONLY_HERE])["backend"]


@pytest.mark.slow
def test_a_card_that_says_nothing_is_left(carded: Visit) -> None:
    """A minute goes by on the page's clock; then the processor serves."""
    carded.page.clock.install()
    carded.context.route("**/*.jspi.wasm", lambda _route: None)  # it does not come, and does not fail
    place = region(carded)
    with carded.context.expect_event("request", lambda request: request.url.endswith(".jspi.wasm")):
        place.get_by_role("button", name="Load into this browser").click()
    carded.page.clock.fast_forward(61_000)

    expect(place.get_by_role("status")).to_contain_text("Ready in this browser")
    expect(place.get_by_text("Not on the graphics card: it was tried, and failed: it did not answer")).to_be_visible()


@pytest.mark.slow
def test_a_card_that_the_processor_imitates_is_passed_over(visit: Visit) -> None:
    """It would be slower than the processor itself."""
    page = visit.open("decisions")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    if not page.evaluate(ADAPTER):
        pytest.skip("this Chromium has no WebGPU by SwiftShader")
    state = page.evaluate(LOADED)["models"]["feature-extraction"]

    assert ("ready", "wasm") == (state["phase"], state["device"]), state
    assert "imitates" in state["notCard"]
