"""OpenAI's routes for files: requests to work through come in here, and what came of them goes out."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Literal

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from router.batches.store import Store
from router.batches.types import StoredFile, new_file_id
from router.errors import InvalidRequest, TooLarge
from router.http import documents
from router.http.batches import LOOKING, batches_of, page
from router.http.forms import MULTIPART
from router.http.services import identity
from router.http.uploads import Upload, uploaded

BLOCK = 256 * 1024
LONGEST_NAME = 255
MOST_FILES = 10_000  # of one tenant
LEAST_KEPT_S, MOST_KEPT_S = 3600, 30 * 86400  # as OpenAI has them
DOCUMENT = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": documents.FILE,
        "purpose": {"enum": ["batch"]},
        "expires_after[anchor]": {"enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": LEAST_KEPT_S, "maximum": MOST_KEPT_S},
    },
}


@post(
    "/v1/files",
    status_code=200,
    opt={"bodies": (MULTIPART,), "reads_body": True, "scopes": ("infer",)},
    request_max_body_size=None,  # read as it comes, and counted: batches.max_file_bytes
    summary="Upload a file of requests",
    operation_class=documents.taking({MULTIPART: DOCUMENT}),
)
async def upload(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """A form with a `file` of JSON lines and the `purpose` batch. It is kept until it expires or is deleted."""
    store, tenant = batches_of(request).store, identity(request).tenant
    await store.made()
    file_id = new_file_id()
    given = await uploaded(request, "file", store.data(file_id), store.settings.max_file_bytes)
    try:
        kept_s = _kept_s(given)
        _check_room(store, tenant, given.size_bytes)
        file = await store.take_in(file_id, tenant, _name(given.filename), "batch", kept_s)
    except BaseException:
        await store.delete_file(file_id)
        raise
    return shown(file)


@get("/v1/files", opt=LOOKING, summary="Your files")
async def every(
    request: Request[Any, Any, Any],
    purpose: FromQuery[str | None] = None,
    limit: FromQuery[int] = 10_000,
    order: FromQuery[Literal["asc", "desc"]] = "desc",
    after: FromQuery[str | None] = None,
) -> dict[str, Any]:
    """Page through files, newest first; `after` is the last id of the page before."""
    store, sees = batches_of(request).store, identity(request).sees
    now = store.clock()
    own = [
        file
        for file in store.files.values()
        if sees in {None, file.tenant} and purpose in {None, file.purpose} and file.expires_at > now
    ]
    own = own if order == "asc" else own[::-1]
    return page([shown(file) for file in own], limit=limit, most=10_000, after=after)


@get("/v1/files/{file_id:str}", opt=LOOKING, summary="One file")
async def one(request: Request[Any, Any, Any], file_id: FromPath[str]) -> dict[str, Any]:
    """What a file is called, how large it is, and until when it is kept."""
    return shown(batches_of(request).store.file(file_id, identity(request).sees))


@get("/v1/files/{file_id:str}/content", opt=LOOKING, summary="A file's content")
async def content(request: Request[Any, Any, Any], file_id: FromPath[str]) -> Stream:
    """The bytes of a file: of a batch's output, a line of JSON for each answered request."""
    store = batches_of(request).store
    file = store.file(file_id, identity(request).sees)
    headers = {"content-length": str(file.size_bytes)}
    return Stream(_blocks(store.data(file.id)), media_type="application/octet-stream", headers=headers)


@delete("/v1/files/{file_id:str}", status_code=200, opt={"scopes": ("infer",)}, summary="Delete a file")
async def remove(request: Request[Any, Any, Any], file_id: FromPath[str]) -> dict[str, Any]:
    """Delete a file. One that a batch reads, which has not ended, is not deleted."""
    await batches_of(request).delete_file(file_id, identity(request).sees)
    return {"id": file_id, "object": "file", "deleted": True}


HANDLERS = (upload, every, one, content, remove)


def shown(file: StoredFile) -> dict[str, Any]:
    """A file in OpenAI's shape."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def _check_room(store: Store, tenant: str, size_bytes: int) -> None:
    if sum(file.tenant == tenant for file in store.files.values()) >= MOST_FILES:
        raise TooLarge(f"You have {MOST_FILES} files: delete some first.")
    if size_bytes > store.settings.max_stored_bytes - store.stored_bytes(tenant):
        raise TooLarge(
            "file: there is no room for it beside your other files (batches.max_stored_bytes).", param="file"
        )


def _kept_s(given: Upload) -> int | None:
    """How long it asks to be kept; None where it leaves that open.

    Raises:
        InvalidRequest: there is no file, its purpose is not one that is served, or a field is not one of a file.
    """
    fields = dict(given.fields)
    purpose, anchor = fields.pop("purpose", None), fields.pop("expires_after[anchor]", "created_at")
    wanted = fields.pop("expires_after[seconds]", None)
    if fields:
        name = next(iter(fields))[:100]
        raise InvalidRequest(f"{name}: unknown field; known: file, purpose, expires_after.", param=name)
    if purpose != "batch":
        said = "is required" if purpose is None else f"{purpose[:50]!r} is not served"
        raise InvalidRequest(f"purpose: {said}; it must be 'batch'.", param="purpose")
    if not given.size_bytes:
        raise InvalidRequest("file: is required, and must not be empty.", param="file")
    if anchor != "created_at":
        raise InvalidRequest("expires_after.anchor: must be 'created_at'.", param="expires_after.anchor")
    if wanted is None:
        return None
    if not (wanted.isascii() and wanted.isdigit() and LEAST_KEPT_S <= int(wanted[:12]) <= MOST_KEPT_S):
        said = f"expires_after.seconds: must be between {LEAST_KEPT_S} and {MOST_KEPT_S}."
        raise InvalidRequest(said, param="expires_after.seconds")
    return int(wanted)


def _name(given: str) -> str:
    """A file's own name, for people: it never leads to a place."""
    name = "".join(letter for letter in given.replace("\\", "/").rpartition("/")[2] if letter.isprintable())
    return name[:LONGEST_NAME] or "requests.jsonl"


async def _blocks(path: Path) -> AsyncGenerator[bytes, None]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while block := await asyncio.to_thread(file.read, BLOCK):
            yield block
    finally:
        file.close()
