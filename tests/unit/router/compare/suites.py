"""Suites of fakes, and what they are run with: every part of the house is real."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from router.compare.job import Job, Parts, prepared
from router.compare.run import Run
from router.compare.running import Running
from router.compare.suite import CandidateEntry, Suite, check
from router.http.comparing import parts_of
from tests.unit.router.house import CHAT, House


def suite(**given: Any) -> Suite:
    """Two fakes of one model, asked two things twice, after one trial of each that does not count."""
    usual: dict[str, Any] = {
        "name": "fakes",
        "task": "text-generation",
        "candidates": (candidate("a"), candidate("b")),
        "inputs": ("hello there", "good bye"),
        "parameters": {"max_tokens": 4},
        "repeats": 2,
        "warm_up": 1,
        "seed": 7,
    }
    made = Suite(**usual | given)
    check(made)
    return made


def candidate(name: str, **given: Any) -> CandidateEntry:
    """A candidate that pretends to be served by a provider of this name, and is called like it."""
    return CandidateEntry(**{"model": CHAT, "provider": name, "name": name} | given)


async def made(house: House, asked: Suite) -> tuple[Parts, Job]:
    """The suite, ready to be run in the house."""
    parts = await parts_of(house.services)
    return parts, await prepared(parts, asked, None)


async def ran(house: House, asked: Suite) -> Run:
    """What came of running it."""
    return await Running(*await made(house, asked)).go()


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test, run on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **given: Any) -> None:
        asyncio.run(test(*args, **given))

    return run
