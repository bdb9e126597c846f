"""The catalogue from the command line, where no server runs: what is kept beside the log is changed, and checked."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.cli import main
from router.decision_log.log import DecisionLog
from router.editing import editor
from router.settings import load

CONFIG = """
[[models]]
id = "team/file"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "a"
"""
ROUTES = """
[[routes]]
name = "all"
match = { model = "auto" }
use = { models = ["team/file"] }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    """Where the configuration is; the tests run in it."""
    (tmp_path / "nearfar.toml").write_text(CONFIG)
    return tmp_path


def nearfar(*args: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, args)

    assert code == done.exit_code, done.output
    return done.output


def made() -> editor.Made:
    return editor.opened(load(None, {}))[0]


def test_a_model_is_added_priced_disabled_enabled_and_removed() -> None:
    """Each command is a snapshot, and the next one goes on from it."""
    added = (
        "--task",
        "text-generation",
        "--provider",
        "huggingface",
        "--as",
        "org/far",
        "--input",
        "0.5",
        "--local",
        "hub",
    )
    assert made().snapshot.id not in nearfar("models", "add", "team/far", *added)
    entry = made().catalog.listed["team/far"]
    assert [("local", None), ("remote", 0.5)] == [
        (one.backend, one.price and one.price.input_per_1m_usd) for one in entry.candidates
    ]
    nearfar("models", "price", "team/far", "huggingface", "--input", "0.25", "--output", "1")
    assert 0.25 == made().catalog.listed["team/far"].candidates[1].price.input_per_1m_usd
    nearfar("models", "price", "team/far", "huggingface:org/far", "--unknown")
    assert made().catalog.listed["team/far"].candidates[1].price is None
    nearfar("models", "disable", "team/far")
    assert not made().catalog.listed["team/far"].enabled
    assert "nothing to change" in nearfar("models", "disable", "team/far")
    nearfar("models", "enable", "team/far")
    assert made().catalog.listed["team/far"].enabled
    nearfar("models", "remove", "team/far")
    assert "team/far" not in made().catalog.listed


def test_aliases_and_routes_are_set_listed_and_removed(folder) -> None:
    """As tables, or as data."""
    (folder / "routes.toml").write_text(ROUTES)
    (folder / "first.toml").write_text(ROUTES.replace('"all"', '"first"').replace("auto", "team/file"))
    nearfar("aliases", "set", "quick", "team/file", "--fallback", "fake/chat", "--policy", "fastest")
    [quick] = [one for one in json.loads(nearfar("aliases", "list", "--json")) if one["name"] == "quick"]
    assert ("run-time", ["team/file"], "fastest") == (quick["origin"], quick["models"], quick["entry"]["policy"])
    assert "run-time" in nearfar("aliases", "list")
    nearfar("aliases", "disable", "quick")
    nearfar("aliases", "disable", "embed")
    assert "embed" in nearfar("aliases", "list")
    assert made().catalog.alias("quick") is None
    nearfar("aliases", "enable", "quick")
    nearfar("routes", "set", "routes.toml")
    nearfar("routes", "add", "first.toml", "--before", "all")
    assert ["first", "all"] == [one["name"] for one in json.loads(nearfar("routes", "list", "--json"))]
    assert "first" in nearfar("routes", "list")
    nearfar("routes", "remove", "first")
    assert ["all"] == [route.name for route in made().settings.routes]
    nearfar("routes", "remove", "--all-changes")
    nearfar("aliases", "remove", "quick")
    nearfar("aliases", "remove", "embed")
    assert load(None, {}) == made().settings


def test_models_of_a_file_are_added(folder) -> None:
    """The file has the shape that the configuration has, and nothing else in it."""
    more = folder / "more.toml"
    more.write_text(CONFIG.replace("team/file", "team/one") + CONFIG.replace("team/file", "team/two"))
    nearfar("models", "add", "--file", "more.toml")
    assert {"team/one", "team/two"} <= set(made().catalog.listed)
    for text, words in (
        ("[log]\npath = 'x'\n", "[[models]] is expected"),
        ("models = 3\n", "more.toml"),
        ("=", "more.toml"),
        (CONFIG.replace("task", "tusk"), "tusk"),
    ):
        more.write_text(text)
        assert words in nearfar("models", "add", "--file", "more.toml", code=1)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("models", "add"), 2, "ID of a model, or --file"),
        (("models", "add", "x/y", "--provider", "huggingface"), 2, "needs --task"),
        (("models", "add", "x/y", "--task", "text-generation", "--local", "hub", "--input", "1"), 2, "give --provider"),
        (("models", "add", "x/y", "--task", "tea", "--local", "hub"), 1, "unknown task 'tea'"),
        (("models", "add", "x/y", "--task", "text-generation", "--local", "hub", "--quality", "7"), 1, "quality"),
        (("models", "price", "team/file", "a"), 2, "--unknown"),
        (("models", "price", "team/file", "a", "--input", "0.0000005"), 1, "Then write 0.5"),
        (("models", "price", "team/file", "a", "--input", "-1"), 1, "prices"),
        (("models", "remove", "team/file"), 1, "the file's"),
        (("models", "disable", "no/such"), 1, "no/such"),
        (("aliases", "set", "x", "team/fil"), 1, "near ones: team/file"),
        (("routes", "remove"), 2, "--all-changes"),
        (("routes", "remove", "x"), 1, "no route 'x'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_kept(folder, args, code, words) -> None:
    """As at the start: what is wrong, where, and what there is instead."""
    assert words in nearfar(*args, code=code)
    assert not list(folder.glob("*.catalog.json"))


def test_whoever_owns_the_log_owns_the_catalogue(folder) -> None:
    """A server that runs would not know of it: it has to be asked itself."""
    log = DecisionLog.open(folder / "nearfar.duckdb")
    try:
        assert "already open" in nearfar("models", "disable", "team/file", code=1)
    finally:
        log.close()
    assert not list(folder.glob("*.catalog.json"))


def test_what_the_command_line_changes_is_in_the_audit_too() -> None:
    """With what was refused: who looks through the audit need not know where a change was made."""
    nearfar("models", "disable", "team/file")
    nearfar("models", "disable", "team/nobody", code=1)

    told = json.loads(nearfar("keys", "audit", "--json"))

    assert [
        ("catalog.change", "disabled model team/nobody", "cli", "UnknownModel"),
        ("catalog.change", "disabled model team/file", "cli", "ok"),
    ] == [(one["action"], one["subject"], one["surface"], one["result"]) for one in told]
