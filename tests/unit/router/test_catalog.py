"""The catalogue: built-in entries, the user's over them, and entries that make no sense refused by name."""

import pytest

from backends.types import Task
from router.catalog import BUILTIN_PROVIDERS, KNOWN_TASKS, MAX_DISCOVERED, Catalog
from router.errors import CatalogError
from router.sections import CandidateEntry, ModelEntry, ProviderSettings

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def model(*candidates: CandidateEntry, model_id: str = "my/model", task: str = "text-generation") -> ModelEntry:
    return ModelEntry(id=model_id, task=task, candidates=candidates or (CandidateEntry(backend="fake"),))


def refusal(*models: ModelEntry) -> str:
    with pytest.raises(CatalogError) as caught:
        Catalog(models)
    return str(caught.value)


def test_the_built_in_catalogue_obeys_its_own_rules() -> None:
    """Every entry would also be accepted from a user."""
    built_in = list(Catalog())

    assert [entry.id for entry in built_in] == [entry.id for entry in Catalog(built_in)]
    assert set() == {entry.task for entry in built_in} - KNOWN_TASKS
    assert set() == {task.value for task in Task} - KNOWN_TASKS


def test_built_in_far_prices_are_dated() -> None:
    """A price without a date could not be told from a current one."""
    for entry in Catalog():
        for candidate in entry.candidates:
            if candidate.backend == "remote":
                assert candidate.price is None or candidate.price.as_of


def test_a_configured_model_replaces_the_built_in_one() -> None:
    """The user's entry wins whole, and keeps its place."""
    mine = model(model_id=MINILM, task="feature-extraction")
    catalog = Catalog([mine])

    assert mine is catalog.find(MINILM)
    assert [entry.id for entry in Catalog()] == [entry.id for entry in catalog]


def test_an_unknown_model_is_none() -> None:
    """Nothing is guessed."""
    assert Catalog().find("no/such") is None
    assert Catalog().find("") is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("all-MiniLM-L6-v2", MINILM),
        ("SENTENCE-TRANSFORMERS/ALL-MINILM-L6-V2", MINILM),
        ("sentence-transformer/all-MiniLM-L6-v3", MINILM),
        ("SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("fake/chatt", "fake/chat"),
    ],
)
def test_a_slip_of_the_pen_finds_its_neighbour(asked, found) -> None:
    """The nearest id comes first, and at most three are named."""
    alternatives = Catalog().alternatives(asked)

    assert found == alternatives[0]
    assert len(set(alternatives)) == len(alternatives) <= 3


def test_nothing_alike_names_nothing() -> None:
    """A name from another world has no neighbours."""
    assert [] == Catalog().alternatives("qqqqqqqqqqqq")


def test_a_task_nobody_knows_is_refused_with_those_that_exist() -> None:
    """The message names model, value and alternatives."""
    message = refusal(model(task="make-coffee"))

    assert [] == [word for word in ("my/model", "make-coffee", "text-generation") if word not in message]


def test_a_model_that_can_run_nowhere_is_refused() -> None:
    """An entry without candidates could never be served."""
    assert "my/model" in refusal(ModelEntry(id="my/model", task="text-generation"))


def test_an_unknown_provider_is_refused_with_those_that_exist() -> None:
    """A remote candidate names a provider of the configuration or a built-in one."""
    message = refusal(model(CandidateEntry(backend="remote", provider="gpu-box")))

    assert [] == [word for word in ("my/model", "gpu-box", "hf-inference") if word not in message]
    assert "None" in refusal(model(CandidateEntry(backend="remote")))
    box = ProviderSettings(name="gpu-box", protocol="openai", base_url="http://127.0.0.1:1")
    assert Catalog([model(CandidateEntry(backend="remote", provider="gpu-box"))], [box]).find("my/model")


def test_a_local_candidate_needs_a_source() -> None:
    """Nearfar does not guess where weights lie."""
    assert "source" in refusal(model(CandidateEntry(backend="local")))


def test_a_model_listed_twice_is_refused() -> None:
    """Which of two equal ids was meant cannot be known."""
    assert "listed twice" in refusal(model(), model())


@pytest.mark.parametrize(
    "twins",
    [
        (CandidateEntry(backend="local", source="hub"), CandidateEntry(backend="local", source="models/x")),
        (CandidateEntry(backend="fake"), CandidateEntry(backend="fake", model="my/model")),
    ],
)
def test_two_candidates_of_one_name_are_refused(twins) -> None:
    """Provider and model name a candidate: its breaker, its history and its rows could not be told apart."""
    assert "my/model" in refusal(model(*twins))


def test_a_configured_provider_replaces_the_built_in_one() -> None:
    """A test server, or a mirror, can stand in for the hub."""
    mine = ProviderSettings(name="hf-inference", protocol="huggingface", base_url="http://127.0.0.1:1")

    assert mine is Catalog(providers=[mine]).providers["hf-inference"]
    assert {p.name for p in BUILTIN_PROVIDERS} == set(Catalog().providers)


@pytest.mark.parametrize(
    ("task", "provider"), [("text-generation", "huggingface"), ("feature-extraction", "hf-inference")]
)
def test_a_discovered_model_may_run_near_or_far_at_a_price_nobody_knows(task, provider) -> None:
    """It is remembered, and its far price stays unknown."""
    catalog = Catalog()
    found = catalog.discover("some/model", task, 7)

    assert found is catalog.find("some/model")
    assert found in list(catalog)
    assert [("local", None), ("remote", provider)] == [(c.backend, c.provider) for c in found.candidates]
    assert [None, None] == [c.price for c in found.candidates]


def test_a_discovered_model_never_hides_a_listed_one() -> None:
    """What the user wrote stays in force."""
    catalog = Catalog()
    catalog.discover(MINILM, "feature-extraction", 7)

    assert 22_713_216 == catalog.find(MINILM).parameters


def test_discoveries_are_bounded() -> None:
    """The oldest is forgotten; the catalogue's own entries never are."""
    catalog = Catalog()
    for number in range(MAX_DISCOVERED + 1):
        catalog.discover(f"some/model-{number}", "text-generation", None)

    assert catalog.find("some/model-0") is None
    assert catalog.find(f"some/model-{MAX_DISCOVERED}") is not None
    assert len(list(Catalog())) + MAX_DISCOVERED == len(list(catalog))


def test_a_model_that_nobody_serves_far_runs_near_or_nowhere() -> None:
    """The hub says so; then no far side is asked in vain."""
    catalog = Catalog()
    served, alone = (
        catalog.discover("org/a", "text-to-image", 7),
        catalog.discover("org/b", "text-to-image", 7, far=False),
    )

    assert [["local", "remote"], ["local"]] == [[c.backend for c in entry.candidates] for entry in (served, alone)]
