"""What a broken stream becomes, as the caller asked: it goes on, ends in an error, or was held until it was whole."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.asking import ask, client_of, error_of
from tests.faults.house import HEALTHY
from tests.faults.provider import PATIENCE_S, partial_of
from tests.faults.scripts import PIECES, SAID, TEXT

if TYPE_CHECKING:
    from tests.faults.conftest import House


def test_held_until_whole_a_failover_is_invisible(faulty: House) -> None:
    """The caller sees the fallback's answer alone, from its first word, and no trace of the broken one."""
    told = ask(faulty.url, "held", stream=True, on_stream_failure="hold")

    assert (TEXT, True, [HEALTHY]) == (told.text, told.complete, told.models), told
    assert told.nearfar is not None
    assert ([], 2, HEALTHY) == (told.nearfar["splices"], told.nearfar["attempts"], told.nearfar["model"])
    assert HEALTHY == told.headers["x-nearfar-model"]
    assert [["primary", "error"], ["fallback", "ok"]] == faulty.server.sql(
        f"select role, status from attempts where decision_id = '{told.decision_id}' order by attempt"
    )


def test_where_an_error_is_wanted_nobody_goes_on(faulty: House) -> None:
    """The alias has a fallback that could; the request says that it must not."""
    before = len(faulty.far.asked(HEALTHY))
    told = ask(faulty.url, "erring", stream=True, on_stream_failure="error")

    assert (SAID, None, False) == (told.text, told.finish_reason, told.done)
    assert "all_attempts_failed" == error_of(told)["code"]
    assert before == len(faulty.far.asked(HEALTHY))


def test_the_first_pieces_are_not_held_back(faulty: House) -> None:
    """With `continue` the first word is out while the stream that will stall is still open."""
    began = time.monotonic()
    with client_of(faulty.url) as client:
        stream = client.chat.completions.create(
            model="stalling",
            messages=[{"role": "user", "content": "hello"}],
            max_tokens=len(PIECES),
            stream=True,
        )
        text, first_s = "", 0.0
        for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                first_s = first_s or (time.monotonic() - began if text else 0.0)

    asked = [r for r in faulty.far.asked(HEALTHY) if partial_of(r) == SAID and r.at > began]
    assert TEXT == text
    assert 1 == len(asked)
    assert first_s < asked[0].at - began  # the caller had read it before anybody was asked to go on


def test_a_caller_who_leaves_takes_the_far_request_along(faulty: House) -> None:
    """The provider sees the connection close, the row says `cancelled`, and what had come is owed by estimate."""
    model = "dripping.leaving"
    with client_of(faulty.url) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="leaving", messages=[{"role": "user", "content": "hello"}], max_tokens=9, stream=True
        )
        decision_id = raw.headers["x-nearfar-decision-id"]
        with raw.parse() as stream:
            next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    faulty.far.wait_until(lambda: len(faulty.far.left_at(model)) == 1)

    assert 1 == len(faulty.far.asked(model))
    assert ["cancelled", "estimated", True] == settled(faulty, decision_id)
    assert [["primary", "cancelled", "estimated"]] == faulty.server.sql(
        f"select role, status, cost_source from attempts where decision_id = '{decision_id}'"
    )


def settled(faulty: House, decision_id: str) -> Any:
    """Status, cost source and whether it cost something, once the row is closed."""
    deadline = time.monotonic() + PATIENCE_S
    query = f"select status, cost_source, cost_usd > 0 from decisions where decision_id = '{decision_id}'"
    while time.monotonic() < deadline:
        (row,) = faulty.server.sql(query)
        if row[0] != "open":
            return row
    return pytest.fail("the row stays open")


@pytest.mark.parametrize("script", ["cut", "good"])
def test_the_wire_ends_with_the_finish_the_usage_and_done(faulty: House, script: str) -> None:
    """The finish chunk alone has a reason and the field `nearfar`; behind it come only the usage and `[DONE]`."""
    wire = bytearray()
    with client_of(faulty.url, wire) as client:
        for _ in client.chat.completions.create(
            model=f"wired-{script}",
            messages=[{"role": "user", "content": "hello"}],
            max_tokens=len(PIECES),
            stream=True,
            stream_options={"include_usage": True},
        ):
            pass
    *lines, last = [line.removeprefix(b"data: ") for line in bytes(wire).splitlines() if line]
    chunks = [json.loads(line) for line in lines]

    assert b"[DONE]" == last
    assert [*[None] * (len(chunks) - 2), "stop"] == [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    assert [*[False] * (len(chunks) - 2), True, False] == ["nearfar" in chunk for chunk in chunks]
    assert [] == chunks[-1]["choices"]
    assert chunks[-1]["usage"]["completion_tokens"] == len(PIECES) - (3 if script == "cut" else 0)
