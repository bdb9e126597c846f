"""Decisions that chose the sender's own page, and what pages report of them: each is written once, when it is reported.

The plan stays here, in memory, until its page reports; the page gets its id. So a page can neither invent a decision
nor change its slate, and there is no signature to get wrong, nor a key to keep, nor a slate to send to and fro. The
price is that what is under way when the server ends is not logged, like a dry run of which nothing came. An id is
random, and opens nothing to another tenant. Bounded: each tenant's oldest go first, then the oldest of all.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backends import errors as backend
from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    EmbeddingInput,
    EmbeddingOutput,
    InferenceResult,
    SpeechInput,
    Task,
    Timings,
    TranscriptOutput,
    Usage,
)
from router.browser import CLIENT
from router.errors import AllAttemptsFailed, Conflict, FailedAttempt, FellBack, InvalidRequest, NotFound
from router.ledger import now_us
from router.outcome import Attempt, Cost, Outcome
from router.rows import Under
from router.slate import BROWSER, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.errors import BackendError
    from backends.types import Output, Payload
    from router.errors import RouterError
    from router.ledger import Ledger
    from router.outcome import Status
    from router.slate import Candidate

SURFACE = "/v1/decisions/browser"
OPEN_S = 900.0
MAX_OPEN, MAX_OF_ONE = 4096, 512
SLACK_S = 1.0  # by which a page's clock may be ahead of ours
Ended = Literal["ok", "error", "fell_back", "cancelled"]
Failure = Literal["out_of_memory", "not_loaded", "timed_out", "failed"]

EMPTY: dict[Task, Payload] = {
    Task.FEATURE_EXTRACTION: EmbeddingInput(),
    Task.TEXT_CLASSIFICATION: ClassificationInput(texts=()),
    Task.AUTOMATIC_SPEECH_RECOGNITION: SpeechInput(audio=b""),
}
"""What a request of each task that pages do is without its inputs."""
_UNTOLD: dict[Task, Output] = {
    Task.FEATURE_EXTRACTION: EmbeddingOutput(vectors=()),
    Task.TEXT_CLASSIFICATION: ClassificationOutput(labels=()),
    Task.AUTOMATIC_SPEECH_RECOGNITION: TranscriptOutput(text=""),
}
_FAILURES: dict[Failure, BackendError] = {
    "out_of_memory": backend.OutOfMemory("The page had too little memory."),
    "not_loaded": backend.Unavailable("The page could not load the model."),
    "timed_out": backend.Timeout("The page gave up waiting."),
    "failed": backend.RemoteError("It failed in the page."),
}


class Report(Struct, frozen=True, kw_only=True):
    """What a page says became of a request. Seconds; None is not known.

    Attributes:
        failure: What went wrong; only words of ours, as a page's own could hold the sender's input.
        took_s: From its beginning in the page to its end there, with `load_s`.
        threads: On which the page ran it.
    """

    decision_id: str
    status: Ended
    took_s: float
    load_s: float | None = None
    failure: Failure | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    audio_s: float | None = None
    threads: int | None = None


class _Kept(Struct):
    """A decision that waits for its report, or has it: then its plan is gone."""

    tenant: str
    until: float
    plan: Plan | None
    under: Under
    report: Report | None = None


class Reported:
    """Keeps the decisions that chose a page, and takes reports. One instance per process; bounded, in memory.

    Args:
        ledger: Who writes them down.
        clock: Monotonic seconds.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __len__(self) -> int:
        """How many are kept, with those of which only the report is."""
        self._expire()
        return len(self._kept)

    def open(self, plan: Plan) -> str | None:
        """Keep a plan whose first choice is its sender's page; the id to report it by. None of every other plan."""
        first = next(iter(plan.ranked()), None)
        if first is None or first.target.backend != BROWSER:
            return None
        self._expire()
        tenant = plan.call.request.tenant
        own = [name for name, kept in self._kept.items() if kept.tenant == tenant]
        if len(own) >= MAX_OF_ONE:
            del self._kept[own[0]]
        if len(self._kept) >= MAX_OPEN:
            self._kept.popitem(last=False)
        self._kept[plan.decision_id] = _Kept(tenant, self._clock() + OPEN_S, _without_inputs(plan), self._ledger.under)
        return plan.decision_id

    def take(self, report: Report, tenant: str) -> None:
        """Write a decision down as its page reports it. The same report again changes nothing.

        Raises:
            NotFound: no such decision of this sender's waits for a report.
            Conflict: it was reported before, and otherwise.
            InvalidRequest: the report says what cannot be.
        """
        self._expire()
        kept = self._kept.get(report.decision_id)
        if kept is None or kept.tenant != tenant:
            raise NotFound(
                f"No decision {report.decision_id!r} waits for your report: it chose no page, is not yours, "
                f"or is more than {OPEN_S / 60:g} minutes old."
            )
        if kept.report is not None or kept.plan is None:
            if kept.report != report:
                raise Conflict("This decision was reported before, and otherwise: what it was then stays.")
            return
        outcome = _outcome(kept.plan, report, self._clock())
        kept.plan, kept.report = None, report
        self._ledger.reported(outcome, kept.under)

    def _expire(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values())).until <= now:
            self._kept.popitem(last=False)


