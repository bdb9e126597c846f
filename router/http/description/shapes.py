"""JSON schemas of our types, drawn by msgspec, which also reads and writes them."""

from collections.abc import Iterable
from typing import Any

import msgspec

REF = "#/components/schemas/{name}"


class Shapes:
    """The schemas of these types, and of all that they are made of. What is a schema already stays as it is."""

    def __init__(self, types: Iterable[Any]) -> None:
        kinds = [kind for kind in types if not isinstance(kind, dict)]
        schemas, self.components = msgspec.json.schema_components(kinds, ref_template=REF)
        self._found = dict(zip(map(_key, kinds), schemas, strict=True))

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of one of the types, mostly a reference to a component."""
        return kind if isinstance(kind, dict) else self._found[_key(kind)]


def _key(kind: Any) -> str:
    """Types with lists of constraints in them cannot be hashed."""
    return repr(kind)


def of_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without null: in a query, that is a parameter that is left out."""
    choices = [choice for choice in schema.get("oneOf", ()) if choice != {"type": "null"}]
    return choices[0] if len(choices) == 1 else schema
