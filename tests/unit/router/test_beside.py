"""Work beside the requests: it ends with the house, and a bug in it is told once and ends nothing else."""

import asyncio
import logging
from contextlib import AsyncExitStack

from router.house import _beside


async def broken() -> None:
    raise OverflowError("hf_secret in /home/somebody")


async def begin(begun: asyncio.Event) -> None:
    begun.set()


def test_work_that_dies_is_told_by_its_class_and_the_house_closes_as_ever(caplog) -> None:
    """What it would say may hold anything; the other work and all that is closed afterwards are untouched."""
    ended, begun = [], asyncio.Event()

    async def endless() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    async def go() -> None:
        async with AsyncExitStack() as closing:
            closing.callback(ended.append, "closed")
            _beside(closing, refreshing=broken(), watching=endless())
            await begun.wait()
            ended.append("open")

    with caplog.at_level(logging.ERROR, "nearfar"):
        asyncio.run(go())

    assert ["open", "endless", "closed"] == ended
    assert ["refreshing was ended by a bug (OverflowError); it begins again with the next start"] == [
        record.getMessage() for record in caplog.records
    ]


def test_work_that_ends_by_itself_or_with_the_house_is_no_news(caplog) -> None:
    """Nobody is told of what is as it should be."""

    async def go() -> None:
        async with AsyncExitStack() as closing:
            begun = asyncio.Event()
            _beside(closing, watching=asyncio.Event().wait(), warming=begin(begun))
            await begun.wait()

    asyncio.run(go())

    assert [] == caplog.records
