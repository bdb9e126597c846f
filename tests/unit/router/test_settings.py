"""The configuration: defaults, the file over them, the environment over both, and refusals that name the place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import SettingsError
from router.section import AuthSettings, ServerSettings
from router.section_of_routing import WeightSettings
from router.sections import ProviderSettings, Settings
from router.settings import cache_dir, check_listener, listings_dir, load, models_dir, read_secrets, tame_libraries

# The keys of the example configuration that this version knows, as a user would write them.
EXAMPLE = """
[server]
host = "127.0.0.1"
port = 8081
[auth]
mode = "none"
cors_allow_origins = ["http://localhost:3000"]
[routing]
policy = "cheapest"
offline = true
weights = { latency = 2.0, cost = 0.5, quality = 0.0 }
[log]
path = "elsewhere.duckdb"
durability = "strict"
store_inputs = true
[local]
memory_fraction = 0.5
rate_usd_per_hour = 0.067
downloads = true

[[providers]]
name = "gpu-box"
protocol = "openai"
base_url = "http://10.0.0.5:8000/v1"
api_key_env = "GPU_BOX_KEY"

[[models]]
id = "my-org/chat-large"
task = "text-generation"
context_length = 32768
quality = 0.8
  [[models.candidates]]
  backend = "remote"
  provider = "gpu-box"
  model = "chat-large"
  price = { input_per_1m_usd = 0.10, output_per_1m_usd = 0.10 }
  [[models.candidates]]
  backend = "local"
  source = "models/chat-large"
"""


def write(text: str, name: str = "nearfar.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def value_at(settings: object, key: str) -> object:
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


def refusal(text: str | None = None, **environ: str) -> str:
    path = None if text is None else write(text)
    with pytest.raises(SettingsError) as caught:
        load(path, environ)
    return str(caught.value)


def test_no_file_and_no_variable_is_the_defaults() -> None:
    """Nothing is needed to start, and the defaults neither spend nor leave the machine."""
    settings = load(None, {})

    assert Settings() == settings
    assert ("127.0.0.1", False, None) == (settings.server.host, settings.local.downloads, settings.local.models_dir)


def test_every_documented_key_is_read() -> None:
    """The example configuration loads, and each value arrives."""
    settings = load(write(EXAMPLE), {})

    assert 8081 == settings.server.port
    assert ("http://localhost:3000",) == settings.auth.cors_allow_origins
    assert ("cheapest", True) == (settings.routing.policy, settings.routing.offline)
    assert WeightSettings(latency=2.0, cost=0.5, quality=0.0) == settings.routing.weights
    assert ("elsewhere.duckdb", "strict", True) == (
        settings.log.path,
        settings.log.durability,
        settings.log.store_inputs,
    )
    assert (0.5, 0.067, True) == (
        settings.local.memory_fraction,
        settings.local.rate_usd_per_hour,
        settings.local.downloads,
    )
    [provider], [model] = settings.providers, settings.models
    assert ("gpu-box", "openai", "GPU_BOX_KEY") == (provider.name, provider.protocol, provider.api_key_env)
    assert (32768, 0.8) == (model.context_length, model.quality)
    assert [("remote", "chat-large"), ("local", None)] == [(c.backend, c.model) for c in model.candidates]
    assert model.candidates[0].price is not None
    assert 0.1 == model.candidates[0].price.output_per_1m_usd


def test_the_file_of_the_working_directory_is_found() -> None:
    """`nearfar.toml` here is read without being named; a named file, or NEARFAR_CONFIG, goes before it."""
    write("[server]\nport = 1111")
    named = write("[server]\nport = 2222", "named.toml")

    assert 1111 == load(None, {}).server.port
    assert 2222 == load(named, {}).server.port
    assert 2222 == load(None, {"NEARFAR_CONFIG": "named.toml"}).server.port
    assert 1111 == load(Path("nearfar.toml"), {"NEARFAR_CONFIG": "named.toml"}).server.port


@pytest.mark.parametrize("environ", [{}, {"NEARFAR_CONFIG": "gone.toml"}])
def test_a_named_file_that_is_missing_is_refused(environ) -> None:
    """Only the default file may be absent."""
    with pytest.raises(SettingsError, match=r"gone\.toml: no such configuration file"):
        load(None if environ else Path("gone.toml"), environ)


def test_an_unreadable_file_is_refused_by_name() -> None:
    """A folder, bytes that are no text and text that is no TOML each name the file, without its folder."""
    Path("folder.toml").mkdir()
    Path("bytes.toml").write_bytes(b"\xff\xfe\x00")
    write("[server\nport = 1", "broken.toml")

    for name, why in (("folder.toml", "cannot be read"), ("bytes.toml", "cannot be read"), ("broken.toml", "TOML")):
        with pytest.raises(SettingsError) as caught:
            load(Path(name).absolute(), {})
        assert str(caught.value).startswith(f"{name}: ")
        assert why in str(caught.value)


CHOICES = {
    "server.port": st.integers(0, 65535),
    "server.allow_unauthenticated": st.booleans(),
    "routing.policy": st.sampled_from(["balanced", "cheapest", "fastest"]),
    "routing.offline": st.booleans(),
    "routing.weights.cost": st.floats(0, 1e6),
    "routing.deadline_ms": st.floats(1e-3, 1e9),
    "routing.max_attempts": st.integers(1, 1000),
    "log.path": st.from_regex(r"[a-z]{1,9}\.duckdb", fullmatch=True),
    "log.durability": st.sampled_from(["batch", "strict"]),
    "local.memory_fraction": st.floats(1e-6, 1),
    "local.rate_usd_per_hour": st.floats(0, 1e6),
    "local.threads": st.integers(1, 4096),
}


@st.composite
def a_key_twice(draw):
    key = draw(st.sampled_from(sorted(CHOICES)))
    return key, draw(CHOICES[key]), draw(CHOICES[key])


def in_toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


@given(a_key_twice())
def test_the_environment_goes_before_the_file(choice) -> None:
    """Each key's variable wins over the same key of the file, and changes nothing else."""
    key, in_file, in_environ = choice
    section, _, rest = key.partition(".")
    text = f"[{section}]\n{rest} = {in_toml(in_file)}\n"
    variable = "NEARFAR_" + key.upper().replace(".", "__")
    path = write(text)

    assert in_file == value_at(load(path, {}), key)
    settings = load(path, {variable: str(in_environ).lower() if isinstance(in_environ, bool) else str(in_environ)})
    assert in_environ == value_at(settings, key)
    assert load(write(f"[{section}]\n{rest} = {in_toml(in_environ)}\n"), {}) == settings


