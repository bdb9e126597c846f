"""How soon does a server answer after its start, how soon with a real vector, and how large is it? Beside two gateways.

Nearfar as `nearfar serve` starts it, with all its built-in models there and none loaded; LiteLLM's proxy and Portkey's
gateway with one model of a far side. In rounds of random order, one at a time; a first start of each, which fills the
caches of the disk and of Python, is not counted.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import urllib.request
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import gateway_peers
from delivery import deliver, rule, said
from gateway_peers import LITELLM, NEARFAR, PORTKEY, Gateway, Running, running
from goals import Spread, goal, shown, spread, told
from interruption import stoppable
from machine import ROOT, describe_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULT = Path(__file__).parent / "results" / "startup.json"
PACKAGES = ("nearfar", "litestar", "uvicorn", "uvloop", "duckdb", "torch", "onnxruntime")
EMBEDDER, DIMENSIONS = "sentence-transformers/all-MiniLM-L6-v2", 384
NOWHERE = "http://127.0.0.1:9"  # nobody is asked before the first request, and none is sent
HEAD = "| server | first answer s | first vector s | idle RSS MB | starts |"


class Start(NamedTuple):
    """One start: seconds from the process's start, and MB of all its processes once it has been idle for a while."""

    name: str
    answer_s: float
    vector_s: float | None  # None where none was asked for, like the next
    rss_mb: float | None


# --- measuring ----------------------------------------------------------------------------------


def servers(folder: Path, peers: Path) -> tuple[list[Gateway], list[str]]:
    """Every server that is installed, Nearfar first, and the names of those that are not."""
    found = {
        LITELLM: gateway_peers.litellm(LITELLM, 1, NOWHERE, folder, peers),
        PORTKEY: gateway_peers.portkey(NOWHERE, peers),
    }
    there = [each for each in found.values() if each is not None]
    return [near(folder), *there], [f"{name} (not installed)" for name, each in found.items() if each is None]


def near(folder: Path) -> Gateway:
    """Nearfar as it starts without a word of configuration, but for where its log is."""
    config = folder / "nearfar.toml"
    config.write_text(f'[log]\npath = "{folder}/decisions.duckdb"\n', encoding="utf-8")
    serve = [sys.executable, "-m", "router", "serve", "--offline", "--config", str(config)]
    return Gateway(
        name=NEARFAR,
        version=metadata.version("nearfar"),
        command=lambda port: [*serve, "--port", str(port)],
        env=gateway_peers.clean() | {"HF_HOME": str(folder)},
        headers=(),
        alive="/health/live",
    )


def idle(server: Gateway, idle_s: float, output: IO[str]) -> Start:
    """Start it, wait for its first answer, leave it alone, and look how large it is."""
    with running(server, output) as party:
        answer_s = party.answers(server.alive)
        time.sleep(idle_s)
        return Start(server.name, answer_s, None, party.rss_mb())


def embedding(server: Gateway, output: IO[str]) -> Start:
    """Start it, and ask for a vector as soon as it answers at all.

    Raises:
        RuntimeError: What came is none.
    """
    with running(server, output) as party:
        answer_s = party.answers(server.alive)
        vector = vector_of(party)
        vector_s = party.age_s()
    if len(vector) != DIMENSIONS or not 0.99 < sum(each * each for each in vector) < 1.01:
        raise RuntimeError(f"no vector of MiniLM: {len(vector)} numbers")
    return Start(server.name, answer_s, vector_s, None)


