"""The exact cache: what was answered before joins the slate as a candidate of its own, for the policy to rank.

An answer is kept under a keyed hash of whose request it is, its task and its payload, and of the very candidate that
gave it: another model, revision, place or vector space is another key, so none of them ever stands in for another. The
key of the hash is random and dies with the process; no input is kept. Nothing here can make a request fail: the answer
travels with its candidate, so an entry that goes meanwhile is missed by nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from backends.types import InferenceResult, Limits, Status, Target, Timings
from policies.types import Estimate
from router.caching.determinism import may_repeat, repeats
from router.caching.store import Store
from router.slate import CACHE, Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.outcome import Outcome
    from router.request import Call
    from router.section import CacheSettings
    from router.slate import Plan

MEMORY = "memory"
AT_ONCE = 262_144  # bytes: hashing more than that is done beside the event loop
RECENT = 64
_ENCODE = msgspec.msgpack.Encoder().encode


class CacheState(NamedTuple):
    """How the cache does: counts since the start, the rest as it is now."""

    hits: int
    """Requests that it answered."""
    misses: int
    """Requests of which it could have held an answer, and held none."""
    entries: int
    bytes: int


class AnswerCache:
    """Keeps answers, and offers them. One instance per process.

    Args:
        settings: Whether there is one at all, how much it may hold and for how long.
        clock: Monotonic seconds.
    """

    def __init__(self, settings: CacheSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._store: Store[InferenceResult] = Store(settings.max_bytes, settings.ttl_s, clock)
        self._key = secrets.token_bytes(32)
        self._cleared_s = float("-inf")
        self._took_s: deque[float] = deque(maxlen=RECENT)
        self._hits = 0
        self._misses = 0

    def state(self) -> CacheState:
        """How it does."""
        self._store.expire()
        return CacheState(self._hits, self._misses, len(self._store), self._store.held_bytes)

    def clear(self, model: str | None = None) -> None:
        """Forget the answers of a model, by the catalogue's id: what it means has changed. None forgets all.

        Whatever was asked before this and is answered after it is not kept either.
        """
        self._store.clear(model)
        self._cleared_s = self._clock()

    async def name(self, call: Call) -> bytes | None:
        """What answers to this call are kept under, whoever gives them; None where none is kept or looked for."""
        request = call.request
        if not (self._settings.enabled and call.routing.cache and may_repeat(request.payload)):
            return None
        encoded = _ENCODE((self._scope(call), request.task.value, request.payload))
        if len(encoded) > AT_ONCE:
            return await asyncio.to_thread(self._hash, encoded)
        return self._hash(encoded)

    def offers(self, name: bytes, candidates: Sequence[Candidate]) -> list[tuple[Candidate, Estimate]]:
        """The answers that are there, each as a candidate with what is expected of it: one for each model at most."""
        started = time.perf_counter()
        found: dict[str, tuple[Candidate, InferenceResult]] = {}
        for candidate in candidates:
            candidate_id = f"{CACHE}:{candidate.target.model}"
            answer = None if candidate_id in found else self._store.get(self._entry(name, candidate))
            if answer is not None:
                found[candidate_id] = candidate, answer
        took_s = time.perf_counter() - started
        made = (_candidate(candidate_id, *origin) for candidate_id, origin in found.items())
        return [(candidate, self._estimate(candidate, took_s)) for candidate in made]

    def asked(self, plan: Plan) -> None:
        """A plan is really being run: count it, where its answer could have been here and was not."""
        self._misses += plan.kept_as is not None and not any(candidate.cached for candidate in plan.candidates)

    def keep(self, outcome: Outcome) -> None:
        """Take in how a request ended: its answer where that is whole, first-hand and would come again."""
        plan, winner, result = outcome.plan, outcome.winner, outcome.result
        if winner is None or result is None or outcome.status != "ok":
            return
        answered_by = next(each for each in plan.candidates if each.id == winner.candidate_id)
        if answered_by.cached:
            self._hits += 1
            self._took_s.append(winner.candidates_s)
            return
        doubted = bool(outcome.note) and winner.role != "escalation"  # given for want of a better one
        if plan.kept_as is None or outcome.splices or doubted or plan.call.received < self._cleared_s:
            return
        if repeats(plan.call.request.payload, answered_by, result.output):
            self._store.put(self._entry(plan.kept_as, answered_by), _kept(result), answered_by.listed_as)

    def _scope(self, call: Call) -> tuple[str, str]:
        """With whom an answer is shared. What is private is shared with nobody, and has been answered here."""
        if call.routing.private:
            return "private", call.request.tenant
        return ("shared", "") if self._settings.shared else ("tenant", call.request.tenant)

    def _entry(self, name: bytes, candidate: Candidate) -> bytes:
        return self._hash(_ENCODE((name, candidate.listed_as, candidate.vector_space, candidate.target)))

    def _hash(self, encoded: bytes) -> bytes:
        return hashlib.blake2b(encoded, digest_size=32, key=self._key).digest()

    def _estimate(self, candidate: Candidate, looked_s: float) -> Estimate:
        """What giving such an answer took of late; before there was any, what finding this one took."""
        took_s = sum(self._took_s) / len(self._took_s) if self._took_s else looked_s
        return Estimate(
            candidate_id=candidate.id,
            backend=CACHE,
            provider=CACHE,
            near=True,
            latency_s=took_s,
            latency_source="observed" if self._took_s else "prior",
            service_s=took_s,
            cost_usd=0.0,
            cost_source="cached",
            quality=candidate.quality,
            quality_source=candidate.quality_source,
        )


def _candidate(candidate_id: str, origin: Candidate, answer: InferenceResult) -> Candidate:
    """The candidate that gave the answer, with the answer in its place: of the same quality, vectors and rank."""
    target = Target(
        backend=CACHE, provider=CACHE, model=answer.model, task=origin.target.task, revision=origin.target.revision
    )
    return Candidate(
        id=candidate_id,
        target=target,
        near=True,
        status=Status(loaded=True, device=MEMORY),
        quality=origin.quality,
        quality_source=origin.quality_source,
        vector_space=origin.vector_space,
        listed_as=origin.listed_as,
        context_length=origin.context_length,
        through=CACHE,
        limits=Limits(),
        fallback=origin.fallback,
        answer=answer,
    )


def _kept(result: InferenceResult) -> InferenceResult:
    """The answer with what was used for it, and without what was so of that one time: its price, place and times."""
    usage = replace(result.usage, declared_cost_usd=None, compute_s=None, raw=None)
    return InferenceResult(
        output=result.output, usage=usage, timings=Timings(), provider=CACHE, model=result.model, device=MEMORY
    )