def test_variables_that_are_not_ours_are_left_alone() -> None:
    """Other programs' variables, and names without a section, configure nothing."""
    environ = {"SERVER__PORT": "1", "NEARFAR_PORT": "2", "NEARFAR_JWT_SECRET": "x", "nearfar_server__port": "3"}

    assert Settings() == load(None, environ)


BROKEN = [
    ("server.port", '"http"', "int"),
    ("server.port", "65536", "int"),
    ("server.port", "-1", "int"),
    ("server.host", "7", "str"),
    ("server.max_body_bytes", "0", "int"),
    ("server.drain_timeout_s", "0", "float"),
    ("auth.mode", '"sso"', "sso"),
    ("routing.offline", '"yes"', "bool"),
    ("routing.weights.latency", "-0.1", "float"),
    ("routing.deadline_ms", "0", "float"),
    ("routing.max_attempts", "0", "int"),
    ("log.durability", '"eventual"', "eventual"),
    ("log.queue_rows", "1.5", "int"),
    ("local.memory_fraction", "1.01", "float"),
    ("local.memory_fraction", "0", "float"),
    ("local.rate_usd_per_hour", "nan", "float"),
    ("local.rate_usd_per_hour", "-1", "float"),
    ("local.threads", "0", "int"),
    ("local.models_dir", "[]", "str"),
]


@pytest.mark.parametrize(("key", "value", "expected"), BROKEN)
def test_a_broken_value_names_file_key_and_what_was_expected(key, value, expected) -> None:
    """A user can go straight to the line."""
    message = refusal(f"{key} = {value}")

    assert message.startswith(f"nearfar.toml: {key}: ")
    assert expected in message


