"""The table of policies."""

from __future__ import annotations

import pytest

from policies.registry import POLICIES, UnknownPolicy, create, names
from policies.types import Weights
from policies.weighted import Balanced


def test_every_name_makes_the_policy_of_that_name() -> None:
    """The table's key is the policy's own name."""
    assert list(names()) == [create(name).name for name in names()] == list(POLICIES)


def test_weights_reach_balanced() -> None:
    """They are given at creation; without any, all weigh the same."""
    assert Balanced(Weights(1, 2, 3)) == create("balanced", Weights(1, 2, 3))
    assert Balanced(Weights(1, 1, 1)) == create("balanced")


def test_an_unknown_name_lists_the_alternatives() -> None:
    """The error carries them for programs and, with a guess, in its message for people."""
    with pytest.raises(
        UnknownPolicy, match=r"unknown policy 'cheapst': did you mean cheapest\? there are balanced, "
    ) as e:
        create("cheapst")

    assert names() == e.value.alternatives
    assert isinstance(e.value, ValueError)
