"""The document as JSON and in a viewer whose scripts are served from here: it is complete, and works without a network.

Each is made once, when somebody first asks.
"""

from typing import Any

from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin

from router.http.description.document import described
from router.http.services import services


def _completed(request: Request[Any, Any, Any], drawn: dict[str, Any]) -> dict[str, Any]:
    return described(request.app, drawn, asks=services(request).settings.auth.mode != "none")


class Document(JsonRenderPlugin):
    """`/schema/openapi.json`."""

    _page: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document."""
        if self._page is None:
            self._page = super().render(request, _completed(request, openapi_schema))
        return self._page


class Viewer(SwaggerRenderPlugin):
    """`/schema`."""

    _page: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page, with the document in it."""
        if self._page is None:
            self._page = super().render(request, _completed(request, openapi_schema))
        return self._page
