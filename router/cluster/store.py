"""What the owner writes down before it says it: money granted and spent, and documents. SQLite; every function blocks.

SQLite, because the standard library has it, one process writes a few small rows at a time, and a commit that has
returned outlives the process and the machine (`synchronous = FULL`).
"""

from __future__ import annotations

import sqlite3
from fractions import Fraction
from typing import TYPE_CHECKING

from router.cluster.accounts import Holding
from router.cluster.wire import AccountId, Document
from router.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

VERSION = 1
_TABLES = f"""
    CREATE TABLE IF NOT EXISTS holdings (
        scope TEXT, period TEXT, on_exceeded TEXT, starts_at INTEGER, holder TEXT,
        node TEXT NOT NULL, granted TEXT NOT NULL, returned TEXT NOT NULL, spent TEXT NOT NULL, earlier TEXT NOT NULL,
        PRIMARY KEY (scope, period, on_exceeded, starts_at, holder)
    );
    CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL);
    PRAGMA user_version = {VERSION};
"""
_HOLDINGS = """
    SELECT scope, period, on_exceeded, starts_at, holder, node, granted, returned, spent, earlier FROM holdings"""
Held = tuple[AccountId, str, Holding]


class Store:
    """A file of the owner, and of it alone. Used from one thread at a time."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, or make it. None keeps nothing.

        Raises:
            SettingsError: another process has it, or it is no such file.
        """
        name = "the owner's state" if path is None else path.name
        try:
            self._db = sqlite3.connect(path or ":memory:", timeout=0, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise SettingsError(f"cluster.store: {name} is a newer Nearfar's (version {version}).")
            self._db.executescript(_TABLES)
        except sqlite3.Error as error:
            raise SettingsError(
                f"cluster.store: {name} cannot be opened ({error}): another owner may have it, and there must be one."
            ) from error

    def holdings(self) -> Iterator[Held]:
        """Everything that any router holds or held."""
        for row in self._db.execute(_HOLDINGS).fetchall():
            scope, period, on_exceeded, starts_at, holder, node, *amounts = row
            granted, returned, spent, earlier = map(Fraction, amounts)
            held = Holding(node, granted=granted, returned=returned, spent=spent, earlier=earlier)
            yield AccountId(scope, period, on_exceeded, starts_at), holder, held

    def write(self, holdings: Iterable[Held]) -> None:
        """Write these down, all or none. They are on disk when this returns.

        Raises:
            sqlite3.Error: they are not.
        """
        rows = [
            (a.scope, a.period, a.on_exceeded, a.starts_at, holder, h.node, *map(str, _amounts(h)))
            for a, holder, h in holdings
        ]
        with _transaction(self._db):
            self._db.executemany("INSERT OR REPLACE INTO holdings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def forget(self, before: int) -> None:
        """Forget the periods that began before this (seconds since 1970)."""
        self._db.execute("DELETE FROM holdings WHERE starts_at < ?", (before,))

    def documents(self) -> dict[str, Document]:
        """Every document by name."""
        found = self._db.execute("SELECT name, version, body FROM documents").fetchall()
        return {name: Document(version, body) for name, version, body in found}

    def keep(self, name: str, document: Document) -> None:
        """Have this in place of the document of its name. It is on disk when this returns.

        Raises:
            sqlite3.Error: it is not.
        """
        with _transaction(self._db):
            self._db.execute(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (name, document.version, document.body)
            )

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _amounts(held: Holding) -> tuple[Fraction, ...]:
    return held.granted, held.returned, held.spent, held.earlier


class _transaction:  # noqa: N801 - as the library's own context managers are written
    """All of the block, on disk, or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
