"""Sets of intents that tenants define: each its own, of whatever name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.local.intents.heads import Heads
from router.errors import Forbidden, InvalidRequest, UnknownModel
from router.identity import is_known_to, is_owned, owned
from tests.unit.backends.local.trigrams import SUPPORT, Trigrams
from tests.unit.router.test_intents import MODEL, configured, files, opened

if TYPE_CHECKING:
    from pathlib import Path

FEWER = msgspec.structs.replace(SUPPORT, intents=dict(list(SUPPORT.intents.items())[:2]))


def test_two_tenants_and_everybody_may_use_one_name(tmp_path: Path) -> None:
    """Each has a model and a file of its own, now and after the next start; whoever has none reads everybody's."""
    sets = opened(tmp_path)
    everybodys = asyncio.run(sets.define(SUPPORT))
    mine, theirs = (asyncio.run(sets.define(wanted, who)) for wanted, who in ((FEWER, "a"), (SUPPORT, "b")))
    again = opened(tmp_path)

    assert 3 == len({told["model"] for told in (everybodys, mine, theirs)}) == len(files(tmp_path))
    assert ("support", True, ["refund", "delivery"]) == (mine["name"], mine["own"], mine["labels"])
    for found in (sets, again):
        assert [everybodys["model"], mine["model"]] == [told["model"] for told in asyncio.run(found.all("a"))]
        assert 3 == len(asyncio.run(found.all()))
        assert 2 == len(asyncio.run(found.one("support", "a"))["intents"])
        assert MODEL == asyncio.run(found.one("support", "c"))["model"]


def test_a_tenants_set_is_fitted_and_found_by_the_near_side(tmp_path: Path) -> None:
    """Under the name that the model's candidate says."""
    sets = opened(tmp_path)
    told = asyncio.run(sets.define(FEWER, "a"))
    model = Trigrams(tmp_path)
    model.opening = msgspec.structs.replace(model.opening, intents_dir=tmp_path / "nearfar-intents")
    entry = sets._catalog.find(told["model"])

    assert entry is not None
    assert ("refund", "delivery", "unknown") == Heads(model).classifier(entry.candidates[0].head or "").labels


def test_what_is_not_ones_own_is_not_changed(tmp_path: Path) -> None:
    """Another's is unknown, everybody's is forbidden, the configuration's is the configuration's."""
    sets = opened(tmp_path, configured("words"))
    asyncio.run(sets.define(SUPPORT))
    theirs = asyncio.run(sets.define(FEWER, "b"))

    with pytest.raises(UnknownModel):
        asyncio.run(sets.remove(theirs["model"].removeprefix("intents/"), "a"))
    with pytest.raises(Forbidden, match="'support'"):
        asyncio.run(sets.remove("support", "a"))
    with pytest.raises(InvalidRequest, match="defined by the configuration"):
        asyncio.run(sets.remove("words", "a"))
    asyncio.run(sets.remove("support", "b"))
    assert MODEL == asyncio.run(sets.one("support", "b"))["model"]


def test_a_mark_is_nobodys_to_write(tmp_path: Path) -> None:
    """A set cannot be called as another's is kept."""
    with pytest.raises(InvalidRequest, match="name"):
        asyncio.run(opened(tmp_path).define(msgspec.structs.replace(SUPPORT, name=owned("support", "b")), "a"))


def test_a_tenant_has_room_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many others have defined; and no more than its own room."""
    monkeypatch.setattr("router.intents.sets.MAX_SETS", 1)
    monkeypatch.setattr("router.intents.sets.MAX_OWN_SETS", 1)
    sets = opened(tmp_path)
    for sees in (None, "a", "b"):
        asyncio.run(sets.define(SUPPORT, sees))
        with pytest.raises(InvalidRequest, match="there are 1 sets already"):
            asyncio.run(sets.define(msgspec.structs.replace(SUPPORT, name="another"), sees))


def test_nobody_who_names_only_a_task_gets_a_tenants_model(tmp_path: Path) -> None:
    """Of the catalogue's models only everybody's stand for their task."""
    sets = opened(tmp_path)
    told = asyncio.run(sets.define(SUPPORT, "a"))
    catalog = sets._catalog
    for entry in list(catalog):
        if entry.task == "text-classification" and entry.id != told["model"]:
            catalog.remove(entry.id)

    with pytest.raises(InvalidRequest, match="No model of the catalogue"):
        catalog.first_for("text-classification")


@given(st.text(), st.text(), st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True))
def test_a_model_is_known_to_its_tenant_alone(one: str, other: str, name: str) -> None:
    """Whatever tenants and sets are called; what nobody marked is known to all."""
    model = f"intents/{owned(name, one)}"

    assert is_owned(model)
    assert is_known_to(model, one)
    assert is_known_to(model, None)
    assert (one == other) == is_known_to(model, other)
    assert is_known_to(f"intents/{name}", other)
    assert is_known_to(f"@cf/meta/{name}", other)
