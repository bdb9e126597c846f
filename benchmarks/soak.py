"""Does a server that runs for long keep its size? Mixed tasks, models loaded and evicted, clients that leave early.

Starts `nearfar serve` with room for some of the models only, asks it for everything at once for `--minutes`, and
samples the process from outside. After the first quarter (warm-up) the slope of the resident memory is fitted to the
means of each minute; it is told with its 95 % interval, which must hold zero. Exit status 1 when it does not, when a
request failed, or when threads or file descriptors grew.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import math
import random
import re
import statistics
import sys
import tempfile
import time
import wave
import zlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
from machine import describe_machine
from rich.console import Console
from rich.progress import Progress
from slopes import fitted
from upstream import served

if TYPE_CHECKING:
    from collections.abc import Callable

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
RESULT = Path(__file__).parent / "results" / "soak.json"
PACKAGES = ("torch", "transformers", "diffusers", "faster-whisper", "onnxruntime", "litestar", "uvicorn", "duckdb")
SAMPLE_S = 2.0
WARM_UP = 0.25  # of the run
ROOM_BYTES = 1_000_000_000  # the chat model and one small one fit, all five do not
LEAVES = 0.2  # of the callers leave before their answer is complete

CONFIG = """\
[log]
path = "{log}"
[local]
memory_fraction = {fraction}
max_queue = 256
"""


@dataclass(frozen=True)
class Sample:
    """The server at one instant."""

    at_s: float
    rss_bytes: int
    threads: int
    files: int


@dataclass
class Tally:
    """What became of the requests."""

    answered: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


def picture(seed: int) -> bytes:
    """A 96x96 PNG of one colour."""
    rows = b"".join(b"\0" + bytes([seed % 256, (seed * 7) % 256, (seed * 13) % 256]) * 96 for _ in range(96))
    chunks = ((b"IHDR", b"\0\0\0\x60\0\0\0\x60\x08\x02\0\0\0"), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(len(d).to_bytes(4, "big") + n + d + zlib.crc32(n + d).to_bytes(4, "big") for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def sound(seed: int) -> bytes:
    """Two seconds of a tone as WAV."""
    frames = (int(8000 * math.sin(i * (200 + seed % 300) * 2 * math.pi / 16000)) for i in range(32000))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"".join(frame.to_bytes(2, "little", signed=True) for frame in frames))
    return buffer.getvalue()


def body(task: str, draw: random.Random) -> dict[str, Any]:
    """A native request for the task, different each time."""
    words = " ".join(draw.choices(WORDS, k=draw.randint(3, 60)))
    number = draw.randint(0, 1 << 30)
    made: dict[str, dict[str, Any]] = {
        "feature-extraction": {"inputs": [words] * draw.choice((1, 1, 1, 8)), "parameters": {"truncate": True}},
        "text-classification": {"inputs": words, "parameters": {"truncate": True}},
        "zero-shot-classification": {"inputs": words, "parameters": {"candidate_labels": ["a", "b"], "truncate": True}},
        "text-generation": {"inputs": words, "parameters": {"max_tokens": draw.randint(1, 12)}, "stream": True},
        "text-to-image": {"inputs": "a red circle", "parameters": {"steps": 2, "seed": number}, "stream": True},
        "image-classification": {"inputs": base64.b64encode(picture(number)).decode()},
        "automatic-speech-recognition": {"inputs": base64.b64encode(sound(number)).decode()},
    }
    return {"task": task, "routing": {"backend": "local"}, **made[task]}


WORDS = ["near", "far", "quick", "cold", "warm", "small", "large", "river", "bank", "fox", "model", "cost"]
WEIGHTS = {
    "feature-extraction": 8,
    "text-classification": 4,
    "zero-shot-classification": 4,
    "text-generation": 3,
    "text-to-image": 1,
    "image-classification": 2,
    "automatic-speech-recognition": 1,
}


async def caller(client: httpx.AsyncClient, tally: Tally, draw: random.Random, until: float) -> None:
    """Ask one thing after the other; now and then go away early."""
    tasks, weights = list(WEIGHTS), list(WEIGHTS.values())
    while time.monotonic() < until:
        task = draw.choices(tasks, weights)[0]
        patience_s = draw.uniform(0.001, 0.5) if draw.random() < LEAVES else None
        try:
            async with asyncio.timeout(patience_s):
                answer = await client.post("/v1/inference", json=body(task, draw))
        except TimeoutError:
            tally.left[task] += 1
            continue
        except httpx.HTTPError as error:
            tally.failed[f"{task}: {type(error).__name__}"] += 1
            continue
        if answer.status_code == 200 and "event: error" not in answer.text:
            tally.answered[task] += 1
        else:
            tally.failed[f"{task}: {answer.status_code} {ID.sub('ID', answer.text)[-160:]}"] += 1


async def watch(process: psutil.Process, samples: list[Sample], started: float) -> None:
    """Sample the server until cancelled."""
    while True:
        with process.oneshot():
            samples.append(
                Sample(time.monotonic() - started, process.memory_info().rss, process.num_threads(), process.num_fds())
            )
        await asyncio.sleep(SAMPLE_S)


async def soak(url: str, process: psutil.Process, minutes: float, callers: int) -> tuple[list[Sample], Tally]:
    """Load the server for so long; what was seen of it."""
    tally, samples, started = Tally(), [], time.monotonic()
    until = started + minutes * 60
    limits = httpx.Limits(max_connections=callers * 2)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        watching = asyncio.create_task(watch(process, samples, started))
        asking = [asyncio.create_task(caller(client, tally, random.Random(n), until)) for n in range(callers)]
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("soaking", total=minutes * 60)
            while not all(task.done() for task in asking):
                await asyncio.wait(asking, timeout=1)
                progress.update(bar, completed=time.monotonic() - started)
        await asyncio.gather(*asking)
        watching.cancel()
    return samples, tally


def slope(samples: list[Sample]) -> dict[str, float]:
    """Bytes a minute, least squares on the means of each minute after the warm-up, with its 95 % interval."""
    end = samples[-1].at_s
    kept = [sample for sample in samples if sample.at_s >= end * WARM_UP]
    width = min(60.0, end / 20)
    minutes: dict[int, list[int]] = {}
    for sample in kept:
        minutes.setdefault(int(sample.at_s // width), []).append(sample.rss_bytes)
    points = [(index * width / 60, statistics.fmean(values)) for index, values in sorted(minutes.items())]
    line = fitted([points])
    if line is None:
        raise ValueError("too short a run for a slope")
    return line | {"mean_rss_bytes": statistics.fmean(size for _, size in points)}


def growth(samples: list[Sample], of: Callable[[Sample], int]) -> dict[str, int]:
    """The most after the warm-up, in the first and in the second half of what follows."""
    end = samples[-1].at_s
    kept = [sample for sample in samples if sample.at_s >= end * WARM_UP]
    middle = len(kept) // 2
    return {"first_half": max(map(of, kept[:middle])), "second_half": max(map(of, kept[middle:]))}


def judged(samples: list[Sample], tally: Tally, loads: dict[str, int]) -> dict[str, Any]:
    """The report, with everything that speaks against the server under `faults`."""
    rss, threads, files = slope(samples), growth(samples, lambda s: s.threads), growth(samples, lambda s: s.files)
    requests = sum(tally.answered.values())
    faults = [f"failed: {what} x{count}" for what, count in tally.failed.items()]
    if rss["low"] > 0:
        faults.append("memory grows")
    faults += [
        f"{name} grow"
        for name, found, slack in (("threads", threads, 2), ("files", files, 16))
        if found["second_half"] > found["first_half"] + slack
    ]
    return {
        "requests": requests,
        "left_early": sum(tally.left.values()),
        "by_task": dict(tally.answered),
        "loads": loads,
        "rss": rss,
        "threads": threads,
        "files": files,
        "faults": faults,
        "samples": [asdict(sample) for sample in samples],
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start the server, load it, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nearfar.toml"
        fraction = ROOM_BYTES / psutil.virtual_memory().total
        config.write_text(CONFIG.format(log=Path(folder) / "log.duckdb", fraction=fraction))
        command = [sys.executable, "-m", "router", "serve", "--port", "0", "--offline", "--config", str(config)]
        with served(command) as (process, url):
            samples, tally = await soak(url, psutil.Process(process.pid), options.minutes, options.callers)
            async with httpx.AsyncClient(base_url=url) as client:
                loads = loads_of((await client.get("/metrics")).text)
    how = {"minutes": options.minutes, "callers": options.callers}
    return {"machine": describe_machine(PACKAGES), **how, **judged(samples, tally, loads)}


def loads_of(metrics: str) -> dict[str, int]:
    """How often each model was loaded, from the server's own metrics."""
    lines = (line for line in metrics.splitlines() if line.startswith("nearfar_model_loads{"))
    return {line.split('"')[1]: int(float(line.rsplit(" ", 1)[1])) for line in lines}


