"""What is a suite, and what is refused: with the file, the key and the line."""

from pathlib import Path

import duckdb
import pytest

from router.compare.inputs import Input, inputs_of
from router.compare.run import Closed, Open
from router.compare.suite import built_in, opened, read
from router.errors import InvalidRequest

WELL = """\
name = "two"
task = "feature-extraction"
metric = "cosine"
reference = "one"
inputs = ["hello"]
[[candidates]]
name = "one"
model = "m"
[[candidates]]
name = "other"
model = "m"
provider = "p"
"""
DATA = """\
name = "two"
task = "text-classification"
metric = "label_accuracy"
data = {{ path = "rows.{0}", format = "{0}", input = "text", expected = "label", limit = 2 }}
[[candidates]]
model = "m"
[[candidates]]
model = "n"
"""
ROWS = [("one, two", "x"), ("drei", "y"), ("four", "x")]


@pytest.mark.parametrize(
    ("old", "new", "key", "line"),
    [
        ('metric = "cosine"', "nope = 1", "nope", 3),
        ('provider = "p"', 'provder = "p"', "provder", 12),
        ('task = "feature-extraction"', 'task = "embed"', "task", 2),
        ('inputs = ["hello"]', "inputs = []", "inputs", 5),
        ('inputs = ["hello"]', "inputs = [{ expected = 'x' }]", "inputs", 5),
        ('reference = "one"', 'reference = "none"', "reference", 4),
        ('metric = "cosine"', 'metric = "word_error_rate"', "metric", 3),
        ('metric = "cosine"', 'metric = "vote"', "metric", 3),
        ('reference = "one"', "repeats = 0", "repeats", 4),
        ('reference = "one"', "", "metric", 3),
        ('reference = "one"', "rate_per_s = 1\nconcurrency = 2", "rate_per_s", 4),
        ('reference = "one"', "rate_per_s = []", "rate_per_s", 4),
        ('reference = "one"', "stream = true", "stream", 4),
        ('name = "other"', 'name = "one"', "candidates[0]", 6),
        ('provider = "p"', 'backend = "remote"\nruntime = "onnx"', "candidates[1].runtime", 13),
        ('[[candidates]]\nname = "other"\nmodel = "m"\nprovider = "p"\n', "", "candidates", 6),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_line(old: str, new: str, key: str, line: int) -> None:
    """As the settings refuse theirs: file, key, what is wrong, line."""
    assert old in WELL
    with pytest.raises(InvalidRequest) as refused:
        read(WELL.replace(old, new), "mine.toml")

    said = str(refused.value)
    assert said.startswith("mine.toml: ")
    assert key in said
    assert f"(line {line})." in said


def test_no_toml_and_no_file_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"mine\.toml: not valid TOML"):
        read("a = ", "mine.toml")
    with pytest.raises(InvalidRequest, match=r"nope\.toml: no such suite.*embeddings"):
        opened(str(tmp_path / "nope.toml"))


def test_a_load_is_callers_or_arrivals_and_may_be_several() -> None:
    one = WELL.replace('reference = "one"', 'reference = "one"\n{}')

    assert (Closed(concurrency=1),) == read(WELL, "x").loads
    assert (Closed(concurrency=1), Closed(concurrency=8)) == read(one.format("concurrency = [1, 8]"), "x").loads
    assert (Open(rate_per_s=2.5),) == read(one.format("rate_per_s = 2.5"), "x").loads
    constant = read(one.format("rate_per_s = [1, 2]\narrivals = 'constant'"), "x").loads
    assert (Open(rate_per_s=1, process="constant"), Open(rate_per_s=2, process="constant")) == constant


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_data_are_read_beside_the_suite(tmp_path: Path, kind: str) -> None:
    """The columns that are named, and no more rows than are wanted."""
    file = tmp_path / f"rows.{kind}"
    if kind == "csv":
        file.write_text("label,text\n" + "".join(f'{label},"{text}"\n' for text, label in ROWS))
    elif kind == "jsonl":
        file.write_text("".join(f'{{"text": "{text}", "label": "{label}", "n": 1}}\n' for text, label in ROWS))
    else:
        values = ", ".join(f"('{text}', '{label}', 1)" for text, label in ROWS)
        duckdb.sql(f"COPY (SELECT * FROM (VALUES {values}) t(text, label, n)) TO '{file}' (FORMAT parquet)")
    (tmp_path / "mine.toml").write_text(DATA.format(kind))

    suite, folder = opened(str(tmp_path / "mine.toml"))

    assert (Input("one, two", "x"), Input("drei", "y")) == inputs_of(suite, folder)


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("csv", "a,label\n1,x\n", "row 1: 'text' is neither"),
        ("jsonl", '{"text": "a"}\n', "row 1: there is no 'label'"),
        ("jsonl", "no json\n", "not jsonl"),
        ("parquet", "no parquet", "cannot be read as Parquet"),
        ("csv", None, "cannot be read"),
    ],
)
def test_data_that_are_not_there_are_refused(tmp_path: Path, kind: str, content: str | None, said: str) -> None:
    """Naming the file, and nothing of where it lies."""
    if content is not None:
        (tmp_path / f"rows.{kind}").write_text(content)

    with pytest.raises(InvalidRequest) as refused:
        inputs_of(read(DATA.format(kind), "mine.toml"), tmp_path)

    assert f"rows.{kind}: " in str(refused.value)
    assert said in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_who_sends_a_suite_names_no_file_of_the_server() -> None:
    with pytest.raises(InvalidRequest, match="files are read by the command line alone"):
        inputs_of(read(DATA.format("csv"), "mine.toml"), None)


@pytest.mark.parametrize("name", sorted(built_in()))
def test_ready_made_suites_can_be_read_with_their_inputs(name: str) -> None:
    suite, folder = opened(name)

    assert name == suite.name
    assert inputs_of(suite, folder)
    assert len([one for one in suite.candidates if one.required]) > 1


def test_there_is_a_suite_for_each_kind() -> None:
    assert {"embeddings", "chat", "intent", "image", "speech"} == set(built_in())
