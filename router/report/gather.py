"""The whole report: which questions it asks, and the page and the data made of the answers. It reads no log itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from router.report import judging, sections
from router.report.page import Page, Tile
from router.report.reading import number, rows_of, said, total
from router.report.scales import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.report.reading import Answer

MOST_TOLD = 5
NEWEST = 5000
"""Of so many answered decisions the most regretted are looked for."""

_SINCE = """
    SELECT min(ts)::VARCHAR
    FROM (SELECT ts FROM decisions WHERE status = 'ok' AND {window} ORDER BY ts DESC LIMIT {newest})"""
_WORST = """
    WITH answered AS (
        SELECT decision_id, latency_ms - overhead_ms AS ms, cost_usd FROM decisions WHERE status = 'ok' AND {window}),
    tried AS (
        SELECT decision_id, candidate_id, bool_or(won) AS won,
            bool_or(status = 'error' AND role <> 'shadow') AS failed,
            bool_or(status = 'ok' AND role <> 'shadow' AND NOT won) AS bettered,
            max(cost_usd) FILTER (status = 'ok' AND NOT won) AS measured_usd,
            max(total_ms) FILTER (status = 'ok' AND NOT won) AS measured_ms,
            max(total_ms) FILTER (status = 'cancelled') AS least_ms
        FROM attempts WHERE {since} GROUP BY ALL),
    cascades AS (SELECT DISTINCT decision_id, true AS escalated FROM attempts WHERE role = 'escalation' AND {since}),
    others AS (
        SELECT c.decision_id, coalesce(t.measured_ms, greatest(c.pred_ms, t.least_ms), c.pred_ms) AS ms,
            CASE WHEN t.measured_ms IS NULL THEN c.pred_cost_usd ELSE t.measured_usd END AS usd
        FROM candidates c LEFT JOIN tried t USING (decision_id, candidate_id)
            LEFT JOIN cascades e ON e.decision_id = c.decision_id
        WHERE c.eligible AND {candidate_window} AND NOT coalesce(t.won, false) AND NOT coalesce(t.failed, false)
            AND NOT coalesce(t.bettered AND e.escalated, false))
    SELECT decision_id::VARCHAR, a.ms - min(o.ms) AS late_ms, a.cost_usd - min(o.usd) AS dearer_usd
    FROM answered a JOIN others o USING (decision_id) GROUP BY decision_id, a.ms, a.cost_usd
    HAVING late_ms > 0 OR dearer_usd > 0
    ORDER BY {order} DESC NULLS LAST, decision_id LIMIT {limit}"""


class Window(NamedTuple):
    """What the report is about: times as ISO 8601 in UTC, None where it is open."""

    since: str | None
    until: str | None
    by: str = "backend"

    def words(self) -> str:
        """The window for people."""
        if self.since is None and self.until is None:
            return "All that is in the log."
        start = "the beginning of the log" if self.since is None else f"{self.since[:16].replace('T', ' ')} UTC"
        end = "now" if self.until is None else f"{self.until[:16].replace('T', ' ')} UTC"
        return f"From {start} to {end}."


class Source(Protocol):
    """Whom the report asks: the log here, or a server."""

    def ask(self, question: str, **asked: str | None) -> Answer:
        """The answer to a named question."""

    def select(self, query: str) -> list[list[Any]]:
        """The rows of a SELECT over the log's views."""

    def explained(self, decision_id: str) -> Answer:
        """The explanation of a decision."""

    def budgets(self) -> list[Answer]:
        """Every budget: its scope, period and limit, and what is spent where that is known."""


class Report(NamedTuple):
    """The answers a report is made of."""

    window: Window
    answers: dict[str, Answer]
    told: list[Answer]
    budgets: list[Answer]

    def data(self) -> dict[str, Any]:
        """The same as data: what `--json` prints."""
        shown: dict[str, Any] = {"since": self.window.since, "until": self.window.until, "by": self.window.by}
        shown |= {"rows": rows_of(self.answers["summary"])}
        return shown | {"questions": self.answers, "most_regretted": self.told, "budgets": self.budgets}


