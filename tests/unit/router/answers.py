"""Answers of the log, told apart by more than the order in which their sums were added up."""

from typing import Any

import pytest


def rounded(value: Any) -> Any:
    """The same answer, with figures that equal what differs in the last digits: two threads add up in any order."""
    if isinstance(value, float):
        return pytest.approx(value, nan_ok=True)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value
