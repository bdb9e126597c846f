"""Sets of intents as models of the catalogue, and the intent of a prompt as a hint that never hurts."""

from __future__ import annotations

import asyncio
import base64
import time
from array import array
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from backends.errors import Unavailable
from backends.local.intents import storage
from backends.local.intents.classifier import Classifier, Head
from backends.local.intents.definition import Intent
from backends.local.intents.heads import Heads
from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    EmbeddingOutput,
    GenerationInput,
    InferenceRequest,
    InferenceResult,
    LabelScore,
    Message,
    Status,
    Task,
    Timings,
    Usage,
)
from router.catalog import Catalog
from router.errors import AllAttemptsFailed, CatalogError, InvalidRequest, NotFound, SettingsError, UnknownModel
from router.intents.sets import MAX_SETS, IntentSets
from router.intents.signal import BOUND_S, IntentSignal
from router.sections import IntentEntry, IntentSetEntry, IntentsSettings, LogSettings, RoutingSettings, Settings
from router.slate import PromptIntent
from router.standby import Standby
from tests.unit.backends.local.trigrams import SUPPORT, Trigrams, vectors_of
from tests.unit.router.house import chat, chat_model, embed, fake

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "intents/support"


class Near:
    """A near side that embeds by trigrams, and answers classification with what it is told."""

    def __init__(self) -> None:
        self.asked: list[InferenceRequest] = []
        self.loaded = True
        self.queue_s = 0.0
        self.answer_s = 0.0
        self.failure: Exception | None = None

    async def prepare(self, target) -> None:
        self.prepared = target

    def status(self, target) -> Status:
        return Status(loaded=self.loaded, device="cpu", queue_s=self.queue_s)

    async def infer(self, request, target) -> InferenceResult:
        self.asked.append(request)
        await asyncio.sleep(self.answer_s)
        if self.failure is not None:
            raise self.failure
        return InferenceResult(
            output=self._output(request.payload),
            usage=Usage(),
            timings=Timings(),
            provider="local",
            model=target.model,
            device="cpu",
        )

    def _output(self, payload) -> EmbeddingOutput | ClassificationOutput:
        if isinstance(payload, ClassificationInput):
            return ClassificationOutput(((LabelScore("refund", 0.9),),))
        return EmbeddingOutput(tuple(array("f", row.tobytes()) for row in vectors_of(payload.texts)))


def opened(folder: Path, *sets: IntentSetEntry, near: Near | None = None, **routing: Any) -> IntentSets:
    """The sets of a house whose files lie in this folder."""
    settings = Settings(
        intents=IntentsSettings(sets=sets),
        log=LogSettings(path=str(folder / "log.duckdb")),
        routing=RoutingSettings(**routing),
    )
    found = IntentSets(settings, Catalog(), near or Near())
    found.open()
    return found


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "nearfar-intents").glob("*"))


def configured(name="support", **fields: Any) -> IntentSetEntry:
    labels = {label: IntentEntry(examples=intent.examples) for label, intent in SUPPORT.intents.items()}
    return IntentSetEntry(**{"name": name, "labels": labels} | fields)


# --- over the API -------------------------------------------------------------------------------


def test_another_worker_follows_what_one_defines_and_removes(tmp_path, monkeypatch) -> None:
    """The set is its model too, until it is removed; whose answers are others is told each time."""
    monkeypatch.setattr("router.intents.sets.FOLLOW_EVERY_S", 0.001)

    async def go() -> None:
        one, other, told = opened(tmp_path), opened(tmp_path), asyncio.Queue()
        following = asyncio.create_task(other.follow(told.put_nowait))
        defined = await one.define(SUPPORT)

        assert MODEL == await told.get()
        assert [defined] == await other.all()
        assert other._catalog.find(MODEL) is not None

        await one.remove("support")

        assert MODEL == await told.get()
        assert [] == await other.all()
        assert other._catalog.find(MODEL) is None

        following.cancel()
        await asyncio.wait([following])

    asyncio.run(go())


