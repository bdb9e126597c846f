"""Parameters over the model's defaults, and what no model can follow."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from backends.errors import InvalidInput
from backends.local.sampling import Choice, sampling
from backends.types import GenerationInput

GREEDY = SimpleNamespace(do_sample=False, temperature=1.0, top_p=0.9, top_k=50)
DRAWING = SimpleNamespace(do_sample=True, temperature=0.6, top_p=0.9, top_k=20)


@pytest.mark.parametrize(
    ("temperature", "defaults", "expected"),
    [(None, GREEDY, None), (0.0, GREEDY, None), (0.7, GREEDY, 0.7), (None, DRAWING, 0.6), (0.0, DRAWING, None)],
)
def test_the_request_comes_before_the_models_defaults(temperature, defaults, expected):
    """Nothing said is the model's own way; 0 is greedy."""
    assert expected == sampling(GenerationInput(prompt="x", temperature=temperature), defaults).temperature


def test_a_greedy_models_leftover_parameters_do_not_count():
    """`top_p` in the configuration of a model that does not sample is noise, that of one that does is meant."""
    payload = GenerationInput(prompt="x", temperature=1.0)

    assert (None, None) == (sampling(payload, GREEDY).top_p, sampling(payload, GREEDY).top_k)
    assert (0.9, 20) == (sampling(payload, DRAWING).top_p, sampling(payload, DRAWING).top_k)


@pytest.mark.parametrize(
    "bad",
    [
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": math.nan},
        {"top_k": -1},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": math.inf},
        {"seed": -1},
        {"seed": 2**63},
        {"stop": ("",)},
    ],
)
def test_what_no_model_can_follow_is_refused(bad):
    """Out of range and not finite are the caller's mistake, named."""
    with pytest.raises(InvalidInput, match=next(iter(bad))):
        sampling(GenerationInput(prompt="x", **bad), GREEDY)


def draws(seed, **wanted):
    import torch

    choice = Choice(sampling(GenerationInput(prompt="x", temperature=1.0, seed=seed, **wanted), GREEDY))
    scores = torch.linspace(0, 2, 50)[None]
    return [int(choice(torch.zeros((1, 1), dtype=torch.long), scores).argmax()) for _ in range(20)]


def test_a_seed_gives_the_same_tokens_whatever_else_draws():
    """The generator is the request's own: another request's draws in between change nothing."""
    import torch

    first = draws(7)
    torch.rand(10)

    assert first == draws(7)
    assert first != draws(8)
    assert draws(None) != draws(None)


def test_top_k_leaves_only_the_best():
    """Of fifty tokens only the last three can be drawn."""
    assert set(draws(1, top_k=3)) <= {47, 48, 49}
    assert {49} == set(draws(1, top_p=0.001))
