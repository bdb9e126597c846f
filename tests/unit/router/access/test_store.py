"""The file of keys: whole or not at all, private, and changed by several at once."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from router.access.keys import Wanted, created
from router.access.store import KeyFile
from router.errors import InvalidRequest, SettingsError

NOW = 1_800_000_000.0
CREATE = """
import sys
from pathlib import Path
from router.access.keys import Wanted, created
from router.access.store import KeyFile
for n in range(20):
    KeyFile(Path("keys.json")).change(lambda keys: (created(keys, Wanted(name=f"{sys.argv[1]}{n}"), 1.0).keys, None))
"""


def adding(name: str):
    def work(keys):
        made = created(keys, Wanted(name=name), NOW)
        return made.keys, made

    return work


def test_no_file_is_no_key_and_what_is_kept_is_read_again() -> None:
    """And the file holds no secret."""
    file = KeyFile(Path("keys.json"))
    before = file.read()
    made = file.change(adding("alice"))

    assert () == before
    assert (made.key,) == KeyFile(Path("keys.json")).read()
    assert made.secret not in file.path.read_text()


def test_only_its_owner_can_read_it() -> None:
    """Neither the list nor its lock is for others, whatever the umask."""
    KeyFile(Path("keys.json")).change(adding("alice"))

    assert {0o600} == {path.stat().st_mode & 0o777 for path in Path().iterdir()}
    assert {"keys.json", "keys.json.lock"} == {path.name for path in Path().iterdir()}


def test_a_refused_change_leaves_the_file_as_it_was() -> None:
    """And the lock free."""
    file = KeyFile(Path("keys.json"))
    file.change(adding("alice"))
    before = file.stamp(), file.path.read_bytes()

    with pytest.raises(InvalidRequest):
        file.change(adding("alice"))

    assert before == (file.stamp(), file.path.read_bytes())
    assert "bob" == file.change(adding("bob")).key.name


def test_every_change_changes_the_stamp() -> None:
    """However little time passes between two."""
    file = KeyFile(Path("keys.json"))
    stamps = [file.stamp()]
    for n in range(50):
        file.change(adding(f"key{n}"))
        stamps.append(file.stamp())

    assert len(stamps) == len(set(stamps))


def test_threads_and_processes_lose_none_of_each_others_keys() -> None:
    """A command beside a running server: whoever changes the file builds upon what the other made."""
    root = str(Path(__file__).parents[4])
    commands = [
        subprocess.Popen([sys.executable, "-c", CREATE, name], env={"PYTHONPATH": root}) for name in ("red", "blue")
    ]
    file = KeyFile(Path("keys.json"))
    threads = [
        threading.Thread(target=lambda n=n: [file.change(adding(f"thread{n}-{m}")) for m in range(10)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [0, 0] == [command.wait() for command in commands]
    assert 80 == len({key.name for key in file.read()})


@pytest.mark.parametrize("body", [b"", b"{", b'{"version": 2, "keys": []}', b'{"keys": [{"name": "a"}]}', b"\xff"])
def test_a_damaged_file_is_refused_and_not_taken_for_an_empty_one(body) -> None:
    """Else the next key would be the only one. The message names the file and no path."""
    Path("keys.json").write_bytes(body)
    file = KeyFile(Path("keys.json").absolute())

    with pytest.raises(SettingsError, match=r"^keys\.json: the keys cannot be read"):
        file.read()
    with pytest.raises(SettingsError):
        file.change(adding("alice"))
    assert body == Path("keys.json").read_bytes()


def test_a_folder_that_is_not_there_is_told_without_its_path() -> None:
    """Like everything that cannot be written."""
    with pytest.raises(SettingsError, match=r"^keys\.json: the keys cannot be written"):
        KeyFile(Path("nowhere/keys.json")).change(adding("alice"))