def test_a_defined_set_is_a_model_and_outlives_the_process(tmp_path) -> None:
    """With what was measured, in the catalogue now and after the next start, with the same figures."""
    near = Near()
    sets = opened(tmp_path, near=near)
    told = asyncio.run(sets.define(SUPPORT))
    again = opened(tmp_path)

    assert (MODEL, "support") == (near.prepared.model, near.prepared.head)
    assert told == asyncio.run(again.all())[0]
    assert (MODEL, ["refund", "delivery", "password"], 18, True) == tuple(
        told[key] for key in ("model", "labels", "examples", "fitted")
    )
    assert {"accuracy", "accuracy_interval", "ece", "threshold", "confusions", "fit_s", "embedder"} <= told.keys()
    for catalog in (sets._catalog, again._catalog):
        entry = catalog.find(MODEL)
        assert ("text-classification", "support") == (entry.task, entry.candidates[0].head)
    assert ["support.json"] == files(tmp_path)


def test_the_near_side_finds_what_was_fitted_here(tmp_path) -> None:
    """The worker reads the file and fits nothing again."""
    asyncio.run(opened(tmp_path).define(SUPPORT))
    model = Trigrams(tmp_path)
    model.opening = msgspec.structs.replace(model.opening, intents_dir=tmp_path / "nearfar-intents")

    assert ("refund", "delivery", "password", "unknown") == Heads(model).classifier("support").labels
    assert 1 == model.embedded


def test_one_set_tells_its_examples(tmp_path) -> None:
    """So that they can be changed and sent again."""
    sets = opened(tmp_path)
    asyncio.run(sets.define(msgspec.structs.replace(SUPPORT, unknown=("x", "y"))))
    told = asyncio.run(sets.one("support"))

    assert SUPPORT.intents["refund"].examples == told["intents"]["refund"]["examples"]
    assert ["x", "y"] == told["unknown"]
    with pytest.raises(UnknownModel, match="intents/support"):
        asyncio.run(sets.one("suport"))


def test_a_sets_head_gives_the_same_probabilities_elsewhere(tmp_path) -> None:
    """All that the classifier holds is told, with the embedder's vector of a known text to compare by."""
    sets = opened(tmp_path)
    asyncio.run(sets.define(SUPPORT))
    told = asyncio.run(sets.head("support"))
    arrays = ("weights", "bias", "centres", "probe", "direction")
    fields = {name: base64.b64decode(value) if name in arrays else value for name, value in told.items()}
    fields["labels"] = tuple(told["labels"])
    head = Head(**{name: fields[name] for name in Head.__struct_fields__})
    stored = storage.read(tmp_path / "nearfar-intents" / "support.json")
    vectors = vectors_of(["the money never came back", "snow tomorrow?"])

    assert ("support", MODEL, "unknown", 0.1) == tuple(told[k] for k in ("name", "model", "unknown", "energy_share"))
    assert Classifier(stored.fitted.head).probabilities(vectors).tolist() == (
        Classifier(head).probabilities(vectors).tolist()
    )
    assert Classifier(head).fits(vectors_of([told["probe_text"]])[0])
    with pytest.raises(UnknownModel, match="intents/support"):
        asyncio.run(sets.head("suport"))


def test_a_head_that_nobody_fitted_is_fitted_by_asking(tmp_path) -> None:
    """A configured set: its model is asked once on this machine; where that fails, the head is not there."""
    near = Near()
    sets = opened(tmp_path, configured(), near=near)
    with pytest.raises(NotFound, match="not fitted"):  # this near side writes nothing
        asyncio.run(sets.head("support"))
    near.failure = Unavailable("the local extra is not installed")

    assert [MODEL] == [request.model for request in near.asked]
    with pytest.raises(AllAttemptsFailed, match="local extra"):
        asyncio.run(sets.head("support"))


