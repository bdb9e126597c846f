"""The keys in use: read at the start, and again when a file that they come from changes. Values only; opens nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from router.settings import Secrets, read_secrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.sections import Settings

Stamp = tuple[int, int, int] | None


class Keys:
    """The secrets of this instant. Who holds a copy of a key is told by whoever calls `reread`."""

    def __init__(
        self, settings: Settings, secrets: Secrets, read: Callable[[Settings], Secrets] = read_secrets
    ) -> None:
        self._settings = settings
        self._read = read
        self._stamps: dict[Path, Stamp] = {}  # so that the first look reads again what changed since `secrets` was read
        self._one_at_a_time = threading.Lock()
        self.secrets = secrets

    def become(self, settings: Settings, secrets: Secrets) -> None:
        """Have the keys of other settings, and look after the files that they name."""
        with self._one_at_a_time:
            self._settings, self.secrets, self._stamps = settings, secrets, {}

    @property
    def hub_token(self) -> str | None:
        """The hub's token, or None."""
        return self.secrets.hf_token

    def reread(self) -> bool:
        """Read the keys again if one of their files has changed; True when a key has, too. Blocks, for microseconds.

        A file that changes between the look and the reading is seen to have changed again the next time.
        """
        settings, stamps = self._settings, _stamps(self.secrets.files)
        if stamps == self._stamps:
            return False
        secrets = self._read(settings)
        with self._one_at_a_time:
            if settings is not self._settings:  # other settings came meanwhile, with keys of their own
                return False
            before, self.secrets = self.secrets, secrets
            self._stamps = stamps
        return (before.hf_token, before.provider_keys) != (self.secrets.hf_token, self.secrets.provider_keys)


def _stamps(files: tuple[Path, ...]) -> dict[Path, Stamp]:
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
