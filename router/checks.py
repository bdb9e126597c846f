"""Sees that what the configuration names exists, and makes the catalogue and the providers of it. Opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends import fake
from backends.remote.provider import NO_TOKEN, Provider
from backends.types import Target, Task
from router.aliases import AliasError
from router.candidates import target_of
from router.catalog import BUILTIN_PROVIDERS, Catalog
from router.errors import CatalogError, SettingsError
from router.listings import same_place
from router.policy_check import check_inputs, check_policies
from router.price_bounds import check_prices
from router.pricing import with_replicas_priced
from router.rules_check import check_routes
from router.settings import HUB_TOKEN, Secrets, check_listener
from router.toml_lines import place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from router.sections import BudgetEntry, CandidateEntry, ModelEntry, ProviderSettings, Settings


def checked(settings: Settings) -> Catalog:
    """The catalogue of these settings, if all they name exists.

    Raises:
        SettingsError, CatalogError: naming what does not.
    """
    check_listener(settings)
    check_policies(settings)
    check_prices(settings)
    _check_keys(settings.providers)
    _check_engines(settings.providers)
    catalog = _catalog(settings)
    providers_of(catalog, Secrets())  # each must be well-formed
    for model in settings.local.warm:
        if catalog.find(model) is None:
            raise SettingsError(f"local.warm: unknown model {model!r}; near ones: {catalog.alternatives(model)}.")
    for entry in catalog:
        for candidate in entry.candidates:
            if candidate.backend == "fake":
                _check_script(entry, candidate)
    _check_budgets(settings, catalog)
    check_routes(settings, catalog)
    check_inputs(settings, catalog)
    return catalog


def _catalog(settings: Settings) -> Catalog:
    try:
        return Catalog(with_replicas_priced(settings), settings.providers, settings.aliases)
    except AliasError as error:
        raise CatalogError(f"{place_of(settings, 'aliases', error.index)}{error}") from error


def _check_keys(providers: Iterable[ProviderSettings]) -> None:
    for entry in providers:
        if entry.api_key_env == HUB_TOKEN and entry.api_key_file is not None:
            raise SettingsError(
                f"providers: {entry.name}: api_key_env = {HUB_TOKEN!r} is the hub's token, which is read from its own "
                "places; leave out api_key_file, or name another variable."
            )


def _check_engines(providers: Iterable[ProviderSettings]) -> None:
    for entry in providers:
        if entry.usd_per_hour is not None and entry.engine is None:
            raise SettingsError(
                f"providers: {entry.name}: usd_per_hour needs an engine: without one nobody knows how many requests "
                "share its hours; name it, or give its models prices."
            )
        if entry.base_urls and entry.base_url not in entry.base_urls:
            raise SettingsError(f"providers: {entry.name}: base_url is none of its base_urls; leave it out.")


def _check_budgets(settings: Settings, catalog: Catalog) -> None:
    far = far_targets(catalog)
    models = {name for entry, target in far for name in (entry.id, target.model)}
    models |= set(catalog.aliases)
    providers = catalog.provider_names | {target.provider for _, target in far}
    check_scopes(settings.budgets, models, providers, keys=settings.auth.mode != "none")


def _check_script(entry: ModelEntry, candidate: CandidateEntry) -> None:
    try:
        fake.script_of(target_of(entry, candidate))
    except ValueError as error:
        raise CatalogError(f"models: {entry.id}: {error}.") from error


def far_targets(catalog: Catalog) -> list[tuple[ModelEntry, Target]]:
    """Every place of the catalogue that is not on this machine, with the entry that names it."""
    return [(entry, target_of(entry, c)) for entry in catalog for c in entry.candidates if c.backend != "local"]


def providers_of(catalog: Catalog, secrets: Secrets) -> list[Provider]:
    """The far sides with their keys. A key goes to the provider that names its variable, and to no other host."""
    return [_provider(entry, secrets.key_of(entry)) for entry in catalog.providers.values()]


def _provider(entry: ProviderSettings, api_key: str | None) -> Provider:
    try:
        return Provider(
            name=entry.name,
            protocol=entry.protocol,
            base_url=entry.base_url,
            base_urls=entry.base_urls,
            dns=entry.dns,
            engine=entry.engine,
            api_key=api_key,
            needs_key=entry.api_key_env is not None or entry.api_key_file is not None,
            no_key=_no_key(entry),
            tasks=(Task.TEXT_GENERATION,) if _is_the_router(entry) else None,  # the hub's router only chats
            connect_timeout_s=entry.connect_timeout_s,
            first_token_timeout_s=entry.first_token_timeout_s,
            idle_timeout_s=entry.idle_timeout_s,
            total_timeout_s=entry.total_timeout_s,
            watch_every_s=entry.watch_every_s,
            dns_every_s=entry.dns_every_s,
        )
    except ValueError as error:
        raise SettingsError(f"providers: {entry.name}: {error}.") from error


def _is_the_router(entry: ProviderSettings) -> bool:
    hub = BUILTIN_PROVIDERS[0]
    return entry.protocol == hub.protocol and same_place(entry.base_url, hub.base_url)


def _no_key(entry: ProviderSettings) -> str:
    """Where its key is looked for; a path is nobody's business."""
    if entry.api_key_env == HUB_TOKEN:
        return NO_TOKEN
    variable = None if entry.api_key_env is None else f"set {entry.api_key_env}"
    file = None if entry.api_key_file is None else "its api_key_file holds none"
    return f"no key for provider {entry.name}: " + "; ".join(hint for hint in (variable, file) if hint is not None)


def check_scopes(
    entries: Sequence[BudgetEntry], models: Collection[str], providers: Collection[str], *, keys: bool = False
) -> None:
    """See that each budget can bind something, and none is there twice. `keys`: whether senders have names at all.

    Raises:
        SettingsError: naming the scope that is malformed, unknown or repeated.
    """
    known_names = {"model": models, "provider": providers}
    for entry in entries:
        kind, colon, name = entry.scope.partition(":")
        if not (entry.scope == "global" or (kind in {"key", *known_names} and colon and name)):
            forms = "global, key:NAME, model:ID, provider:NAME"
            raise SettingsError(f"budgets: {entry.scope!r} is no scope; one of {forms}.")
        if kind == "key" and not keys:
            raise SettingsError(
                f"budgets: {entry.scope!r}: auth.mode is 'none', so nobody has a key and it would bind nobody."
            )
        if kind in known_names and name not in known_names[kind]:
            there_are = ", ".join(sorted(known_names[kind]))
            raise SettingsError(f"budgets: {entry.scope!r}: unknown {kind} {name!r}; there are: {there_are}.")
    kinds = [(entry.scope, entry.period, entry.on_exceeded) for entry in entries]
    for scope, period, on_exceeded in kinds:
        if kinds.count((scope, period, on_exceeded)) > 1:
            raise SettingsError(f"budgets: {scope!r} has two budgets a {period} that {on_exceeded}.")
