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


def test_several_places_are_known_by_their_first() -> None:
    """An entry that names another one contradicts itself; one without any is refused as it ever was."""
    places = ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
    fleet = ProviderSettings(name="fleet", protocol="openai", base_urls=places)

    assert places[0] == fleet.base_url
    checked(Settings(providers=(fleet,)))
    with pytest.raises(SettingsError, match="fleet: base_url is none of its base_urls"):
        checked(Settings(providers=(entry("fleet", base_url="http://127.0.0.1:3/v1", base_urls=places),)))
    with pytest.raises(SettingsError, match="replicas are those of base_urls, or found by dns: not both"):
        checked(Settings(providers=(ProviderSettings(name="fleet", protocol="openai", base_urls=places, dns=True),)))
    with pytest.raises(SettingsError, match="base_urls has an address twice"):
        checked(Settings(providers=(entry("fleet", base_urls=("http://127.0.0.1:1/v1",) * 2),)))
    with pytest.raises(ValueError, match="base_url"):
        ProviderSettings(name="nowhere", protocol="openai")


def test_an_hours_price_needs_an_engine() -> None:
    """Without one nobody knows how many requests share it."""
    checked(Settings(providers=(entry(engine="vllm", usd_per_hour=2.0),)))

    with pytest.raises(SettingsError, match="box: usd_per_hour needs an engine"):
        checked(Settings(providers=(entry(usd_per_hour=2.0),)))


def test_a_policy_by_cost_takes_an_hours_price_for_one(tmp_path) -> None:
    """Without it the candidate is always rejected, which is said."""
    file = tmp_path / "nearfar.toml"
    text = (
        '[routing]\npolicy = "cheapest"\n[[providers]]\nname = "box"\nprotocol = "openai"\nengine = "tgi"\n'
        'base_urls = ["http://127.0.0.1:1/v1"]\n{}[[models]]\nid = "m"\ntask = "text-generation"\n'
        'candidates = [{{ backend = "remote", provider = "box" }}]\n'
    )
    found = []
    for price in ("", "usd_per_hour = 2\n"):
        file.write_text(text.format(price), encoding="utf-8")
        settings = load(file, {})
        found.append([said for said in warnings_of(settings, checked(settings)) if "box:m has no price" in said])

    assert [1, 0] == [len(said) for said in found]


def test_a_place_that_is_missing_names_the_line(tmp_path) -> None:
    """As every field that is needed."""
    file = tmp_path / "nearfar.toml"
    file.write_text('[[providers]]\nname = "box"\nprotocol = "openai"\n', encoding="utf-8")

    with pytest.raises(SettingsError, match="missing required field `base_url`"):
        load(file, {})
