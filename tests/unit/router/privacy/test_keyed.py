"""The key of the hashes: one an installation, its owner's alone; and each tenant's follows from it."""

import stat
from pathlib import Path

import pytest

from backends.types import GenerationInput
from router.errors import LogError
from router.privacy.keyed import KEY_BYTES, Hasher

SAID = GenerationInput(prompt="a secret plan")


def test_equal_inputs_are_equal_for_one_tenant_of_one_installation_alone(tmp_path: Path) -> None:
    """After a restart they still are; of two tenants, or two installations, nothing can be linked."""
    one, again = (Hasher.beside(tmp_path / "log.duckdb") for _ in range(2))
    other = Hasher.beside(tmp_path / "other.duckdb")
    hashes = [one.of("a", SAID), one.of("b", SAID), other.of("a", SAID), Hasher().of("a", SAID)]

    assert one.of("a", SAID) == again.of("a", SAID)
    assert len(hashes) == len(set(hashes))
    assert one.of("a", SAID) != one.of("a", GenerationInput(prompt="a secret plan."))


def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    """Its file is 0600, holds nothing but random bytes, and nothing is left beside it."""
    Hasher.beside(tmp_path / "log.duckdb")
    [file] = tmp_path.iterdir()

    assert ("log.duckdb.key", 0o600, KEY_BYTES) == (file.name, stat.S_IMODE(file.stat().st_mode), file.stat().st_size)


def test_a_log_in_memory_has_a_key_of_its_own() -> None:
    """Nothing is written for it, and two never agree."""
    assert Hasher.beside(None).of("a", SAID) != Hasher.beside(None).of("a", SAID)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Going on with a known key would make inputs guessable; the message says what to do, and no path."""
    (tmp_path / "log.duckdb.key").write_bytes(content)
    with pytest.raises(LogError, match=r"log\.duckdb\.key, has \d+ bytes and not 32\. Delete it") as refused:
        Hasher.beside(tmp_path / "log.duckdb")
    assert str(tmp_path) not in str(refused.value)


def test_a_key_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A folder in its place is an error of the log, not a traceback."""
    (tmp_path / "log.duckdb.key").mkdir()
    with pytest.raises(LogError, match="cannot be read: Is a directory"):
        Hasher.beside(tmp_path / "log.duckdb")
