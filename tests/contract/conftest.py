"""Runs a check on each backend in turn."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.contract.subjects import SUBJECTS, Subject


@pytest.fixture(params=SUBJECTS)
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Subject], Awaitable[None]]], None]:
    """Runs a coroutine function on each backend in turn, and closes it afterwards."""

    def runner(check: Callable[[Subject], Awaitable[None]]) -> None:
        async def main() -> None:
            async with SUBJECTS[request.param]() as subject:
                try:
                    await check(subject)
                finally:
                    await subject.backend.aclose()

        asyncio.run(main())

    return runner
