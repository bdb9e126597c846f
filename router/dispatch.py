"""The line itself: from a call to its outcome, each stage once, in the order in which one would tell it."""

from __future__ import annotations

import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec.structs import replace

from router.errors import InvalidRequest, NoCandidate, Refusal, RouterError
from router.outcome import Outcome
from router.rows import Refused
from router.rules import AUTO

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backends.reports import LoadReport
    from backends.types import Piece
    from router.attempts import Attempts
    from router.candidates import CandidateFinder
    from router.ledger import Ledger
    from router.outcome import Begun
    from router.planning import Planner
    from router.request import Call
    from router.section_of_routing import RoutingSettings
    from router.shadowing import Shadows
    from router.slate import Plan


class Dispatcher:
    """Decides and runs requests. Every request leaves its rows behind, also when it is refused or abandoned."""

    def __init__(
        self, finder: CandidateFinder, planner: Planner, attempts: Attempts, ledger: Ledger, shadows: Shadows
    ) -> None:
        self._finder = finder
        self._planner = planner
        self._attempts = attempts
        self._ledger = ledger
        self.shadows = shadows

    def become(self, settings: RoutingSettings) -> None:
        """Decide and run by these settings from now on; what was decided before is run as it was."""
        self._planner.become(settings)
        self._attempts.become(settings)
        self.shadows.share = settings.shadow

    async def plan(self, call: Call) -> Plan:
        """A dry run: what would be decided, nothing of it left to chance. Raises as `Planner.plan` does."""
        return await self._planner.plan(call)

    async def stream(self, call: Call) -> AsyncGenerator[Begun | Piece | Outcome, None]:
        """Yield who serves and each piece as it exists, then the outcome, whatever it is.

        Raises:
            UnknownModel, InvalidRequest: before the first piece, when the request names what does not exist. It is
                logged then, and the error carries the decision's id.
        """
        plan = await self._planned(call)
        if not plan.decision.ranked:
            yield await self._nobody(plan)
            return
        async with aclosing(self._attempts.stream(plan)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Outcome):
                    await self._ended(piece)
                yield piece

    async def infer(self, call: Call) -> Outcome:
        """Answer whole. Raises as `stream` does."""
        plan = await self._planned(call)
        if not plan.decision.ranked:
            return await self._nobody(plan)
        outcome = await self._attempts.whole(plan)
        await self._ended(outcome)
        return outcome

    async def _planned(self, call: Call) -> Plan:
        """What is decided, in its turn, and written down. Raises as `stream` does."""
        try:
            if call.request.background:
                call = await self._its_turn(call)
            plan = await self._planner.plan(call, random.random())  # noqa: S311 -- chance, not a secret
        except RouterError as error:
            error.decision_id = self.refuse(_refused(call, error))
            raise
        except BaseException:
            self.refuse(_refused(call, RouterError("The request ended before it could be decided.")))
            raise
        self._planner.began(plan)
        self._ledger.decided(plan, plan.policy)
        return plan

    async def _nobody(self, plan: Plan) -> Outcome:
        """The end of a request that nobody may serve."""
        outcome = self._ledger.settle(plan, (), status="refused", error=plan.refusal or _no_candidate(plan))
        await self._ledger.acknowledged()
        return outcome

    async def _ended(self, outcome: Outcome) -> None:
        """Learn from an end before it is told, and look whether another answer is to be compared with it."""
        self._planner.ended(outcome)
        self._finder.cache.keep(outcome)
        await self._ledger.acknowledged()
        if outcome.plan.call.pinned is None:
            self.shadows.offer(outcome, random.random())  # noqa: S311 -- chance, not a secret

    async def _its_turn(self, call: Call) -> Call:
        """The call as if it came when its turn comes: where it would run near, when nobody who waits is served there.

        Its clock does not run until then, so that it costs a line of a batch nothing that others went first.
        """
        standby = self._finder.standby
        while standby.busy:
            first = (await self._planner.plan(call)).ranked()[:1]
            if not first or not first[0].near:
                break
            await standby.quiet()
        return replace(call, received=time.monotonic())

    async def task_of(self, model_id: str, tenant: str = "") -> str:
        """The task a model or an alias does, of those that a tenant may know.

        Raises:
            UnknownModel: naming near ones.
            InvalidRequest: `auto` does every task, unless it is an alias.
        """
        if model_id == AUTO and self._finder.alias(AUTO) is None:
            raise InvalidRequest("task: required where the model is 'auto'.", param="task")
        return (await self._finder.offer(model_id, tenant=tenant)).models[0].task

    async def warm(self, model_id: str, *, thorough: bool = False) -> dict[str, LoadReport]:
        """Load the model's near candidates and learn from it; what was measured, by candidate.

        `thorough` measures requests of several sizes, in the runtime that is fastest here, and keeps the figures.

        Raises:
            UnknownModel: naming near ones.
            BackendError: a model cannot be loaded.
        """
        model = await self._finder.model(model_id)
        candidates = self._finder.of_model(model) if model.enabled else []
        return {c.id: await self._attempts.warm(c, thorough=thorough) for c in candidates if c.near}

    async def unload(self, model_id: str) -> list[str]:
        """Free the memory of the model's near candidates when its requests have ended; the ids of those that held any.

        Raises:
            UnknownModel: naming near ones.
        """
        candidates = self._finder.of_model(await self._finder.model(model_id))
        return [c.id for c in candidates if c.near and await self._attempts.unload(c)]

    def refuse(self, refused: Refused) -> str:
        """Log a request that was turned away before it could be decided; returns its decision id."""
        return self._ledger.refused(refused)

    async def acknowledged(self) -> None:
        """Return when what was decided or refused so far may be told: in strict durability, when it is on disk."""
        await self._ledger.acknowledged()


def _no_candidate(plan: Plan) -> NoCandidate:
    """The refusal; it names the request's field that asks for too much, where there is one."""
    refusals = [Refusal(r.candidate_id, r.code, r.reason) for r in plan.decision.rejections]
    error = NoCandidate(plan.call.request.model, refusals)
    error.param = next((name.partition(" ")[0] for candidate in plan.candidates for name in candidate.lacks), None)
    return error


def _refused(call: Call, error: RouterError) -> Refused:
    return Refused(
        error=error,
        surface=call.surface,
        request_id=call.request_id,
        model=call.request.model,
        task=call.request.task.value,
        input_bytes=call.input_bytes,
        tenant=call.request.tenant,
        traceparent=call.traceparent,
    )