def test_a_set_is_replaced_and_deleted(tmp_path) -> None:
    """File and catalogue agree at every step."""
    sets = opened(tmp_path)
    asyncio.run(sets.define(SUPPORT))
    fewer = msgspec.structs.replace(SUPPORT, intents=dict(list(SUPPORT.intents.items())[:2]))

    assert ["refund", "delivery"] == asyncio.run(sets.define(fewer))["labels"]
    asyncio.run(sets.remove("support"))
    assert (None, [], []) == (sets._catalog.find(MODEL), files(tmp_path), asyncio.run(sets.all()))
    with pytest.raises(UnknownModel):
        asyncio.run(sets.remove("support"))


def test_a_bad_definition_leaves_nothing(tmp_path) -> None:
    """The field is named, and nobody was asked to embed anything."""
    near = Near()
    with pytest.raises(InvalidRequest, match="is an example of") as refused:
        asyncio.run(
            opened(tmp_path, near=near).define(msgspec.structs.replace(SUPPORT, unknown=("reset the password",)))
        )

    assert "unknown[0]" == refused.value.param
    assert ([], []) == (near.asked, files(tmp_path))


def test_a_definition_that_cannot_be_embedded_leaves_the_old_one(tmp_path) -> None:
    """The weights are gone, say."""
    near = Near()
    sets = opened(tmp_path, near=near)
    before = asyncio.run(sets.define(SUPPORT))
    near.failure = Unavailable("weights not on this machine")

    with pytest.raises(AllAttemptsFailed, match="weights not on this machine"):
        asyncio.run(sets.define(msgspec.structs.replace(SUPPORT, unknown=("x",))))
    assert [before] == asyncio.run(sets.all())


def test_definitions_of_one_name_at_once_go_one_after_the_other(tmp_path) -> None:
    """The last one stays; file and answer agree."""
    sets = opened(tmp_path)
    wanted = [msgspec.structs.replace(SUPPORT, unknown=(f"text {n}", f"more {n}")) for n in range(3)]

    async def all_at_once() -> None:
        await asyncio.gather(*(sets.define(one) for one in wanted))

    asyncio.run(all_at_once())
    kept = storage.read(tmp_path / "nearfar-intents" / "support.json")
    assert kept.current is not None
    assert list(kept.intents.unknown) == asyncio.run(sets.one("support"))["unknown"]


def test_many_examples_go_in_several_requests(tmp_path) -> None:
    """So that others get their turn between them; the text that tells the embedder is among them."""
    near = Near()
    many = {f"l{n}": Intent(tuple(f"{n} text {m}" for m in range(100))) for n in range(3)}
    asyncio.run(opened(tmp_path, near=near).define(msgspec.structs.replace(SUPPORT, intents=many)))

    assert [256, 48] == [len(request.payload.texts) for request in near.asked]
    assert all(request.payload.truncate for request in near.asked)


def test_there_is_room_for_so_many_sets(tmp_path, monkeypatch) -> None:
    """One more is refused; replacing one is not."""
    monkeypatch.setattr("router.intents.sets.MAX_SETS", 1)
    sets = opened(tmp_path)
    asyncio.run(sets.define(SUPPORT))
    asyncio.run(sets.define(SUPPORT))

    assert MAX_SETS > 1
    with pytest.raises(InvalidRequest, match="1 sets already"):
        asyncio.run(sets.define(msgspec.structs.replace(SUPPORT, name="other")))


def test_a_damaged_file_costs_its_own_set_only(tmp_path, caplog) -> None:
    """It says so, and can be deleted or defined again."""
    sets = opened(tmp_path)
    asyncio.run(sets.define(SUPPORT))
    asyncio.run(sets.define(msgspec.structs.replace(SUPPORT, name="other")))
    (tmp_path / "nearfar-intents" / "other.json").write_bytes(b"{")
    again = opened(tmp_path)
    other, support = asyncio.run(again.all())

    assert "'other' is damaged" in caplog.text
    assert "'other' is damaged" in other["unavailable"]
    assert (False, True) == (other["fitted"], support["fitted"])
    assert (None, True) == (again._catalog.find("intents/other"), again._catalog.find(MODEL) is not None)
    asyncio.run(again.define(msgspec.structs.replace(SUPPORT, name="other")))
    assert [True, True] == [told["fitted"] for told in asyncio.run(again.all())]


