"""The report as one page: complete in itself, readable without its plots, and safe whatever the log holds."""

import asyncio
import json
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from click.testing import CliRunner

from router.cli import main
from router.cli.sources import LogSource, ServerSource
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.report.gather import Report, Window, gathered, most_regretted, page
from router.report.judging import wilson
from router.report.page import html
from router.report.sections import budget_burn
from router.section_of_routing import RoutingSettings
from router.sections import Settings
from router.settings import Secrets
from tests.unit.router.answers import rounded
from tests.unit.router.house import chat, chat_model, embed, fake, vector_model
from tests.unit.router.replay import logs

HOSTILE = "<script>alert(1)</script>\"'&"
WITHOUT_TEXT = {"meta", "br"}
PARTS = [
    "Requests by backend", "Cost over time", "Near and far", "Latency by candidate", "Predicted against observed",
    "Regret", "Savings against simple ways to decide", "Break-even", "Budget burn", "Top models",
    "Most regretted decisions",
]  # fmt: skip


class Read(HTMLParser):
    """What a page is made of: its tags are balanced, or it fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert [] == self.open

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in WITHOUT_TEXT:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data) -> None:
        self.words.append((self.open[-1] if self.open else "", data))

    def said(self, tag: str) -> list[str]:
        return [words for where, words in self.words if where == tag]


def answers(name: str = "a") -> dict:
    """An answer of every question, with this name wherever a name can stand."""
    near = {"near": True}
    return {
        "summary": {"by": "backend", "rows": [{
            "backend": name, "requests": 30, "ok": 28, "failed": 2, "refused": 0, "cost_usd": 0.01, "unknown_cost": 1,
            "p50_ms": 12.0, "p95_ms": 40.0, "near_share": 0.5, "estimate_error": 0.1}]},
        "timeseries": {"step": "hour", "rows": [
            {"at": "2026-11-23T10:00:00Z", "side": "near", "requests": 3, "ok": 3, "cost_usd": 0.001},
            {"at": "2026-11-23T12:00:00Z", "side": "far", "requests": 1, "ok": 1, "cost_usd": 0.002},
            {"at": "2026-11-23T12:00:00Z", "side": None, "requests": 1, "ok": 0, "cost_usd": None}]},
        "models": {"rows": [{"model": name, "candidate": name, "requests": 30, "ok": 28, "cost_usd": 0.01,
                             "p50_ms": 10.0, "p90_ms": 20.0, "p95_ms": 30.0, "p99_ms": 50.0} | near]},
        "estimate-error": {"rows": [{"candidate": name, "n": 28, "median_error": 0.1, "p90_error": 0.3, "bias": 0.01,
                                     "within_p50": 0.5, "within_p90": 0.9, "within_p95": 0.95, "within_p99": 1.0}],
                           "sample": [{"candidate": name, "predicted_ms": 10.0, "observed_ms": 12.0}]},
        "regret": {"by": "policy", "note": name, "rows": [{"policy": name, "decisions": 28, "mean_s": 0.1,
                                                           "mean_usd": 0.001}]},
        "savings": {"note": name, "rows": [{"baseline": name, "priced": 28, "timed": 28, "saved_usd": -0.1,
                    "saved_usd_low": -0.2, "saved_usd_high": 0.1, "saved_s": 3.0, "saved_s_low": 2.0,
                    "saved_s_high": 4.0}]},
        "break-even": {"rows": [{"model": name, "break_even_utilisation": 0.2, "utilisation_all_near": 0.5,
                                 "far_usd_per_request": 0.001, "device_s_per_request": 0.1}]},
        "budgets": {"rows": [{"day": "2026-11-23", "spent_usd": 0.002, "month_usd": 0.002}]},
    }  # fmt: skip


def told(name: str = "a") -> dict:
    return {
        "decision_id": name,
        "summary": name,
        "candidates": [{"candidate": name, "words": name}],
        "happened": {"attempts": [{"start_ms": 0.3, "words": name}]},
        "hindsight": {"regret_s": 1.5, "regret_usd": 0.0},
    }


def budget(name: str = "global") -> dict:
    return {"scope": name, "period": "day", "limit_usd": 1.0, "on_exceeded": "near"}


def made(found: dict, stories=(), budgets=(), window: Window | None = None) -> str:
    report = Report(window or Window(None, None), found, list(stories), list(budgets))
    return html(page(report, "Made here."))


# --- the page ---------------------------------------------------------------------------------------


def test_every_part_is_there_and_every_chart_has_its_table() -> None:
    """A figure is followed by the same figures as a table, and says in words what it shows."""
    text = made(answers(), [told()], [budget()])
    read = Read(text)

    assert PARTS == read.said("h2")
    assert read.tags.count("svg") == read.tags.count("figure") == text.count('<div class="pair">') == 13
    for pair in text.split('<div class="pair">')[1:]:
        figure, _, rest = pair.partition("</figure>")
        assert "<figcaption>" in figure
        assert "<title" in figure
        assert "<desc" in figure
        assert rest.startswith('<div class="table"><table>')
    names = [value for name, value in read.attributes if name == "id"]
    assert len(names) == len(set(names))


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs() -> None:
    """No link, script, font or picture; the page forbids them as well."""
    read = Read(made(answers(), [told()], [budget()]))

    assert set() == set(read.tags) & {"script", "link", "img", "iframe", "object", "embed", "a", "image", "use"}
    assert [] == [pair for pair in read.attributes if pair[0] in {"src", "href", "style"} or pair[0].startswith("on")]
    assert not [value for _, value in read.attributes if "://" in value]
    assert "url(" not in "".join(read.said("style"))
    assert "@import" not in "".join(read.said("style"))
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in read.attributes


def test_hostile_names_stay_text() -> None:
    """Model ids, reasons, notes, scopes: whatever the log says is shown as it is, and is no markup."""
    window = Window(HOSTILE, HOSTILE, HOSTILE)
    hostile = answers(HOSTILE) | {"summary": {"by": HOSTILE, "rows": [{HOSTILE: HOSTILE, "requests": 1}]}}
    read = Read(made(hostile, [told(HOSTILE)], [budget(HOSTILE)], window))

    assert "script" not in read.tags
    assert len([words for _, words in read.words if "<script>alert(1)</script>" in words]) > 20
    assert [] == [pair for pair in read.attributes if "script" in pair[1]]


def test_an_empty_log_is_told_in_words() -> None:
    """No chart is drawn of nothing, and every part says why."""
    read = Read(made({name: {"rows": []} for name in answers()}))

    assert PARTS == read.said("h2")
    assert "svg" not in read.tags
    assert 11 == len([words for words in read.said("p") if "in this window" in words or "nothing was burnt" in words])


@pytest.mark.parametrize("odd", [{}, {"rows": None}, {"rows": [{}]}, {"rows": ["x", 3]}, {"rows": [{"at": "never"}]}])
def test_answers_of_other_versions_make_a_page(odd) -> None:
    """What is missing is left out."""
    assert PARTS == Read(made(dict.fromkeys(answers(), odd))).said("h2")


def test_tables_of_many_rows_are_cut_and_say_so() -> None:
    """The newest stay."""
    rows = [{"at": f"2026-11-23T{hour:02d}:00:00Z", "side": "near", "ok": 1, "cost_usd": 0.1} for hour in range(24)]
    text = made(answers() | {"timeseries": {"step": "hour", "rows": rows}})

    assert "the last 12 of 24 rows; --json has all" in text
    assert "2026-11-23 23:00" in text
    assert "2026-11-23 01:00" not in text


def test_a_step_without_a_request_costs_nothing() -> None:
    """The line goes down to 0 between two hours with requests, for near and far alike."""
    text = made(answers())

    for row in (
        "<td>2026-11-23 11:00</td><td>$0</td><td>$0</td>",
        "<td>2026-11-23 12:00</td><td>$0</td><td>$0.002</td>",
    ):
        assert row in text


@pytest.mark.parametrize(
    ("share", "count", "low", "high"), [(0.5, 100, 0.4038, 0.5962), (1.0, 10, 0.7225, 1.0), (0.0, 10, 0.0, 0.2775)]
)
def test_coverage_has_a_score_interval(share, count, low, high) -> None:
    """Published values of Wilson's interval; never beyond 0 or 1."""
    assert (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4)) == wilson(share, count)


