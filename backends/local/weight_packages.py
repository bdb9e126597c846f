"""Fetches model weights that need no hub: packages pinned by hash and unpacked as data, and what we ship ourselves.

Knows how a directory of weights comes together; knows nothing of how a model is loaded.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from backends.errors import ModelNotFound, Unavailable
from backends.local import weight_joining, wheels
from backends.local.weight_joining import Join
from backends.local.wheels import Wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[str, int, int], None]

PIN_FILE = ".nearfar-pin"  # in every fetched directory: what it was made of
VERSION_DIGITS = 12
_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]  # where `backends` is importable from


class Conversion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A checkpoint, the module `{format}_conversion` that makes a transformers directory of it, and its options.

    Whoever changes what comes out raises `version`, so that what was converted before is converted anew.
    """

    format: Literal["gguf", "efficientnet", "whisper_onnx"]
    file: str
    options: dict[str, bool | int | float] = {}
    version: int = 1


class WeightPackage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `weight_packages.toml`, which says what the fields mean; it has a `wheel` or is `shipped`."""

    model: str
    license: str
    sha256: dict[str, str] = {}
    wheel: Wheel | None = None
    shipped: str | None = None
    convert: Conversion | None = None
    joins: tuple[Join, ...] = ()


@cache
def packages() -> dict[str, WeightPackage]:
    """Every package that can be fetched, by name."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), dict[str, WeightPackage])


def installed(name: str, models_dir: Path) -> Path | None:
    """The directory of a package that has been fetched; None when it has not, or is not the one pinned now.

    What is there is complete.
    """
    directory = models_dir / "packages" / name
    if name not in packages():
        return None
    try:
        pinned = (directory / PIN_FILE).read_text(encoding="ascii")
    except OSError:
        return None
    return directory if pinned == _pin(name) else None


def version(name: str) -> str:
    """What changes when the content of a package's directory does: some digits of the hash that it is pinned by."""
    return _pin(name)[:VERSION_DIGITS]


def fetch(name: str, models_dir: Path, progress: Progress | None = None) -> Path:
    """Put a package's directory together; a second call returns at once, two at once both succeed.

    Whatever it takes files from is fetched before it.

    Args:
        name: A key of `packages()`.
        models_dir: Models are kept under it; created when missing.
        progress: Called with a stage (`download`, `unpack`, `convert`, `join`), the units done and their total.

    Raises:
        ModelNotFound: There is no such package, or the package index does not offer it.
        Unavailable: It could not be downloaded, is not the pinned one, or could not be converted or written.
    """
    package = packages().get(name)
    if package is None:
        raise ModelNotFound(f"no weight package '{name}'; there are {', '.join(sorted(packages()))}")
    report = progress or (lambda _stage, _done, _total: None)
    present = installed(name, models_dir)
    if present is not None:
        return present
    sources = {join.package: fetch(join.package, models_dir, progress) for join in package.joins}
    try:
        return _made(name, models_dir, sources, report)
    except OSError as error:  # its own words, as of a full disk, but not its path
        raise Unavailable(f"could not put '{name}' in place: {error.strerror or type(error).__name__}") from error


def _made(name: str, models_dir: Path, sources: dict[str, Path], report: Progress) -> Path:
    """Everything happens beside the final place and is renamed into it, so that what is there is always whole."""
    package, home = packages()[name], models_dir / "packages"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home, ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        directory = _collected(name, package, scratch, report)
        _check(name, package, directory)
        for join in package.joins:
            weight_joining.join(join, sources[join.package], directory, report)
        if package.convert is not None:
            directory = _convert(name, package.convert, directory, report)
        (directory / PIN_FILE).write_text(_pin(name), encoding="ascii")
        return _moved(directory, name, models_dir, scratch)


def _collected(name: str, package: WeightPackage, scratch: Path, report: Progress) -> Path:
    """The package's own files, as a directory below `scratch`."""
    directory = scratch / "model"
    if package.wheel is None:
        weight_joining.copy(_HERE / str(package.shipped), directory)
        if not directory.is_dir():
            raise Unavailable(f"this installation lacks its own files of '{name}'")
    else:
        file = wheels.download(name, package.wheel, scratch, report)
        wheels.unpack(name, package.wheel, file, directory, report)
        file.unlink()
    return directory


def _check(name: str, package: WeightPackage, directory: Path) -> None:
    for file, expected in package.sha256.items():
        path = directory / file
        if not path.is_file() or _sha256(path) != expected:
            raise Unavailable(f"the file {file} of '{name}' is not the pinned one; nothing was kept")


def _convert(name: str, conversion: Conversion, directory: Path, report: Progress) -> Path:
    """Convert in a process of its own: it needs up to a gigabyte, which goes back when it ends."""
    report("convert", 0, 1)
    out = directory.with_name("converted")
    command = [
        sys.executable, "-m", f"backends.local.{conversion.format}_conversion",
        str(directory), conversion.file, str(out), json.dumps(conversion.options),
    ]  # fmt: skip
    finished = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if finished.returncode != 0:
        missing = any(sign in finished.stderr for sign in ("No module named", "ImportError", "pip install"))
        extra = "local,onnx" if conversion.format == "whisper_onnx" else "local"
        hint = f": what it needs is not installed: pip install 'nearfar[{extra}]'" if missing else ""
        raise Unavailable(f"could not convert the weights of '{name}'{hint}")
    report("convert", 1, 1)
    return out


def _moved(directory: Path, name: str, models_dir: Path, scratch: Path) -> Path:
    """Rename into place; what an older pin left there goes with the scratch."""
    final = models_dir / "packages" / name
    if final.is_dir() and installed(name, models_dir) is None:
        with suppress(FileNotFoundError):  # another process was faster
            final.rename(scratch / "outdated")
    try:
        return directory.rename(final)
    except OSError:
        if installed(name, models_dir) is None:
            raise
        return final  # another process was faster, with the same files


def _pin(name: str) -> str:
    """A hash of all that decides what a package's directory holds."""
    package = packages()[name]
    own = package.wheel if package.shipped is None else _shipped_sha256(package.shipped)
    parts = [own, package.sha256, package.convert, package.joins]
    joined = [_pin(join.package) for join in package.joins]
    return hashlib.sha256(msgspec.json.encode([parts, joined], order="deterministic")).hexdigest()


@cache
def _shipped_sha256(folder: str) -> str:
    """Of all files in a folder of our own: they come with the code, so nobody needs to pin them by hand."""
    files = sorted(path for path in (_HERE / folder).rglob("*") if path.is_file())
    listed = [f"{_sha256(path)} {path.relative_to(_HERE / folder).as_posix()}" for path in files]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
