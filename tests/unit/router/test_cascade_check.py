"""What a configured cascade lacks is said at start, and breaks nothing."""

import pytest

from router.catalog import Catalog
from router.policy_check import warnings_of
from router.section_of_routing import RoutingSettings
from router.sections import AliasEntry, CandidateEntry, ModelEntry, Price, Settings

NEAR = CandidateEntry(backend="local", source="hub")
FAR = CandidateEntry(backend="remote", provider="huggingface", price=Price(per_request_usd=0.001))


def model(name: str, *candidates: CandidateEntry) -> ModelEntry:
    return ModelEntry(id=name, task="text-generation", candidates=candidates)


def said(*models: ModelEntry) -> list[str]:
    alias = AliasEntry(name="ask", models=tuple(each.id for each in models), policy="cascade")
    settings = Settings(models=models, aliases=(alias,), routing=RoutingSettings(policy="fastest"))
    return warnings_of(settings, Catalog(settings.models, settings.providers, settings.aliases))


@pytest.mark.parametrize(
    "models",
    [
        (model("a", NEAR), model("b", FAR)),
        (model("a", NEAR, FAR), model("b", FAR)),
        (model("a", NEAR), model("b", NEAR, FAR)),
    ],
)
def test_a_cascade_with_a_near_model_and_another_far_lacks_nothing(models) -> None:
    """Also where one of them is in both places."""
    assert [] == said(*models)


def test_a_cascade_without_a_near_model_says_so() -> None:
    """It would ask far at once."""
    [warning] = said(model("a", FAR), model("b", FAR))

    assert "a, b: 'cascade' finds none near" in warning


@pytest.mark.parametrize(
    "models", [(model("a", NEAR),), (model("a", NEAR, FAR),), (model("a", NEAR), model("b", NEAR))]
)
def test_a_cascade_without_a_second_model_says_so(models) -> None:
    """The same model far would say the same."""
    [warning] = said(*models)

    assert "a: 'cascade' finds no other model far" in warning
