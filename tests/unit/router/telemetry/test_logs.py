"""Log lines: their form, what they never hold, and that nobody waits for them."""

from __future__ import annotations

import io
import json
import logging
import threading

import pytest

from router.telemetry import logs
from router.telemetry.logs import QUEUE_LINES, fields, logging_to

CANARY = "the-canary-sings"
logger = logging.getLogger("nearfar.test")


def written(form, log) -> list[str]:
    """The lines that came of `log()`."""
    stream = io.StringIO()
    with logging_to(stream, form):
        log()
    return stream.getvalue().splitlines()


def fail() -> None:
    try:
        {}[CANARY]
    except KeyError:
        logger.exception("unhandled")


def test_a_line_is_json_with_its_fields() -> None:
    """One object a line, unknown left out, whatever is in a value."""
    values = {"route": "/v1/inference", "ms": 1.5, "decision_id": None, "request_id": 'a b\n"c'}
    [line] = written("json", lambda: logger.info("request", extra=fields(values)))
    told = json.loads(line)

    assert {"route": "/v1/inference", "ms": 1.5, "request_id": 'a b\n"c'} == {k: told[k] for k in values if k in told}
    assert ("INFO", "nearfar.test", "request") == (told["level"], told["logger"], told["message"])


def test_a_line_is_text_with_its_fields() -> None:
    """Bare words are bare; what could pass for another field, or another line, is quoted."""
    values = {"status": 200, "request_id": "x y\nERROR forged", "tenant": "status=500"}
    [line] = written("text", lambda: logger.info("request\nERROR forged", extra=fields(values)))

    assert (
        'INFO nearfar.test: request\\x0aERROR forged status=200 request_id="x y\\nERROR forged" tenant="status=500"'
        == line
    )


@pytest.mark.parametrize("form", ["text", "json", None])
def test_a_bug_is_told_by_its_class_and_place(form) -> None:
    """What it says may hold anything, and this machine's paths are its own business."""
    [line] = written(form, fail)

    assert "KeyError" in line
    assert f"{__name__}.fail" in line
    assert CANARY not in line
    assert __file__ not in line


def test_without_a_form_only_warnings_are_written() -> None:
    """As it was before anybody configured anything; and afterwards everything is as before."""
    before = list(logging.getLogger().handlers), logging.getLogger().level, logging.getLogger("nearfar").level

    def log() -> None:
        logger.info("no")
        logger.warning("yes")

    assert ["WARNING nearfar.test: yes"] == written(None, log)
    assert before == (list(logging.getLogger().handlers), logging.getLogger().level, logging.getLogger("nearfar").level)


def test_nobody_waits_for_a_reader_who_does_not_read() -> None:
    """What cannot be queued is dropped, and their number is the last line."""
    stuck, reading = threading.Event(), threading.Event()

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            stuck.set()
            assert reading.wait(30)
            return super().write(text)

    pipe = Pipe()
    with logging_to(pipe, "text"):
        logger.info("first")
        assert stuck.wait(30)
        for _ in range(QUEUE_LINES + 7):
            logger.info("more")
        reading.set()

    assert "WARNING nearfar: 7 log lines were dropped" in pipe.getvalue().splitlines()[-1]


def test_a_reader_who_never_reads_holds_nobody_up(monkeypatch) -> None:
    """The end waits for it only so long; what was queued is left behind."""
    monkeypatch.setattr(logs, "PATIENCE_S", 0.01)
    stuck, reading = threading.Event(), threading.Event()

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            stuck.set()
            assert reading.wait(30)
            return super().write(text)

    pipe = Pipe()
    with logging_to(pipe, "text"):
        logger.info("first")
        assert stuck.wait(30)
    written_by_then = pipe.getvalue()
    reading.set()

    assert "" == written_by_then
