"""What is changed at run time over what a file says: any sequence of changes is kept, undone and found again."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from router.decision_log.log import DecisionLog
from router.editing import changes, editor, keeping
from router.editing.changes import AliasPatch, ModelPatch
from router.editing.overlay import Held, Overlay, effective, outdated
from router.errors import CatalogError, Conflict, InvalidRequest, RouterError, SettingsError
from router.sections import AliasEntry, LogSettings, MatchEntry, Price, RouteEntry, Settings, UseEntry
from router.settings import load
from tests.unit.router.house import CHAT, chat_model, fake

MODELS = (CHAT, "x/one", "x/two", "fake/chat")
NAMES = ("team", "chat", "quick")
BASE = Settings(
    models=(chat_model(fake(), fake("b")),),
    aliases=(AliasEntry(name="team", models=(CHAT,)),),
    routes=(RouteEntry(name="first", match=MatchEntry(tenant="t"), use=UseEntry(alias="team")),),
)

_models, _names = st.sampled_from(MODELS), st.sampled_from(NAMES)
_usd = st.sampled_from([0.0, 0.5, 3.0, 1e-9])  # the last is no price that a million tokens can have
_routes = st.builds(
    RouteEntry,
    name=st.sampled_from(["first", "second", "third"]),
    match=st.builds(MatchEntry, tag=st.sampled_from(["a", "b", None])),
    use=st.builds(UseEntry, alias=_names),
)
_change = st.one_of(
    st.builds(lambda name, usd: changes.add_model(chat_model(fake(price=price(usd)), model=name)), _models, _usd),
    st.builds(lambda name, on: changes.patch_model(name, ModelPatch(enabled=on)), _models, st.booleans()),
    st.builds(lambda name, usd: changes.patch_model(name, ModelPatch(prices={"a": price(usd)})), _models, _usd),
    st.builds(lambda name: changes.patch_model(name, ModelPatch(quality=0.5, prices={"a": None})), _models),
    st.builds(changes.delete_model, _models),
    st.builds(
        lambda name, models: changes.put_alias(AliasEntry(name=name, models=tuple(models))),
        _names,
        st.lists(st.one_of(_models, _names), min_size=1, max_size=2),
    ),
    st.builds(lambda name, on: changes.patch_alias(name, AliasPatch(enabled=on)), _names, st.booleans()),
    st.builds(lambda name, model: changes.patch_alias(name, AliasPatch(fallbacks=(model,))), _names, _models),
    st.builds(changes.delete_alias, _names),
    st.builds(changes.insert_route, _routes, st.sampled_from([None, "first", "second"])),
    st.builds(lambda on: changes.enable_route("first", enabled=on), st.booleans()),
    st.builds(changes.replace_route, st.sampled_from(["first", "second"]), _routes),
    st.builds(changes.delete_route, st.sampled_from(["first", "second"])),
    st.builds(lambda entries: changes.put_routes(tuple(entries)), st.lists(_routes, max_size=2)),
    st.just(changes.reveal_routes()),
)  # fmt: skip


def price(usd: float) -> Price:
    return Price(input_per_1m_usd=usd, as_of="2026-11-26", source="a test")


def at(folder: str | Path, base: Settings = BASE) -> Settings:
    return replace(base, log=LogSettings(path=str(Path(folder) / "nearfar.duckdb")))


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(_change, max_size=12))
def test_any_sequence_of_changes_is_found_again_after_a_restart(made) -> None:
    """What is in force after the last change is in force at the next start, to the order of the entries.

    A refused change leaves all as it was; and whoever goes back to the configuration has what it began with.
    """
    with tempfile.TemporaryDirectory() as folder:
        base = at(folder)
        now = first = editor.opened(base)[0]
        for change in made:
            try:
                now = editor.changed(now.held, change)
            except RouterError:
                continue
            keeping.write(keeping.path_of(base), keeping.Kept(overlay=now.held.overlay))
        again, _ = editor.opened(base)

        assert (now.snapshot, now.held, now.settings) == (again.snapshot, again.held, again.settings)
        assert list(now.catalog) == list(again.catalog)
        assert list(now.catalog.aliases.items()) == list(again.catalog.aliases.items())
        assert first.snapshot == editor.changed(now.held, changes.restore(Overlay(), "first")).snapshot
        assert base == now.held.base


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(_change, max_size=8), _models)
def test_a_model_taken_back_is_as_the_file_has_it(made, name) -> None:
    """Whatever was done to it: removing what was changed leaves the file's entry, or none."""
    held = Held(BASE)
    for change in made:
        try:
            held = editor.changed(held, change).held
        except RouterError:
            continue
    with contextlib.suppress(RouterError):  # nothing of it was changed
        held = Held(BASE, changes.delete_model(name).make(held))
    found = {entry.id: entry for entry in effective(BASE, held.overlay).models}

    assert found.get(name) == {entry.id: entry for entry in BASE.models}.get(name)


