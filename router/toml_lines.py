"""Where in the configuration's file something stands, so that a refusal can name the line. Knows no key's meaning."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field

from router.sections import Settings


@dataclass(frozen=True, slots=True)
class Source:
    """The file that settings were read from. Equal settings are equal wherever they stand.

    Attributes:
        overridden: Sections that a variable of the environment has changed: the file does not say what is in force.
    """

    file: str = field(compare=False)
    text: str = field(compare=False, repr=False)
    overridden: frozenset[str] = field(default=frozenset(), compare=False)


class LoadedSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that remember the file they were read from."""

    source: Source


def place_of(settings: Settings, *path: str | int) -> str:
    """How a refusal names the place of something: `nearfar.toml, line 12: `; empty where there is no telling.

    Args:
        settings: What is refused.
        path: As for `line_of`. Where the whole path has no line of its own, the table that it would stand in is named.
    """
    if not isinstance(settings, LoadedSettings) or str(path[0]) in settings.source.overridden:
        return ""
    while path:
        line = line_of(settings.source.text, *path)
        if line is not None:
            return f"{settings.source.file}, line {line}: "
        path = path[:-1]
    return ""


def line_of(text: str, *path: str | int) -> int | None:
    """The line (from 1) at which a TOML document comes to hold what the path names; None when it cannot be told.

    `line_of(text, "models", 2)` is the line of the third `[[models]]`, `line_of(text, "models", 2, "candidates", 0)`
    that of its first candidate; a path may end with a key. No path is found in what is no TOML, nor in an array that
    goes over several lines, of which only the end could be told.

    A document cut off behind a line is a document again unless the cut is within a value, and never holds more than a
    longer one: so the line is found by bisection, by the parser itself, among those that have the name in them.
    """
    name = next((key for key in reversed(path) if isinstance(key, str)), None)
    lines = text.split("\n")
    if name is None or not _holds(text, path):
        return None
    numbers = [number for number, line in enumerate(lines, start=1) if name in line]
    low, high, best = 0, len(numbers), None
    while low < high:
        start = middle = (low + high) // 2
        held = None
        while middle < high and (held := _holds("\n".join(lines[: numbers[middle]]) + "\n", path)) is None:
            middle += 1  # this cut is within a value; the next one may not be
        if held is False:
            low = middle + 1
        else:
            best, high = numbers[middle] if held else best, start
    return best


def _holds(text: str, path: tuple[str | int, ...]) -> bool | None:
    """Whether a document holds what the path names; None when it is no document."""
    try:
        found: object = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    for key in path:
        within = isinstance(found, list) and isinstance(key, int) and 0 <= key < len(found)
        if not within and not (isinstance(found, dict) and key in found):
            return False
        found = found[key]  # type: ignore[index]  # checked above
    return True
