"""What a backend is. Read `backends/README.md` for how to add one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backends.reports import LoadReport
    from backends.types import InferenceRequest, InferenceResult, Piece, Status, Target


class Backend(Protocol):
    """Runs requests at its targets. Raises only `BackendError`s; asyncio cancellation passes through.

    Every method is called on the event loop and never blocks it.
    """

    @property
    def name(self) -> str:
        """`local`, `ray`, `remote` or `fake`: what users and the log call it."""
        ...

    @property
    def near(self) -> bool:
        """True when a request never leaves this machine."""
        ...

    async def prepare(self, target: Target) -> None:
        """Find out what `status` will need (files, sizes). Loads nothing, opens no connection, may be repeated."""
        ...

    def status(self, target: Target) -> Status:
        """The target's state now; an unknown target is unavailable. Costs microseconds."""
        ...

    def calibration(self, target: Target) -> LoadReport | None:
        """What was measured of this target on this hardware before, and kept; None when nothing was. Far: nothing."""
        ...

    async def load(self, target: Target, *, thorough: bool = False) -> LoadReport:
        """Make the target ready; a loaded one answers at once with `load_s` 0. Far: a no-op.

        `thorough` measures it anew and completely, and keeps the figures for `calibration`.
        """
        ...

    async def unload(self, target: Target) -> bool:
        """Free the target's memory when whoever uses it has ended, and return then; whether any was held. Far: no."""
        ...

    async def infer(self, request: InferenceRequest, target: Target) -> InferenceResult:
        """Answer the request whole."""
        ...

    def stream(self, request: InferenceRequest, target: Target) -> AsyncGenerator[Piece | InferenceResult, None]:
        """Yield each piece as it exists, then exactly one `InferenceResult` holding the whole answer.

        A generator that ends without a result was truncated. Closing it early cancels the work.
        """
        ...

    async def aclose(self) -> None:
        """Stop workers, drop models and connections. The backend is unusable afterwards."""
        ...
