"""The sender's own browser as a candidate: nearest of all, and it costs the operator nothing.

What is expected of it is what the page measured, and nothing else: without a measured speed its latency is unknown,
and whoever's latency is unknown may not serve. It stands for a model of the slate alone, and for one whose vectors are
compared only where the page found the same vectors as this server's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from backends.types import Status, Target, Task
from policies.base import apart, known
from policies.types import Estimate, Quantiles
from router.page import TASKS
from router.slate import BROWSER, Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from router.page import Ability, Page, Speed
    from router.slate import Size

LEAST_PARITY = 0.99
FEWEST_SAMPLES = 20  # of fewer the 95th percentile is the largest, and says nothing
WINDOW_S = 30.0
REPORTED = "reported"
CLIENT: Final = "client"
"""What a cost rests on that the sender's own machine bears."""
_COMPARED = frozenset({Task.FEATURE_EXTRACTION, Task.TEXT_CLASSIFICATION})  # the heads of intents read vectors, too
_Z90, _Z95, _Z99 = 1.2816, 1.6449, 2.3263


def offers(page: Page, task: Task, candidates: Sequence[Candidate], size: Size) -> list[tuple[Candidate, Estimate]]:
    """The page's models for a task, each as a candidate with what is expected of it; the first of a name counts."""
    found: dict[str, tuple[Candidate, Estimate]] = {}
    for ability in page.abilities:
        if ability.task is task and task in TASKS:
            origin = _origin(ability, candidates)
            candidate = _candidate(ability, page, origin)
            found.setdefault(candidate.id, (candidate, _estimate(candidate, ability, size, _unlike(ability, origin))))
    return list(found.values())


def _origin(ability: Ability, candidates: Iterable[Candidate]) -> Candidate | None:
    """Whom of the slate it stands for: some candidate of the same model."""
    return next((c for c in candidates if not c.cached and ability.model in {c.listed_as, c.target.model}), None)


def _candidate(ability: Ability, page: Page, origin: Candidate | None) -> Candidate:
    """Of the same quality as the model where it gives the same vectors; else nobody here knows its quality."""
    same = origin is not None and ability.task in _COMPARED and (ability.parity or 0.0) >= LEAST_PARITY
    return Candidate(
        id=f"{BROWSER}:{ability.model}",
        target=Target(
            backend=BROWSER, provider=BROWSER, model=ability.model, task=ability.task, revision=ability.revision
        ),
        near=True,
        status=Status(
            unavailable=_unavailable(ability, page),
            does_not_fit=_does_not_fit(ability, page),
            loaded=ability.loaded,
            device=ability.device,
            dtype=ability.dtype,
            memory_bytes=ability.memory_bytes,
        ),
        quality=origin.quality if origin is not None and same else None,
        quality_source=origin.quality_source if origin is not None and same else None,
        vector_space=origin.vector_space if origin is not None and same else f"{BROWSER}:{ability.model}",
        listed_as="" if origin is None else origin.listed_as,
        through=BROWSER,
        fallback=0 if origin is None else origin.fallback,
    )


def _estimate(candidate: Candidate, ability: Ability, size: Size, unlike: str | None) -> Estimate:
    load_s = 0.0 if ability.loaded else math.nan if ability.load_s is None else ability.load_s
    units = None if ability.speed is None else _units(ability.speed, size)
    service_s = math.nan if ability.speed is None or units is None else ability.speed.p50_s * units
    unmeasured = "how large the request is cannot be told in the unit that the page measured its speed by"
    unknown = unmeasured if ability.speed is not None and units is None else None
    return Estimate(
        candidate_id=candidate.id,
        backend=BROWSER,
        provider=BROWSER,
        near=True,
        accelerated=ability.device == "webgpu",
        latency_s=load_s + service_s,
        latency_source=REPORTED,
        load_s=load_s,
        service_s=service_s,
        cost_usd=0.0,
        cost_source=CLIENT,
        quality=candidate.quality,
        quality_source=candidate.quality_source,
        unavailable=candidate.status.unavailable or unknown,
        does_not_fit=candidate.status.does_not_fit,
        unsupported=unlike,
        latency=None if ability.speed is None or units is None else _quantiles(ability.speed, units, load_s),
    )


def _quantiles(speed: Speed, units: float, load_s: float) -> Quantiles | None:
    """The log-normal distribution through the two that the page measured: it tells no others.

    The units of one request are taken to be slow together, which makes nothing look steadier than it is.
    """
    if speed.p95_s is None or speed.samples < FEWEST_SAMPLES or known(load_s) is None:
        return None
    sigma = math.log(speed.p95_s / speed.p50_s) / _Z95
    median_s = speed.p50_s * units
    p90_s, p99_s = (load_s + median_s * math.exp(sigma * z) for z in (_Z90, _Z99))
    return Quantiles(load_s + median_s, p90_s, load_s + speed.p95_s * units, p99_s)


def _units(speed: Speed, size: Size) -> float | None:
    """How many of the units that were measured the request has; None where nobody knows."""
    match speed.per:
        case "request":
            return 1
        case "text":
            return size.items
        case "token":
            return size.input_tokens
        case "audio_s":
            return size.audio_s
        case "window":
            return None if size.audio_s is None else max(1, math.ceil(size.audio_s / WINDOW_S))


def _unlike(ability: Ability, origin: Candidate | None) -> str | None:
    """Why its answers are not what is asked for; None where they are."""
    if origin is None:
        return f"the page runs {ability.model}, which is another model than what is asked for"
    wanted = origin.target.revision
    if wanted is not None and ability.revision is not None and ability.revision != wanted:
        return f"the page runs the revision {ability.revision}, and {wanted} is asked for"
    if ability.task not in _COMPARED:
        return None
    if ability.parity is None:
        return "the page has not compared its vectors with this server's: they may lie in another space"
    if ability.parity < LEAST_PARITY:
        found, least = apart(lambda cosine, digits: f"{cosine:.{digits}g}", ability.parity, LEAST_PARITY)
        return f"the page's vectors are not this server's: the cosine between them is {found}, less than {least}"
    return None


def _unavailable(ability: Ability, page: Page) -> str | None:
    if ability.speed is None:
        return "the page has not measured how fast it runs this model, so what it would take is unknown"
    if ability.loaded:
        return None
    if not page.online:
        return "the model is not loaded in the page, which is offline"
    if ability.load_s is None:
        return "the model is not loaded in the page, and how long that would take is unknown"
    return None


def _does_not_fit(ability: Ability, page: Page) -> str | None:
    needs, has = ability.memory_bytes, page.memory_bytes
    if ability.loaded or needs is None or has is None or needs <= has:
        return None
    return f"in the page it needs {needs / 1e6:.0f} MB, and {has / 1e6:.0f} MB are there"
