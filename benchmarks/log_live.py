"""Nearfar's own server with somebody in the same process who logs decisions at a rate: what `log_ingest.py` asks for.

`python benchmarks/log_live.py CONFIG SQLITE_FILE` prints its URL; then it takes a line of JSON at a time, and answers
each with one. `{"make": 50000}` makes decisions; `{"feed": "Nearfar", "rate": 5500}` gives them to the router's own log
(or, with `SQLite`, to one of that), some every two milliseconds; `{"stop": true}` ends that, and waits until all are
committed.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from log_scale import decision
from sqlite_log import SqliteLog

from router.cli import serving  # the server is the product's, but for who else holds its log
from router.decision_log.log import DecisionLog
from router.settings import Secrets, load
from router.workers.listening import listen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from router.decision_log.record import Row

TICK_S = 0.002
ENDED_S = 60.0  # so long ago that the log's upkeep settles them at once, as it does with what came a minute before
DRAIN_S = 120.0
NEARFAR, SQLITE, NOBODY = "Nearfar", "SQLite", "nobody"
Log = DecisionLog | SqliteLog


def made(decisions: int, age_s: float = 0.0) -> list[tuple[Row, ...]]:
    """Whole decisions, each of three rows, made before the clock starts."""
    draw = random.Random(1)
    return [tuple(decision(number + 1, draw, age_s)) for number in range(decisions)]


@contextmanager
def set_aside() -> Iterator[None]:
    """Keep the collector of garbage from walking through what is there again and again: that is not the log's time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Feed(threading.Thread):
    """Gives whole decisions to a log at a rate, until there are no more or it is told to stop."""

    def __init__(self, log: Log, decisions: Sequence[tuple[Row, ...]], rate: float) -> None:
        super().__init__(name="feed", daemon=True)
        self._log, self._decisions, self._rate = log, decisions, rate
        self._stopped = threading.Event()
        self.fed = 0
        self.began = 0.0
        self.fed_s = 0.0

    def run(self) -> None:
        """Whatever is due by now, again and again."""
        self.began = time.perf_counter()
        while not self._stopped.wait(TICK_S) and self.fed < len(self._decisions):
            self.fed_s = time.perf_counter() - self.began
            due = min(len(self._decisions), int(self.fed_s * self._rate))
            for rows in self._decisions[self.fed : due]:
                for row in rows:
                    self._log.append(row)
            self.fed = due

    def stop(self) -> dict[str, Any]:
        """End it, and wait until all is committed: what was fed, in which time, and when the last was committed."""
        self._stopped.set()
        self.join()
        self._log.flush(DRAIN_S)
        return {"fed": self.fed, "fed_s": self.fed_s, "committed_s": time.perf_counter() - self.began}


class Helper(threading.Thread):
    """Reads what is asked for, a line of JSON at a time, and answers with one."""

    def __init__(self, log: DecisionLog, sqlite_file: Path, aside: ExitStack) -> None:
        super().__init__(name="helper", daemon=True)
        self._logs: dict[str, Log | None] = {NEARFAR: log, NOBODY: None}
        self._sqlite_file = sqlite_file
        self._decisions: list[tuple[Row, ...]] = []
        self._feed: Feed | None = None
        self._aside = aside

    def run(self) -> None:
        """Until there is nobody any more who asks."""
        for line in sys.stdin:
            print(json.dumps(self._answer(json.loads(line))), flush=True)

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "make" in asked:
            self._decisions = made(asked["make"], ENDED_S)
            self._aside.enter_context(set_aside())
            return {"made": len(self._decisions)}
        if "feed" in asked:
            log = SqliteLog(self._sqlite_file) if asked["feed"] == SQLITE else self._logs[asked["feed"]]
            self._feed = None if log is None else Feed(log, self._decisions, asked["rate"])
            if self._feed is not None:
                self._feed.start()
            return {"feeding": asked["feed"]}
        return {"fed": 0} if self._feed is None else self._feed.stop()


def main() -> None:
    """Serve as `nearfar serve` does, until SIGTERM."""
    settings, secrets = load(Path(sys.argv[1])), Secrets()
    listener = listen(settings)
    log = DecisionLog.open(Path(settings.log.path))
    with ExitStack() as aside:
        Helper(log, Path(sys.argv[2]), aside).start()
        url = f"http://{settings.server.host}:{listener.getsockname()[1]}"
        serving.run(settings, secrets, log, listener, lambda: print(f"nearfar on {url}", flush=True), lambda: settings)


if __name__ == "__main__":
    main()
