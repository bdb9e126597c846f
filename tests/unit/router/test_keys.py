"""Keys that change in their files while the router runs."""

import os
from pathlib import Path

import pytest

from router.keys import Keys
from router.sections import ProviderSettings, Settings
from router.settings import Secrets, read_secrets


def settings(**box) -> Settings:
    entry = {"name": "box", "protocol": "openai", "base_url": "http://127.0.0.1:1/v1"} | box
    return Settings(providers=(ProviderSettings(**entry),))


def keys(configured: Settings, **environ: str) -> Keys:
    environ = {"HF_HOME": "home"} | environ
    return Keys(configured, read_secrets(configured, environ), lambda given: read_secrets(given, environ))


def write(path: str, content: str | bytes) -> None:
    """As a rotation does: whole, by renaming, so that nobody reads half a key."""
    Path(path).parent.mkdir(exist_ok=True)
    part = Path(f"{path}.part")
    part.write_bytes(content if isinstance(content, bytes) else content.encode())
    part.replace(path)


def test_a_saved_token_appears_changes_and_goes() -> None:
    """The hub's own login and logout take effect; between changes nothing is reread."""
    subject = keys(Settings())
    seen = []
    for content in (None, "hf_one\n", None, "hf_two", "hf_two", ""):
        if content is not None:
            write("home/token", content)
        seen.append((subject.reread(), subject.hub_token))
    Path("home/token").unlink()
    seen.append((subject.reread(), subject.hub_token))

    assert [
        (False, None), (True, "hf_one"), (False, "hf_one"), (True, "hf_two"), (False, "hf_two"), (True, None),
        (False, None),
    ] == seen  # fmt: skip


def test_what_changed_while_starting_is_not_missed() -> None:
    """Between reading the keys and watching their files."""
    write("home/token", "hf_one")
    configured = Settings()
    secrets = read_secrets(configured, {"HF_HOME": "home"})
    write("home/token", "hf_two")
    subject = Keys(configured, secrets, lambda given: read_secrets(given, {"HF_HOME": "home"}))

    assert (True, "hf_two") == (subject.reread(), subject.hub_token)


def test_a_providers_key_comes_from_its_own_file() -> None:
    """It is read again when it changes, is nobody else's, and is never the hub's token."""
    write("box.key", " first \n")
    configured = settings(api_key_file="box.key")
    subject = keys(configured, HF_TOKEN="hf_x")
    first = subject.secrets.key_of(configured.providers[0])
    write("box.key", "second")

    assert ("first", True, "second") == (first, subject.reread(), subject.secrets.key_of(configured.providers[0]))
    assert "hf_x" == subject.hub_token


def test_the_environment_goes_before_a_file() -> None:
    """And what is not needed is not watched: the variables of a process do not change."""
    write("box.key", "file")
    write("home/token", "hf_file")
    subject = keys(settings(api_key_file="box.key", api_key_env="BOX"), BOX="variable", HF_TOKEN="hf_x")

    assert ({"box": "variable"}, "hf_x", ()) == (
        subject.secrets.provider_keys, subject.hub_token, subject.secrets.files,
    )  # fmt: skip
    assert not subject.reread()


def test_an_entry_that_names_the_hubs_token_gets_it_and_no_file() -> None:
    """Its key file would be a second truth."""
    write("box.key", "file")
    configured = settings(api_key_file="box.key", api_key_env="HF_TOKEN")
    secrets = read_secrets(configured, {"HF_TOKEN": "hf_x"})

    assert ("hf_x", ()) == (secrets.key_of(configured.providers[0]), secrets.files)


@pytest.mark.parametrize("content", [b"\xff\xfe", b" \n"])
def test_a_file_without_a_readable_key_is_no_key(content) -> None:
    """Nor is one that is not there."""
    write("box.key", content)

    for file in ("box.key", "nowhere.key", "."):
        configured = settings(api_key_file=file)
        assert keys(configured).secrets.key_of(configured.providers[0]) is None


def test_secrets_given_without_files_stay_as_they_are() -> None:
    """Whoever builds a house by hand is not overruled by the environment of the process."""
    os.environ["HF_TOKEN"] = "hf_ambient"
    subject = Keys(Settings(), Secrets(hf_token="hf_given"))

    assert (False, "hf_given") == (subject.reread(), subject.hub_token)
