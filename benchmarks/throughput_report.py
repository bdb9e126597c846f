"""What the cells of `local_throughput.py` say: medians with extremes, the goals of the issue, and Markdown."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from goals import Spread, goal, spread
from throughput_rounds import BATCH, NEARFAR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from throughput_rounds import Cell

Series = dict[int, float]  # by round
FLOOR = 0.999  # cosine from which on vectors are exact
PEERS = ("infinity", "litserve")


def flops_per_token(config: Mapping[str, int]) -> tuple[float, float]:
    """Of a BERT-like encoder: a constant part, and what each token adds per token of its text (attention).

    Linear layers: 2 x (4 h^2 + 2 h i) a layer; attention: scores and mixing, 2 x 2 h a layer (docs of the project,
    numbers: 21.2 MFLOP + 9216 L for MiniLM-L6).
    """
    layers, hidden, inner = (config[name] for name in ("num_hidden_layers", "hidden_size", "intermediate_size"))
    return layers * 2.0 * (4 * hidden**2 + 2 * hidden * inner), layers * 4.0 * hidden


def gflop_per_text(config: Mapping[str, int], tokens: list[int]) -> float:
    """Mean over texts of these lengths."""
    constant, attention = flops_per_token(config)
    return statistics.fmean(length * (constant + attention * length) for length in tokens) / 1e9


class Figures:
    """Series by round, taken out of the cells."""

    def __init__(self, cells: list[Cell], gflop: Mapping[str, float]) -> None:
        self._cells = cells
        self._gflop = gflop

    def of(self, value: Callable[[Cell], float], **wanted: Any) -> Series:
        """A value of the cells that have these fields, by round; of several in a round the best (largest)."""
        found: dict[int, list[float]] = defaultdict(list)
        for cell in self._cells:
            if all(cell.get(field) == each for field, each in wanted.items()):
                found[cell["round"]].append(value(cell))
        return {number: max(values) for number, values in found.items()}

    def names(self, what: str) -> list[str]:
        """Who was measured in cells of this kind."""
        return list(dict.fromkeys(sorted(cell["name"] for cell in self._cells if cell["what"] == what)))

    def served(self, field: str, name: str, set_name: str, at_once: int, what: str = "server") -> Series:
        """A figure of a server."""
        return self.of(lambda cell: cell[field], what=what, name=name, set=set_name, concurrency=at_once)

    def raw(self, name: str, set_name: str) -> Series:
        """Texts/s of a raw loop, at the best of its batch sizes."""
        batches = {cell["batch"] for cell in self._cells if cell["what"] == "raw" and cell["name"] == name}
        series = [self.of(_texts_per_s, what="raw", name=name, set=set_name, batch=batch) for batch in batches]
        return max((each for each in series if each), key=_median, default={})

    def fastest(self, set_name: str) -> tuple[str, Series]:
        """The fastest raw loop on a set, by its median."""
        return max(((name, self.raw(name, set_name)) for name in self.names("raw")), key=_by_median, default=("", {}))

    def latency(self, name: str) -> Series:
        """p50 ms of one short text in a raw loop."""
        return self.of(lambda cell: cell["p50_ms"], what="latency", name=name)

    def quickest(self) -> tuple[str, Series]:
        """The raw loop with the lowest latency, by its median."""
        found = [(name, self.latency(name)) for name in self.names("latency")]
        return min(found, key=_by_median, default=("", {}))

    def ceiling(self, set_name: str) -> Series:
        """Texts/s if every FLOP ran as fast as in the fastest matrix product."""
        rates = self.of(lambda cell: max(cell["gflops"].values()), what="gemm", set=set_name)
        return {number: rate / self._gflop[set_name] for number, rate in rates.items()}

    def tokens_per_s(self, name: str) -> Series:
        """Of a generation."""
        return self.of(lambda cell: cell["tokens"] / cell["total_s"], what="generation", name=name)


def together(one: Series, other: Series, of: Callable[[float, float], float]) -> Spread | None:
    """A figure of two series, round by round."""
    return spread(of(one[number], other[number]) for number in sorted(one.keys() & other.keys()) if other[number])


def ratio(one: float, other: float) -> float:
    return one / other


def difference(one: float, other: float) -> float:
    return one - other


def goals(figures: Figures, sets: Iterable[str]) -> list[dict[str, Any]]:
    """The issue's goals, each with its figure; `met` is None where it was not measured."""
    found = []
    for name in sets:
        ours = figures.served("texts_per_s", NEARFAR, name, BATCH)
        fastest, raw = figures.fastest(name)
        found.append(goal(f"{name}: of the fastest raw loop ({fastest or 'none'})", together(ours, raw, ratio), 0.9))
        found.append(goal(f"{name}: of the fp32 GEMM ceiling", together(ours, figures.ceiling(name), ratio), 0.65))
        for peer in PEERS:
            theirs = figures.served("texts_per_s", peer, name, BATCH)
            found.append(goal(f"{name}: times {peer}", together(ours, theirs, ratio), 1.5))
    quickest, latency = figures.quickest()
    quiet = figures.served("p50_ms", NEARFAR, "short", 1)
    added = together(quiet, latency, difference)
    found.append(goal(f"one short text: ms above the fastest raw call ({quickest or 'none'})", added, 1.0, most=True))
    burning = figures.served("p50_ms", NEARFAR, "short", 1, "burner")
    found.append(goal("a core taken: p50, times quiet", together(burning, quiet, ratio), 2.0, most=True))
    speeds = together(figures.tokens_per_s(NEARFAR), figures.tokens_per_s("generate"), ratio)
    found.append(goal("generation: of the raw `generate` loop", speeds, 0.9))
    return found