def test_without_changes_the_configuration_is_the_configuration() -> None:
    """Lines of the file are named as ever."""
    assert BASE is effective(BASE, Overlay())


def test_a_disabled_model_stays_known_and_its_aliases_hold() -> None:
    """Who names it need not be changed first; it is only not asked."""
    made = editor.changed(Held(BASE), changes.patch_model(CHAT, ModelPatch(enabled=False)))

    assert (CHAT,) == made.catalog.models_of("team")
    assert made.catalog.first_for("text-generation") != CHAT


def test_a_built_in_model_that_is_disabled_is_in_no_built_in_alias() -> None:
    """`embed` is the first model that embeds and may be asked."""
    minilm = "sentence-transformers/all-MiniLM-L6-v2"
    assert (minilm,) == editor.made(Held(BASE)).catalog.models_of("embed")
    made = editor.changed(Held(BASE), changes.patch_model(minilm, ModelPatch(enabled=False)))

    assert made.catalog.alias("embed") is None


def test_a_price_changes_where_it_is_meant_to() -> None:
    """A provider's name prices all its candidates of the model, PROVIDER:MODEL one of them; the others stay."""
    base = replace(BASE, models=(chat_model(fake(), fake(model="other"), fake("b")),))
    patch = ModelPatch(prices={"a": price(1.0), "a:other": None})
    entry = editor.changed(Held(base), changes.patch_model(CHAT, patch)).catalog.find(CHAT)

    assert entry is not None
    assert [price(1.0), None, fake().price] == [candidate.price for candidate in entry.candidates]


def test_what_the_file_says_otherwise_by_now_is_told() -> None:
    """A run-time entry stays in force, and whoever looks is told that the file has moved beneath it."""
    held = editor.changed(Held(BASE), changes.patch_model(CHAT, ModelPatch(quality=0.4))).held
    held = editor.changed(held, changes.add_model(chat_model(model="x/one"))).held
    held = editor.changed(held, changes.delete_route("first")).held
    assert [] == outdated(held)
    moved = replace(BASE, models=(chat_model(fake("c")), chat_model(model="x/one")), routes=())

    assert [
        f"model {CHAT}: changed in the file after it was written at run time; the run-time entry is in force",
        "model x/one: came into the file after it was written at run time; the run-time entry is in force",
        "routes: changed in the file after it was written at run time; the run-time entry is in force",
    ] == outdated(Held(moved, held.overlay))
    [gone, *_] = outdated(Held(replace(BASE, models=()), held.overlay))
    assert "the file does not have it any more" in gone


def test_changing_it_again_does_not_hide_that_the_file_has_moved() -> None:
    """A later change of one field is made to the run-time entry: of the file's nobody has looked."""
    held = editor.changed(Held(BASE), changes.patch_model(CHAT, ModelPatch(quality=0.4))).held
    moved = Held(replace(BASE, models=(chat_model(fake("c")),)), held.overlay)
    again = editor.changed(moved, changes.patch_model(CHAT, ModelPatch(quality=0.5)))

    assert 1 == len(outdated(again.held))
    assert again.warnings[-1:] == outdated(again.held)