# --- in the configuration -----------------------------------------------------------------------


def test_a_configured_set_is_a_model_before_it_is_fitted(tmp_path) -> None:
    """The first request fits it; after that the start finds it fitted."""
    sets = opened(tmp_path, configured())
    [before] = asyncio.run(sets.all())
    model = Trigrams(tmp_path)
    model.opening = msgspec.structs.replace(model.opening, intents_dir=tmp_path / "nearfar-intents")
    Heads(model).classifier("support")

    assert (False, True) == (before["fitted"], before["configured"])
    assert [True] == [told["fitted"] for told in asyncio.run(sets.all())]
    assert [True] == [told["fitted"] for told in asyncio.run(opened(tmp_path, configured()).all())]


def test_a_changed_configuration_asks_for_a_new_fit(tmp_path) -> None:
    """The old one would answer for other examples."""
    asyncio.run(opened(tmp_path).define(SUPPORT))
    [same] = asyncio.run(opened(tmp_path, configured()).all())
    [other] = asyncio.run(opened(tmp_path, configured(unknown=("what a day",))).all())

    assert (True, False) == (same["fitted"], other["fitted"])


def test_a_set_can_lie_in_a_file_of_its_own(tmp_path) -> None:
    """In the shape of the built-in one."""
    (tmp_path / "desk.toml").write_text('unknown = ["x"]\n[a]\nexamples = ["1", "2"]\n[b]\nexamples = ["3", "4"]\n')
    entry = IntentSetEntry(name="desk", file=str(tmp_path / "desk.toml"), unknown=("y",))
    told = asyncio.run(opened(tmp_path, entry).one("desk"))

    assert (["a", "b"], ["x", "y"]) == (told["labels"], told["unknown"])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((configured(), configured()), r"intents\.sets\[1\]: 'support' is listed twice"),
        ((configured("Support"),), r"intents\.sets\[0\]\.name"),
        ((IntentSetEntry(name="x", file="nowhere.toml"),), r"intents\.sets\[0\]\.nowhere.toml cannot be read"),
        ((IntentSetEntry(name="x", labels={"a": IntentEntry(examples=("1", "2"))}),), r"intents\.sets\[0\]\.intents"),
    ],
)
def test_a_broken_configuration_stops_the_start(entries, message, tmp_path) -> None:
    """By the name of the setting."""
    with pytest.raises(SettingsError, match=message):
        opened(tmp_path, *entries)


def test_what_the_configuration_defines_is_changed_there(tmp_path) -> None:
    """Else the next start would undo it."""
    sets = opened(tmp_path, configured())
    for change in (sets.define(SUPPORT), sets.remove("support")):
        with pytest.raises(InvalidRequest, match="configuration"):
            asyncio.run(change)


def test_a_folder_that_cannot_be_written_is_named_by_its_setting(tmp_path) -> None:
    """At the start, not at the first request."""
    (tmp_path / "nearfar-intents").write_text("a file")
    with pytest.raises(SettingsError, match=r"intents\.dir: cannot be written"):
        opened(tmp_path, configured())


@pytest.mark.parametrize("name", ["builtin", "support"])
def test_prompts_can_be_told_apart_by_any_set_there_is(name, tmp_path) -> None:
    """The built-in one, or one of the user's."""
    opened(tmp_path, configured(), intents=name)


