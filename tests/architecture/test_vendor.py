"""The pages' libraries are the pinned ones, and what is not cannot be taken for them."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = json.loads((ROOT / ".ci/vendor.lock.json").read_text(encoding="utf-8"))


@pytest.fixture
def vendor(tmp_path, monkeypatch):
    """The script, on a copy of the folder."""
    spec = importlib.util.spec_from_file_location("vendor", ROOT / ".ci/vendor.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.copytree(ROOT / "router/web/vendor", tmp_path / "vendor", ignore=shutil.ignore_patterns("swagger-ui"))
    monkeypatch.setattr(module, "VENDOR", tmp_path / "vendor")
    monkeypatch.setattr(module, "_npm", lambda: None)  # nothing is fetched here
    return module


def test_every_library_here_is_the_pinned_one(vendor) -> None:
    """All of them, once `make` fetched what git does not hold; a second look asks nobody."""
    vendor.main(lock=False)


def test_a_changed_file_of_git_is_named(vendor) -> None:
    """Nobody edits a library in place."""
    (vendor.VENDOR / "htm/standalone.module.js").write_text("changed", encoding="utf-8")

    with pytest.raises(SystemExit, match=r"vendor/htm: preact/standalone\.module\.js of git is not what htm holds"):
        vendor.main(lock=False)


def test_what_is_missing_needs_npm_and_says_so(vendor) -> None:
    """So does a file that another program wrote over."""
    (vendor.VENDOR / "transformers/transformers.min.js").write_text("changed", encoding="utf-8")

    with pytest.raises(SystemExit, match="npm is needed"):
        vendor.main(lock=False)


def test_every_pin_is_whole() -> None:
    """A version, a hash of the package and one of each file; each folder with its licence."""
    for name, package in LOCK.items():
        assert package["version"][0].isdigit(), name
        assert package["integrity"].startswith("sha512-")
        assert all(len(digest) == 64 for digest in package["files"].values())
        assert (ROOT / "router/web/vendor" / package["folder"] / "LICENSE").is_file()