@pytest.mark.parametrize(("key", "value", "expected"), BROKEN)
def test_a_broken_variable_is_named_itself(key, value, expected) -> None:
    """When the environment is at fault the message names the variable, not a file."""
    variable = "NEARFAR_" + key.upper().replace(".", "__")
    message = refusal(**{variable: value})

    assert message.startswith(f"{variable}: {key}: ")
    assert expected in message


@pytest.mark.parametrize("key", ["local.rate_usd_per_hour", "routing.deadline_ms", "routing.weights.cost"])
def test_an_infinite_figure_is_refused(key) -> None:
    """An infinite price would reach the log as NULL beside the source `priced`."""
    assert key in refusal(f"{key} = inf")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sever.port = 1", ("sever",)),
        ("[server]\nprot = 1", ("server", "prot")),
        ("[[models]]\nid = 'x'", ("models[0]", "task")),
        ("[[models]]\nid = ''\ntask = 'text-generation'", ("models[0].id", "str")),
        (
            "[[models]]\nid = 'x'\ntask = 't'\n[[models.candidates]]\nbackend = 'moon'",
            ("models[0].candidates[0].backend", "moon"),
        ),
        ("[[models]]\nid = 'x'\ntask = 't'\nquality = 1.1", ("models[0].quality", "1.0")),
        ("[[providers]]\nname = 'x'\nprotocol = 'openai'\nbase_url = 'ftp://x'", ("providers[0].base_url", "http")),
        ("[[providers]]\nname = 'x'\nprotocol = 'soap'\nbase_url = 'http://x'", ("providers[0].protocol", "soap")),
        ("models = 3", ("models", "array")),
    ],
)
def test_a_broken_entry_is_named_by_its_place(text, words) -> None:
    """Unknown keys, missing ones and entries of lists are named too."""
    message = refusal(text)

    assert message.startswith("nearfar.toml: ")
    assert [] == [word for word in words if word not in message]


def test_a_broken_value_is_named_by_its_line() -> None:
    """Where the file says so; a variable stands on no line."""
    assert "routing.max_attempts: Expected `int` >= 1 (line 3)." in refusal("[routing]\n\nmax_attempts = 0\n")
    assert "line" not in refusal("[routing]\nmax_attempts = 1\n", NEARFAR_ROUTING__MAX_ATTEMPTS="0")


@pytest.mark.parametrize("mode", ["amortised", "amortized", "free"])
def test_a_machine_cannot_be_priced_by_what_its_idle_hours_cost(mode) -> None:
    """Policies would starve it: the two bases that may be used are named, and why the third may not."""
    message = refusal(f"[local]\ncost_mode = '{mode}'\n")

    assert message.startswith("nearfar.toml: local.cost_mode: ")
    assert [] == [
        words for words in (f"'{mode}'", "'occupancy' or 'marginal'", "falls as load rises") if words not in message
    ]


@pytest.mark.parametrize(
    "pair", ["electricity_usd_per_kwh = -0.1", "watts = 0", "watts = -5", "carbon_g_per_kwh = -1", "watts = inf"]
)
def test_figures_of_a_near_cost_that_cannot_be_are_refused(pair) -> None:
    """Nothing to pay for electricity is possible, no power is not."""
    message = refusal(f"[local]\n{pair}\n")

    assert message.startswith(f"nearfar.toml: local.{pair.partition(' ')[0]}: ")
    assert "(line 2)" in message


