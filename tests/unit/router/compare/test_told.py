"""A report as people read it: tables, Markdown and a page, which say the same, and are safe whatever a name is."""

import random
import re

import msgspec
import pytest
from msgspec.structs import replace

from router.compare.charts import Point, inks, unbeaten
from router.compare.intervals import Bounds
from router.compare.markdown import markdown
from router.compare.page import page
from router.compare.report import Report, report_of
from router.compare.run import Closed
from router.compare.table import notes, tables
from router.compare.votes import Vote
from router.compare.words import between
from tests.unit.router.compare.runs import run as made
from tests.unit.router.compare.runs import served, simulated
from tests.unit.router.report.test_page import HOSTILE, Read


def full(name: str = "far b", **about):
    """A run of everything that can be measured."""
    run = simulated(1, factors={"near a": 1.0, name: 1.5}, inputs=12, repeats=6)
    chance = random.Random(1)
    trials = tuple(
        replace(each, score=float(chance.random() < 0.8), first_token_s=each.total_s / 3, output_tokens=5)
        for each in run.trials
    )
    told = {"metric": "exact_match", "machine": {"cores": 2, "ram_bytes": 2**33, "gpus": None}}
    return replace(run, trials=trials, candidates=(served("near a"), served(name, "remote")), **told | about)


def drawn(run, votes=()) -> Read:
    return Read(page(run, report_of(run, votes), "Made by a test."))


def test_the_page_is_whole_and_loads_nothing() -> None:
    """Its only addresses are those of its own parts; there is no script."""
    read = drawn(full())

    assert not {"script", "img", "iframe", "object", "base", "form", "input"} & set(read.tags)
    assert [] == [value for name, value in read.attributes if name in {"src", "href", "style"} or name.startswith("on")]
    assert any("default-src 'none'" in value for _, value in read.attributes)
    assert [
        "Findings", "Latency", "Latency compared", "First token compared", "Cost compared", "Quality compared",
        "Cost of a thousand and exact match", "Over the run", "How it was done",
    ] == read.said("h2")  # fmt: skip


def test_every_id_of_the_page_is_its_own() -> None:
    """Of two loads, too."""
    run = full()
    both = replace(
        run, loads=(Closed(), Closed(concurrency=4)), trials=run.trials + tuple(replace(t, load=1) for t in run.trials)
    )
    ids = [value for name, value in drawn(both).attributes if name == "id"]

    assert len(ids) == len(set(ids)) > 10


def test_several_loads_make_a_curve() -> None:
    """A point for each load of a candidate, and a table of them."""
    run = full()
    loads = (Closed(), Closed(concurrency=4))
    both = replace(run, loads=loads, trials=run.trials + tuple(replace(t, load=1) for t in run.trials))

    assert {"Throughput", "Latency under one caller", "Latency under 4 callers"} <= set(drawn(both).said("h2"))


@pytest.mark.parametrize("name", [HOSTILE, "a|b\n# c", "x" * 300, "\u202e\x00"])
def test_a_name_is_words_and_nothing_else(name) -> None:
    """In the page and in Markdown's tables."""
    run = full(name, suite=name)
    read, text = drawn(run), markdown(report_of(run), "Made.")

    assert "script" not in read.tags
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {1} == {len({len(re.findall(r"(?<!\\)\|", row)) for row in block}) for block in blocks(rows)}
    assert "<script" not in text


def blocks(rows: list[str]) -> list[list[str]]:
    """Rows by the table that they are of: a table begins above its rule."""
    rules = [at for at, row in enumerate(rows) if set(row) <= set("| -")]
    starts = [at - 1 for at in rules]
    return [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]