def test_prompts_cannot_be_told_apart_by_a_set_that_is_not_there(tmp_path) -> None:
    """A misspelt name would otherwise be silence."""
    with pytest.raises(SettingsError, match=r"routing\.intents: no set 'suport'; one of builtin, support"):
        opened(tmp_path, configured(), intents="suport")


# --- the catalogue ------------------------------------------------------------------------------


def test_models_may_come_and_go_while_somebody_walks_through_them() -> None:
    """Whoever began sees what there was."""
    catalog = Catalog()
    before = len(list(catalog))
    walk = iter(catalog)
    next(walk)
    catalog.add(chat_model(fake(), model="new/model"))

    assert before - 1 == len(list(walk))
    assert catalog.find("new/model") in list(catalog)
    catalog.remove("new/model")
    catalog.remove("new/model")
    assert before == len(list(catalog))


def test_what_is_added_must_be_sound() -> None:
    """As in the configuration."""
    with pytest.raises(CatalogError, match="unknown task"):
        Catalog().add(msgspec.structs.replace(chat_model(), task="cooking"))


# --- the intent of a prompt ---------------------------------------------------------------------


def hint(near: Near, request: InferenceRequest, name: str | None = "builtin") -> PromptIntent | None:
    return asyncio.run(IntentSignal(name, Catalog(), near, Standby()).of(request))


def test_a_prompt_has_an_intent() -> None:
    """The last thing the user said is what is asked about, cut to a bounded length, before a deadline."""
    near = Near()
    messages = (Message("system", "be kind"), Message("user", "x" * 9999), Message("assistant", "no"))
    payload = GenerationInput(messages=messages)
    found = hint(near, InferenceRequest(task=Task.TEXT_GENERATION, model="m", payload=payload))

    assert PromptIntent("refund", 0.9) == found
    [asked] = near.asked
    assert ClassificationInput(texts=("x" * 2000,), top_k=1, truncate=True) == asked.payload
    assert asked.deadline <= time.monotonic() + BOUND_S


@pytest.mark.parametrize(
    ("state", "request_", "name"),
    [
        ({"loaded": False}, chat().request, "builtin"),
        ({"queue_s": 1.0}, chat().request, "builtin"),
        ({}, embed().request, "builtin"),
        ({}, chat().request, None),
        ({}, chat().request, "gone"),
    ],
)
def test_nobody_is_asked_in_vain(state, request_, name) -> None:
    """Where no model is loaded, it has much to do, the task is another, or no set was named (or it was deleted)."""
    near = Near()
    for field, value in state.items():
        setattr(near, field, value)

    assert (None, []) == (hint(near, request_, name), near.asked)


@pytest.mark.parametrize("trouble", [{"answer_s": 60.0}, {"failure": Unavailable("gone")}])
def test_trouble_costs_a_bounded_wait_once(trouble) -> None:
    """Then nobody waits for a hint for a while; no error comes out."""
    near = Near()
    for field, value in trouble.items():
        setattr(near, field, value)
    signal = IntentSignal("builtin", Catalog(), near, Standby())

    async def thrice() -> list[PromptIntent | None]:
        return [await signal.of(chat().request) for _ in range(3)]

    assert [None] * 3 == asyncio.run(asyncio.wait_for(thrice(), 30))
    assert 1 == len(near.asked)


def test_a_hint_has_the_machine_to_itself() -> None:
    """What is on standby gives way before the hint is asked for, and nobody takes its queue for another's."""
    near, standby = Near(), Standby()
    near.queue_s = 20.0  # of what is on standby
    signal = IntentSignal("builtin", Catalog(), near, standby)

    async def go() -> tuple[PromptIntent | None, bool]:
        shadow = asyncio.create_task(asyncio.sleep(3600))
        standby.take(shadow)
        found = await signal.of(chat().request)
        await asyncio.wait([shadow])
        return found, shadow.cancelled()

    assert (PromptIntent("refund", 0.9), True) == asyncio.run(go())
    assert (1, 1) == (standby.preempted, len(near.asked))