def vector_of(party: Running) -> list[float]:
    """One text's vector, from the model that a package of weights brings."""
    body = json.dumps({"model": EMBEDDER, "input": "Near or far?"}).encode()
    request = urllib.request.Request(f"{party.url}/v1/embeddings", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        vector: list[float] = json.load(answer)["data"][0]["embedding"]
        return vector


def starts(found: list[Gateway], given: argparse.Namespace, output: IO[str]) -> Iterator[Start]:
    """Every start of every round, the first round's left out."""
    dice = random.Random(given.seed)
    for number in range(given.rounds + 1):
        wanted = [partial(idle, server, given.idle if number else 0.0, output) for server in found]
        wanted.append(partial(embedding, found[0], output))
        for start in dice.sample(wanted, len(wanted)):
            made = start()
            said(f"round {number}: {told_of(made)}")
            if number:
                yield made


def told_of(start: Start) -> str:
    parts = [f"{start.name} answers after {start.answer_s:.2f} s"]
    parts += [] if start.vector_s is None else [f"with a vector after {start.vector_s:.2f} s"]
    parts += [] if start.rss_mb is None else [f"{start.rss_mb:.0f} MB idle"]
    return ", ".join(parts)


# --- reporting ----------------------------------------------------------------------------------


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Measure everything; the report."""
    machine, began = describe_machine(PACKAGES), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder, tempfile.TemporaryFile("w+") as output:
        found, absent = servers(Path(folder), given.peers)
        try:
            made = list(starts(found, given, output))
        except BaseException:
            output.seek(0)
            sys.stderr.write(output.read()[-8000:])
            raise
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *("DIR" if word == str(given.peers) else word for word in sys.argv)]),
        "machine": machine,
        "seconds": time.monotonic() - began,
        "versions": {each.name: each.version for each in found},
        "not_measured": absent,
        "settings": {"rounds": given.rounds, "idle_s": given.idle, "seed": given.seed},
        "servers": {each.name: figures(made, each.name) for each in found},
        "goals": goals(made),
        "starts": [each._asdict() for each in made],
    }


def figures(made: list[Start], name: str) -> dict[str, Spread | None]:
    """Of one server, over its starts."""
    own = [start for start in made if start.name == name]
    return {
        "answer_s": spread(start.answer_s for start in own),
        "vector_s": spread(start.vector_s for start in own if start.vector_s is not None),
        "rss_mb": spread(start.rss_mb for start in own if start.rss_mb is not None),
    }


def goals(made: list[Start]) -> list[dict[str, Any]]:
    """The issue's goals, each with its figure."""
    ours, theirs = figures(made, NEARFAR), {name: figures(made, name) for name in (PORTKEY, LITELLM)}
    return [
        goal(what, ours[field], limit, most=True, against={name: of[field] for name, of in theirs.items()})
        for what, field, limit in (
            ("start to first answer of /health/live, s", "answer_s", 1.0),
            ("start to first vector of MiniLM, s", "vector_s", 6.0),
            ("idle RSS without models, MB", "rss_mb", 150.0),
        )
    ]


def table(report: dict[str, Any]) -> str:
    """The report as Markdown: what benchmarks/README.md holds."""
    rows = []
    for name, of in report["servers"].items():
        count = sum(start["name"] == name for start in report["starts"])
        vector = "" if of["vector_s"] is None else shown(of["vector_s"])
        columns = [name, shown(of["answer_s"]), vector, shown(of["rss_mb"]), str(count)]
        rows.append(f"| {' | '.join(columns)} |")
    below = (
        f"Versions: {', '.join(f'{name} {version}' for name, version in report['versions'].items())}. "
        f"Not measured: {', '.join(report['not_measured']) or 'nothing'}."
    )
    return "\n".join([*told(report["goals"]), "", HEAD, rule(HEAD), *rows, "", below])


def main() -> int:
    """Measure, tell, and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="make the peers' environments that are not there yet")
    parser.add_argument("--peers", type=Path, default=gateway_peers.CACHE, metavar="DIR", help="where those are")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=3.0, help="seconds before memory is looked at")
    parser.add_argument("--seed", type=int, default=1, help="of the order within each round")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    if given.install:
        gateway_peers.install(given.peers)
    report = run(given)
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    return 0


if __name__ == "__main__":
    sys.exit(stoppable(main))
