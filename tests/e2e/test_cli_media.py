"""`nearfar run` with pictures and recordings, as a person uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.command import here
from tests.e2e.media import IMAGE, PHOTO, SPEECH, png_size, wav

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Server

DRAW = ("run", "text-to-image", "a red circle", "--model", IMAGE)


def nearfar(folder: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "router", *arguments], cwd=folder, input=given, capture_output=True, check=False
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_drawing_is_a_file_named_for_its_seed(tmp_path: Path) -> None:
    """Its name is the answer; a second run does not overwrite it unless it is told to."""
    first = nearfar(tmp_path, *DRAW, "--seed", "7", "--size", "24x16", "--steps", "3")
    again = here(tmp_path, *DRAW, "--seed", "7")
    forced = here(tmp_path, *DRAW, "--seed", "7", "--size", "8x8", "--force")

    assert (0, "nearfar-7.png\n") == (first.returncode, first.stdout), first.stderr
    assert "only eligible candidate" in first.stderr
    assert (1, True) == (again.exit_code, "nearfar-7.png: exists already; --force" in again.stderr)
    assert 0 == forced.exit_code
    assert (8, 8) == png_size((tmp_path / "nearfar-7.png").read_bytes())


def test_a_drawing_goes_where_it_is_told(tmp_path: Path, near: Server) -> None:
    """Here or through a server, with the same seed the same file; `--json` prints what HTTP would answer."""
    alone = here(tmp_path, *DRAW, "--seed", "7", "--output", "here.png")
    there = here(tmp_path, *DRAW, "--seed", "7", "--output", "there.png", "--server", near.url)
    printed = here(tmp_path, *DRAW, "--seed", "0", "--guidance", "0", "--json")

    assert ("here.png\n", "there.png\n") == (alone.stdout, there.stdout), alone.stderr + there.stderr
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()
    assert 0 == json.loads(printed.stdout)["result"]["seed"]
    assert ["here.png", "there.png"] == sorted(path.name for path in tmp_path.glob("*.png"))


def test_a_photo_and_a_recording_are_files(tmp_path: Path) -> None:
    """Named with @, or on standard input, byte for byte."""
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff a photo")
    named = here(tmp_path, "run", "image-classification", "@cat.jpg", "--model", PHOTO, "--top-k", "2")
    piped = here(
        tmp_path, "run", "image-classification", "-", "--model", PHOTO, "--top-k", "2", given=b"\xff\xd8\xff a photo"
    )
    said = here(tmp_path, "run", "automatic-speech-recognition", "-", "--model", SPEECH, given=wav())

    assert 2 == len(json.loads(named.stdout)), named.stderr
    assert named.stdout == piped.stdout
    assert said.stdout.startswith("[fake] ")
    assert said.stdout.endswith("\n")


def test_timestamps_are_lines(tmp_path: Path) -> None:
    """One for each segment or word, with its seconds."""
    (tmp_path / "a.wav").write_bytes(wav(0.5))
    words = here(tmp_path, "run", "automatic-speech-recognition", "@a.wav", "--model", SPEECH, "--timestamps", "word")
    segments = here(
        tmp_path, "run", "automatic-speech-recognition", "@a.wav", "--model", SPEECH, "--timestamps", "segment"
    )

    assert 1 < len(words.stdout.splitlines())
    assert "    0.00 -     0.50 s  [fake]" in segments.stdout
    assert 1 == len(segments.stdout.splitlines())


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_terminal_sees_the_steps_go_by(tmp_path: Path) -> None:
    """A bar on standard error, gone in the end; a pipe sees none."""
    config = """
[[models]]
id = "test/slow"
task = "text-to-image"
  [[models.candidates]]
  backend = "fake"
  script = { tokens = 5, per_token_ms = 150 }
  price = { per_request_usd = 0.0 }
"""
    (tmp_path / "nearfar.toml").write_text(config)
    master, terminal = os.openpty()
    command = [sys.executable, "-m", "router", "run", "text-to-image", "x", "--model", "test/slow"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, text=True, env=os.environ | {"TERM": "xterm"}
    ) as process:
        os.close(terminal)
        shown = b""
        while chunk := _read(master):
            shown += chunk
        printed = process.stdout.read() if process.stdout else ""
    os.close(master)

    assert "/5" in shown.decode()
    assert printed.startswith("nearfar-")
    assert "step" not in nearfar(tmp_path, *command[3:], "--output", "b.png").stderr


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_a_dry_run_takes_the_same_options(tmp_path: Path) -> None:
    """Nothing is drawn and nothing is written."""
    done = here(tmp_path, "route", *DRAW[1:], "--steps", "3", "--size", "64x64", "--json")

    assert 0 == done.exit_code, done.stderr
    assert f"fake:{IMAGE}" == json.loads(done.stdout)["chosen"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "image-classification", "cat.jpg"), 1, "write @FILE"),
        (("run", "image-classification", "@nowhere.jpg"), 1, "nowhere.jpg"),
        (("run", "image-classification", "-", "--model", PHOTO), 1, "empty"),
        (("run", "automatic-speech-recognition", "-", "--model", SPEECH, "--language", "English"), 1, "language"),
        (("run", "automatic-speech-recognition", "-", "--timestamps", "letter"), 2, "segment"),
        ((*DRAW, "--size", "big"), 2, "WIDTHxHEIGHT"),
        ((*DRAW, "--guidance", "nan"), 1, "finite"),
        ((*DRAW, "--guidance", "inf"), 1, "finite"),
        ((*DRAW, "--top-k", "3"), 1, "parameters.top_k"),
        ((*DRAW, "--steps", "0"), 2, "--steps"),
        ((*DRAW, "--output", "nowhere/a.png"), 1, "folder"),
        (("run", "feature-extraction", "x", "--output", "a.png"), 1, "--output"),
        (("run", "feature-extraction", "x", "--steps", "3"), 1, "parameters.steps"),
        (("run", "text-generation", "x", "--labels", "a,b"), 1, "candidate_labels"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """Exit code 1 for a failure and 2 for wrong usage; no traceback, and no file is left."""
    done = here(tmp_path, *arguments)

    assert code == done.exit_code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.png"))
