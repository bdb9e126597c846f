"""What every section of the configuration is made of, and the sections of what stands around the routing.

That is the server itself, who may ask, the cache, batches, and what is told of all that.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from msgspec import Meta, Struct

FINITE = sys.float_info.max  # TOML can write `inf`, which the log would keep as NULL
MOST = 2**63 - 1  # JSON and TOML can write more, which neither the log nor most readers of our answers hold
MOST_WORKERS = 64
Positive = Annotated[float, Meta(gt=0, le=FINITE)]
NonNegative = Annotated[float, Meta(ge=0, le=FINITE)]
Fraction = Annotated[float, Meta(gt=0, le=1)]
Days = Annotated[float, Meta(gt=0, le=36_500)]
Unit = Annotated[float, Meta(ge=0, le=1)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: immutable, and a key nobody knows is refused."""


class ServerSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the API listens, and how large and how slow a request may be."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    max_body_bytes: Annotated[int, Meta(gt=0)] = 10_000_000
    max_header_bytes: Annotated[int, Meta(ge=1024)] = 65_536  # of a request's head
    header_timeout_s: Positive = 15.0  # in which a request's head must have arrived
    body_timeout_s: Positive = 60.0  # in which its body must have; a second more for each 64 KiB that came
    max_batch_items: Annotated[int, Meta(gt=0)] = 2048
    drain_timeout_s: Positive = 30.0
    workers: Annotated[int, Meta(ge=1, le=MOST_WORKERS)] = 1  # processes that serve; one more then owns the log
    allow_unauthenticated: bool = False  # forces a listener beyond loopback while nobody is asked who they are


Count = Annotated[int, Meta(ge=1, le=10**12)]


class JwtSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token must be: signed with NEARFAR_JWT_SECRET, or by a key of the set in `jwks_file` or at `jwks_url`."""

    issuer: str | None = None
    audience: str | None = None
    algorithms: tuple[str, ...] = ("HS256",)
    leeway_s: Annotated[float, Meta(ge=0, le=600)] = 30.0  # by which the issuer's clock may be wrong
    jwks_file: str | None = None
    jwks_url: str | None = None


class AuthSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may call: anybody on loopback (`none`), or holders of API keys, of tokens, or of either.

    The limits are of each key or token's subject that has none of its own; None limits nothing.
    """

    mode: Literal["none", "keys", "jwt", "keys+jwt"] = "none"
    cors_allow_origins: tuple[str, ...] = ()
    keys_file: str | None = None  # by default nearfar-keys.json beside the decision log
    jwt: JwtSettings = JwtSettings()
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrency: Count | None = None


class CacheSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers kept in memory for requests that are the same to the last bit: each tenant's own, unless `shared`."""

    enabled: bool = False
    max_bytes: Annotated[int, Meta(gt=0)] = 67_108_864
    ttl_s: Positive = 3600.0
    shared: bool = False


class BatchSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of requests, and how they are worked through: by default kept in `nearfar-batches` beside the log."""

    dir: str | None = None
    max_file_bytes: Annotated[int, Meta(gt=0)] = 200_000_000
    max_stored_bytes: Annotated[int, Meta(gt=0)] = 2_000_000_000  # of one tenant's files together, answers included
    max_lines: Annotated[int, Meta(gt=0, le=1_000_000)] = 50_000
    at_once: Annotated[int, Meta(ge=1, le=256)] = 8  # lines of one batch that are under way
    running: Annotated[int, Meta(ge=1, le=64)] = 4  # batches that are; further ones wait
    retention_days: Annotated[float, Meta(gt=0, le=36_500)] = 30.0  # of files, and of batches that have ended


class ClusterSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several routers with one owner of budgets, limits, breakers, keys and catalogue: `nearfar state`.

    A router asks the owner at `state`; without it, it is its own owner. The rest says what it does when nobody answers.
    """

    state: Annotated[str, Meta(pattern="^(https?://[^/?#@]+|unix:.+)$")] | None = None  # http://HOST:PORT or unix:PATH
    survive_s: Positive = 900.0  # alone for longer: nothing is spent far, and no API key opens anything
    hold_s: Positive = 30.0  # for how long the money that a router holds ahead lasts as it spends now
    wait_ms: NonNegative = 250.0  # that a request waits for more money, at most, where too little is held
    listen: str = "127.0.0.1:8090"  # the owner's own: HOST:PORT or unix:PATH
    store: str | None = None  # the owner's own: by default nearfar-state.sqlite beside the decision log


class TelemetrySettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told to those who watch. Off, none of it costs anything; `/metrics` is there in any case."""

    logs: Literal["text", "json"] | None = None  # a line a request, in this form; None: warnings only, as text
    otlp_endpoint: Annotated[str, Meta(pattern="^https?://[^/?#@]+(/[^?#@]*)?$")] | None = (
        None  # without its `/v1/traces`
    )
    service_name: Annotated[str, Meta(min_length=1)] = "nearfar"  # what it calls itself there
