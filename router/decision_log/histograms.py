"""Histograms that add up: quantiles with a bounded relative error over any grouping, as SQL. Knows no table.

Buckets grow by a constant factor, so that a value read back is wrong by ACCURACY at most whatever its size (Masson, Rim
and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", VLDB 2019). Bucket i holds
what lies in (g^(i-1), g^i] with g = (1 + ACCURACY) / (1 - ACCURACY); zero has one of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACCURACY = 0.02
"""Largest relative error of a quantile against the observation it stands for."""

GROWTH = (1 + ACCURACY) / (1 - ACCURACY)
ZERO = -32_768


def bucket(value: str) -> str:
    """The bucket of a SQL expression; NULL stays NULL, 0 and less is the bucket of zero."""
    return f"CASE WHEN {value} > 0 THEN ceil(ln({value}) / {math.log(GROWTH)!r})::SMALLINT WHEN {value} <= 0 THEN {ZERO} END"


def histogram(value: str, where: str = "true") -> str:
    """The aggregate that counts buckets: a MAP from bucket to count, NULL when nothing was counted."""
    return f"CAST(histogram({bucket(value)}) FILTER ({value} IS NOT NULL AND {where}) AS MAP(SMALLINT, BIGINT))"


def quantiles(histograms: str, of: str, keys: Sequence[str], wanted: Mapping[str, float]) -> str:
    """A SELECT of one row per combination of `keys`: the wanted quantiles of the histograms in a column, added up.

    Args:
        histograms: Name of a relation that has the keys and the histogram column.
        of: The histogram column.
        keys: Columns to group by; at least one.
        wanted: Name of the new column -> quantile between 0 and 1, by nearest rank: the smallest value that a share of
            q of all does not exceed.
    """
    by = ", ".join(keys)
    value = f"CASE WHEN b = {ZERO} THEN 0.0 ELSE {2 / (GROWTH + 1)!r} * exp(b * {math.log(GROWTH)!r}) END"
    picked = ", ".join(f"min({value}) FILTER (upto >= {q} * total) AS {name}" for name, q in wanted.items())
    return f"""
        SELECT {by}, {picked} FROM (
            SELECT *, sum(n) OVER (PARTITION BY {by} ORDER BY b) AS upto, sum(n) OVER (PARTITION BY {by}) AS total FROM (
                SELECT {by}, entry.key AS b, sum(entry.value) AS n
                FROM (SELECT {by}, unnest(map_entries({of})) AS entry FROM {histograms}) GROUP BY ALL HAVING n > 0))
        GROUP BY ALL"""  # noqa: S608 - names of ours