def told(report: dict[str, Any]) -> str:
    """The report in Markdown, the memory as a line of blocks."""
    rss = report["rss"]
    values = [sample["rss_bytes"] for sample in report["samples"]]
    step = max(1, len(values) // 60)
    means = [statistics.fmean(values[i : i + step]) for i in range(0, len(values), step)]
    low, high = min(means), max(means)
    blocks = "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * (mean - low) / (high - low or 1)))] for mean in means)
    grows, least, most = (rss[name] / 1e6 for name in ("bytes_per_minute", "low", "high"))
    return f"""\
{report["requests"]} requests answered, {report["left_early"]} callers left early
{report["minutes"]:g} minutes, {report["callers"]} callers; model loads: {report["loads"]}
RSS {low / 1e6:.0f}..{high / 1e6:.0f} MB  {blocks}
slope {grows:+.2f} MB/min (95 %: {least:+.2f} .. {most:+.2f})
threads {report["threads"]}, files {report["files"]}
faults: {"; ".join(report["faults"]) or "none"}"""


def main() -> None:
    """Run, tell, and fail where there is something to tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--callers", type=int, default=12)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--save", action="store_true", help=f"write it to {RESULT.name}")
    options = parser.parse_args()
    report = asyncio.run(run(options))
    if options.save:
        RESULT.write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write((json.dumps(report) if options.json else told(report)) + "\n")
    sys.exit(1 if report["faults"] else 0)


if __name__ == "__main__":
    main()
