"""The web UI: one page with its modules, styles and libraries, all served from here and the same for everybody."""

import hashlib
import json
from functools import cache
from importlib import resources
from pathlib import Path

from litestar import Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.static_files import create_static_files_router

from router.http.browser_models import LIBRARIES
from router.http.modules import needed
from router.http.unchanged import unless_held

FILES = "/ui"
_FIRST = ("app.js", "pages/chat.js")  # what the first page is made of: asked for at once, not one after another
_WORKER = "browser/service_worker.js"
_ANEW = CacheControlHeader(no_cache=True)  # a new version is seen at once, and what is held is not sent again


@get("/", include_in_schema=False, middleware=[unless_held])
async def home() -> Response[bytes]:
    """The page. Which of its parts is shown stands behind the `#` of its address."""
    return _told(_page(), "text/html")


@cache
def _page() -> bytes:
    """The page, which names every module that it will need: a chain of imports is found out link by link otherwise."""
    web = Path(str(resources.files("router").joinpath("web")))
    links = "".join(f'<link rel="modulepreload" href="{address}">\n' for address in needed(web, *_FIRST))
    return (web / "index.html").read_text(encoding="utf-8").replace("</head>", f"{links}</head>").encode()


@get("/sw.js", include_in_schema=False, sync_to_thread=True, middleware=[unless_held])
def service_worker() -> Response[bytes]:
    """The service worker: it stands at the root, because what it answers for is everything below its own address."""
    return _told(_worker(), "text/javascript")


def _told(body: bytes, kind: str) -> Response[bytes]:
    headers = {"cache-control": "no-cache", "etag": f'"{hashlib.sha256(body).hexdigest()[:16]}"'}
    return Response(body, media_type=f"{kind}; charset=utf-8", headers=headers)


@cache
def _worker() -> bytes:
    """The script, told what there is to keep. A new version of any file is a new script, which browsers look for."""
    web = Path(str(resources.files("router").joinpath("web")))
    files = sorted(path for path in web.rglob("*") if path.is_file() and _is_shell(path.relative_to(web)))
    shell = ["/", *(f"{FILES}/{path.relative_to(web).as_posix()}" for path in files)]
    libraries = [web / name for name in LIBRARIES if (web / name).is_file()]
    told = {
        "shell": shell,
        "shellVersion": _digest([web / "index.html", *files]),
        "libraries": [f"{FILES}/{path.relative_to(web).as_posix()}" for path in libraries],
        "librariesVersion": _digest(libraries),
    }
    return f"const KEPT = {json.dumps(told)};\n{(web / _WORKER).read_text(encoding='utf-8')}".encode()


def _is_shell(file: Path) -> bool:
    """What pages are made of: neither the API's viewer nor what computes in the browser, nor what only people read."""
    large = file.parts[:2] in {("vendor", "swagger-ui"), ("vendor", "transformers"), ("vendor", "onnxruntime")}
    kind = file.suffix in {".js", ".css", ".svg"} and file.name != Path(_WORKER).name
    return kind and not large


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def static() -> Router:
    """What the page loads."""
    folder = str(resources.files("router").joinpath("web"))
    return create_static_files_router(
        path=FILES, directories=[folder], cache_control=_ANEW, include_in_schema=False, middleware=[unless_held]
    )
