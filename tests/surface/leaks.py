"""What must never be in an answer: paths of the machine, traces of Python, and tokens."""

from __future__ import annotations

import re
import sys
from pathlib import Path

TOKEN = "hf_this_token_is_in_no_answer_at_all"
_HERE = Path(__file__).resolve().parents[2]
_PLACES = {sys.prefix, sys.base_prefix, str(_HERE), f"{Path.home()}/"} - {"/", "/usr"}
_SIGNS = ("Traceback", "site-packages", TOKEN, *sorted(_PLACES))
_FRAME = re.compile(r'File \\?"[^"]+\.py\\?", line \d+')


def leaks(text: str, *folders: str) -> list[str]:
    """Which signs of the inside are in a text; `folders` are those of the server that wrote it."""
    return [sign for sign in (*_SIGNS, *folders) if sign in text] + _FRAME.findall(text)


def bugs(told: str) -> list[str]:
    """The lines of a server's errors that tell of a bug: it logs those by class and place, and dies with a trace."""
    return [line for line in told.splitlines() if line.startswith(("ERROR ", "Traceback"))]
