"""Where nobody else could answer: what is worth a second try there, when it comes, and what the caller is told else."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.faults.asking import ask, error_of
from tests.faults.house import PATIENT_S, alias
from tests.faults.scripts import SAID, TEXT

if TYPE_CHECKING:
    from tests.faults.asking import Told
    from tests.faults.conftest import House

both_modes = pytest.mark.parametrize("mode", ["streamed", "buffered"])


def asked(faulty: House, script: str, mode: str, **routing: object) -> tuple[Told, list[float], list[list[object]]]:
    """What the caller was told, the seconds between the far side's requests, and each attempt's role and error."""
    told = ask(faulty.url, alias(script, f"{mode}.alone"), stream=mode == "streamed", **routing)
    times = [request.at for request in faulty.far.asked(f"{script}.{mode}.alone")]
    rows = faulty.server.sql(
        f"select role, error_class from attempts where decision_id = '{told.decision_id}' order by attempt"
    )
    return told, [later - earlier for earlier, later in pairwise(times)], rows


@both_modes
@pytest.mark.parametrize(("script", "least_s"), [("limited-once", 1.0), ("limited-once-unsaid", 0.1)])
def test_a_limited_provider_is_asked_again_after_its_wait(
    faulty: House, script: str, least_s: float, mode: str
) -> None:
    """Not a moment before Retry-After; without one, after a pause of our own."""
    told, gaps, rows = asked(faulty, script, mode)

    assert (TEXT, True) == (told.text, told.complete), told
    assert [True] == [gap >= least_s for gap in gaps], gaps
    assert [["primary", "RateLimited"], ["retry", None]] == rows


@both_modes
@pytest.mark.parametrize(("script", "kind"), [("error-once", "RemoteError"), ("reset-once", "Interrupted")])
def test_a_passing_failure_is_tried_once_more(faulty: House, script: str, kind: str, mode: str) -> None:
    """A 500 and a reset before the headers: the second answer reaches the caller, who sees nothing of the first."""
    told, gaps, rows = asked(faulty, script, mode)

    assert (TEXT, True, 1) == (told.text, told.complete, len(gaps)), told
    assert [["primary", kind], ["retry", None]] == rows


@both_modes
@pytest.mark.parametrize(
    ("script", "kind", "status", "code"),
    [
        ("limited", "RateLimited", 429, "rate_limit_exceeded"),
        ("overloaded", "Overloaded", 503, "overloaded"),
        ("error", "RemoteError", 502, "all_attempts_failed"),
        ("reset", "Interrupted", 502, "all_attempts_failed"),
    ],
)
def test_a_lasting_failure_is_tried_twice_and_told(
    faulty: House, script: str, kind: str, status: int, code: str, mode: str
) -> None:
    """Two attempts and no more; the client is asked not to repeat what was repeated here."""
    told, gaps, rows = asked(faulty, script, mode)

    assert (status, code) == (getattr(told.error, "status_code", None), error_of(told)["code"])
    assert 1 == len(gaps)
    assert [["primary", kind], ["retry", kind]] == rows
    assert "false" == told.headers["x-should-retry"]
    assert (status in {429, 503}) == ("retry-after" in told.headers)


@both_modes
@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ("silent", 504, "timeout"),
        ("slow", 504, "timeout"),
        ("gateway-timeout", 504, "timeout"),
        ("unauthorized", 502, "all_attempts_failed"),
        ("forbidden", 502, "all_attempts_failed"),
        ("missing", 502, "all_attempts_failed"),
        ("context", 400, "context_length_exceeded"),
        ("filter", 400, "content_policy_violation"),
        ("redirect", 502, "all_attempts_failed"),
        ("html", 502, "all_attempts_failed"),
        ("junk", 502, "all_attempts_failed"),
    ],
)
def test_what_a_second_try_cannot_help_is_tried_once(
    faulty: House, script: str, status: int, code: str, mode: str
) -> None:
    """A silent route is not asked again, nor one that refuses or says what is no answer."""
    told, gaps, rows = asked(faulty, script, mode)

    assert (status, code) == (getattr(told.error, "status_code", None), error_of(told)["code"])
    assert ([], 1) == (gaps, len(rows))


@both_modes
def test_a_wait_that_does_not_fit_the_deadline_is_not_begun(faulty: House, mode: str) -> None:
    """Retry-After of a minute with fifty seconds left: told at once, with the wait."""
    told, gaps, rows = asked(faulty, "limited-long", mode, deadline_ms=50_000)

    assert (429, "60") == (getattr(told.error, "status_code", None), told.headers["retry-after"])
    assert ([], [["primary", "RateLimited"]]) == (gaps, rows)
    assert told.took_s < 50.0


@pytest.mark.parametrize("script", ["cut", "stall", "malformed", "failing-within", "unfinished"])
def test_a_broken_stream_with_nobody_to_go_on_is_never_taken_for_success(faulty: House, script: str) -> None:
    """What was said, then an error in band; no finish reason, no `[DONE]`, and no second request."""
    told, gaps, rows = asked(faulty, script, "streamed")

    assert told.error is not None
    assert (TEXT if script == "unfinished" else SAID, None, False) == (told.text, told.finish_reason, told.done)
    assert ([], 1) == (gaps, len(rows))
    assert [["error"]] == faulty.server.sql(f"select status from decisions where decision_id = '{told.decision_id}'")


@pytest.mark.parametrize("script", ["unended", "unended-open"])
def test_a_complete_stream_without_its_last_line_is_a_success_at_once(faulty: House, script: str) -> None:
    """The finish and the usage are all one can wait for: nobody waits for `[DONE]`, nor until a limit."""
    told, gaps, rows = asked(faulty, script, "streamed")

    assert (TEXT, True) == (told.text, told.complete), told
    assert ([], [["primary", None]]) == (gaps, rows)
    assert told.took_s < PATIENT_S  # its idle limit
