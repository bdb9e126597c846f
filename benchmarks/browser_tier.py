"""What the browser tier costs and gives: bytes, loading, and the time of an answer in the page against the server's.

A real Chromium without a window, before a real server on this machine: so the server's figures hold no network to speak
of, and both share the cores. Page and server take turns, input by input; what is compared is their ratio in one run.
Before that the first page is opened again and again, to see how soon it can be used.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from browser_page import PATIENCE_MS, Bytes, chromium, fresh_loads  # noqa: E402
from browser_report import table  # noqa: E402
from delivery import deliver, said  # noqa: E402
from machine import describe_machine  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page

RESULT = Path(__file__).parent / "results" / "browser_tier.json"
EMBEDDER, HEARS, INTENTS = (
    "sentence-transformers/all-MiniLM-L6-v2",
    "Systran/faster-whisper-tiny.en",
    "nearfar/minilm-intent",
)
PACKAGES = ("playwright", "torch", "onnxruntime", "sentence-transformers", "faster-whisper")
SENTENCE = "The router sends each request to the place that serves it best. "
TEXTS = {"short": "Where is my parcel?", "medium": SENTENCE * 3, "long": SENTENCE * 12}
RECORDING = ROOT / "tests/data/jfk.ogg"
LOAD = """async (task) => {
    const { tier } = await import("/ui/browser/tier.js");
    await tier.load(task);
    return { ...tier.state.models[task], threads: tier.state.threads };
}"""
HERE = """const { tier } = await import("/ui/browser/tier.js"); const began = performance.now();"""
EMBED = f"""async (text) => {{ {HERE}
    const {{ vectors: [vector], tokens }} = await tier.embed([text]);
    return {{ ms: performance.now() - began, vector: [...vector], tokens }};
}}"""
INTENT = f"""async (text) => {{ {HERE}
    const {{ labels: [first] }} = await tier.intent("builtin", text);
    return {{ ms: performance.now() - began, label: first.label }};
}}"""
HEAR = f"""async (sound) => {{ {HERE}
    const {{ text, seconds }} = await tier.transcribe(new Blob([Uint8Array.from(atob(sound), (c) => c.charCodeAt(0))]));
    return {{ ms: performance.now() - began, text, seconds }};
}}"""
NEAR = """async ([task, model, inputs]) => {
    const began = performance.now();
    const routing = { backend: "local", cache: false, explore: false };
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ task, model, inputs, routing });
    const answer = await fetch("/v1/inference", { method: "POST", headers, body });
    const { result, error } = await answer.json();
    if (error) throw new Error(error.message);
    return { ms: performance.now() - began, result };
}"""


def main() -> None:
    """Serve, open, load, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="turns of each side for each text (default 60)")
    parser.add_argument("--heard", type=int, default=12, help="turns of each side for the recording (default 12)")
    parser.add_argument("--loads", type=int, default=40, help="fresh loads of the first page (default 40)")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON (- prints it)")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}")
    options = parser.parse_args()
    machine = describe_machine(PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        server, url = serving(Path(folder))
        try:
            figures = measured(url, options)
        finally:
            server.terminate()
            server.wait(60)
    rounds = {name: getattr(options, name) for name in ("rounds", "heard", "loads")}
    report = {"machine": machine, "load_after": os.getloadavg(), **rounds, **figures}
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


def measured(url: str, options: argparse.Namespace) -> dict[str, Any]:
    """The first page, then both models: two visits, and both sides in turns."""
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        said(f"{options.loads} fresh loads")
        fresh = fresh_loads(browser, url, options.loads)
        page, visits = visited(browser, url)
        figures = {
            "chromium": browser.version,
            "first_page": {
                "usable_ms": spread([load["usable_ms"] for load in fresh]),
                "slowest_ms": max(load["usable_ms"] for load in fresh),
                "most_bytes": max(load["bytes"] for load in fresh),
                "most_requests": max(load["requests"] for load in fresh),
            },
            "visits": visits,
            "texts": {name: embedded(page, name, text, options.rounds) for name, text in TEXTS.items()},
            "intent": told_apart(page, options.rounds),
            "speech": heard(page, options.heard),
        }
        browser.close()
    return figures


def visited(browser: Browser, url: str) -> tuple[Page, dict[str, Any]]:
    """A profile that never saw the server, and the same once more: what each visit's page and models take."""
    context = browser.new_context()
    page, moved = context.new_page(), Bytes(context)
    page.set_default_timeout(PATIENCE_MS)
    visits = {}
    for visit in ("first", "second"):
        said(f"{visit} visit")
        page.goto(f"{url}/#/decisions") if visit == "first" else page.reload()
        page.get_by_role("heading", level=1).wait_for()
        shown = moved.taken()["bytes"]
        models = {}
        for task in ("feature-extraction", "automatic-speech-recognition"):
            state = page.evaluate(LOAD, task)
            if state["phase"] != "ready":
                sys.exit(f"the model was not loaded: {state['why']}")
            kept = {name: state[name] for name in ("model", "device", "threads", "parity")}
            models[task] = {**kept, "bytes": moved.taken()["bytes"], "load_ms": state["loadMs"]}
        visits[visit] = {"page_bytes": shown, "models": models}
    return page, visits


def embedded(page: Page, name: str, text: str, rounds: int) -> dict[str, Any]:
    """One text's vector by both sides."""
    said(f"{name} text, {rounds} rounds")
    task = "feature-extraction"
    here, there = in_turns(
        rounds, lambda: page.evaluate(EMBED, text), lambda: page.evaluate(NEAR, [task, EMBEDDER, text])
    )
    pairs = [(own["vector"], flat(theirs["result"])) for own, theirs in zip(here, there, strict=True)]
    cosine = min(sum(a * b for a, b in zip(own, theirs, strict=True)) for own, theirs in pairs)
    return {"tokens": here[0]["tokens"], **compared(here, there), "cosine": cosine}


def told_apart(page: Page, rounds: int) -> dict[str, Any]:
    """What one text wants, by both sides."""
    said(f"an intent, {rounds} rounds")
    text, task = TEXTS["short"], "text-classification"
    here, there = in_turns(
        rounds, lambda: page.evaluate(INTENT, text), lambda: page.evaluate(NEAR, [task, INTENTS, text])
    )
    same = all(own["label"] == theirs["result"][0]["label"] for own, theirs in zip(here, there, strict=True))
    return {**compared(here, there), "same_label": same}


def heard(page: Page, rounds: int) -> dict[str, Any]:
    """One recording by both sides; the real-time factor is the time taken over the time that the recording lasts."""
    said(f"a recording, {rounds} rounds")
    sound, task = base64.b64encode(RECORDING.read_bytes()).decode(), "automatic-speech-recognition"
    here, there = in_turns(
        rounds, lambda: page.evaluate(HEAR, sound), lambda: page.evaluate(NEAR, [task, HEARS, sound])
    )
    found = compared(here, there)
    seconds = here[0]["seconds"]
    factors = {side: found[f"{side}_ms"]["p50"] / 1000 / seconds for side in ("page", "server")}
    words = {"page": here[-1]["text"], "server": there[-1]["result"]["text"].strip()}
    return {"seconds": seconds, **found, "real_time_factor": factors, "text": words}


def in_turns(
    rounds: int, page: Callable[[], dict[str, Any]], server: Callable[[], dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The page, then the server, and again; the first turn of each is not counted."""
    turns = [(page(), server()) for _ in range(rounds + 1)][1:]
    return [here for here, _ in turns], [there for _, there in turns]


def compared(here: list[dict[str, Any]], there: list[dict[str, Any]]) -> dict[str, Any]:
    """Both sides' times, and the median over the turns of one over the other."""
    own, theirs = [turn["ms"] for turn in here], [turn["ms"] for turn in there]
    ratio = statistics.median(a / b for a, b in zip(own, theirs, strict=True))
    return {"page_ms": spread(own), "server_ms": spread(theirs), "ratio": ratio}


def flat(vector: list[Any]) -> list[float]:
    """One vector, also where it came in a list of one."""
    return vector[0] if isinstance(vector[0], list) else vector


def spread(values: list[float]) -> dict[str, float]:
    """The least, the median and the 95th percentile."""
    return {
        "least": min(values),
        "p50": statistics.median(values),
        "p95": statistics.quantiles(values, n=20, method="inclusive")[-1],
    }


if __name__ == "__main__":
    main()
