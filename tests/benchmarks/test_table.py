"""The overview of all benchmarks is what the saved results say, and says where we are behind."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import table  # noqa: E402 - a program, not a package

MACHINE = {
    "cpu": "a processor",
    "cores": 2,
    "python": "3.11.7",
    "packages": {"duckdb": "2.0.0", "uvloop": None},
    "commit": "abc1234",
    "uncommitted_changes": True,
    "date": "2026-11-27T04:00:00+00:00",
}


def saved(folder, name, goals, **more):
    (folder / f"{name}.json").write_text(json.dumps({"machine": MACHINE, "goals": goals} | more))


def goal(what, median, limit, met, **more):
    return {"what": what, "goal": limit, "value": {"median": median, "min": 1.0, "max": 4.0}, "met": met} | more


def line_of(overview, word):
    (line,) = [line for line in overview.splitlines() if line.startswith("| ") and word in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_overview_in_the_readme_is_made_of_the_saved_results():
    """Whoever saves a result runs `python benchmarks/table.py`, or this fails."""
    readme = table.README.read_text(encoding="utf-8")

    assert readme == table.renewed(readme, table.overview(table.RESULTS))


def test_every_saved_result_has_a_line():
    """A result that nobody reads would be missing from the overview without a word."""
    overview = table.overview(table.RESULTS)

    for path in table.RESULTS.glob("*.json"):
        rows = [line for line in overview.splitlines() if line.endswith(f"| {path.stem} |")]
        assert rows, path.name
        assert not any("not measured yet" in row for row in rows), path.name


def test_a_goal_that_is_not_met_is_told_above_and_in_its_line(tmp_path):
    """With its figure, its extremes and the goal."""
    saved(tmp_path, "gateways", [goal("ours p50, ms", 2.5, "<= 1", met=False), goal("rate", 3.0, ">= 2", met=True)])

    overview = table.overview(tmp_path)

    assert overview.startswith("Behind on 1 of 2 goals:\n\n* ours p50, ms: 2.50 (1.00..4.00), goal <= 1\n\n| question")
    assert ["ours p50, ms", "2.50 (1.00..4.00)", "", "<= 1", "**behind**", "gateways"] == line_of(overview, "ours p50")
    assert "met" == line_of(overview, "rate")[4]


@pytest.mark.parametrize(
    ("limit", "theirs", "told"),
    [
        ("<= 1", 25.0, "them 25.0: 10.0 x"),  # less is better, and ours is a tenth
        (">= 1", 25.0, "them 25.0: 10.0 x better than ours"),
        (">= 1", 0.5, "them 0.50: 5.00 x"),
        ("<= 1", -1.0, "them -1.00"),  # no ratio of what is below zero
    ],
)
def test_what_others_have_stands_beside_with_how_many_times_better_whose_is(tmp_path, limit, theirs, told):
    """The direction follows from the goal."""
    spread = {"median": theirs, "min": theirs, "max": theirs}
    saved(tmp_path, "startup", [goal("a figure", 2.5, limit, met=True, against={"them": spread, "absent": None})])

    assert told == line_of(table.overview(tmp_path), "a figure")[2]


def test_what_was_not_measured_is_said_and_counts_as_no_goal(tmp_path):
    """Neither met nor behind; nor is a benchmark whose results nobody saved."""
    unknown = {"what": "vector", "goal": "<= 6", "value": None, "met": None}
    saved(tmp_path, "startup", [unknown])

    overview = table.overview(tmp_path)

    assert overview.startswith("Behind on 0 of 0 goals.")
    assert ["vector", "not measured", "", "<= 6", "", "startup"] == line_of(overview, "vector")
    assert ["`gateways.py`", "not measured yet", "", "", "", "gateways"] == line_of(overview, "gateways")


def test_a_run_is_told_with_its_machine_versions_commit_and_date(tmp_path):
    """Versions of peers too; what is not installed has none."""
    saved(tmp_path, "newcomer", [goal("a figure", 1.0, "<= 1", met=True)], versions={"Peer": "1.2"})

    run = line_of(table.overview(tmp_path), "a processor")

    assert [
        "newcomer",
        "a processor, 2 cores",
        "Python 3.11.7, duckdb 2.0.0, Peer 1.2",
        "abc1234 and changes, 2026-11-27",
    ] == run


def test_a_readme_without_its_marks_is_refused():
    """Nothing is written where nobody would find it again."""
    with pytest.raises(ValueError, match="lacks"):
        table.renewed("# Benchmarks\n", "a table")
