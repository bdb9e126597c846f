"""Images and recordings inside JSON: base64 text in, bytes out. Does not look into them; backends do."""

from typing import Any

import msgspec

from router.errors import InvalidRequest, TooLarge


def file_of(value: object, param: str) -> bytes:
    """The file that this base64 text or base64 data URL holds.

    Raises:
        InvalidRequest: naming the field: it is not text, not base64, empty, or an address, which nobody fetches here.
    """
    if not isinstance(value, str):
        raise InvalidRequest(f"`{param}` must be a file as base64 text.", param=param)
    if value[:8].lower().startswith(("http://", "https://")):
        raise InvalidRequest(f"`{param}`: addresses are not fetched; send the file itself, as base64.", param=param)
    data = _in_url(value, param) if value[:5].lower() == "data:" else value
    file = _decoded(data)
    if file is None:
        raise InvalidRequest(f"`{param}` is not base64.", param=param)
    if not file:
        raise InvalidRequest(f"`{param}` must not be empty.", param=param)
    return file


def files_of(inputs: str | list[Any], param: str, max_items: int) -> tuple[bytes, ...]:
    """One file or a list of files.

    Raises:
        InvalidRequest: as `file_of`; also none at all, or too many.
    """
    if isinstance(inputs, str):
        return (file_of(inputs, param),)
    if not inputs:
        raise InvalidRequest(f"`{param}` must not be empty.", param=param)
    if len(inputs) > max_items:
        raise TooLarge(f"`{param}` has {len(inputs)} items; at most {max_items} are allowed.", param=param)
    return tuple(file_of(value, f"{param}.{index}") for index, value in enumerate(inputs))


def _in_url(url: str, param: str) -> str:
    """What stands behind the comma of a data URL (RFC 2397)."""
    kind, comma, data = url.partition(",")
    if not comma or not kind.lower().endswith(";base64"):
        raise InvalidRequest(f"`{param}`: a data URL must say `;base64,` before its data.", param=param)
    return data


def _decoded(text: str) -> bytes | None:
    """The bytes; None when the text is not base64. Line breaks, as `base64` on a shell makes them, do no harm."""
    try:
        return msgspec.convert(text, bytes)  # five times as fast as the standard library's strict decoder
    except msgspec.ValidationError:
        whole = "".join(text.split())
        return _decoded(whole) if len(whole) < len(text) else None
