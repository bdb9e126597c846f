"""Who serves far models, and on what terms. Knows no wire format and opens no connection."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from backends.types import Task

if TYPE_CHECKING:
    from collections.abc import Container

Protocol = Literal["openai", "huggingface"]
Engine = Literal["vllm", "tgi", "tei", "sglang", "llama.cpp", "dynamo", "kserve", "ollama", "nearfar"]

TASKS: dict[Protocol, tuple[Task, ...]] = {
    "openai": (
        Task.TEXT_GENERATION,
        Task.FEATURE_EXTRACTION,
        Task.TEXT_TO_IMAGE,
        Task.AUTOMATIC_SPEECH_RECOGNITION,
    ),
    "huggingface": tuple(Task),
}

ROUTER = "huggingface"
"""The provider through which the sub-providers below are reached."""

NO_TOKEN = "no token: set HF_TOKEN or log in with the hub's own command"  # noqa: S105 -- a sentence, not a token

# The names the Hugging Face router takes behind `model:`; three of them are its own choice among the others.
SUB_PROVIDERS = frozenset(
    {
        *("baseten", "cerebras", "cohere", "deepinfra", "fal-ai", "featherless-ai", "fireworks-ai", "groq", "novita"),
        *("nscale", "openai", "ovhcloud", "publicai", "replicate", "sambanova", "scaleway", "together", "wavespeed"),
        *("zai-org", "fastest", "cheapest", "preferred"),
    }
)


def asked_for(provider: str, direct: Container[str]) -> str:
    """The far side whose connection and key serve a provider: the router for who stands behind it, else itself.

    `direct` are the far sides that are configured: one of a name that the router knows too is reached without it.
    """
    return ROUTER if provider in SUB_PROVIDERS and provider not in direct else provider


_LIMITS = (
    *("connect_timeout_s", "first_token_timeout_s", "idle_timeout_s", "total_timeout_s", "max_connections"),
    *("watch_every_s", "dns_every_s"),
)


class Provider(Struct, frozen=True, kw_only=True):
    """One place that serves far models.

    Attributes:
        name: What targets call it.
        protocol: `openai` (`/chat/completions`, `/completions`, `/embeddings`, `/images/generations`,
            `/audio/transcriptions`) or `huggingface` (`/models/{id}`).
        base_url: Where the protocol's paths begin; the key is sent to this origin only, and to those of `base_urls`.
        base_urls: Every place that serves the same, where there are several: its replicas.
        dns: Every address of base_url's host is a replica.
        engine: What runs there; it is asked for its load and health by the names this engine has for them.
        api_key: None or empty sends no Authorization header at all.
        needs_key: True when asking without a key is pointless.
        no_key: What is said where it is missing: a sentence that tells where one is looked for.
        tasks: What it serves; None is everything the protocol can carry.
        connect_timeout_s: Limit of opening a connection, and of waiting for a free one.
        first_token_timeout_s: Limit until a stream's first event, or until a short answer's headers.
        idle_timeout_s: Limit between two chunks.
        total_timeout_s: Limit of the whole exchange; the only one that bounds a buffered generation.
        max_connections: Requests in flight at once, for streams and for whole answers apart; of each replica.
        watch_every_s: How often the engine is asked.
        dns_every_s: How often the name is looked up again.
    """

    name: str
    protocol: Protocol
    base_url: str
    base_urls: tuple[str, ...] = ()
    dns: bool = False
    engine: Engine | None = None
    api_key: str | None = None
    needs_key: bool = False
    no_key: str = NO_TOKEN
    tasks: tuple[Task, ...] | None = None
    connect_timeout_s: float = 5
    first_token_timeout_s: float = 30
    idle_timeout_s: float = 30
    total_timeout_s: float = 300
    max_connections: int = 100
    watch_every_s: float = 2.0
    dns_every_s: float = 30.0

    def __post_init__(self) -> None:
        for base_url in (self.base_url, *self.base_urls):
            _check_url(self.name, base_url)
        for limit in _LIMITS:
            if getattr(self, limit) <= 0:
                msg = f"provider {self.name}: {limit} must be more than 0"
                raise ValueError(msg)
        if self.dns and self.base_urls:
            msg = f"provider {self.name}: its replicas are those of base_urls, or found by dns: not both"
            raise ValueError(msg)
        if len(set(self.base_urls)) < len(self.base_urls):
            msg = f"provider {self.name}: base_urls has an address twice"
            raise ValueError(msg)
        if self.protocol not in TASKS:
            msg = f"provider {self.name}: unknown protocol {self.protocol!r}; there are: {', '.join(TASKS)}"
            raise ValueError(msg)
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable()):
            msg = f"provider {self.name}: the api_key holds characters that no header can carry"
            raise ValueError(msg)

    def __repr__(self) -> str:
        """All but the key."""
        key = "set" if self.api_key else "none"
        return f"Provider(name={self.name!r}, protocol={self.protocol!r}, base_url={self.base_url!r}, api_key={key})"

    @property
    def serves(self) -> tuple[Task, ...]:
        """The tasks it can be asked."""
        possible = TASKS[self.protocol]
        return possible if self.tasks is None else tuple(task for task in possible if task in self.tasks)

    @property
    def watched(self) -> bool:
        """Whether there is anything about it to find out beside the requests."""
        return self.engine is not None or self.dns

    @property
    def origin(self) -> str:
        """The scheme, host and port of its base_url: where servers say how they are, whatever path they serve under."""
        url = urlsplit(self.base_url)
        return f"{url.scheme}://{url.netloc}"

    @property
    def loopback(self) -> bool:
        """True when it runs on this machine; such a host is never asked through a proxy."""
        host = urlsplit(self.base_url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False


def _check_url(name: str, base_url: str) -> None:
    try:
        url = urlsplit(base_url)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        msg = f"provider {name}: base_url must begin with http:// or https:// and name a host"
        raise ValueError(msg)
    if any(mark in base_url for mark in "@?#"):
        msg = f"provider {name}: base_url must hold no user, password, query or fragment"
        raise ValueError(msg)