def test_a_variable_below_a_value_is_refused() -> None:
    """A key that is no section cannot have keys of its own."""
    assert "is not a section" in refusal("[server]\nport = 1", NEARFAR_SERVER__PORT__MINIMUM="1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_a_listener_beyond_loopback_must_be_meant(host) -> None:
    """Without any authentication only this machine may call, unless the user says otherwise."""
    with pytest.raises(SettingsError, match=r"server\.host"):
        check_listener(Settings(server=ServerSettings(host=host)))

    check_listener(Settings(server=ServerSettings(host=host, allow_unauthenticated=True)))
    for mode in ("keys", "jwt", "keys+jwt"):
        check_listener(Settings(server=ServerSettings(host=host), auth=AuthSettings(mode=mode)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_a_listener_on_loopback_needs_nothing(host) -> None:
    """Every spelling of this machine is accepted."""
    check_listener(load(None, {"NEARFAR_SERVER__HOST": host}))


# --- secrets and places ---------------------------------------------------------------------------


def provider(name: str, variable: str | None) -> ProviderSettings:
    return ProviderSettings(name=name, protocol="openai", base_url="http://127.0.0.1:1", api_key_env=variable)


def test_keys_are_read_from_the_variables_that_providers_name() -> None:
    """Each provider gets its own key; the hub's token is never taken for one; blank is absent."""
    settings = Settings(
        providers=(provider("a", "A_KEY"), provider("b", "B_KEY"), provider("c", None), provider("d", "HF_TOKEN"))
    )
    secrets = read_secrets(settings, {"A_KEY": " s3cret\n", "B_KEY": "  ", "HF_TOKEN": "hf_x", "HF_HOME": "."})

    assert {"a": "s3cret"} == secrets.provider_keys
    assert "hf_x" == secrets.hf_token


def test_secrets_do_not_show_themselves() -> None:
    """Neither a token nor a key is in what a log line or a traceback would print."""
    settings = Settings(providers=(provider("a", "A_KEY"),))
    shown = repr(read_secrets(settings, {"A_KEY": "s3cret", "HF_TOKEN": "hf_x"}))

    assert "Secrets(hf_token=set, provider_keys=['a'])" == shown


def test_the_token_is_looked_for_in_the_hubs_own_order() -> None:
    """The variable, its old name, then the file of the hub's own login, in whichever place it was told to keep it."""
    Path("home").mkdir()
    Path("home/token").write_text("saved\n", encoding="utf-8")
    Path("elsewhere").write_text("kept", encoding="utf-8")
    home = {"HF_HOME": "home"}

    def token(**environ: str) -> str | None:
        return read_secrets(Settings(), home | environ).hf_token

    assert "new" == token(HF_TOKEN="new", HUGGING_FACE_HUB_TOKEN="old")
    assert "old" == token(HF_TOKEN=" ", HUGGING_FACE_HUB_TOKEN="old")
    assert "saved" == token()
    assert "kept" == token(HF_TOKEN_PATH="elsewhere")
    assert token(HF_TOKEN_PATH="gone") is None


def test_a_token_file_that_is_no_text_is_no_token() -> None:
    """Starting up does not end in a traceback over somebody's broken file."""
    Path("token").write_bytes(b"\xff\xfe\x00")

    assert read_secrets(Settings(), {"HF_HOME": "."}).hf_token is None


def test_weights_are_kept_in_the_cache_unless_configured(monkeypatch) -> None:
    """`XDG_CACHE_HOME` is respected, and `local.models_dir` goes before it."""
    monkeypatch.setenv("HOME", "/nowhere")

    assert Path("/caches/nearfar") == cache_dir({"XDG_CACHE_HOME": "/caches"})
    assert Path("/nowhere/.cache/nearfar") == cache_dir({})
    assert Path("/caches/nearfar/models") == models_dir(Settings(), {"XDG_CACHE_HOME": "/caches"})
    settings = load(None, {"NEARFAR_LOCAL__MODELS_DIR": "~/weights"})
    assert Path("/nowhere/weights") == models_dir(settings, {"XDG_CACHE_HOME": "/caches"})


def test_listings_are_kept_in_the_cache_unless_configured() -> None:
    """And nobody refreshes them unless told how often."""
    settings = load(None, {"NEARFAR_ROUTING__LISTINGS_DIR": "mine"})

    assert Path("/caches/nearfar/listings") == listings_dir(Settings(), {"XDG_CACHE_HOME": "/caches"})
    assert Path("mine") == listings_dir(settings, {"XDG_CACHE_HOME": "/caches"})
    assert Settings().routing.refresh_hours is None


def test_libraries_are_tamed_without_overruling_the_user() -> None:
    """Usage reports are off unless the user set the variable."""
    environ = {"TOKENIZERS_PARALLELISM": "true"}
    tame_libraries(environ)

    assert "true" == environ["TOKENIZERS_PARALLELISM"]
    assert ("1", "1") == (environ["HF_HUB_DISABLE_TELEMETRY"], environ["ORT_DISABLE_TELEMETRY"])