def test_doubted_answers_of_cascades_do_not_hide_what_is_regretted() -> None:
    """A cascade's first answer is always sooner, and no regret: it takes no place of those that are told."""
    rows = []
    for n in range(12):
        one = logs.decision(n, [logs.candidate("near", pred_ms=9_000.0), logs.candidate("far")], "near")
        asked = logs.attempt(one, "near", won=False, total_ms=10.0)
        rows += [one, asked, logs.attempt(one, "far", attempt=2, role="escalation"), logs.outcome(one, latency_ms=5e3)]
    slow = logs.decision(20, [logs.candidate("near"), logs.candidate("far", pred_ms=50.0)], "near")
    log = logs.filled([*rows, slow, logs.attempt(slow, "near"), logs.outcome(slow)])
    try:
        told = most_regretted(LogSource(log.reader(), ()), Window(None, None))
    finally:
        log.close()

    assert [slow.decision_id] == [each["decision_id"] for each in told]


def test_spending_that_is_unknown_is_not_nothing() -> None:
    """A day of far answers of unknown cost is not told as a day without any."""
    for rows, words in (
        (
            [{"day": "2026-11-23", "requests": 3, "unknown_cost": 3, "spent_usd": None}],
            "Of 3 answers from far the cost",
        ),
        ([{"day": "2026-11-23", "requests": 3, "unknown_cost": 0, "spent_usd": 0.0}], "3 requests were answered far"),
        ([{"day": "2026-11-23", "requests": 0, "unknown_cost": 0, "spent_usd": 0.0}], "Nothing was answered far"),
    ):
        assert budget_burn({"rows": rows}, []).empty.startswith(words)