def test_all_forms_say_the_same() -> None:
    """Every finding and every doubt."""
    run = full()
    report = report_of(run, [Vote(at, "near a", "far b", "near a") for at in range(12)])
    words = [cell for table in tables(report) for row in table.rows for cell in row]
    text, read = markdown(report, "Made."), Read(page(run, report, "Made."))
    shown = " ".join(data for _, data in read.words)

    assert len(report.verdicts) == 5
    for verdict in report.verdicts:
        assert verdict in words
        assert verdict in shown
        assert verdict.replace("<", "&lt;") in text
    for note in notes(report):
        assert note in shown
        assert note in text
    assert "8.0 GiB" in text
    assert "8.0 GiB" in shown


def test_an_unknown_cost_is_told_as_unknown() -> None:
    """In the table, and no point is drawn for it."""
    run = full()
    report = report_of(replace(run, trials=tuple(replace(each, cost_usd=None) for each in run.trials)))
    measured = tables(report)[0]
    at = measured.columns.index("cost of 1 000")

    assert {"unknown"} == {row[at] for row in measured.rows}


def test_some_unknown_costs_are_counted_beside_the_others() -> None:
    """The mean of the others is not everybody's."""
    run = full()
    trials = (replace(run.trials[0], cost_usd=None), *run.trials[1:])
    cells = [cell for row in tables(report_of(replace(run, trials=trials)))[0].rows for cell in row]

    assert 1 == sum("1 unknown" in cell for cell in cells)


@pytest.mark.parametrize(
    ("bounds", "kind", "said"),
    [
        (Bounds(0.02, 0.01, 0.03), "s", "20.0 ms (10.0 to 30.0 ms)"),
        (Bounds(1.0, 0.9, 1.5), "s", "1.00 s (900 ms to 1.50 s)"),
        (Bounds(0.02, 0.01, None), "s", "20.0 ms (10.0 ms or more)"),
        (Bounds(0.02, None, 0.03), "s", "20.0 ms (up to 30.0 ms)"),
        (Bounds(0.02), "s", "20.0 ms"),
        (Bounds(1500.0, 1000.0, 2000.0), "count", "1 500 (1 000 to 2 000)"),
        (Bounds(0.001, 0.0009, 0.002), "usd", "$0.001 ($0.0009 to $0.002)"),
        (Bounds(0.9, 0.8, 0.95), "share", "90.0 % (80.0 to 95.0 %)"),
        (None, "usd", "unknown"),
    ],
)
def test_a_figure_is_said_with_its_interval(bounds, kind, said) -> None:
    """The unit once where it is one; an end that nobody knows is left open."""
    assert said == between(bounds, kind)


def test_a_run_without_answers_can_be_told() -> None:
    """And one that has only begun."""
    failed = full()
    failed = replace(failed, trials=tuple(replace(each, status="error", error="timeout") for each in failed.trials))
    begun = made([], candidates=(served("a"), served("b")), ended_at=None, planned=20)

    for run in (failed, begun):
        assert "How it was done" in drawn(run).said("h2")
        assert markdown(report_of(run), "Made.")


def test_a_report_is_json_and_back() -> None:
    """What `--json` prints is all of it."""
    report = report_of(full())

    assert report == msgspec.json.decode(msgspec.json.encode(report), type=Report)


def test_the_front_is_of_those_whom_nobody_beats() -> None:
    """Cheaper and better; of two alike both stay."""
    points = [
        Point(name, Bounds(across), Bounds(up), "near")
        for name, across, up in (("cheap", 1, 0.5), ("good", 3, 0.9), ("beaten", 3, 0.8), ("same", 3, 0.9))
    ]

    assert ["cheap", "good", "same"] == [point.name for point in unbeaten(points, more_is_better=True)]
    assert ["cheap"] == [point.name for point in unbeaten(points, more_is_better=False)]


def test_near_is_cool_and_far_is_warm() -> None:
    """Six of them are told apart."""
    candidates = tuple(
        served(name, backend) for backend in ("local", "remote") for name in (f"{backend}{n}" for n in range(3))
    )
    found = inks(made([], candidates=candidates))

    assert {"near", "third", "sixth"} == {found[f"local{n}"] for n in range(3)}
    assert {"far", "fourth", "fifth"} == {found[f"remote{n}"] for n in range(3)}
