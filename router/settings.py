"""The configuration: a TOML file, and the environment over it, in the shapes of `router.sections`.

The only module that reads the environment. Nothing is read at import; `load()` is called by the composition root.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from router.errors import SettingsError
from router.sections import ProviderSettings, Settings
from router.toml_lines import LoadedSettings, Source, line_of

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

FILE_NAME = "nearfar.toml"
PREFIX = "NEARFAR_"
_WHY = {  # refusals that need more words than what was expected
    "local.cost_mode": " It may be 'occupancy' or 'marginal'. 'amortised' is for reports: a machine's cost by what it "
    "was busy falls as load rises, so a policy that saw it would keep requests away from a machine because it idles.",
}
CLUSTER_SECRET = "NEARFAR_CLUSTER_SECRET"  # noqa: S105 -- the name of the variable
JWT_SECRET = "NEARFAR_JWT_SECRET"  # noqa: S105 -- the name of the variable
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PIP_NO_INDEX": "1",
    "NO_PROXY": "*",
    "no_proxy": "*",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "NEARFAR_ROUTING__OFFLINE": "true",
}
HUB_TOKEN = "HF_TOKEN"  # noqa: S105 -- the name of the variable


class Secrets(Struct, frozen=True, kw_only=True):
    """Keys by provider name, the hub token, what tokens are signed with, and what routers of a cluster show each other.

    Never shown, never logged.
    `files` are where keys are read from.
    """

    hf_token: str | None = None
    jwt_secret: str | None = None
    cluster_secret: str | None = None
    provider_keys: dict[str, str] = {}
    files: tuple[Path, ...] = ()

    def key_of(self, provider: ProviderSettings) -> str | None:
        """The key of one far side: that of its own entry, and the hub's token only where the entry names it."""
        return self.hf_token if provider.api_key_env == HUB_TOKEN else self.provider_keys.get(provider.name)

    def __repr__(self) -> str:
        return f"Secrets(hf_token={'set' if self.hf_token else 'not set'}, provider_keys={sorted(self.provider_keys)})"


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration: defaults, then the file, then `NEARFAR_SECTION__KEY` variables.

    Args:
        path: A file that must exist. None takes `nearfar.toml` in the working directory if there is one.
        environ: The environment; the process's own when None.

    Raises:
        SettingsError: naming the file (or variable), the key, and what was expected there.
    """
    environ = os.environ if environ is None else environ
    if path is None and environ.get("NEARFAR_CONFIG"):
        path = Path(environ["NEARFAR_CONFIG"])
    if path is None and Path(FILE_NAME).is_file():
        path = Path(FILE_NAME)
    tree, text = ({}, "") if path is None else _read_toml(path)
    settings = _convert(tree, path.name if path else "defaults", text)
    changed: set[str] = set()
    for name, value in sorted(environ.items()):
        keys = name.removeprefix(PREFIX).lower().split("__")
        if name.startswith(PREFIX) and len(keys) > 1:
            _put(tree, keys, _parse(value), name)
            settings = _convert(tree, name)
            changed.add(keys[0])
    if path is None:
        return settings
    return LoadedSettings(**msgspec.structs.asdict(settings), source=Source(path.name, text, frozenset(changed)))


def read_secrets(settings: Settings, environ: Mapping[str, str] | None = None) -> Secrets:
    """Collect keys from the environment and from files, and the token saved by the hub's own login. No network.

    The environment goes before a file, and a file that is not needed is not watched.
    """
    environ = os.environ if environ is None else environ
    keys: dict[str, str] = {}
    files: list[Path] = []
    for provider in settings.providers:
        if provider.api_key_env == HUB_TOKEN:
            continue
        value = environ.get(provider.api_key_env or "", "").strip()
        if not value and provider.api_key_file is not None:
            files.append(Path(provider.api_key_file).expanduser())
            value = _file_key(files[-1]) or ""
        if value:
            keys[provider.name] = value
    token = environ.get(HUB_TOKEN, "").strip() or environ.get("HUGGING_FACE_HUB_TOKEN", "").strip()
    if not token:
        files.append(_token_file(environ))
        token = _file_key(files[-1]) or ""
    return Secrets(
        hf_token=token or None,
        jwt_secret=environ.get(JWT_SECRET, "").strip() or None,
        cluster_secret=environ.get(CLUSTER_SECRET, "").strip() or None,
        provider_keys=keys,
        files=tuple(files),
    )


def api_key(environ: Mapping[str, str] | None = None) -> str | None:
    """The key with which commands ask a running server: NEARFAR_API_KEY."""
    environ = os.environ if environ is None else environ
    return environ.get("NEARFAR_API_KEY", "").strip() or None


def environment() -> Mapping[str, str]:
    """This process' own, for those who start another one."""
    return os.environ


def cache_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Where fetched weights and listings live: `$XDG_CACHE_HOME/nearfar`, by default `~/.cache/nearfar`."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "nearfar"


