"""The router's tests run in an empty folder: no `nearfar.toml` is found, no log stays."""

import pytest


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