def _texts_per_s(cell: Cell) -> float:
    return float(cell["texts_per_s"])


def _median(series: Series) -> float:
    return statistics.median(series.values()) if series else 0.0


def _by_median(pair: tuple[str, Series]) -> float:
    return _median(pair[1])


# --- Markdown -----------------------------------------------------------------------------------


def told(report: dict[str, Any]) -> str:
    """The whole report: goals first, then what they follow from."""
    figures = Figures(report["cells"], {name: each["gflop_per_text"] for name, each in report["sets"].items()})
    parts = [_goals(report), _ceilings(report, figures), _loops(report, figures), _servers(report, figures)]
    if figures.names("generation"):
        parts.append(_generation(figures))
    chosen = report["calibrated"]
    parts.append(
        f"Nearfar served with `{chosen['runtime']}`, as `nearfar calibrate` chose. "
        f"Requests: {report['requests']['sent']} sent to it, {report['requests']['logged']} in its log. "
        f"Not measured: {', '.join(report['not_measured']) or 'nothing'}."
    )
    parts.append("Faults: " + ("; ".join(report["faults"]) or "none") + ".")
    return "\n\n".join(parts)


def shown(value: Spread | None, digits: int = 2) -> str:
    """`median (min..max)`."""
    if value is None:
        return "not measured"
    return "{median:.{d}f} ({min:.{d}f}..{max:.{d}f})".format(**value, d=digits)


def _table(headings: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _goals(report: dict[str, Any]) -> str:
    verdicts = {True: "met", False: "**not met**", None: "not measured"}
    rows = [[g["what"], g["goal"], shown(g["value"]), verdicts[g["met"]]] for g in report["goals"]]
    return _table([f"at concurrency {BATCH}, else as said", "goal", "median (min..max)", ""], rows)


def _ceilings(report: dict[str, Any], figures: Figures) -> str:
    rows = [
        [
            name, str(each["texts"]), f"{each['mean_tokens']:.1f}", f"{each['gflop_per_text']:.2f}",
            shown(spread(figures.of(lambda cell: max(cell["gflops"].values()), what="gemm", set=name).values()), 0),
            shown(spread(figures.ceiling(name).values()), 0),
        ]
        for name, each in report["sets"].items()
    ]  # fmt: skip
    return _table(["set", "texts", "mean tokens", "GFLOP/text", "fp32 GEMM GFLOP/s", "ceiling texts/s"], rows)


def _loops(report: dict[str, Any], figures: Figures) -> str:
    p95 = {name: figures.of(lambda c: c["p95_ms"], what="latency", name=name) for name in report["raw"]}
    rows = [
        [
            name, shown(spread(figures.latency(name).values())), shown(spread(p95[name].values())),
            *(shown(spread(figures.raw(name, each).values()), 0) for each in report["sets"]),
            f"{report['agreement'].get(name, 1.0):.6f}",
        ]
        for name in report["raw"]
    ]  # fmt: skip
    columns = ["in process", "one short text p50 ms", "p95 ms", *(f"{name} texts/s" for name in report["sets"])]
    return _table([*columns, "least cosine"], rows)


def _servers(report: dict[str, Any], figures: Figures) -> str:
    rows = [
        [
            server, name, str(at_once),
            shown(spread(figures.served("texts_per_s", server, name, at_once).values()), 0),
            *(shown(spread(figures.served(f, server, name, at_once).values()), 1) for f in ("p50_ms", "p99_ms")),
            *(shown(spread(figures.served(f, server, name, at_once).values()), 1) for f in ("cores", "busy_cores")),
            f"{sum(figures.served('errors', server, name, at_once).values()):.0f}",
        ]
        for name in report["sets"]
        for at_once in report["settings"]["concurrency"]
        for server in report["servers"]
    ]  # fmt: skip
    own = figures.latency(report["calibrated"]["runtime"].split("+")[0])
    overhead = together(figures.served("p50_ms", NEARFAR, "short", 1), own, difference)
    burning = spread(figures.served("p50_ms", NEARFAR, "short", 1, "burner").values())
    columns = ["server", "set", "at once", "texts/s", "p50 ms", "p99 ms", "its cores", "busy cores", "errors"]
    below = (
        f"One short text: HTTP and routing add {shown(overhead)} ms to the same runtime's raw call; "
        f"p50 with a core taken: {shown(burning)} ms."
    )
    return f"{_table(columns, rows)}\n\n{below}"


def _generation(figures: Figures) -> str:
    rows = [
        [
            name, shown(spread(figures.tokens_per_s(name).values()), 1),
            *(shown(spread(figures.of(lambda c, f=field: c[f], what="generation", name=name).values()))  # type: ignore[misc]
              for field in ("first_s", "total_s", "tokens")),
        ]
        for name in figures.names("generation")
    ]  # fmt: skip
    return _table(["generation", "tokens/s", "first token s", "all s", "tokens"], rows)
