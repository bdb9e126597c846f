"""What a run says, as one value: figures, comparisons, votes and doubts. The same run gives the same report.

It is what `--json` prints, and what tables, Markdown and the page are made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from router.compare.doubts import Doubt, doubts_of
from router.compare.figures import Figures, figures_of
from router.compare.pairs import Pair, pairs_of
from router.compare.run import Run
from router.compare.votes import Standing, Vote, standings
from router.compare.words import verdict, voted

if TYPE_CHECKING:
    from collections.abc import Sequence

METHOD = (
    "Intervals are 95 %. Latency quantiles lie between order statistics (Thompson 1936, Nyblom 1992), at as many "
    "independent trials as the inputs and twenty stretches of time leave (Woodruff 1952; Cameron, Gelbach and Miller "
    "2011). Means of money and rates are Student's by inputs, less their skewness (Hall 1992); quality and failures "
    "Wilson's by inputs. Times are compared where "
    "both answered the same input in the same repeat: the typical ratio is Hodges and Lehmann's, its test Wilcoxon's "
    "signed ranks by inputs, single pairs or blocks; money and quality by the signs of the inputs' differences. "
    "P-values are two-sided and corrected by Holm over the pairs of one measure under one load; the intervals of pairs "
    "are not corrected. What would have been seen is what four of five such runs show."
)


class Report(Struct, frozen=True, kw_only=True):
    """The findings of a run.

    Attributes:
        run: As it was, without its trials.
        ranking: For each load the candidates by their median latency, the quickest first.
        verdicts: The comparisons in words, those of `pairs` first.
        method: How the figures came about, in words.
    """

    run: Run
    figures: tuple[Figures, ...]
    ranking: tuple[tuple[str, ...], ...]
    pairs: tuple[Pair, ...]
    votes: tuple[Standing, ...] = ()
    verdicts: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    method: str = METHOD

    def under(self, load: int) -> tuple[Figures, ...]:
        """The figures under one load, in the suite's order."""
        return tuple(each for each in self.figures if each.load == load)


def report_of(run: Run, votes: Sequence[Vote] = ()) -> Report:
    """Everything that a run says, whether it has ended or not."""
    figures, pairs, stood = figures_of(run), pairs_of(run), standings(votes)
    return Report(
        run=replace(run, trials=()),
        figures=figures,
        ranking=tuple(_ranking(figures, load) for load in range(len(run.loads))),
        pairs=pairs,
        votes=stood,
        verdicts=(*map(verdict, pairs), *(voted(each) for each in stood if each.against is not None)),
        doubts=doubts_of(run, figures, pairs),
    )


def _ranking(figures: Sequence[Figures], load: int) -> tuple[str, ...]:
    known = [each for each in figures if each.load == load and each.latency_s]
    return tuple(each.candidate for each in sorted(known, key=lambda each: each.latency_s["p50"].value))
