"""A call's routing: suffixes of a model's name, and the hard limits it makes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.types import Constraints
from router.request import Routing, split_suffix

PROVIDERS = ("hf-inference", "gpu-box")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("org/model", ("org/model", Routing())),
        ("org/model:local", ("org/model", Routing(backend="local"))),
        ("org/model:remote", ("org/model", Routing(backend="remote"))),
        ("org/model:fastest", ("org/model", Routing(policy="fastest"))),
        ("org/model:cheapest", ("org/model", Routing(policy="cheapest"))),
        ("org/model:gpu-box", ("org/model", Routing(only=("gpu-box",)))),
        ("llama3:8b", ("llama3:8b", Routing())),
        ("llama3:8b:local", ("llama3:8b", Routing(backend="local"))),
        ("org/model:LOCAL", ("org/model:LOCAL", Routing())),
        ("org/model:", ("org/model:", Routing())),
        (":local", (":local", Routing())),
        ("", ("", Routing())),
    ],
)
def test_a_suffix_is_taken_off_the_name_and_into_the_routing(model, expected) -> None:
    """What is no known suffix stays: it may be part of the name."""
    assert expected == split_suffix(model, Routing(), PROVIDERS)


def test_a_suffix_goes_before_the_body_and_leaves_the_rest() -> None:
    """The name is what the sender wrote last; the other wishes hold."""
    routing = Routing(policy="balanced", max_cost_usd=0.5, ignore=("x",))

    assert (
        routing.__class__(policy="cheapest", max_cost_usd=0.5, ignore=("x",))
        == (split_suffix("m:cheapest", routing, PROVIDERS)[1])
    )


@given(st.text(max_size=20), st.text(max_size=8))
def test_nothing_of_a_name_is_lost(name, suffix) -> None:
    """Either the model is left as it was, or exactly one suffix is gone."""
    model, routing = split_suffix(f"{name}:{suffix}", Routing(), PROVIDERS)

    assert (model, routing) == (f"{name}:{suffix}", Routing()) or (f"{name}" == model and routing != Routing())


def test_limits_are_handed_to_the_policy_in_its_units() -> None:
    """Milliseconds become seconds; the rest is passed on."""
    routing = Routing(
        backend="local", only=("a",), ignore=("b",), order=("c",), max_cost_usd=0.1, max_latency_ms=250.0,
        min_quality=0.5, private=True, policy="cheapest", deadline_ms=1.0, allow_fallbacks=False,
    )  # fmt: skip
    expected = Constraints(
        offline=True, private=True, backend="local", only=("a",), ignore=("b",), order=("c",), max_cost_usd=0.1,
        max_latency_s=0.25, min_quality=0.5, deadline_s=3.0,
    )  # fmt: skip

    assert expected == routing.constraints(offline=True, deadline_s=3.0)


@given(st.floats(0, 1e9))
def test_a_limit_of_zero_is_a_limit(value) -> None:
    """Nothing but None means no limit."""
    constraints = Routing(max_latency_ms=value, max_cost_usd=value, min_quality=value).constraints(
        offline=False, deadline_s=3.0
    )

    assert constraints.max_latency_s is not None
    assert (value, value) == (constraints.max_cost_usd, constraints.min_quality)
    assert Constraints(deadline_s=3.0) == Routing().constraints(offline=False, deadline_s=3.0)
