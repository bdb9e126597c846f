"""OpenAPI's word for request bodies that are not one JSON struct: forms and files, which Litestar cannot read off."""

from typing import Any

from litestar.openapi.spec import Operation

FILE: dict[str, Any] = {"type": "string", "format": "binary"}


def taking(bodies: dict[str, dict[str, Any]]) -> type[Operation]:
    """An operation whose request body has one of these media types, each with its JSON schema."""

    class Taking(Operation):
        def to_schema(self) -> dict[str, Any]:
            content = {kind: {"schema": schema} for kind, schema in bodies.items()}
            return super().to_schema() | {"requestBody": {"required": True, "content": content}}

    return Taking