# --- the command ------------------------------------------------------------------------------------

SETTINGS = Settings(
    models=(
        chat_model(fake("a", latency_ms=15), fake("b", near=True)),
        vector_model(fake("a"), fake("b", near=True, latency_ms=5)),
    ),
    routing=RoutingSettings(policy="fastest"),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of some real decisions, answered and refused."""
    path = tmp_path_factory.mktemp("log") / "nearfar.duckdb"

    async def go() -> None:
        async with open_house(SETTINGS, Secrets(), DecisionLog.open(path)) as house:
            for _ in range(4):
                await house.dispatcher.infer(chat())
                await house.dispatcher.infer(embed())
            await house.dispatcher.infer(chat(only=("nobody",)))

    asyncio.run(go())
    return path


@pytest.fixture
def log(written: Path, tmp_path: Path) -> Path:
    """The same log in the working directory."""
    return Path(shutil.copy(written, tmp_path))


def run(*arguments: str):
    return CliRunner().invoke(main, ["report", *arguments])


def test_the_command_writes_a_page_of_a_real_log(log: Path, tmp_path: Path) -> None:
    """Every part has its plots; the most regretted decision is told with its candidates."""
    done = run("--html", "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    read = Read(text)

    assert (0, "report.html\n") == (done.exit_code, done.output)
    assert PARTS == read.said("h2")
    assert read.tags.count("svg") >= 9
    assert "All that is in the log." in text
    assert "test/chat" in text
    assert "In hindsight b:test/chat would have been the better choice" in text
    assert str(tmp_path) not in text


def test_the_tables_and_the_data_say_the_same(log: Path) -> None:
    """On the terminal: requests, savings and the most regretted decisions; with --json all answers."""
    shown, data = run("--by", "model"), run("--by", "model", "--json")
    found = json.loads(data.output)

    assert (0, 0) == (shown.exit_code, data.exit_code)
    assert [("test/chat", 5, 4), ("test/vectors", 4, 4)] == [
        (row["model"], row["requests"], row["ok"]) for row in found["rows"]
    ]
    assert {"summary", "timeseries", "models", "regret", "savings"} < set(found["questions"])
    assert found["most_regretted"]
    for each in found["most_regretted"]:
        assert each["decision_id"] in shown.output
    for words in ("Decisions by model", "test/vectors", "Saved against simple ways to decide", "most regretted"):
        assert words in shown.output


def test_a_window_leaves_out_what_is_older_and_newer(log: Path) -> None:
    """--since and --until, as ages or instants; what is neither is refused by name."""
    old, new = (json.loads(run(*window, "--json").output) for window in (("--until", "1h"), ("--since", "1h")))

    assert ([], 9) == (old["rows"], sum(row["requests"] for row in new["rows"]))
    assert [] == old["most_regretted"]
    assert "neither an ISO 8601 instant nor an age" in run("--since", "yesterday").output
    assert 2 == run("--by", "colour").exit_code


def test_a_server_is_asked_the_same_questions(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --server the answers come over HTTP, and the report is the same."""
    here = DecisionLog.open(log)
    local = LogSource(here.reader(), ())
    asked: list[str] = []

    def get(server: str, path: str) -> dict:
        asked.append(path)
        url = urlsplit(path)
        name = url.path.rpartition("/")[2]
        if url.path.startswith("/v1/analytics/"):
            return local.ask(name, **dict(parse_qsl(url.query)))
        return {"budgets": [budget()]} if name == "system" else {"explanation": local.explained(name)}

    monkeypatch.setattr(sys.modules["router.cli.sources"], "get", get)
    monkeypatch.setattr(
        sys.modules["router.cli.sources"], "post", lambda _server, _path, body: {"rows": local.select(body["query"])}
    )
    window = Window("2026-01-01T00:00:00", None, "model")
    there, report = gathered(ServerSource("http://server"), window), gathered(local, window)
    here.close()

    assert [budget()] == there.budgets
    assert rounded(report.answers) == there.answers
    assert report.told == there.told
    assert "/v1/analytics/summary?by=model&since=2026-01-01T00%3A00%3A00" in asked


def test_a_page_that_cannot_be_written_is_said(log: Path) -> None:
    """One line, without the folder, and exit code 1."""
    done = run("--html", "no/such/folder/report.html")

    assert (1, "Error: report.html: cannot be written (FileNotFoundError).\n") == (done.exit_code, done.output)
