"""What DuckDB holds in memory is told: unknown until somebody looked, and then its own account."""

from pathlib import Path

from router.decision_log.keeping import Keeper
from router.decision_log.log import DecisionLog

LIMIT_BYTES = 1_000_000_000


def test_the_logs_memory_is_told_once_it_was_looked_at(tmp_path: Path) -> None:
    """By the keeper's step, not by whoever asks for the figures."""
    log = DecisionLog.open(tmp_path / "log.duckdb")
    log._keeper.rest()
    assert log.stats().memory_bytes is None

    log._keeper = Keeper(log.cursor)
    log._keeper._next_s = 0.0
    log._keeper.keep()

    held = log.stats().memory_bytes
    log.close()
    assert held is not None
    assert 0 < held < LIMIT_BYTES
