"""The one catalogue that is in force in a house, and how another comes into force: at once, for whoever comes then."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from router.candidates import candidate_id, target_of
from router.editing import editor, keeping, snapshots
from router.editing.changes import restore
from router.editing.editor import changed, expect
from router.editing.keeping import Kept
from router.editing.overlay import Held
from router.errors import RouterError
from router.ledger import now_us

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backends.types import Target
    from router.candidates import CandidateFinder
    from router.catalog import Catalog
    from router.decision_log.taking import Log
    from router.editing.changes import Change
    from router.editing.editor import Made
    from router.ledger import Ledger
    from router.routes import Routes
    from router.sections import Settings

FOLLOW_EVERY_S = 1.0

logger = logging.getLogger("nearfar.catalogue")


class Parts(NamedTuple):
    """What of a house goes by the catalogue.

    Attributes:
        reprice: Takes the prices in force into the log's price book.
        release: Nobody will ask this target any more.
        unlearn: Whoever has this candidate id is somebody else from now on.
        keep: Writes a change down, in a thread; where it raises, the change is not made.
    """

    finder: CandidateFinder
    routes: Routes
    ledger: Ledger
    log: Log
    reprice: Callable[[], None]
    release: Callable[[Target], None] = lambda _: None
    unlearn: Callable[[str], None] = lambda _: None
    keep: Callable[[Path | None, Kept], None] = keeping.write


class Swap(NamedTuple):
    """What a change of the catalogue came to.

    Attributes:
        models: Whose entries came, went or changed.
        changed: Whether anything did.
    """

    snapshot: str
    models: frozenset[str]
    warnings: list[str]
    changed: bool


class InForce:
    """Changes go one at a time; each is checked, prepared and kept before it is in force.

    A request that was planned before keeps its plan, with the candidates and the prices it was decided with.
    """

    def __init__(self, made: Made, kept: Kept, parts: Parts) -> None:
        self.made = made
        self.kept = kept
        self._parts = parts
        self._path = keeping.path_of(made.held.base)
        self._changing = asyncio.Lock()
        self._hooks: list[Callable[[Swap], None]] = []

    @property
    def snapshot(self) -> str:
        """The id of what is in force."""
        return self.made.snapshot.id

    async def begin(self) -> None:
        """Say in the log what is in force, unless its last word on that still holds."""
        snapshot = self.made.snapshot
        self._parts.ledger.catalog = snapshot.id
        if await asyncio.to_thread(snapshots.latest, self._parts.log.reader()) == snapshot.id:
            return
        kept = self.kept  # what a process that ended at once after a change could not say any more
        known = kept.snapshot == snapshot.id and bool(kept.change)
        said = (kept.author, kept.change) if known else (None, "started")
        self._parts.log.append(snapshot.row(now_us(), *said))

    def subscribe(self, hook: Callable[[Swap], None]) -> None:
        """Have somebody told of every change as soon as it is in force, on the loop. It must not raise, nor block."""
        self._hooks.append(hook)

    def keep_with(self, keep: Callable[[Path | None, Kept], None]) -> None:
        """Have changes written down by this from now on, in a thread; where it raises, a change is not made."""
        self._parts = self._parts._replace(keep=keep)

    async def change(self, change: Change, author: str | None = None, expected: str | None = None) -> Swap:
        """Bring a change into force, on disk first.

        `expected` is the snapshot that it was made to; None and `*` do not ask. Whoever waits for this may go away: it
        is made whole all the same.

        Raises:
            Conflict: another snapshot is in force.
            InvalidRequest, NotFound, UnknownModel: it cannot be made; naming what is wrong, and where.
            RouterError: it cannot be kept. Whatever is raised, nothing has changed.
        """
        return await asyncio.shield(asyncio.create_task(self._change(change, author, expected), name="catalogue"))

    async def rebase(self, base: Settings, said: str, author: str | None, beside: Callable[[], None]) -> Swap:
        """Go by another configuration, under what was changed at run time; `beside` is called in the same step.

        That is where everything else that goes by the configuration follows; it must not raise, nor wait.

        Raises:
            SettingsError, CatalogError: the two do not go together.
            RouterError: it cannot be kept. Whatever is raised, nothing has changed.
        """
        return await asyncio.shield(asyncio.create_task(self._rebase(base, said, author, beside), name="catalogue"))

    async def follow(self) -> None:
        """Put into force what another process of this server has changed, about a second later; for ever."""
        seen = await asyncio.to_thread(keeping.stamp, self._path)
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            now = await asyncio.to_thread(keeping.stamp, self._path)
            if now == seen:
                continue
            seen = now
            try:
                await self._follow()
            except RouterError as error:
                logger.error("the catalogue stays as it is here: %s", error)  # noqa: TRY400 - the message says it all

    async def _follow(self) -> None:
        async with self._changing:
            kept = await asyncio.to_thread(keeping.read, self._path)
            if kept != self.kept:
                made = await asyncio.to_thread(editor.made, Held(self.made.held.base, kept.overlay))
                self._swap(made, kept, await self._prepared(made))

    async def rollback(self, snapshot: str, author: str | None = None, expected: str | None = None) -> Swap:
        """Have the run-time changes of a snapshot again, over the file as it is now. Raises as `change` does."""
        then = await asyncio.to_thread(self._then, snapshot)
        return await self.change(then, author, expected)

    def _then(self, snapshot: str) -> Change:
        self._parts.log.flush()
        return restore(snapshots.overlay_of(snapshots.one(self._parts.log.reader(), snapshot)), snapshot)

    async def _change(self, change: Change, author: str | None, expected: str | None) -> Swap:
        async with self._changing:
            expect(expected, self.snapshot)
            made = await asyncio.to_thread(changed, self.made.held, change)
            kept = Kept(
                overlay=made.held.overlay, snapshot=made.snapshot.id, author=author, at_us=now_us(), change=change.said
            )
            return await self._become(made, kept, self._parts.keep)

    async def adopt(self, kept: Kept) -> Swap:
        """Bring into force what another router has changed, over this one's own file. Raises as `change` does."""
        return await asyncio.shield(asyncio.create_task(self._adopt(kept), name="catalogue"))

    async def _adopt(self, kept: Kept) -> Swap:
        async with self._changing:
            theirs = restore(kept.overlay, kept.snapshot)
            made = await asyncio.to_thread(changed, self.made.held, theirs)
            return await self._become(made, kept, keeping.write)

    async def _become(self, made: Made, kept: Kept, keep: Callable[[Path | None, Kept], None]) -> Swap:
        if made.held == self.made.held:
            return Swap(self.snapshot, frozenset(), made.warnings, changed=False)
        swap = await self._prepared(made)
        await asyncio.to_thread(keep, self._path, kept)
        self._swap(made, kept, swap)
        self._parts.log.append(made.snapshot.row(kept.at_us, kept.author, kept.change))
        return swap

    async def _rebase(self, base: Settings, said: str, author: str | None, beside: Callable[[], None]) -> Swap:
        async with self._changing:
            made = await asyncio.to_thread(editor.made, Held(base, self.made.held.overlay))
            swap, kept = await self._prepared(made), self.kept
            if swap.changed:
                kept = await asyncio.to_thread(keeping.read, self._path)
            told = not swap.changed or kept.snapshot == swap.snapshot  # perhaps by another process of this server
            if not told:
                kept = await self._keep(made, said, author)
            beside()
            self._swap(made, kept, swap)
            if not told:
                self._parts.log.append(made.snapshot.row(kept.at_us, author, said))
        return swap

    async def _keep(self, made: Made, said: str, author: str | None) -> Kept:
        kept = Kept(overlay=made.held.overlay, snapshot=made.snapshot.id, author=author, at_us=now_us(), change=said)
        await asyncio.to_thread(keeping.write, self._path, kept)
        return kept

    async def _prepared(self, made: Made) -> Swap:
        """What it would come to, with everything at hand that it needs."""
        before, after = self.made.catalog.listed, made.catalog.listed
        touched = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        await self._parts.finder.prepare(after[name] for name in touched if name in after)
        return Swap(made.snapshot.id, frozenset(touched), made.warnings, changed=made.snapshot.id != self.snapshot)

    def _swap(self, made: Made, kept: Kept, swap: Swap) -> None:
        """Put it into force. Nothing here waits, so no request sees a part of it."""
        parts, before, after = self._parts, _targets(self.made.catalog), _targets(made.catalog)
        parts.finder.catalog.become(made.catalog)
        parts.routes.become(made.settings.routes)
        self.made, self.kept = made, kept
        parts.ledger.catalog = swap.snapshot
        parts.reprice()
        for changed_id in {name for name, _ in after - before} & {name for name, _ in before - after}:
            parts.unlearn(changed_id)
        for target in {target for _, target in before} - {target for _, target in after}:
            parts.release(target)
        for hook in self._hooks:
            hook(swap)


def _targets(catalog: Catalog) -> set[tuple[str, Target]]:
    """Whom requests may ask, each with its candidate id."""
    enabled = [entry for entry in catalog.listed.values() if entry.enabled]
    targets = [target_of(entry, candidate) for entry in enabled for candidate in entry.candidates]
    return {(candidate_id(target), target) for target in targets}
