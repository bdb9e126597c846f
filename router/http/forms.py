"""Reads multipart/form-data as it arrives: a bounded number of parts, in memory, nothing written to disk.

Knows how OpenAI's clients write nested values into field names (`a[b]`, `a[]`); does not know which fields there are.
"""

from typing import Any

from litestar import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser  # type: ignore[import-untyped]

from router.errors import InvalidRequest, UnsupportedMediaType

MULTIPART = "multipart/form-data"
MAX_PARTS = 64


async def form_of(request: Request[Any, Any, Any], file_field: str) -> dict[str, Any]:
    """The form's fields as a tree: text everywhere, bytes where a part is `file_field`. Bounded by the body's limit.

    Raises:
        UnsupportedMediaType: the body does not say that it is a form.
        InvalidRequest: it is no well-formed form, a field is given twice, or a text is not UTF-8.
    """
    kind, options = request.content_type
    if kind != MULTIPART:
        raise UnsupportedMediaType(f"The body must be a form, with content-type: {MULTIPART}.")
    tree: dict[str, Any] = {}
    for name, content in await _parts(request, options.get("boundary", "")):
        _put(tree, name, content if name == file_field else _text(name, content))
    return tree


async def _parts(request: Request[Any, Any, Any], boundary: str) -> list[tuple[str, bytes]]:
    """Each part's name and content. A chunk is parsed when it comes, so the loop is never held for the whole body."""
    parts: list[tuple[str, bytearray]] = []
    try:
        with PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser:
            async for chunk in request.stream():
                for event in parser.parse(chunk) if chunk and not parser.closed else ():
                    if isinstance(event, MultipartSegment):
                        parts.append((event.name, bytearray()))
                    elif event:
                        parts[-1][1].extend(event)
    except MultipartError as error:
        raise InvalidRequest(f"The form cannot be read: {error}.") from error
    return [(name, bytes(content)) for name, content in parts]


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{name}: is not UTF-8 text.", param=name) from error


def _put(tree: dict[str, Any], name: str, value: object) -> None:
    """Hang a value into the tree: `a` and `a[b]` are given once, `a[]` and `a[b][]` collect a list."""
    if not name or name.startswith("["):
        raise InvalidRequest("The form has a field without a name.")
    *above, last = name.replace("]", "").split("[")
    listed = last == "" and bool(above)
    if listed:
        *above, last = above
    place: Any = tree
    for step in above:
        place = place.setdefault(step, {})
        if not isinstance(place, dict):
            raise InvalidRequest(f"{name}: {step} has been given a value already.", param=step)
    if listed:
        place = place.setdefault(last, [])
        if not isinstance(place, list):
            raise InvalidRequest(f"{name}: {last} has been given a value already.", param=last)
        place.append(value)
    elif last in place:
        raise InvalidRequest(f"{name}: is given twice.", param=last)
    else:
        place[last] = value