def test_a_file_that_does_not_go_with_the_changes_is_refused_with_where_to_look(tmp_path) -> None:
    """The configuration lost the model that a run-time alias names; taking the alias back puts it right."""
    base = at(tmp_path)
    alias = changes.put_alias(AliasEntry(name="quick", models=(CHAT,)))
    log = DecisionLog.open(Path(":memory:"))
    try:
        editor.change_kept(base, log, alias, "me")
        poorer = replace(base, models=(), aliases=(), routes=())
        with pytest.raises(CatalogError, match=r"aliases: quick: unknown model.*nearfar\.catalog\.json.*aliases"):
            editor.opened(poorer)
        _, changed = editor.change_kept(poorer, log, changes.delete_alias("quick"), "me")
        assert changed
        assert editor.opened(poorer)[0].held == Held(poorer)
    finally:
        log.close()


def test_a_refusal_names_lines_only_where_the_file_has_the_last_word(tmp_path) -> None:
    """Models that were changed at run time have other places than the file's; its routes are where they were."""
    file = tmp_path / "nearfar.toml"
    file.write_text(
        '[[models]]\nid = "a/b"\ntask = "text-generation"\n  [[models.candidates]]\n  backend = "fake"\n'
        '  provider = "a"\n[[routes]]\nname = "first"\nuse = { models = ["x/one"] }\n'
    )
    base = load(file, {})
    with pytest.raises(SettingsError, match=r"nearfar\.toml, line 7: routes: first"):
        editor.made(Held(base))
    held = Held(base, changes.add_model(chat_model(model="x/one")).make(Held(base)))
    assert "x/one" in editor.made(held).catalog.listed
    with pytest.raises(InvalidRequest, match=r"^models: x/two: unknown task 'tea'"):
        editor.changed(held, changes.add_model(replace(chat_model(model="x/two"), task="tea")))


def test_a_damaged_file_is_refused_and_names_no_path(tmp_path) -> None:
    """Nobody guesses what was changed: it can be put right, or deleted."""
    base = at(tmp_path)
    path = keeping.path_of(base)
    assert path is not None
    for text, words in (
        ("{", "delete it"),
        ('{"version": 9}', "version is 9"),
        ('{"overlay": {"models": {"a": 1}}}', "delete it"),
    ):
        path.write_text(text)
        with pytest.raises(CatalogError, match=words) as refused:
            editor.opened(base)
        assert str(tmp_path) not in str(refused.value)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogError):
        editor.opened(base)


def test_a_log_in_memory_keeps_nothing(tmp_path, monkeypatch) -> None:
    """There is no place beside it."""
    monkeypatch.chdir(tmp_path)
    base = replace(BASE, log=LogSettings(path=":memory:"))
    keeping.write(keeping.path_of(base), keeping.Kept(change="something"))

    assert [] == list(tmp_path.iterdir())


def test_the_file_is_its_owners_alone(tmp_path) -> None:
    """It says where weights lie."""
    path = keeping.path_of(at(tmp_path / "new"))
    keeping.write(path, keeping.Kept())

    assert path is not None
    assert 0o600 == path.stat().st_mode & 0o777
    assert [path] == list(path.parent.iterdir())


def test_another_snapshot_than_expected_is_a_conflict() -> None:
    """Nobody changes what was not seen; without a word, or with `*`, nobody is asked."""
    for expected in (None, "*", "abc"):
        editor.expect(expected, "abc")
    with pytest.raises(Conflict, match="abc"):
        editor.expect("def", "abc")


def test_there_are_no_more_entries_than_the_limit(monkeypatch) -> None:
    """What is kept at run time has a bound."""
    monkeypatch.setattr(changes, "MAX_ENTRIES", 1)
    held = Held(BASE, changes.add_model(chat_model(model="x/one")).make(Held(BASE)))
    with pytest.raises(InvalidRequest, match="limit"):
        changes.add_model(chat_model(model="x/two")).make(held)
    with pytest.raises(InvalidRequest, match="1 at most"):
        changes.put_routes((RouteEntry(), RouteEntry())).make(held)
