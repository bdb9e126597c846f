"""From a model to its slate: every place it could run, with its state at this instant."""

import asyncio

import pytest

from backends.fake import FakeBackend
from backends.types import Target, Task
from router.candidates import CandidateFinder, Offer
from router.catalog import Catalog
from router.errors import CatalogError, InvalidRequest, UnknownModel
from router.sections import CandidateEntry, ModelEntry, Price
from tests.unit.router.house import CHAT, VECTORS, chat, chat_model, embed, fake, opened, vector_model

FOUND = "found/on-the-hub"


def finder(*models: ModelEntry) -> tuple[CandidateFinder, FakeBackend, list[str]]:
    """A finder over a fake backend, and the ids that were looked up on the hub; it knows one model there."""
    looked_up: list[str] = []

    async def discover(model_id: str) -> ModelEntry | None:
        looked_up.append(model_id)
        return chat_model(fake("hub"), model=FOUND) if model_id == FOUND else None

    backend = FakeBackend()
    return CandidateFinder(Catalog(models), {"fake": backend}, discover), backend, looked_up


def test_each_entry_is_a_candidate_with_an_id_of_its_own() -> None:
    """Provider and name there make the id; price and quality come along."""
    price = Price(per_request_usd=1.0)
    entry = ModelEntry(
        id=CHAT,
        task="text-generation",
        quality=0.5,
        parameters=7,
        candidates=(
            fake("a", price=price),
            fake("b", model="other-name", price=None, tokens=3),
            CandidateEntry(backend="fake"),
        ),
    )
    one, other, plain = finder(entry)[0].for_request(chat().request, Offer((entry,)))

    assert [f"a:{CHAT}", "b:other-name", f"fake:{CHAT}"] == [one.id, other.id, plain.id]
    assert (price, None, 0.5) == (one.price, other.price, other.quality)
    expected = Target(
        backend="fake", provider="b", model="other-name", task=Task.TEXT_GENERATION, parameters=7,
        script=(("tokens", 3),),
    )  # fmt: skip
    assert expected == other.target


def test_a_slate_holds_the_ineligible_too() -> None:
    """A policy rejects, and says why; the finder leaves nobody out."""
    entry = chat_model(fake("a"), fake("b"))
    find, backend, _ = finder(entry)
    asyncio.run(backend.aclose())

    assert ["the fake backend is closed"] * 2 == [
        candidate.status.unavailable for candidate in find.for_request(chat().request, Offer((entry,)))
    ]


def test_the_status_is_of_this_instant() -> None:
    """Asking twice shows what changed in between."""
    entry = chat_model(fake("a", load_ms=1))
    find, backend, _ = finder(entry)
    [before] = find.for_request(chat().request, Offer((entry,)))
    asyncio.run(backend.load(before.target))
    [after] = find.for_request(chat().request, Offer((entry,)))

    assert [False, True] == [before.status.loaded, after.status.loaded]


@pytest.mark.parametrize("near", [True, False])
def test_a_fake_may_pretend_to_be_near(near) -> None:
    """The script says so; without a word it is far."""
    entry = chat_model(fake("a", near=near))

    assert [near] == [candidate.near for candidate in finder(entry)[0].for_request(chat().request, Offer((entry,)))]


def test_the_wrong_task_is_the_senders_mistake() -> None:
    """The message names the model and both tasks, and the field at fault."""
    entry = vector_model()
    with pytest.raises(InvalidRequest, match=f"{VECTORS} does feature-extraction, not text-generation") as caught:
        finder(entry)[0].for_request(chat(model=VECTORS).request, Offer((entry,)))

    assert "model" == caught.value.param


def test_vectors_of_one_name_and_revision_share_a_space() -> None:
    """Another name, or another revision, is another space."""
    base = fake("a")
    entries = (base, fake("b"), fake("c", model="else"), CandidateEntry(backend="fake", provider="d", revision="v2"))
    entry = vector_model(*entries)
    spaces = [candidate.vector_space for candidate in finder(entry)[0].for_request(embed().request, Offer((entry,)))]

    assert spaces[0] == spaces[1]
    assert 3 == len(set(spaces))


def test_a_listed_model_is_never_looked_up() -> None:
    """The catalogue answers without the hub."""
    entry = chat_model()
    find, _, looked_up = finder(entry)

    assert entry is asyncio.run(find.model(CHAT))
    assert [] == looked_up


def test_a_model_found_on_the_hub_is_prepared() -> None:
    """Its backends have looked at it before anybody asks for its status."""
    find, backend, looked_up = finder()

    assert FOUND == asyncio.run(find.model(FOUND)).id
    assert ([FOUND], 1) == (looked_up, backend.calls["prepare"])


def test_an_unknown_model_names_its_neighbours() -> None:
    """Neither the catalogue nor the hub knows it."""
    with pytest.raises(UnknownModel, match=CHAT) as caught:
        asyncio.run(finder(chat_model())[0].model("test/chatt"))

    assert (CHAT, "model") == (caught.value.alternatives[0], caught.value.param)


def test_opening_a_house_prepares_every_model() -> None:
    """The built-in ones too, without a network."""

    async def go() -> None:
        async with opened(chat_model(fake("a"), fake("b"))) as house:
            assert 7 == house.fake.calls["prepare"]  # ours, and the five of the built-in catalogue

    asyncio.run(go())


def test_a_wrong_script_is_a_broken_catalogue() -> None:
    """`nearfar serve` ends with one line that names the model and the key."""

    async def go() -> None:
        async with opened(chat_model(fake("a", latencyms=1))):
            pass

    with pytest.raises(CatalogError, match="latencyms"):
        asyncio.run(go())
