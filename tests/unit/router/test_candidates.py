"""From a model to its slate: every place it could run, with its state at this instant."""

import asyncio

import pytest

from backends.fake import FakeBackend
from backends.remote.backend import RemoteBackend
from backends.types import Target, Task
from router.candidates import CandidateFinder, Offer
from router.catalog import BUILTIN_PROVIDERS, Catalog
from router.errors import CatalogError, InvalidRequest, UnknownModel
from router.listings import Listings
from router.sections import CandidateEntry, ModelEntry, Price, ProviderSettings
from router.slate import Candidate
from tests.unit.router.house import CHAT, VECTORS, chat, chat_model, embed, fake, opened, vector_model
from tests.unit.router.test_listings import listing, model, serves

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


def test_what_stands_is_remembered_and_the_state_is_not() -> None:
    """The second slate of a model has its targets' new states; another entry of the same id is another model."""

    async def go() -> None:
        entry = chat_model(fake("a", load_ms=1), fake("b"))
        found, backend, _ = finder(entry)
        before = found.of_model(entry)
        await backend.load(before[0].target)
        after = found.of_model(entry)

        assert ([False, True], [True, True]) == ([c.status.loaded for c in before], [c.status.loaded for c in after])
        assert [c.target for c in before] == [c.target for c in after]
        assert ["c"] == [c.target.provider for c in found.of_model(chat_model(fake("c")))]

    asyncio.run(go())


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


class Listed:
    """A router's listing that can change, whether or not it may be used, and how often it was read."""

    def __init__(self, folder) -> None:
        hub = BUILTIN_PROVIDERS[0]
        self.usable = True
        self.listings = Listings({hub.name: hub}, folder)
        far = CandidateEntry(backend="fake", provider="huggingface", price=None)
        self.entry = chat_model(far)
        catalog = Catalog([self.entry])
        self.finder = CandidateFinder(catalog, {"fake": FakeBackend()}, nobody, self.listings, lambda: self.usable)

    def serves(self, *providers) -> None:
        hub = BUILTIN_PROVIDERS[0]
        self.listings.replace(hub.name, listing(model(CHAT, *providers), of=hub))

    def slate(self, *only: str) -> dict[str, Candidate]:
        found = self.finder.for_request(chat().request, Offer((self.entry,)), only)
        return {candidate.target.provider: candidate for candidate in found}


async def nobody(_: str) -> ModelEntry | None:
    return None


def test_providers_behind_the_router_join_while_it_may_be_asked(tmp_path) -> None:
    """A changed listing, a token that comes or goes: each shows in the next slate."""
    known = Listed(tmp_path)
    seen = [set(known.slate())]
    known.serves(serves("groq"))
    seen.append(set(known.slate()))
    known.serves(serves("together"))
    seen.append(set(known.slate()))
    known.usable = False
    seen.append(set(known.slate()))
    known.usable = True
    seen.append(set(known.slate()))

    bare = {"huggingface"}
    assert [bare, bare | {"groq"}, bare | {"together"}, bare, bare | {"together"}] == seen


def test_a_changed_entry_is_not_served_from_memory(tmp_path) -> None:
    """Models come and go while this runs; an entry of the same id may be another."""
    known = Listed(tmp_path)
    known.serves(serves("groq"))
    before = known.slate()["huggingface"].price
    own = Price(output_per_1m_usd=7.0)
    known.entry = chat_model(CandidateEntry(backend="fake", provider="huggingface", price=own))

    assert ("router maximum", own) == (before.source, known.slate()["huggingface"].price)


def test_what_the_listing_measured_comes_with_its_candidate(tmp_path) -> None:
    """Context and speed of that provider; the router's own candidate has the model's, and what each would charge."""
    known = Listed(tmp_path)
    known.serves(serves("groq", context_length=4096, first_token_ms=250.0, tokens_per_s=100.0), serves("together"))
    groq, together, bare = (known.slate()[name] for name in ("groq", "together", "huggingface"))

    assert (4096, 0.25, 100.0) == (groq.context_length, groq.first_token_s, groq.tokens_per_s)
    assert (None, None, None) == (together.context_length, together.first_token_s, together.tokens_per_s)
    assert ({"groq", "together"}, {}) == (set(bare.served_prices), groq.served_prices)


def test_whom_a_request_names_is_on_its_slate_and_on_no_other(tmp_path) -> None:
    """The names of one request are not remembered for the next."""
    known = Listed(tmp_path)
    known.serves(serves("groq"))

    assert ({"huggingface", "novita"}, {"huggingface", "groq"}) == (set(known.slate("novita")), set(known.slate()))


def test_a_far_side_that_is_reached_directly_is_paid_from_an_account_of_its_own() -> None:
    """Though the hub's router knows one of its name: when the hub's credits are gone, its own are not."""
    direct = ProviderSettings(name="groq", protocol="openai", base_url="http://127.0.0.1:1/v1", api_key_env="GROQ_KEY")
    entry = chat_model(*(CandidateEntry(backend="remote", provider=name) for name in ("huggingface", "groq")))
    find = CandidateFinder(Catalog([entry], [direct]), {"remote": RemoteBackend([])}, nobody)
    accounts = {c.target.provider: (c.account, c.through) for c in find.of_model(entry, only=("together",))}

    assert {
        "huggingface": ("account HF_TOKEN", "huggingface"),
        "groq": ("account GROQ_KEY", "groq"),
        "together": ("account HF_TOKEN", "huggingface"),
    } == accounts


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
