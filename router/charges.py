"""Whom an attempt at a candidate is charged to: the key that asks, the model and the provider, by all their names."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from backends.types import InferenceRequest
    from router.slate import Candidate


class Charge(Struct, frozen=True):
    """Whom an attempt is charged to.

    Attributes:
        tenant: Whose request it carries.
        models: Every name of its model: as it was asked for, the catalogue's and the provider's own.
        providers: Who is asked, and the router through which it is.
    """

    tenant: str
    models: tuple[str, ...]
    providers: tuple[str, ...]


Asked = dict[str, tuple[Charge, float | None]]
"""By far candidate: whom asking it is charged to, and what a budget must have left for it; None where nobody knows."""


def charge_of(request: InferenceRequest, candidate: Candidate) -> Charge:
    """Whom asking this candidate would be charged to."""
    models = (request.model, candidate.listed_as, candidate.target.model)
    return _charge(request.tenant, models, candidate.target.provider, candidate.through)


@lru_cache(maxsize=4096)  # every decision needs that of every far candidate, and they hardly change
def _charge(tenant: str, models: tuple[str, ...], provider: str, through: str) -> Charge:
    return Charge(tenant, tuple(dict.fromkeys(models)), asked_providers(provider, through))


def asked_providers(provider: str, through: str) -> tuple[str, ...]:
    """Every name under which asking a provider is charged: whoever is paid by a router is paid from its budget."""
    return tuple(dict.fromkeys((provider, through or provider)))
