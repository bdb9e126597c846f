"""`python -m tests.e2e.offline_features FOLDER [near]`: everything that can be asked for, asked of an offline server.

Prints what became of it as JSON. With `near` every task is done by its real weights, without them by pretended models.
A token is configured all the time, so that nothing but being offline keeps anything here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.conftest import MINILM, SMOLLM, START_S, Server
from tests.e2e.media import EFFICIENTNET, IMAGE, PHOTO, SHAPES, SPEECH, WHISPER, base64_of, wav

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = '[routing]\noffline = true\nrefresh_hours = 1.0\n[local]\ndownloads = true\n[telemetry]\nlogs = "json"\n'
PRETENDED = """
[[models]]
id = "{id}"
task = "{task}"
  [[models.candidates]]
  backend = "fake"
  script = {{ near = true }}
  price = {{ per_request_usd = 0.0 }}
"""
PICTURE = (Path(__file__).parents[2] / "backends/local/shapes/model/sheet.png").read_bytes()
FAKE = ("fake/chat", "fake/embeddings", IMAGE, PHOTO, SPEECH)
TASKS = (
    "text-generation",
    "feature-extraction",
    "text-to-image",
    "image-classification",
    "automatic-speech-recognition",
)
NEAR = (SMOLLM, MINILM, SHAPES, EFFICIENTNET, WHISPER)


def tasks(server: Server, models: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Every task by every surface that has it: what it is, and the status."""
    chat, vectors, drawing, photo, speech = models
    said = [{"role": "user", "content": "What is the capital of France?"}]
    bodies: list[tuple[str, Any]] = [
        ("/v1/inference", {"model": vectors, "task": "feature-extraction", "inputs": ["one", "two"]}),
        (
            "/v1/inference",
            {"model": chat, "task": "text-generation", "inputs": "Hello", "parameters": {"max_tokens": 4}},
        ),
        ("/v1/inference", {"model": drawing, "inputs": "a red circle", "parameters": {"steps": 2}}),
        ("/v1/inference", {"model": photo, "inputs": base64_of(PICTURE)}),
        ("/v1/inference", {"model": speech, "inputs": base64_of(wav())}),
        ("/v1/route", {"model": chat, "inputs": "Hello", "routing": {"policy": "cheapest"}}),
        ("/v1/chat/completions", {"model": chat, "messages": said, "max_tokens": 4}),
        ("/v1/embeddings", {"model": vectors, "input": "hello"}),
        ("/v1/images/generations", {"model": drawing, "prompt": "a blue square"}),
        (f"/models/{vectors}", {"inputs": "hello"}),
    ]
    if models is NEAR:
        bodies += [
            ("/v1/inference", {"model": "nearfar/minilm-intent", "inputs": "What is 3 times 4?"}),
            ("/v1/inference", {"model": "nearfar/minilm-zero-shot", "inputs": "A goal!",
                               "parameters": {"candidate_labels": ["sport", "money"]}}),
        ]  # fmt: skip
    for path, body in bodies:
        yield f"{path} {body.get('model')}", server.post(path, body).status


def routes(server: Server) -> Iterator[tuple[str, int]]:
    """Everything else that is served: what it is, and the status."""
    decision = _committed(server)
    for path in (
        "/v1/models", "/v1/decisions", f"/v1/decisions/{decision}", "/v1/analytics/summary", "/v1/analytics/models",
        "/v1/system", "/v1/intents", "/health/live", "/health/ready",
    ):  # fmt: skip
        yield path, server.get(path).status
    yield "/v1/system/token", server.post("/v1/system/token", {}).status
    yield "/v1/analytics/sql", server.post("/v1/analytics/sql", {"query": "SELECT count(*) FROM decisions"}).status
    yield "/v1/feedback", server.post("/v1/feedback", {"decision_id": decision, "score": 1.0}).status
    yield "/v1/replay", server.post("/v1/replay", {"policy": "cheapest"}).status
    for path in ("/metrics", "/schema", "/schema/openapi.json", "/ui/vendor/swagger-ui/swagger-ui-bundle.js"):
        with urllib.request.urlopen(server.url + path, timeout=60) as response:
            yield path, response.status


def _committed(server: Server) -> str:
    """A decision that can be read."""
    until = time.monotonic() + START_S
    while not (rows := server.get("/v1/decisions?limit=1").body["data"]):
        assert time.monotonic() < until, "no decision was committed"
        time.sleep(0.05)
    found: str = rows[0]["decision_id"]
    return found


def foreign(server: Server) -> list[str]:
    """What the pages that people look at would fetch from elsewhere."""
    with urllib.request.urlopen(server.url + "/schema", timeout=60) as response:
        page = response.read().decode()
    return [
        *re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//[^"']+""", page),
        *re.findall(r"url\(\s*['\"]?https?:", page),
    ]


def abroad(server: Server) -> Iterator[tuple[str, int]]:
    """What could only be had elsewhere: each is refused with a reason."""
    said = [{"role": "user", "content": "Hello"}]
    yield "unlisted", server.post("/v1/chat/completions", {"model": "org/nobody-knows", "messages": said}).status
    far = {"model": "meta-llama/Llama-3.2-3B-Instruct", "messages": said, "routing": {"backend": "remote"}}
    yield "far", server.post("/v1/chat/completions", far).status


def verbs(folder: Path, *, every: bool) -> Iterator[tuple[str, int]]:
    """The commands, each a process of its own, or those that would ask others: what it is, and its exit code."""
    asking = [["models", "refresh"]]
    others = [
        ["run", "text-generation", "hello", "--model", "fake/chat"],
        ["route", "text-generation", "hello"],
        ["models", "list"],
        ["report"],
        ["explain"],
        ["export", str(folder / "parquet")],
    ]
    for verb in [*asking, *(others if every else ())]:
        yield " ".join(verb[:2]), _ran(folder, *verb).returncode


def guard(folder: Path) -> dict[str, str]:
    """What the doctor finds of the guard, asked to look at the token, too."""
    findings = json.loads(_ran(folder, "doctor", "--check-token", "--json").stdout)
    found: dict[str, str] = next(finding for finding in findings if finding["what"] == "egress")
    return found


def _ran(folder: Path, *verb: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "router", "--offline", *verb]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def main() -> None:
    """Ask, and print."""
    folder, near = Path(sys.argv[1]), "near" in sys.argv[2:]
    os.environ["HF_TOKEN"] = "hf_never_sent_anywhere"
    pretended = (PRETENDED.format(id=model, task=task) for model, task in zip(FAKE, TASKS, strict=True))
    server = Server(folder, CONFIG + "".join(pretended))
    try:
        found: dict[str, Any] = {
            "tasks": dict(tasks(server, NEAR if near else FAKE)),
            "routes": dict(routes(server)),
            "abroad": dict(abroad(server)),
            "foreign": foreign(server),
            "egress": server.get("/v1/system").body["egress"],
        }
    finally:
        server.stop()
    found["verbs"] = dict(verbs(folder, every=near))
    found["guard"] = guard(folder)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