def gathered(source: Source, window: Window) -> Report:
    """Ask everything.

    Raises:
        RouterError: whatever the source raises.
    """
    times = {"since": window.since, "until": window.until}
    answers = {
        "summary": source.ask("summary", by=window.by, **times),
        "timeseries": source.ask("timeseries", step="auto", **times),
        "models": source.ask("models", by="candidate", **times),
    }
    answers |= {
        name: source.ask(name, **times) for name in ("estimate-error", "regret", "savings", "break-even", "budgets")
    }
    return Report(window, answers, most_regretted(source, window), source.budgets())


def most_regretted(source: Source, window: Window) -> list[Answer]:
    """Explanations of the most regretted of the newest decisions: by seconds and by dollars, turn by turn."""
    ((since,),) = source.select(_SINCE.format(window=_within("ts", window), newest=NEWEST))
    if since is None:
        return []
    newest = window._replace(since=since)
    times = {"window": _within("ts", newest), "candidate_window": _within("c.ts", newest)}
    times |= {"since": _within("ts", newest._replace(until=None))}  # an attempt may begin after its decision's window
    ranked = [
        [str(row[0]) for row in source.select(_WORST.format(order=order, limit=MOST_TOLD, **times))]
        for order in ("late_ms", "dearer_usd")
    ]
    ids = list(dict.fromkeys(each for pair in zip(*map(_padded, ranked), strict=True) for each in pair if each))
    told = [source.explained(each) for each in ids[:MOST_TOLD]]
    return [each for each in told if _is_regretted(each)]


def page(report: Report, made: str) -> Page:
    """The report as a page; `made` says by what and when."""
    answers = report.answers
    series, models = answers["timeseries"], answers["models"]
    near = {said(row, "candidate"): row["near"] for row in rows_of(models) if isinstance(row.get("near"), bool)}
    parts = (
        sections.traffic(answers["summary"]),
        sections.spending(series),
        sections.sharing(series),
        sections.latencies(models),
        judging.predictions(answers["estimate-error"], near),
        judging.regret(answers["regret"]),
        judging.savings(answers["savings"]),
        judging.break_even(answers["break-even"]),
        sections.budget_burn(answers["budgets"], report.budgets),
        sections.top_models(models),
        judging.regretted(report.told),
    )
    return Page("Nearfar report", report.window.words(), _tiles(answers), parts, made)


def _tiles(answers: dict[str, Answer]) -> list[Tile]:
    rows, series = rows_of(answers["summary"]), rows_of(answers["timeseries"])
    requests, answered = total(rows, "requests") or 0.0, total(rows, "ok") or 0.0
    near = total([row for row in series if row.get("side") == "near"], "ok") or 0.0
    cost, unknown = total(rows, "cost_usd"), total(rows, "unknown_cost") or 0.0
    saved = next((row for row in rows_of(answers["savings"]) if row.get("baseline") == "all-far"), {})
    low, high = (figure(number(saved, f"saved_usd_{end}"), "usd") for end in ("low", "high"))
    return [
        Tile("Requests", figure(requests, "count"), f"{figure(answered, 'count')} answered"),
        Tile("Answered near", figure(near / answered, "share") if answered else "none", "of all answers"),
        Tile(
            "Spent",
            figure(cost, "usd") or "unknown",
            f"of {figure(unknown, 'count')} the cost is unknown" if unknown else "",
        ),
        Tile(
            "Saved against all far",
            figure(number(saved, "saved_usd"), "usd") or "unknown",
            f"95 %: {low} to {high}" if low and high else "",
        ),
    ]


def _within(column: str, window: Window) -> str:
    tests = [f"{column} >= TIMESTAMP '{window.since}'"] if window.since else []
    tests += [f"{column} < TIMESTAMP '{window.until}'"] if window.until else []
    return " AND ".join(tests) or "true"


def _padded(ids: Sequence[str]) -> list[str]:
    return [*ids, *[""] * (MOST_TOLD - len(ids))]


def _is_regretted(told: Answer) -> bool:
    hindsight = told.get("hindsight") or {}
    return bool(number(hindsight, "regret_s") or number(hindsight, "regret_usd"))
