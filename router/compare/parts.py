"""The parts of the page of a comparison that have charts, each under one load. A run and its report in, parts out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.compare.charts import Point, Ways, course, curve, front, inks, spread, throughput
from router.compare.doubts import drift
from router.compare.figures import answers
from router.compare.intervals import Bounds
from router.compare.run import Closed
from router.compare.table import TITLES, cell
from router.compare.words import METRICS, between, load_told, probability, thousand
from router.report.charts import Names, Row, Ruler, intervals
from router.report.page import Part, Plot, Table
from router.report.scales import figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.compare.figures import Figures
    from router.compare.pairs import Pair
    from router.compare.report import Report
    from router.compare.run import Run
    from router.report.scales import Kind

DRAWN = ("p50", "p90", "p99")  # beside a chart is room for three; the first table has p95


def latency(run: Run, report: Report, load: int) -> Part:
    """The spread of latencies, and of first tokens where answers were streamed."""
    figures, where = report.under(load), _under(run, load)
    plots = []
    for name, title, of in (
        ("latency", "Latency", [each.latency_s for each in figures]),
        ("first-token", "First token", [each.first_token_s for each in figures]),
    ):
        if any(of):
            field = "total_s" if name == "latency" else "first_token_s"
            heard = Names(f"{name}-{load}", title, _spoken([each.candidate for each in figures], of))
            chart = spread(heard, run, load, lambda trial, field=field: getattr(trial, field))  # type: ignore[misc]
            plots.append(Plot(f"{title}: share of answers within", chart, _quantiles(figures, of)))
    says = "How many of the answers took at most so long, since they were due. The scale is logarithmic."
    return Part(f"Latency{where}", says, plots, empty="" if plots else "Nobody answered.")


def _quantiles(figures: Sequence[Figures], of: Sequence[dict[str, Bounds]]) -> Table:
    rows = [
        [each.candidate, *(cell(known.get(name), "s") for name in DRAWN)]
        for each, known in zip(figures, of, strict=True)
    ]
    return Table("Quantiles with 95 % intervals.", ["candidate", *DRAWN], rows, most=len(rows))


def _spoken(names: Sequence[str], of: Sequence[dict[str, Bounds]]) -> str:
    medians = [f"{name} {figure(each['p50'].value, 's')}" for name, each in zip(names, of, strict=True) if each]
    return f"Medians: {', '.join(medians)}."


def compared(report: Report, load: int) -> Iterator[Part]:
    """The comparisons of each measure with their intervals, against no difference."""
    for measure, title in TITLES.items():
        pairs = [pair for pair in report.pairs if (pair.load, pair.measure) == (load, measure)]
        if not pairs:
            continue
        ratio, kind, name = measure in {"latency", "first_token"}, _kind(pairs[0]), f"{measure}-{load}"
        marks = [_mark(pair, kind) for pair in pairs]
        ruler = Ruler(kind, 1.0 if ratio else 0.0, log=ratio)
        heard = Names(f"pairs-{name}", f"{title} compared", f"{len(pairs)} pairs of candidates.")
        rows = [
            [mark.name, _interval(pair, kind), probability(pair.p_holm)]
            for mark, pair in zip(marks, pairs, strict=True)
        ]
        table = Table(
            "With 95 % intervals, which are not corrected.", ["pair", "value", "after Holm"], rows, most=len(rows)
        )
        plot = Plot(f"{title}: {'times as long' if ratio else 'difference'}", intervals(heard, marks, ruler), table)
        yield Part(f"{title} compared{_under(report.run, load)}", _COMPARED[ratio], [plot])


_COMPARED = {
    True: "How many times as long the first takes as the second; left of the dotted line it is quicker. Bars: 95 %.",
    False: "The first less the second; at the dotted line they are alike. Bars: 95 %.",
}


def _kind(pair: Pair) -> Kind:
    return {"latency": "count", "first_token": "count", "cost": "usd", "quality": "share"}[pair.measure]  # type: ignore[return-value]


def _mark(pair: Pair, kind: Kind) -> Row:
    value, low, high = _scaled(pair)
    return Row(_named(pair), value, low, high, "near" if pair.differs else "sixth", figure(value, kind))


def _named(pair: Pair) -> str:
    return f"{pair.one} / {pair.other}"


def _interval(pair: Pair, kind: Kind) -> str:
    return between(Bounds(*_scaled(pair)), kind)


def _scaled(pair: Pair) -> tuple[float, float | None, float | None]:
    """Of money what a thousand requests differ by."""
    scale = 1000.0 if pair.measure == "cost" else 1.0
    low, high = (None if end is None else end * scale for end in (pair.low, pair.high))
    return pair.value * scale, low, high


def fronts(run: Run, report: Report, load: int) -> Iterator[Part]:
    """Cost and quality, or the two of cost, quality and latency that are known."""
    figures, colours = report.under(load), inks(run)
    cost = {each.candidate: thousand(each.cost_usd) for each in figures if not each.unknown_cost}
    latency = {each.candidate: each.latency_s.get("p50") for each in figures}
    quality = {each.candidate: each.quality for each in figures}
    metric = METRICS[run.metric] if run.metric else "quality"
    priced = Ways("cost of a thousand", "usd", metric, "share", more_is_better=True)
    for across, up, ways in (
        (cost, quality, priced),
        (latency, quality, Ways("median latency", "s", metric, "share", more_is_better=True)),
        (cost, latency, Ways("cost of a thousand", "usd", "median latency", "s", more_is_better=False)),
    ):
        points = [
            Point(name, x, y, colours[name])
            for name, x in across.items()
            if x is not None and (y := up[name]) is not None
        ]
        if len(points) > 1:
            yield _pareto(run, load, points, ways)
            return


def _pareto(run: Run, load: int, points: Sequence[Point], ways: Ways) -> Part:
    what = f"{ways.across[0].upper()}{ways.across[1:]} and {ways.up}"
    left_out = sorted({served.name for served in run.candidates} - {point.name for point in points})
    more = "" if not left_out else f" Not drawn, as one of the two is unknown: {', '.join(left_out)}."
    rows = [[point.name, between(point.across, ways.across_kind), between(point.up, ways.up_kind)] for point in points]
    heard = Names(f"front-{load}", what, f"{len(points)} candidates.")
    table = Table("With 95 % intervals.", ["candidate", ways.across, ways.up], rows, most=len(rows))
    says = f"The dotted line joins those that no other beats in both. Bars are 95 % intervals.{more}"
    return Part(f"{what}{_under(run, load)}", says, [Plot(what, front(heard, points, ways), table)])


def over_the_run(run: Run, report: Report, load: int) -> Part:
    """How latency and throughput moved over the run."""
    figures = report.under(load)
    says = "Seconds since the run's start. Lines that rise or fall together: the machine changed, not the candidates."
    if not any(each.answered for each in figures):
        return Part(f"Over the run{_under(run, load)}", says, empty="Nobody answered.")
    names = [each.candidate for each in figures]
    rows = [
        [
            each.candidate,
            between(each.requests_per_s, "count"),
            between(each.tokens_per_s, "count") if each.tokens else "",
        ]
        for each in figures
    ]
    columns = ["candidate", "requests/s", "tokens/s"]
    table = Table("In a second in which it had something to do.", columns, rows, most=len(rows))
    heard = f"{len(names)} candidates: {', '.join(names)}."
    paces = course(Names(f"course-{load}", "Median latency over the run", heard), run, load)
    rates = throughput(Names(f"rate-{load}", "Answers in a second over the run", heard), run, load)
    plots = [Plot("Median latency", paces, _drifts(run, load, names)), Plot("Answers in a second", rates, table)]
    return Part(f"Over the run{_under(run, load)}", says, plots)


def _drifts(run: Run, load: int, names: Sequence[str]) -> Table:
    """How much slower each candidate became."""
    answered = [trial for trial in answers(run.trials) if trial.load == load]
    found = [(name, drift([trial for trial in answered if trial.candidate == name])) for name in names]
    rows = [
        [name, "too few answers", ""]
        if moved is None
        else [name, f"{(moved.factor - 1) * 100:+.1f} %", probability(moved.p)]
        for name, moved in found
    ]
    says = "From the first third of the run to the last, each answer beside the others to its input (Kendall's test)."
    return Table(says, ["candidate", "slower by", "by chance"], rows, most=len(rows))


def throughputs(run: Run, report: Report) -> Part:
    """What each candidate gets done under each load."""

    def asked(load: int) -> float:
        how = run.loads[load]
        return float(how.concurrency) if isinstance(how, Closed) else how.rate_per_s

    points = {
        served.name: sorted(
            (asked(each.load), each.requests_per_s.value)
            for each in report.figures
            if each.candidate == served.name and each.requests_per_s is not None
        )
        for served in run.candidates
    }
    rows = [[each.candidate, load_told(run.loads[each.load]), between(each.requests_per_s, "count"),
             between(each.latency_s.get("p50"), "s"), between(each.latency_s.get("p99"), "s")]
            for each in report.figures]  # fmt: skip
    table = Table("With 95 % intervals.", ["candidate", "load", "requests/s", "p50", "p99"], rows, most=len(rows))
    across = "callers" if all(isinstance(load, Closed) for load in run.loads) else "requests/s asked for"
    heard = Names("curve", "Throughput", f"Answers in a second against {across}.")
    says = f"Answers in a second (up) against {across} (across). Where a line bends, there is no more to be had."
    return Part("Throughput", says, [Plot("Answers in a second", curve(heard, run, points), table)])


def _under(run: Run, load: int) -> str:
    return f" under {load_told(run.loads[load])}" if len(run.loads) > 1 else ""
