"""A bounded store: what was not used for longest goes first, and nothing stays longer than its time. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from router.caching.weighing import SLOT_BYTES, weight

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


class _Entry(NamedTuple, Generic[Value]):
    value: Value
    label: str
    until_s: float
    held_bytes: int


class Store(Generic[Value]):
    """Values by key, at most `max_bytes` of them with their keys, each for `ttl_s` seconds of `clock`."""

    def __init__(self, max_bytes: int, ttl_s: float, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry[Value]] = OrderedDict()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Value | None:
        """The value, now the one used last; None where there is none, or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until_s <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: bytes, value: Value, label: str) -> None:
        """Keep a value in place of any other of its key. One that is larger than the whole store is not kept."""
        if key in self._entries:
            self._drop(key)
        held_bytes = SLOT_BYTES + weight(key) + weight(value)
        if held_bytes > self._max_bytes:
            return
        self._entries[key] = _Entry(value, label, self._clock() + self._ttl_s, held_bytes)
        self.held_bytes += held_bytes
        while self.held_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def expire(self) -> None:
        """Let go of everything whose time is over."""
        now = self._clock()
        for key in [key for key, entry in self._entries.items() if entry.until_s <= now]:
            self._drop(key)

    def clear(self, label: str | None = None) -> None:
        """Let go of everything that has this label; None lets go of all."""
        for key in [key for key, entry in self._entries.items() if label in {None, entry.label}]:
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        self.held_bytes -= self._entries.pop(key).held_bytes
