"""Names that lead elsewhere: out of folders, into headers, past the router."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.http.description.inference import CHAT
from tests.hostile.wire import error_of, get, post
from tests.surface.leaks import leaks

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

ELSEWHERE = (
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "%252e%252e%252fetc%252fpasswd",
    "....//....//etc/passwd",
    "..\\..\\windows\\win.ini",
    "..%5c..%5cwin.ini",
    "/etc/passwd",
    "//etc/passwd",
    "etc/passwd%00.png",
    "%c0%ae%c0%ae/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1/x",
    "nearfar.duckdb",
    "~/.ssh/id_rsa",
)
SECRETS = (b"root:", b"[fonts]", b"PRIVATE KEY", b"DUCK")


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize(
    "route",
    [
        "/models/",
        "/v1/models/",
        "/v1/intents/",
        "/v1/decisions/",
        "/ui/vendor/swagger-ui/",
        "/browser-models/",
        "/browser-models/all-MiniLM-L6-v2/0/",
    ],
)
def test_a_name_leads_to_no_file(route: str, name: str, faked: Server) -> None:
    """A path that leaves its folder is a thing that nobody knows."""
    answers = [get(faked.url, route + name)]
    if route == "/models/":
        answers.append(post(faked.url, route + name, b'{"inputs": "hello"}'))

    for answer in answers:
        assert 400 <= answer.status < 500, answer.raw
        assert not any(secret in answer.raw for secret in SECRETS)
        assert [] == leaks(answer.raw.decode("latin-1"), str(faked.folder))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_models_name_in_a_body_leads_to_no_file(name: str, faked: Server) -> None:
    """It is looked up in the catalogue and nowhere else."""
    answer = post(faked.url, "/v1/inference", json.dumps({"model": name, "inputs": "hello"}).encode())

    assert 404 == answer.status
    assert "model_not_found" == error_of(answer)["code"]
    assert [] == leaks(answer.raw.decode("latin-1"), str(faked.folder))


INJECTIONS = (
    "x\r\nx-injected: yes",
    "x\nx-injected: yes",
    "x\r\n\r\n<script>",
    "x\x0b\x0cx-injected: yes",
    "x\x85y\u2028z",
)


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("field", ["model", "session", "policy", "order", "tags"])
def test_no_field_of_a_body_becomes_a_header_of_its_own(field: str, text: str, faked: Server) -> None:
    """Line ends in names, sessions and policies stay inside the JSON they are told in."""
    routing = {field: [text] if field in {"order", "tags"} else text} if field != "model" else {}
    body = {"model": text if field == "model" else CHAT, "inputs": "hello", "routing": routing}

    answer = post(faked.url, "/v1/inference", json.dumps(body).encode())

    assert 200 <= answer.status < 500
    assert b"x-injected" not in answer.head
    assert b"<script>" not in answer.head


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_name_in_a_path_becomes_a_header(text: str, faked: Server) -> None:
    """Percent-encoded line ends neither."""
    for path in (f"/models/{quote(text)}", f"/v1/models/{quote(text)}", f"/v1/models?x={quote(text)}"):
        answer = post(faked.url, path, b'{"inputs": "x"}') if path.startswith("/models") else get(faked.url, path)

        assert 200 <= answer.status < 500
        assert b"x-injected" not in answer.head


@pytest.mark.parametrize(
    "sent",
    ["x\ty", "x" * 129, "\u00e9", "\x7f", "a\x1bb", "", " "],
    ids=["tab", "long", "latin", "del", "esc", "no", "blank"],
)
def test_a_request_id_that_is_not_printable_or_too_long_is_replaced(sent: str, faked: Server) -> None:
    """An id of our own stands in its place."""
    answer = post(faked.url, "/v1/inference", b'{"model": "fake/none", "inputs": "x"}', {"x-request-id": sent})

    assert 400 <= answer.status < 500
    given_back = [line for line in answer.head.split(b"\r\n") if line.lower().startswith(b"x-request-id:")]
    assert len(given_back) <= 1
    assert all(32 <= byte < 127 for line in given_back for byte in line)
    assert all(len(line) <= 128 + len(b"x-request-id: ") for line in given_back)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.text(min_size=1, max_size=40))
def test_any_name_of_a_model_is_answered_or_unknown(name: str, faked: Server) -> None:
    """In a path and in a query of the log, as in OpenAI's route."""
    for path in (f"/v1/models/{quote(name, safe='')}", f"/v1/decisions?limit=1&model={quote(name, safe='')}"):
        answer = get(faked.url, path)

        assert answer.status in {200, 400, 404}, answer.raw
        assert [] == leaks(answer.raw.decode("latin-1"))


def test_a_grouping_without_a_name_is_refused(faked: Server) -> None:
    """Left out it is the question's own; empty it is none."""
    assert 200 == get(faked.url, "/v1/analytics/timeseries").status
    assert 400 == get(faked.url, "/v1/analytics/timeseries?by=").status


QUERIES = (
    "limit=1e400",
    "limit=NaN",
    "limit=" + "9" * 5000,
    "limit=-1",
    "limit=%00",
    "since=0000-00-00",
    "since=9999-12-31T23:59:59%2B14:00",
    "since=0001-01-01T00:00:00%2B14:00",
    "until=%ff%fe",
    "cursor=AAAA",
    "cursor=" + "A" * 20_000,
    "cursor=%00",
    "model=%ed%a0%80",
    "status='; DROP TABLE decisions; --",
    "task=" + "x" * 50_000,
)


@pytest.mark.parametrize("query", QUERIES, ids=[query[:20] for query in QUERIES])
def test_a_query_that_makes_no_sense_is_refused_or_finds_nothing(query: str, faked: Server) -> None:
    """Never 5xx; numbers, instants and cursors are named in the refusal."""
    answer = get(faked.url, f"/v1/decisions?{query.replace(' ', '%20')}")

    assert answer.status in {200, 400}, answer.raw
    assert [] == leaks(answer.raw.decode("latin-1"))
