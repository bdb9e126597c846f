"""From a call to the one that is decided: its rule is found, and the name of its model settled. Decides nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from router.rules import AUTO, Facts, first_match, merged, rule_of
from router.sizes import size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import InferenceRequest
    from router.catalog import Catalog
    from router.request import Call
    from router.rules import Rule
    from router.sections import RouteEntry
    from router.slate import PromptIntent


class Routed(NamedTuple):
    """A call under its rule.

    Attributes:
        call: With the routing that holds, and the model or alias that it goes to.
        names: What its candidates are of: that alias or model, or the several models that its route gives.
        route: The rule's name; None where none matched.
    """

    call: Call
    names: tuple[str, ...]
    route: str | None = None


class Routes:
    """The rules of one configuration, in their order."""

    def __init__(self, entries: Sequence[RouteEntry], catalog: Catalog) -> None:
        """Make rules of the routes.

        Raises:
            ValueError: a route's hours are none, or nobody knows its zone.
        """
        self._catalog = catalog
        self.become(entries)

    def become(self, entries: Sequence[RouteEntry]) -> None:
        """Go by these routes from now on, as the catalogue is now. Raises as making it does, and changes nothing then.

        One that is disabled keeps its number.
        """
        self.rules = [rule(index, entry, self._catalog) for index, entry in enumerate(entries) if entry.enabled]
        self._sized = any(rule.sized for rule in self.rules)

    def of(self, call: Call, intent: PromptIntent | None) -> Routed:
        """The call under the first rule that matches it.

        A name that the request gave stays, unless its rule matches by names itself. `auto` becomes what the rule gives,
        else the alias `auto` where there is one of the task, else the catalogue's first model for the task.

        Raises:
            InvalidRequest: it left the model open, and nobody does its task.
        """
        request = call.request
        found = first_match(self.rules, self._facts(call, intent)) if self.rules else None
        names: tuple[str, ...] = (request.model,)
        if found is not None and found.names and (found.replaces or request.model == AUTO):
            names = found.names
        elif request.model == AUTO:
            names = (self._default(request),)
        name = names[0] if len(names) == 1 else request.model
        if name != request.model:
            call = replace(call, request=replace(request, model=name))
        if found is not None:
            call = replace(call, routing=merged(call.routing, found.use))
        return Routed(call, names, None if found is None else found.name)

    def _facts(self, call: Call, intent: PromptIntent | None) -> Facts:
        request = call.request
        return Facts(
            task=request.task.value,
            name=request.model,
            is_alias=self._catalog.alias(request.model) is not None,
            tenant=request.tenant,
            tags=frozenset(call.routing.tags),
            intent=None if intent is None else intent.label,
            input_tokens=_input_tokens(call) if self._sized else None,
            at=datetime.now(UTC),
        )

    def _default(self, request: InferenceRequest) -> str:
        alias = self._catalog.alias(AUTO)
        entry = None if alias is None else self._catalog.find(alias.models[0])
        if entry is not None and entry.task == request.task:
            return AUTO
        return self._catalog.first_for(request.task.value)


def _input_tokens(call: Call) -> int | None:
    return size_of(call.request).input_tokens if call.measures is None else call.measures.input_tokens


def rule(index: int, entry: RouteEntry, catalog: Catalog) -> Rule:
    """The rule that a route of the configuration is.

    Raises:
        ValueError: its hours are none, or nobody knows its zone.
    """
    first = next(iter(catalog.entries_of(*entry.use.names)), None)
    return rule_of(name_of(index, entry), entry.match, entry.use, None if first is None else first.task)


def name_of(index: int, entry: RouteEntry) -> str:
    """How a route is called: by its name, else by its number."""
    return entry.name or f"route {index + 1}"
