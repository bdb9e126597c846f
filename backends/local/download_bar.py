"""A progress bar of the kind the hub's client asks for, that draws nothing and tells how many bytes have come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def counting_bar(report: Callable[[int], None]) -> type:
    """A class of bars for one file, which tell `report` the bytes so far.

    The client makes several of them for one file, as for what came over the wire and what is on the disk: the
    furthest counts.
    """
    from huggingface_hub.utils.tqdm import tqdm

    furthest = 0

    class CountingBar(tqdm):
        """Disabled, so that it draws nothing; it counts all the same."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.of_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            """Count, and tell."""
            nonlocal furthest
            self.n += n or 0
            if self.of_bytes and self.n > furthest:
                furthest = int(self.n)
                report(furthest)

    return CountingBar
