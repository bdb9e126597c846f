"""Does what a Dockerfile says, without an engine: its steps in a folder that stands for the image's own root.

All stages share that folder, so what is copied from one stage to the next under the same name has to be there already.
The base image's place is taken by this machine's own Python. Steps of the distribution's package manager are not taken:
they would change this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dockerfile_parse import DockerfileParser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEPT = re.compile(r"PIP_\w+|NPM_CONFIG_\w+|SSL_CERT_FILE|NODE_EXTRA_CA_CERTS|HOME|\w+_PROXY", re.IGNORECASE)
"""Variables that say how this machine reaches its package registries, which an engine's network would."""
PACKAGES = re.compile(r"apt-get update && apt-get install -y --no-install-recommends ([a-z0-9 -]+) && rm -rf \S+")


class Step(NamedTuple):
    """One instruction, with its arguments as they stand."""

    name: str
    value: str


class Image:
    """What becomes of a Dockerfile.

    Attributes:
        packages: What it installs of the distribution.
        environ: What its last stage sets.
        last: The instructions of the last stage that say how it runs, by name.
    """

    def __init__(self, root: Path, dockerfile: Path, context: Path) -> None:
        self._root = root
        self._context = context
        self._steps = steps_of(dockerfile)
        self._places = sorted({place for step in self._steps for place in _places(step)}, key=len, reverse=True)
        self._arguments: dict[str, str] = {}
        self.packages: list[str] = []
        self.environ: dict[str, str] = {}
        self.workdir = root
        self.last: dict[str, str] = {}
        self._python = _base(root.with_name("base"))
        (root / "etc").mkdir()

    def build(self, **arguments: str) -> None:
        """Take every step, with build arguments."""
        for step in self._steps:
            match step.name:
                case "FROM":
                    self._arguments, self.environ, self.last = {}, {"PATH": f"{self._python}:/usr/bin:/bin"}, {}
                case "ARG":
                    name, _, default = step.value.partition("=")
                    self._arguments[name] = arguments.get(name, default)
                case "ENV":
                    self._set(step.value)
                case "WORKDIR":
                    self.workdir = Path(self.here(step.value))
                    self.workdir.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(step.value.split())
                case "RUN":
                    self._run(step.value)
                case name:
                    self.last[name] = step.value

    def here(self, text: str) -> str:
        """The text with every path of the image in this folder."""
        for place in self._places:
            text = re.sub(rf"(?<![\w./-]){re.escape(place)}(?![\w.-])", f"{self._root}{place}", text)
        return text

    def started(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """What the image runs, as its user where this process may become that and the user can reach this Python."""
        command = [*json.loads(self.last["ENTRYPOINT"]), *(arguments or json.loads(self.last["CMD"]))]
        return subprocess.Popen(
            [*self.user(), *command],
            cwd=self.workdir,
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def healthy(self, port: int) -> bool:
        """What its own check of its health says, with another port than the image's."""
        command = json.loads(self.last["HEALTHCHECK"].partition(" CMD ")[2])
        said = [word.replace(":8080", f":{port}") for word in command]
        return subprocess.run(said, env=self.environ, check=False, capture_output=True).returncode == 0

    def user(self) -> list[str]:
        """How to become the image's user; nothing where that cannot be, or it could not reach this machine's Python."""
        uid, _, gid = self.last["USER"].partition(":")
        become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
        if os.getuid() != 0:
            return []
        tried = subprocess.run([*become, "python", "-c", "pass"], env=self.environ, check=False, capture_output=True)
        return become if tried.returncode == 0 else []

    def _set(self, value: str) -> None:
        for name, said in re.findall(r"(\w+)=(\S+)", self.here(value)):
            self.environ[name] = re.sub(r"\$(\w+)", lambda found: self.environ[found[1]], said)

    def _run(self, command: str) -> None:
        if (found := PACKAGES.fullmatch(command)) is not None:
            self.packages += found[1].split()
            return
        kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
        subprocess.run(
            ["/bin/sh", "-c", self.here(command)],
            cwd=self.workdir,
            env=kept | self._arguments | self.environ,
            check=True,
        )

    def _copy(self, words: list[str]) -> None:
        flags = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
        *sources, target = (word for word in words if not word.startswith("--"))
        for source in sources:
            origin = Path(self.here(source)) if "from" in flags else self._context / source
            place = Path(self.here(target)) if target.startswith("/") else self.workdir / target
            if target.endswith("/") or target == ".":
                place = place / origin.name
            place = Path(os.path.normpath(place))
            if place != origin:
                place.parent.mkdir(parents=True, exist_ok=True)
                _copied(origin, place)
            if "chown" in flags and os.getuid() == 0:
                uid, _, gid = flags["chown"].partition(":")
                os.chown(place, int(uid), int(gid))


def steps_of(dockerfile: Path) -> list[Step]:
    """Its instructions in their order; what a line's end continues is one line."""
    parser = DockerfileParser(path=str(dockerfile))
    found = (Step(said["instruction"], said["value"]) for said in parser.structure)
    return [step for step in found if step.name != "COMMENT"]


def clean_clone(repository: Path, target: Path) -> Path:
    """What git holds of a repository, as it lies there now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (repository / name).is_file():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / name, place)
    return target


def _places(step: Step) -> Iterator[str]:
    """The paths of its own that an image has: where it works, what it copies to, and files that it writes to."""
    words = step.value.split()
    if step.name in {"WORKDIR", "COPY"} and words[-1].startswith("/"):
        yield words[-1].rstrip("/")
    if step.name == "COPY":
        yield from (word for word in words if word.startswith("/") and "--from" in step.value)
    if step.name == "RUN":
        yield from re.findall(r">> (/\S+)", step.value)
        yield from re.findall(r"-m venv (/\S+)", step.value)
        yield from re.findall(r"/opt/\w+", step.value)


def _copied(origin: Path, place: Path) -> None:
    if origin.is_dir():
        shutil.copytree(origin, place, dirs_exist_ok=True)
    else:
        shutil.copyfile(origin, place)


def _base(folder: Path) -> Path:
    """A folder with a `python` in it, of this version: one that every user can run, where there is such a one."""
    ours = Path(sys.executable).resolve()
    everybodys = Path(f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}")
    hidden = any(not parent.stat().st_mode & 0o001 for parent in ours.parents)
    has_venv = Path(f"/usr/lib/{everybodys.name}/ensurepip").is_dir()
    folder.mkdir()
    (folder / "python").symlink_to(everybodys if hidden and has_venv and everybodys.exists() else sys.executable)
    return folder


def missing_libraries(folder: Path, environ: Mapping[str, str]) -> dict[str, set[str]]:
    """Which shared libraries are linked to what this machine does not have, and to what."""
    found: dict[str, set[str]] = {}
    for path in folder.rglob("*.so*"):
        done = subprocess.run(["ldd", str(path)], env=dict(environ), capture_output=True, text=True, check=False)
        lacks = set(re.findall(r"^\s*(\S+) => not found", done.stdout, re.MULTILINE))
        if lacks:
            found[path.name] = lacks
    return found
