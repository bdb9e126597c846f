"""Measures a model on this machine: what loading it takes, a few requests of rising size, and which runtime wins."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import msgspec

from backends.local import generation_runtimes
from backends.local.calibration import Calibration
from backends.local.encoders import choice
from backends.local.errors import translated
from backends.local.job import Ask
from backends.local.work import work_of
from backends.reports import LoadReport, Measurement

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.local.calibration import Calibrations
    from backends.local.job import Done
    from backends.local.preparation import Prepared
    from backends.local.types import Family, Opening
    from backends.local.worker import Worker
    from backends.types import Payload

# Where there is a choice: what measures, and chooses, by family.
_CHOICES: dict[Family, Callable[[Opening], Any]] = {
    "embedder": choice.calibrate,
    "causal-lm": generation_runtimes.calibrate,
}
REPEATS = 5  # of each size when it is measured thoroughly; their median is kept


async def measured(worker: Worker, known: Prepared, *, thorough: bool) -> LoadReport:
    """Run the task's warm-ups: the first one twice, because its first run also pays what libraries put off.

    Raises:
        BackendError: The model cannot be loaded, or not run.
    """
    first = await worker.submit(_ask(known, known.task.warm_ups[0]))
    payloads = known.task.warm_ups if thorough else known.task.warm_ups[:1]
    measurements = []
    for payload in payloads:
        runs = [await worker.submit(_ask(known, payload)) for _ in range(REPEATS if thorough else 1)]
        seconds = statistics.median(run.timings.device_s or 0.0 for run in runs)
        measurements.append(Measurement(usage=runs[-1].answer.usage, service_s=seconds))
    return LoadReport(load_s=worker.load_s, first_s=_service_s(first), measured=tuple(measurements))


def choose_runtimes(known: Prepared, opening: Opening, calibrations: Calibrations) -> None:
    """Measure what could compute the model here, and keep which is fastest, where there is a choice. Blocks."""
    calibrate = _CHOICES.get(known.key.family)
    if calibrate is None or opening.device != "cpu" or known.key.runtime is not None:
        return
    if known.key in calibrations.chosen:
        return  # tasks that share a model share the choice
    with translated(known.model):
        chosen = calibrate(opening)
    kept = calibrations.of(known.key)
    calibrations.keep(known.key, msgspec.structs.replace(kept, runtimes=msgspec.to_builtins(chosen)))
    calibrations.chosen.add(known.key)


def keep(calibrations: Calibrations, known: Prepared, report: LoadReport) -> LoadReport:
    """Write down what was measured of a task, and why its runtime was chosen; the report with that. Blocks."""
    kept = calibrations.of(known.key)
    why = kept.runtimes.get("why")
    report = msgspec.structs.replace(report, note=None if why is None else str(why))
    reports = {**kept.reports, known.task.task: report}
    calibrations.keep(known.key, Calibration(runtimes=kept.runtimes, reports=reports))
    return report


def _ask(known: Prepared, payload: Payload) -> Ask:
    return Ask(model=known.model, task=known.task, payload=payload, weight=work_of(payload))


def _service_s(done: Done) -> float | None:
    return done.timings.service_s
