"""Writing down what is changed from the command line, for who reads the audit of the API."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from router.access.audit import AuditLog, entry
from router.errors import RouterError
from router.settings import audit_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.sections import Settings


@contextmanager
def audited(settings: Settings, action: str, subject: str) -> Iterator[None]:
    """Write down what happens inside, with how it ended: `ok`, or the name of the error of ours that came out.

    Raises:
        LogError: it cannot be written.
    """
    log, who = AuditLog(audit_file(settings)), f"(command line, user {os.getuid()})"
    try:
        yield
    except RouterError as error:
        log.add(entry(who, action, subject, "cli", type(error).__name__))
        raise
    log.add(entry(who, action, subject, "cli"))
