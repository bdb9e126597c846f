"""What a prompt wants, as one of the set's intents: a hint for routing and the log. Never needed, so it never hurts."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, cast

from backends.errors import BackendError
from backends.local.intents.definition import BUILTIN
from backends.types import ClassificationInput, GenerationInput, InferenceRequest, Task
from router.candidates import target_of
from router.intents.sets import BUILTIN_MODEL, PREFIX
from router.slate import PromptIntent

if TYPE_CHECKING:
    from backends.base import Backend
    from backends.types import ClassificationOutput, Target
    from router.catalog import Catalog
    from router.standby import Standby

BOUND_S = 0.1  # what a request may wait for its hint; a short prompt takes 5 to 25 ms on an idle core
REST_S = 10.0  # after a hint that came too late or not at all, nobody waits for one for so long
CHARACTERS = 2000  # of the prompt: what is wanted is mostly said at its beginning, and the model reads 256 tokens
logger = logging.getLogger("nearfar.intents")


class IntentSignal:
    """Asks one set of intents about prompts, on this machine, while its model is loaded; loads nothing itself."""

    def __init__(self, name: str | None, catalog: Catalog, backend: Backend, standby: Standby) -> None:
        """`name` is that of the set (`builtin` is Nearfar's own); None asks nobody. `standby` gives way to a hint."""
        self._model = None if name is None else BUILTIN_MODEL if name == BUILTIN else PREFIX + name
        self._catalog = catalog
        self._backend = backend
        self._standby = standby
        self._resting_until = 0.0

    async def of(self, request: InferenceRequest) -> PromptIntent | None:
        """The intent of a request to generate text.

        None for every other task, and where nobody is asked, the model is not loaded, its queue would take longer
        than the bound, or it failed just now. Takes `BOUND_S` seconds at most; raises nothing but cancellation.
        """
        target = self._target()
        if target is None or not isinstance(request.payload, GenerationInput) or time.monotonic() < self._resting_until:
            return None
        status = self._backend.status(target)
        if not status.loaded:
            return None
        alone = self._standby.disturb()  # then all that was queued is leaving
        if not alone and (status.queue_s or 0.0) > BOUND_S:
            return None
        payload = ClassificationInput(texts=(_prompt(request.payload),), top_k=1, truncate=True)
        asked = InferenceRequest(
            task=Task.TEXT_CLASSIFICATION, model=target.model, payload=payload, deadline=time.monotonic() + BOUND_S
        )
        try:
            async with asyncio.timeout(BOUND_S):
                result = await self._backend.infer(asked, target)
        except (TimeoutError, BackendError) as error:
            self._resting_until = time.monotonic() + REST_S
            logger.info("no intents of prompts for %.0f s: %s", REST_S, type(error).__name__)
            return None
        [[best]] = cast("ClassificationOutput", result.output).labels
        return PromptIntent(best.label, best.score)

    def _target(self) -> Target | None:
        entry = None if self._model is None else self._catalog.find(self._model)
        if entry is None or not entry.enabled:
            return None
        candidates = [one for one in entry.candidates if one.backend == "local"]
        return target_of(entry, candidates[0]) if candidates else None


def _prompt(payload: GenerationInput) -> str:
    """What the user said last, as far as it is looked at."""
    said = [message.content for message in payload.messages if message.role == "user"]
    return (said[-1] if said else payload.prompt or "")[:CHARACTERS]
