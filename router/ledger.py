"""Writes what is decided, tried and ended into the decision log, and prices it. Decides nothing.

Streamed and buffered requests come through the same functions, so the same request costs the same either way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import msgspec
import uuid_utils
from msgspec.structs import replace

from backends.errors import (
    ContextLengthExceeded,
    InvalidInput,
    ModelNotFound,
    OutOfMemory,
    Overloaded,
    Unavailable,
)
from backends.types import OWN_MODELS, Usage
from router.decision_log.record import PolicyRow, PriceBookRow
from router.outcome import Attempt, Cost, Outcome, total_cost
from router.pricing import HOURLY, priced_usd
from router.privacy.keyed import Hasher
from router.privacy.stored import stored_input
from router.rows import Hashes, Under, attempt_row, decision_row, occupied_s, outcome_row, refused_rows

if TYPE_CHECKING:
    from backends.errors import BackendError
    from backends.types import InferenceResult
    from policies.base import Policy
    from router.decision_log.record import DecisionRow, ShadowRow
    from router.decision_log.taking import Log
    from router.energy_shares import Stay
    from router.errors import RouterError
    from router.near_costs import NearCosts
    from router.outcome import Answered, Said, Status
    from router.rows import Refused
    from router.sections import LogSettings, Price
    from router.slate import Candidate, Plan

# Refusals that come before the device does anything.
_NEVER_RAN = (ContextLengthExceeded, InvalidInput, ModelNotFound, OutOfMemory, Overloaded, Unavailable)
_ENCODE = msgspec.json.Encoder().encode


def new_decision_id() -> str:
    """A UUIDv7: unique, and ordered by time."""
    return str(uuid_utils.uuid7())


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Watcher(Protocol):
    """Somebody who counts along: called once for every end of a request."""

    def observe(self, surface: str, outcome: Outcome) -> None:
        """A decided request ended."""

    def refused(self, refusal: Refused, decision_id: str) -> None:
        """A request was turned away before a decision."""


class Ledger:
    """Writes every request's rows. Appending neither waits nor fails, so it is safe in a `finally`.

    Attributes:
        catalog: The catalogue in force, by its snapshot's id: what is decided from now on is decided under it.
    """

    catalog: str | None = None

    def __init__(
        self,
        log: Log,
        near: NearCosts,
        price_book: tuple[str, str],
        settings: LogSettings,
        watcher: Watcher,
        hasher: Hasher | None = None,
    ) -> None:
        self._log = log
        self._watcher = watcher
        self._strict = settings.durability == "strict"
        self._near = near
        self._price_book, body = price_book
        self._settings = settings
        self._hash = (hasher or Hasher()).of
        self._policies: set[str] = set()
        log.append(PriceBookRow(price_book=self._price_book, ts_us=now_us(), body=body))

    def reprice(self, price_book: tuple[str, str]) -> None:
        """Write what is decided from now on under another price book; rows already written keep theirs."""
        if price_book[0] != self._price_book:
            self._price_book, body = price_book
            self._log.append(PriceBookRow(price_book=self._price_book, ts_us=now_us(), body=body))

    def decided(self, plan: Plan, policy: Policy) -> None:
        """Write the decision, before anything is dispatched."""
        request = plan.call.request
        self._log.append(self._decision(plan, policy, self.under, self._hash(request.tenant, request.payload)))
        stored = stored_input(plan, self._settings)
        if stored is not None:
            self._log.append(stored)

    def _decision(self, plan: Plan, policy: Policy, under: Under, payload_hash: str | None = None) -> DecisionRow:
        """The decision's row, and the policy's before it where that is new."""
        version = f"{policy.name}@{policy.version}"
        if version not in self._policies:
            self._policies.add(version)
            body = _ENCODE({"policy": policy.name, "version": policy.version, "parameters": repr(policy)}).decode()
            self._log.append(PolicyRow(policy_version=version, policy=policy.name, ts_us=plan.ts_us, body=body))
        tenant, session = plan.call.request.tenant, plan.call.routing.session
        hashes = Hashes(payload_hash, self._hash(tenant, session) if session else None)
        return decision_row(plan, self._log.next_seq(), under, version, hashes)

    @property
    def under(self) -> Under:
        """Under which prices and catalogue is decided now."""
        return Under(self._price_book, self.catalog)

    def reported(self, outcome: Outcome, under: Under) -> None:
        """Write a decision whose request its sender's own page ran, and how that ended, as the page says.

        Of its inputs there is not even a hash: they stayed with their sender.
        """
        self._log.append(self._decision(outcome.plan, outcome.plan.policy, under))
        self._ended(outcome)

    def refused(self, refusal: Refused) -> str:
        """Write a request that was turned away before it could be decided, and how it ended. Returns its id."""
        decision_id = new_decision_id()
        decision, outcome = refused_rows(refusal, decision_id, now_us(), self._log.next_seq(), self.under)
        self._log.append(decision)
        self._log.append(outcome)
        self._watcher.refused(refusal, decision_id)
        return decision_id

    def settle(
        self,
        plan: Plan,
        attempts: tuple[Attempt, ...],
        *,
        status: Status,
        error: RouterError | None = None,
        answered: Answered | None = None,
    ) -> Outcome:
        """Write every attempt and the end of the request. Called exactly once per plan, however it ended."""
        latency_s = time.monotonic() - plan.call.received
        won = None if answered is None else answered.attempt
        outcome = Outcome(
            plan=plan,
            status=status,
            attempts=attempts,
            latency_s=latency_s,
            overhead_s=max(0.0, latency_s - _under_way_s(attempts)),
            cost=total_cost(tuple(a.cost for a in attempts)),
            winner=won,
            result=None if answered is None else answered.result,
            error=error,
            first_token_s=None if answered is None else answered.first_token_s,
            note="" if answered is None else answered.note,
        )
        self._ended(outcome)
        return outcome

    def _ended(self, outcome: Outcome) -> None:
        plan, won = outcome.plan, outcome.winner
        for number, attempt in enumerate(outcome.attempts, start=1):
            self._log.append(attempt_row(plan, number, attempt, won=attempt is won))
        self._log.append(outcome_row(outcome, won, now_us()))
        self._watcher.observe(plan.call.surface, outcome)

    def shadowed(self, plan: Plan, number: int, attempt: Attempt) -> None:
        """Write an attempt that nobody waited for. It is no part of the request's outcome, nor of its cost."""
        self._log.append(attempt_row(plan, number, attempt, won=False))

    def agreed(self, row: ShadowRow) -> None:
        """Write how well such an attempt's answer agrees with the one that was given."""
        self._log.append(row)

    async def acknowledged(self) -> None:
        """Return when an answer may go out: at once, or in strict durability when every row so far is on disk."""
        if self._strict:
            await self._log.committed()

    def stay(self, candidate: Candidate) -> Stay | None:
        """An attempt begins: near, whatever meter its device has is read for it, until it is priced, once."""
        near = candidate.target.backend == "local"
        return self._near.begin(candidate.status.device, candidate.target) if near else None

    def price(self, candidate: Candidate, result: InferenceResult, stay: Stay | None = None) -> Cost:
        """What an answered attempt cost."""
        if candidate.target.backend == "local":
            return self._near.cost(result.device, occupied_s(result), stay)
        usage = result.usage
        if candidate.target.backend in OWN_MODELS:  # in a cluster: what its replica held
            usage = replace(usage, compute_s=occupied_s(result))
        if usage.declared_cost_usd is not None:
            return Cost(usage.declared_cost_usd, "declared")
        price = _price_at(candidate, result.provider)
        if price is not None and price.source == HOURLY:  # who shared its hours is seen now and then only
            return _estimated(price, usage)
        usd = priced_usd(price, usage)
        if usd is None and usage.cached_tokens is None:  # as if nothing was cached: the most it can have been
            return _estimated(price, replace(usage, cached_tokens=0))
        return Cost(usd, "unknown" if usd is None else "priced")

    def price_unanswered(
        self, candidate: Candidate, error: BackendError | None, said: Said, stay: Stay | None = None
    ) -> Cost:
        """What a failed or cancelled attempt cost. Near, the seconds it is known to have held the device.

        Far, text that came was generated, whoever ended it and however: it is priced as a token a piece, an estimate.
        Without any, what surely was not billed cost nothing. Unknown stays unknown: near when it cannot be told whether
        its turn had come, far after a silence (a provider may bill what it did, which cannot be told from here).
        """
        if candidate.target.backend == "local":
            busy_s = 0.0 if isinstance(error, _NEVER_RAN) else said.busy_s
            return self._near.cost(candidate.status.device, busy_s, stay)
        if said.pieces:
            usage = Usage(
                prompt_tokens=said.size.input_tokens,
                completion_tokens=said.pieces,
                cached_tokens=0,
                compute_s=said.busy_s,  # a replica's pieces say it
            )
            return _estimated(candidate.price, usage)
        if error is not None and error.billed is False:
            return Cost(0.0, "priced")
        return Cost(None, "unknown")


def _price_at(candidate: Candidate, served_by: str) -> Price | None:
    """The price of who served; the candidate's own, unless its router left that open and named one it has none of."""
    named = bool(candidate.served_prices) and served_by != candidate.target.provider
    return candidate.served_prices.get(served_by) if named else candidate.price


def _estimated(price: Price | None, usage: Usage) -> Cost:
    usd = priced_usd(price, usage)
    return Cost(usd, "unknown" if usd is None else "estimated")


def _under_way_s(attempts: tuple[Attempt, ...]) -> float:
    """How long at least one attempt was under way: hedges run beside others, and waits lie between."""
    if len(attempts) == 1:
        return attempts[0].total_s
    busy_s, until_us = 0.0, 0.0
    for attempt in sorted(attempts, key=lambda attempt: attempt.started_us):
        ended_us = attempt.started_us + attempt.total_s * 1e6
        busy_s += max(0.0, ended_us - max(until_us, attempt.started_us)) / 1e6
        until_us = max(until_us, ended_us)
    return busy_s
