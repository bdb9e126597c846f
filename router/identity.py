"""Who asks: a tenant, and what it may do. A value; who finds it out is `router.http`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Scope = Literal["infer", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("infer", "read", "admin")


class Identity(Struct, frozen=True):
    """Whoever asks.

    Attributes:
        tenant: Whose rows, budgets, intents and batches these are: a key's name, or the subject of a token; empty where
            nobody is asked who they are.
        scopes: `infer` lets requests run, `read` shows what is one's own in the log, `admin` shows everybody's and
            changes what all share.
    """

    tenant: str = ""
    scopes: frozenset[Scope] = frozenset()

    @property
    def sees(self) -> str | None:
        """Whose rows may be read: this tenant's alone; None for everybody's."""
        return None if "admin" in self.scopes else self.tenant


ANYBODY = Identity(scopes=frozenset(SCOPES))
"""Whoever asks a server that asks nobody who they are: it listens on loopback alone."""
