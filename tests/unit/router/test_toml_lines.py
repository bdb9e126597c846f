"""The line of a table or a key in the configuration's file: the parser's own opinion, never a guess."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.sections import Settings
from router.settings import load
from router.toml_lines import line_of, place_of

TEXT = '''\
# [[models]] in a comment
title = """
[[models]]
"""
[[models]]
id = "a"
  [[models.candidates]]
  backend = "fake"
  price = { input_per_1m_usd = 1.0 }
  [[ models . candidates ]]  # the second
  backend = "local"
  [models.candidates.price]
  output_per_1m_usd = 2.0

[["models"]]
id = "[[models]]"
  [[models.candidates]]
  backend = "fake"
  price.per_request_usd = 1.0
inline = [{ a = 1 },
  { a = 2 }]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("models", 0), 5),
        (("models", 1), 15),
        (("models", 0, "candidates", 0), 7),
        (("models", 0, "candidates", 1), 10),
        (("models", 1, "candidates", 0), 17),
        (("models", 0, "candidates", 0, "price", "input_per_1m_usd"), 9),
        (("models", 0, "candidates", 1, "price", "output_per_1m_usd"), 13),
        (("models", 1, "candidates", 0, "price", "per_request_usd"), 19),
        (("models", 1, "id"), 16),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_and_a_key_have_the_line_on_which_they_stand(path, line, end) -> None:
    """However it is written: spaces, quotes, comments, strings that look like a table, and either end of line."""
    assert line == line_of(TEXT.replace("\n", end), *path)


@pytest.mark.parametrize(
    "path", [("models", 2), ("routes", 0), ("models", 0, "gone"), ("title", 0, 0), ("models", 1, "id", "x"), (0,)]
)
def test_what_is_not_there_has_no_line(path) -> None:
    """Neither has anything in a text that is no TOML."""
    assert line_of(TEXT, *path) is None
    assert line_of("[[models]\n", *path) is None


def test_an_array_over_several_lines_tells_no_line() -> None:
    """Its end could be told, which would send a reader astray."""
    assert line_of('x = [\n  { name = "a" },\n  { name = "b" },\n]\n', "x", 1, "name") is None


names = st.sampled_from(["routes", "models", "budgets"])
noise = st.lists(st.sampled_from(["", "# [[models]]", 'x = "[[routes]]"', "  "]), max_size=3, unique=True)


@given(st.lists(st.tuples(names, noise), max_size=30), names, st.integers(0, 12))
def test_any_table_of_any_document_is_found_where_it_was_written(tables, name, index) -> None:
    """As many as there are, and None past the last one."""
    lines: list[str] = []
    written: list[int] = []
    for each, filling in tables:
        lines += [f"[[{each}]]", *filling]
        if each == name:
            written.append(len(lines) - len(filling))
    text = "\n".join(lines)
    tomllib.loads(text)

    assert (written[index] if index < len(written) else None) == line_of(text, name, index)


def test_settings_know_the_file_they_come_from() -> None:
    """A key that is missing is looked for in the table in which it would stand."""
    path = Path("nearfar.toml")
    path.write_text('[routing]\npolicy = "fastest"\n\n[[budgets]]\nlimit_usd = 1\n', encoding="utf-8")
    settings = load(path, {})

    assert "nearfar.toml, line 4: " == place_of(settings, "budgets", 0)
    assert "nearfar.toml, line 5: " == place_of(settings, "budgets", 0, "limit_usd")
    assert "nearfar.toml, line 4: " == place_of(settings, "budgets", 0, "scope")
    assert "" == place_of(settings, "models", 0)


def test_no_line_is_named_for_what_the_environment_said() -> None:
    """Settings without a file, and sections that a variable has changed, stand on no line."""
    path = Path("nearfar.toml")
    path.write_text("[[budgets]]\nlimit_usd = 1\n[server]\nport = 1\n", encoding="utf-8")
    settings = load(path, {"NEARFAR_SERVER__PORT": "2"})

    assert "nearfar.toml, line 1: " == place_of(settings, "budgets", 0)
    assert "" == place_of(settings, "server", "port")
    assert "" == place_of(Settings(), "budgets", 0)
