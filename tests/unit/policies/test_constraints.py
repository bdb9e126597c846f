"""The hard limits: what each of them rejects, in which order they are asked, and how they word it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.constraints import POWER_HINT, PRICE_HINT, apply, unpriced
from policies.types import Constraints, Estimate, Rejection

NEAR = Estimate(
    "near",
    "local",
    "local",
    near=True,
    latency_s=0.5,
    latency_source="observed",
    service_s=0.5,
    cost_usd=1e-7,
    cost_source="occupancy",
    quality=0.7,
)
FAR = NEAR._replace(
    candidate_id="far", backend="remote", provider="together", near=False, latency_s=2.31, cost_usd=0.02
)


def rejection(estimate: Estimate, **limits: object) -> tuple[str, str] | None:
    _, rejections = apply([estimate], Constraints(**limits))
    return (rejections[0].code, rejections[0].reason) if rejections else None


def test_no_limit_rejects_nothing() -> None:
    """Absent limits do not bind, and the input order is kept."""
    assert ([FAR, NEAR], ()) == apply([FAR, NEAR], Constraints())


@pytest.mark.parametrize(
    ("limits", "code", "reason"),
    [
        ({"offline": True}, "offline", "together is not on this machine, and in offline mode nothing may leave it"),
        (
            {"private": True},
            "private",
            "together is not on this machine, and this request is private: it may not leave it",
        ),
        ({"backend": "local"}, "excluded", "together (remote) is not the backend asked for, local"),
        ({"only": ("groq", "local")}, "excluded", "together (remote) is not among those allowed (only: groq, local)"),
        ({"ignore": ("together",)}, "excluded", "together (remote) is among those ruled out (ignore: together)"),
        ({"ignore": ("remote",)}, "excluded", "together (remote) is among those ruled out (ignore: remote)"),
        ({"max_cost_usd": 0.01}, "too_dear", "expected $0.02, more than the limit of $0.01"),
        ({"max_latency_s": 1.0}, "too_slow", "expected 2.31 s, more than the limit of 1.00 s"),
        ({"min_quality": 0.8}, "quality_too_low", "quality 0.7, less than the limit of 0.8"),
    ],
)
def test_each_limit_rejects_with_the_figures(limits: dict[str, object], code: str, reason: str) -> None:
    """A rejection has its own code and a sentence with the figures that decided."""
    assert (code, reason) == rejection(FAR, **limits)


@pytest.mark.parametrize(
    "limits",
    [
        {"offline": True},
        {"private": True},
        {"backend": "local"},
        {"only": ("local",)},
        {"ignore": ("remote", "together")},
        {"max_cost_usd": 1e-7},
        {"max_latency_s": 0.5},
        {"min_quality": 0.7},
    ],
)
def test_what_keeps_a_limit_stays(limits: dict[str, object]) -> None:
    """A limit includes its own value, and none of the place limits binds what is near."""
    assert None is rejection(NEAR, **limits)


def test_backend_only_and_ignore_take_backends_and_providers() -> None:
    """Users may write the backend's name or the provider's in any of the three."""
    for name in ("remote", "together"):
        assert None is rejection(FAR, backend=name)
        assert None is rejection(FAR, only=(name,))
        assert ("excluded",) == rejection(FAR, ignore=(name,))[:1]


def test_unavailable_and_too_large_say_why() -> None:
    """The reasons found elsewhere are passed on in words."""
    down, huge = FAR._replace(unavailable="breaker open"), NEAR._replace(does_not_fit="needs 14 GiB, 6 GiB are free")

    assert ("unavailable", "unavailable: breaker open") == rejection(down)
    assert ("does_not_fit", "does not fit this machine: needs 14 GiB, 6 GiB are free") == rejection(huge)


def test_what_would_overspend_a_budget_is_rejected_with_its_sentence() -> None:
    """A budget is a hard limit: no score outweighs it."""
    assert ("budget", "over budget: $5 a day") == rejection(FAR._replace(over_budget="over budget: $5 a day"))


@pytest.mark.parametrize("latency_s", [float("nan"), float("inf"), -1.0])
def test_a_latency_that_is_no_duration_is_unavailable(latency_s: float) -> None:
    """NaN compares false with everything, so it must not reach a sort."""
    expected = f"unavailable: its expected latency, {latency_s} s, is not a duration"

    assert ("unavailable", expected) == rejection(NEAR._replace(latency_s=latency_s), max_latency_s=1.0)


@pytest.mark.parametrize("cost_usd", [None, float("nan"), float("inf"), -1.0])
def test_an_unknown_price_keeps_no_cost_limit(cost_usd: float | None) -> None:
    """Unknown is not zero: it is rejected under a cost limit, however high, and only there."""
    unpriced = FAR._replace(cost_usd=cost_usd)

    assert None is rejection(unpriced)
    assert ("price_unknown", "price unknown and the limit is $1000: give it a price in the catalogue") == rejection(
        unpriced, max_cost_usd=1000.0
    )


def test_an_unknown_quality_keeps_no_quality_limit() -> None:
    """A floor for quality cannot be met by a candidate nobody has rated."""
    assert ("quality_unknown", "quality unknown, but 0.1 is asked for: give it one in the catalogue") == rejection(
        NEAR._replace(quality=None), min_quality=0.1
    )


def test_the_first_limit_in_the_stated_order_is_the_reason() -> None:
    """Offline is asked first, quality last; lifting one limit brings the next to light."""
    worst = FAR._replace(unavailable="down", does_not_fit="huge", over_budget="spent", quality=0.1)
    limits = Constraints(True, True, "local", max_cost_usd=0.0, max_latency_s=0.0, min_quality=1.0)
    lifts = {
        "offline": {"offline": False},
        "private": {"private": False},
        "excluded": {"backend": "any"},
        "unavailable": {},
        "does_not_fit": {},
        "budget": {},
        "too_dear": {"max_cost_usd": None},
        "too_slow": {"max_latency_s": None},
        "quality_too_low": {"min_quality": None},
    }

    for code, lift in lifts.items():
        assert [code] == [r.code for r in apply([worst], limits)[1]]
        limits = replace(limits, **lift)
        worst = worst if lift else worst._replace(**{"over_budget" if code == "budget" else code: None})
    assert ([worst], ()) == apply([worst], limits)


def test_figures_that_differ_never_read_the_same() -> None:
    """A limit missed by a hair is shown with as many digits as it takes."""
    assert ("too_slow", "expected 1.00040 s, more than the limit of 1.00000 s") == rejection(
        NEAR._replace(latency_s=1.0004), max_latency_s=1.0
    )


def test_unknown_prices_are_rejected_with_the_way_out() -> None:
    """Policies that rank by cost say what to do instead of guessing: near it is the power that is missing."""
    unknown = [each._replace(cost_usd=None, cost_source="unknown") for each in (FAR, NEAR)]
    eligible, rejections = apply([*unknown, NEAR._replace(candidate_id="known")], Constraints(), unpriced)
    of_near = rejection(unknown[1], max_cost_usd=1.0)

    assert ["known"] == [each.candidate_id for each in eligible]
    assert (
        Rejection("far", "price_unknown", PRICE_HINT),
        Rejection("near", "price_unknown", POWER_HINT),
    ) == rejections
    assert of_near is not None
    assert ("local.watts" in POWER_HINT, "catalogue" in of_near[1]) == (True, False)
