"""Who asks: a tenant, and what it may do. A value; who finds it out is `router.http`."""

from __future__ import annotations

import hashlib
import re
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


_MARK = re.compile(r"intents/[^/]*@[0-9a-f]{20}")


def owned(name: str, tenant: str) -> str:
    """The name of something that a tenant made for itself, as this process keeps it: no other tenant's is the same.

    The mark is a digest, because a tenant may be called anything, and a file or a model may not.
    """
    return f"{name}@{hashlib.blake2b(tenant.encode('utf-8', 'surrogatepass'), digest_size=10).hexdigest()}"


def is_owned(model_id: str) -> bool:
    """Whether a model is a tenant's own."""
    return _MARK.fullmatch(model_id) is not None


def is_known_to(model_id: str, sees: str | None) -> bool:
    """Whether a model may be known to whoever sees this tenant's: everybody's are, and its own. None knows all."""
    return sees is None or not is_owned(model_id) or owned(model_id.rpartition("@")[0], sees) == model_id