def _without_inputs(plan: Plan) -> Plan:
    """The plan without what was asked and what was answered before: neither is needed, and both may be large."""
    request = replace(plan.call.request, payload=EMPTY[plan.call.request.task])
    call = replace(plan.call, request=request, surface=SURFACE, traceparent=None)
    candidates = [replace(c, answer=None) if c.cached else c for c in plan.candidates]
    return replace(plan, call=call, candidates=candidates, kept_as=None)


def _outcome(plan: Plan, report: Report, now: float) -> Outcome:
    """How the request ended, in the log's terms.

    Raises:
        InvalidRequest: it took longer than there was time.
    """
    there_was_s = now - plan.call.received
    if report.took_s > there_was_s + SLACK_S:
        raise InvalidRequest(
            f"latency_ms: {report.took_s * 1000:.0f} ms have not passed since the decision was asked for, "
            f"only {there_was_s * 1000:.0f} ms.",
            param="latency_ms",
        )
    attempt = _attempt(plan, report)
    won = attempt if attempt.result is not None else None
    return Outcome(
        plan=plan,
        status=_STATUS[report.status],
        attempts=(attempt,),
        latency_s=report.took_s,
        overhead_s=0.0,
        cost=attempt.cost,
        winner=won,
        result=attempt.result,
        error=_error(report, attempt),
    )


_STATUS: dict[Ended, Status] = {"ok": "ok", "error": "error", "fell_back": "error", "cancelled": "cancelled"}


def _error(report: Report, attempt: Attempt) -> RouterError | None:
    if attempt.error is None:
        return None
    failed = [FailedAttempt(attempt.candidate_id, attempt.error)]
    return FellBack(failed) if report.status == "fell_back" else AllAttemptsFailed(failed)


def _attempt(plan: Plan, report: Report) -> Attempt:
    """The one attempt there was. Its candidate is the plan's first: whatever else a page does is no part of this."""
    candidate = plan.ranked()[0]
    failed = report.status in {"error", "fell_back"}
    return Attempt(
        candidate_id=candidate.id,
        backend=BROWSER,
        provider=BROWSER,
        model=candidate.target.model,
        device=candidate.status.device,
        started_us=max(plan.ts_us, now_us() - round(report.took_s * 1e6)),
        total_s=report.took_s,
        cost=Cost(0.0, CLIENT),
        result=_result(candidate, report) if report.status == "ok" else None,
        error=_FAILURES[report.failure or "failed"] if failed else None,
    )


def _result(candidate: Candidate, report: Report) -> InferenceResult:
    """What is known of an answer that stayed in its page: not the answer."""
    return InferenceResult(
        output=_UNTOLD[candidate.target.task],
        usage=Usage(
            prompt_tokens=report.input_tokens,
            completion_tokens=report.output_tokens,
            audio_s=report.audio_s,
            raw=msgspec.json.encode(_told(candidate, report)).decode(),
        ),
        timings=Timings(load_s=report.load_s),
        provider=BROWSER,
        model=candidate.target.model,
        device=candidate.status.device,
    )


def _told(candidate: Candidate, report: Report) -> dict[str, Any]:
    """The page's own words on what ran there."""
    said = {"dtype": candidate.status.dtype, "threads": report.threads, "revision": candidate.target.revision}
    return {"reported_by": CLIENT} | {name: value for name, value in said.items() if value is not None}