def models_dir(settings: Settings, environ: Mapping[str, str] | None = None) -> Path:
    """Where built-in weights are unpacked: `local.models_dir`, or `models` in the cache directory."""
    configured = settings.local.models_dir
    return Path(configured).expanduser() if configured else cache_dir(environ) / "models"


def listings_dir(settings: Settings, environ: Mapping[str, str] | None = None) -> Path:
    """Where fetched listings are kept: `routing.listings_dir`, or `listings` in the cache directory."""
    configured = settings.routing.listings_dir
    return Path(configured).expanduser() if configured else cache_dir(environ) / "listings"


def intents_dir(settings: Settings) -> Path:
    """Where sets of intents are kept: `intents.dir`, or `nearfar-intents` beside the decision log."""
    configured = settings.intents.dir
    return Path(configured).expanduser() if configured else _beside_log(settings, "nearfar-intents")


def keys_file(settings: Settings) -> Path:
    """Where API keys are kept: `auth.keys_file`, or `nearfar-keys.json` beside the decision log.

    Where a cluster's owner keeps them, this router's copy of them.
    """
    if settings.cluster.state is not None:
        return _beside_log(settings, "nearfar-keys.copy.json")
    configured = settings.auth.keys_file
    return Path(configured).expanduser() if configured else _beside_log(settings, "nearfar-keys.json")


def state_file(settings: Settings) -> Path:
    """Where a cluster's owner keeps its state: `cluster.store`, or `nearfar-state.sqlite` beside the decision log."""
    configured = settings.cluster.store
    return Path(configured).expanduser() if configured else _beside_log(settings, "nearfar-state.sqlite")


def audit_file(settings: Settings) -> Path:
    """Where it is written down what admins did: `nearfar-audit.jsonl` beside the decision log."""
    return _beside_log(settings, "nearfar-audit.jsonl")


def _beside_log(settings: Settings, name: str) -> Path:
    return Path(settings.log.path).expanduser().parent / name


def batches_dir(settings: Settings) -> Path:
    """Where files and batches are kept: `batches.dir`, or `nearfar-batches` beside the decision log."""
    configured = settings.batches.dir
    return Path(configured).expanduser() if configured else _beside_log(settings, "nearfar-batches")


def tame_libraries(environ: MutableMapping[str, str] | None = None, *, offline: bool = False) -> None:
    """Set what the ML libraries read from the environment, unless the user did. Call before any of them is imported.

    Spinning OpenMP threads make two threads slower than one on a busy two-core machine; the hub client reports usage
    and looks for agents over the network unless telemetry is off. ONNX Runtime's own binaries report models' names and
    hashes to their makers, natively, so that no guard in Python hears of it, unless told not to when they are loaded.

    `offline` says so to those libraries too, and to child processes, whatever the user set; and takes out the way round
    by a proxy on this machine.
    """
    environ = os.environ if environ is None else environ
    for name, value in {
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }.items():
        environ.setdefault(name, value)
    if offline:
        environ.update(_OFFLINE)


def _read_toml(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except FileNotFoundError as error:
        raise SettingsError(f"{path.name}: no such configuration file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name}: cannot be read ({type(error).__name__}).") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path.name}: not valid TOML: {error}.") from error


def _convert(tree: dict[str, Any], where: str, text: str = "") -> Settings:
    """The tree as settings; a refusal names the line of `text` on which the key stands, where there is one."""
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        what, _, key = str(error).partition(" - at `$.")
        key = key.rstrip("`")
        line = line_of(text, *(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", key)))
        place = "" if line is None else f" (line {line})"
        raise SettingsError(f"{where}: {key or 'top level'}: {what}{place}.{_WHY.get(key, '')}") from error


def _put(tree: dict[str, Any], keys: list[str], value: object, name: str) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"{name}: {key} is not a section.")
    tree[keys[-1]] = value


def _parse(value: str) -> object:
    """Read a variable's value as TOML would; whatever is not TOML is a plain string."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _token_file(environ: Mapping[str, str]) -> Path:
    home = environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    return Path(environ.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()


def _file_key(path: Path) -> str | None:
    """What a file of one key holds; None when there is none to read."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def check_listener(settings: Settings) -> None:
    """Nobody but this machine may reach a server that asks nobody who they are.

    Raises:
        SettingsError: `server.host` is not a loopback address, `auth.mode` is `none`, and nobody forced it.
    """
    host = settings.server.host
    if host == "localhost" or settings.auth.mode != "none" or settings.server.allow_unauthenticated:
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SettingsError(
            f"server.host: {host!r} is not a loopback address and auth.mode is 'none': anybody who reaches it could "
            "spend your credits. Listen on 127.0.0.1, set auth.mode to 'keys' or 'jwt' (see nearfar keys), or set "
            "server.allow_unauthenticated = true if you mean it."
        )
