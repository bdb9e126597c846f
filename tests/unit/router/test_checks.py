"""What a configuration comes to: the far sides that are made of it, and what is refused at the start."""

import pytest

from backends.remote.backend import RemoteBackend
from backends.types import Target, Task
from router.catalog import BUILTIN_PROVIDERS, Catalog
from router.checks import checked, providers_of
from router.errors import SettingsError
from router.policy_check import warnings_of
from router.sections import ProviderSettings, Settings
from router.settings import Secrets, load

HUB = BUILTIN_PROVIDERS[0]


def entry(name: str = "box", **given) -> ProviderSettings:
    return ProviderSettings(**{"name": name, "protocol": "openai", "base_url": "http://127.0.0.1:1/v1"} | given)


def unavailable(*providers: ProviderSettings, name: str = "box", task: Task = Task.TEXT_GENERATION) -> str | None:
    """What the far backend says of a target at one of these far sides; nobody has a key."""
    backend = RemoteBackend(providers_of(Catalog(providers=providers), Secrets()))
    return backend.status(Target(backend="remote", provider=name, model="m", task=task)).unavailable


@pytest.mark.parametrize("base_url", [HUB.base_url, f"{HUB.base_url}/"])
def test_the_hubs_router_only_chats_whatever_else_is_set_for_it(base_url) -> None:
    """A longer limit does not make it serve images; a server of one's own under its name serves what it can."""
    slower = entry("huggingface", base_url=base_url, total_timeout_s=900.0)
    only = "provider huggingface does not serve text-to-image; it serves: text-generation"

    assert only == unavailable(slower, name="huggingface", task=Task.TEXT_TO_IMAGE)
    assert unavailable(slower, name="huggingface") is None
    assert unavailable(entry("huggingface"), name="huggingface", task=Task.TEXT_TO_IMAGE) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"api_key_env": "HF_TOKEN"}, "no token: set HF_TOKEN or log in with the hub's own command"),
        ({"api_key_env": "BOX_KEY"}, "no key for provider box: set BOX_KEY"),
        ({"api_key_file": "/home/me/box.key"}, "no key for provider box: its api_key_file holds none"),
        (
            {"api_key_env": "BOX_KEY", "api_key_file": "/home/me/box.key"},
            "no key for provider box: set BOX_KEY; its api_key_file holds none",
        ),
        ({}, None),
    ],
)
def test_a_missing_key_says_where_it_is_looked_for(given, said) -> None:
    """By the name of the variable or of the setting, and never by the path."""
    assert said == unavailable(entry(**given))


def test_the_hubs_token_and_a_key_file_are_two_truths() -> None:
    """The file would be read by nobody, so it is refused at the start; with another variable it stands in for it."""
    checked(Settings(providers=(entry(api_key_env="BOX_KEY", api_key_file="box.key"),)))

    with pytest.raises(SettingsError, match=r"providers: box: api_key_env = 'HF_TOKEN' is the hub's token, .*key_file"):
        checked(Settings(providers=(entry(api_key_env="HF_TOKEN", api_key_file="box.key"),)))


def test_no_line_is_looked_for_where_nothing_is_to_be_said(tmp_path, monkeypatch) -> None:
    """Looking for a line reads the file again and again: a start with two thousand models took many minutes."""
    file = tmp_path / "nearfar.toml"
    one = '[[models]]\nid = "m{n}"\ntask = "text-generation"\ncandidates = [{{ backend = "fake" }}]\n'
    alias = '[[aliases]]\nname = "a{n}"\nmodels = ["m{n}"]\n'
    text = '[routing]\npolicy = "fastest"\n' + "".join((one + alias).format(n=n) for n in range(50))
    file.write_text(text, encoding="utf-8")
    settings = load(file, {})
    looked: list[object] = []
    monkeypatch.setattr("router.toml_lines.line_of", lambda *path: looked.append(path))

    assert warnings_of(settings, checked(settings)) == []
    assert looked == []
