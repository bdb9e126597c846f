"""What the browser tier costs and gives: bytes, loading, and the time of an embedding in the page against the server's.

A real Chromium without a window, before a real server on this machine: so the server's figure holds no network to speak
of, and both share the cores. Page and server take turns, text by text; what is compared is their ratio in one run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from delivery import deliver, rule, said  # noqa: E402
from machine import describe_machine  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Request

RESULT = Path(__file__).parent / "results" / "browser_tier.json"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGES = ("playwright", "torch", "onnxruntime", "sentence-transformers")
SENTENCE = "The router sends each request to the place that serves it best. "
TEXTS = {"short": "Where is my parcel?", "medium": SENTENCE * 3, "long": SENTENCE * 12}
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
LOAD = """async () => {
    const { tier } = await import("/ui/browser/tier.js");
    await tier.load();
    return tier.state;
}"""
EMBED = """async (text) => {
    const { tier } = await import("/ui/browser/tier.js");
    const began = performance.now();
    const { vectors: [vector] } = await tier.embed([text]);
    return { ms: performance.now() - began, vector: [...vector] };
}"""
ASK = """async ([model, text]) => {
    const began = performance.now();
    const routing = { backend: "local", cache: false, explore: false };
    const body = JSON.stringify({ model, input: text, truncate: true, routing });
    const headers = { "content-type": "application/json" };
    const answer = await fetch("/v1/embeddings", { method: "POST", headers, body });
    const { data: [{ embedding }] } = await answer.json();
    return { ms: performance.now() - began, vector: embedding };
}"""
INTENT = """async (text) => {
    const { tier } = await import("/ui/browser/tier.js");
    const began = performance.now();
    const { labels: [first] } = await tier.intent("builtin", text);
    return { ms: performance.now() - began, label: first.label };
}"""


class Bytes:
    """What came over the wire since the last `taken`: what a service worker answered from its cache did not."""

    def __init__(self, context: BrowserContext) -> None:
        self._finished: list[Request] = []
        context.on("requestfinished", lambda request: self._finished.append(request))  # noqa: PLW0108 -- Playwright marks it

    def taken(self) -> int:
        """The bytes of the bodies as they arrived; a body that its reader cancelled counts for nothing."""
        finished = list(self._finished)
        self._finished.clear()
        answers = [(request, request.response()) for request in finished]
        fetched = [request for request, answer in answers if answer is not None and not answer.from_service_worker]
        return sum(request.sizes()["responseBodySize"] for request in fetched)


def main() -> None:
    """Measure, then tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="embeddings of each text, on each side")
    parser.add_argument("--json", metavar="FILE", help="write the report there; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"keep it in {RESULT.relative_to(ROOT)}")
    options = parser.parse_args()
    machine = describe_machine(PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        server, url = serving(Path(folder))
        try:
            figures = measured(url, options.rounds)
        finally:
            server.terminate()
            server.wait(60)
    report = {"machine": machine, "load_after": os.getloadavg(), "rounds": options.rounds, **figures}
    deliver(report, table(report), to=options.json, keep=RESULT if options.save else None)


def serving(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A server with the built-in catalogue, on a port of its own."""
    command = [sys.executable, "-m", "router", "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    line = server.stdout.readline() if server.stdout else ""
    found = re.search(r"http://\S+", line)
    if found is None:
        server.kill()
        sys.exit(f"the server did not start: {line}")
    return server, found.group()


def measured(url: str, rounds: int) -> dict[str, Any]:
    """First visit, second visit, and both sides in turns."""
    with sync_playwright() as playwright:
        own = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=own, args=list(QUIET))
        context = browser.new_context()
        page, moved = context.new_page(), Bytes(context)
        page.set_default_timeout(300_000)
        visits = {}
        for visit in ("first", "second"):
            said(f"{visit} visit")
            page.goto(f"{url}/#/decisions") if visit == "first" else page.reload()
            page.get_by_role("heading", level=1).wait_for()
            shown = moved.taken()
            state = page.evaluate(LOAD)
            model = state["models"]["feature-extraction"]
            if model["phase"] != "ready":
                sys.exit(f"the model was not loaded: {model['why']}")
            visits[visit] = {"page_bytes": shown, "tier_bytes": moved.taken(), "load_ms": model["loadMs"]}
        figures = {
            "visits": visits,
            "parity": model["parity"],
            "threads": state["threads"],
            "chromium": browser.version,
        }
        texts = {name: in_turns(page, name, text, rounds) for name, text in TEXTS.items()}
        page.evaluate(INTENT, TEXTS["short"])  # which fetches the head
        intent = [page.evaluate(INTENT, TEXTS["short"])["ms"] for _ in range(rounds)]
        browser.close()
    return figures | {"texts": texts, "intent_ms": spread(intent)}


def in_turns(page: Page, name: str, text: str, rounds: int) -> dict[str, Any]:
    """One text: the page, then the server, and again; the first turn of each is not counted."""
    said(f"{name} text, {rounds} rounds")
    here, there, cosines = [], [], []
    for _ in range(rounds + 1):
        own, theirs = page.evaluate(EMBED, text), page.evaluate(ASK, [MODEL, text])
        here.append(own["ms"])
        there.append(theirs["ms"])
        cosines.append(sum(a * b for a, b in zip(own["vector"], theirs["vector"], strict=True)))
    page_ms, server_ms = spread(here[1:]), spread(there[1:])
    ratio = statistics.median(a / b for a, b in zip(here[1:], there[1:], strict=True))
    return {"page_ms": page_ms, "server_ms": server_ms, "ratio": ratio, "cosine": min(cosines)}


def spread(values: list[float]) -> dict[str, float]:
    """The least, the median and the 95th percentile."""
    return {"least": min(values), "p50": statistics.median(values), "p95": statistics.quantiles(values, n=20)[-1]}


def table(report: dict[str, Any]) -> str:
    """The report as it stands in the README."""
    visits = "| visit | the page, bytes | the tier, bytes | loaded in s |"
    lines = [
        f"Chromium {report['chromium']}, {report['threads']} thread(s); cosine {report['parity']:.4f} at least",
        "",
    ]
    lines += [visits, rule(visits)]
    for name, told in report["visits"].items():
        lines.append(f"| {name} | {told['page_bytes']:,} | {told['tier_bytes']:,} | {told['load_ms'] / 1000:.2f} |")
    head = "| text | page: least | p50 | p95 ms | server: least | p50 | p95 ms | **page / server** | cosine |"
    lines += ["", head, rule(head)]
    for name, told in report["texts"].items():
        sides = " | ".join(
            f"{told[side][of]:.1f}" for side in ("page_ms", "server_ms") for of in ("least", "p50", "p95")
        )
        lines.append(f"| {name} | {sides} | **{told['ratio']:.2f}** | {told['cosine']:.4f} |")
    lines += ["", f"An intent in the page: {report['intent_ms']['p50']:.1f} ms (p50, of the short text)."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
