"""What the process's log says of a bug: its kind and its places, and nothing of what was sent or where we live."""

from __future__ import annotations

import json
from pathlib import Path

from router.privacy.bugs import told_without_words

WORDS = '{"prompt": kestrel'


def test_a_bug_is_told_by_kind_and_place_alone() -> None:
    """Neither the words of the error nor a folder of this machine is in it."""
    try:
        json.loads(WORDS)
    except ValueError as error:
        said = told_without_words(error)

    assert said.startswith("JSONDecodeError\n")
    assert 'File "decoder.py"' in said
    assert "kestrel" not in said
    assert str(Path(json.__file__).parent) not in said
