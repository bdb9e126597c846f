"""Where real data lies, for the tests that ask for it."""

from pathlib import Path

import pytest

from tests.conftest import DATA


@pytest.fixture
def data() -> Path:
    """The folder that the environment's NEARFAR_DATA named; without it the test is skipped."""
    if DATA is None or not DATA.is_dir():
        pytest.skip("NEARFAR_DATA names no folder with routellm_weak_strong.parquet")
    return DATA
