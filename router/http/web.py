"""The web UI: one page with its modules, styles and libraries, all served from here and the same for everybody."""

from functools import cache
from importlib import resources

from litestar import Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.static_files import create_static_files_router

FILES = "/ui"
_ANEW = CacheControlHeader(no_cache=True)  # a new version is seen at once; they are small, and come from near by


@get("/", include_in_schema=False)
async def home() -> Response[bytes]:
    """The page. Which of its parts is shown stands behind the `#` of its address."""
    return Response(_page(), media_type="text/html; charset=utf-8", headers={"cache-control": "no-cache"})


@cache
def _page() -> bytes:
    return resources.files("router").joinpath("web/index.html").read_bytes()


def static() -> Router:
    """What the page loads."""
    folder = str(resources.files("router").joinpath("web"))
    return create_static_files_router(path=FILES, directories=[folder], cache_control=_ANEW, include_in_schema=False)
