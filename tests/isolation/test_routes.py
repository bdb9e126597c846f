"""Every route of the app: whoever reads it in a tenant's name is told nothing of another's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import router.http
from router.app import HANDLERS
from router.decision_log.columns import VIEWS
from router.decision_log.questions import QUESTIONS
from router.http import scopes
from router.identity import owned
from tests.isolation.world import MINE, NOSY, OTHERS, OTHERS_SET, OWN_SET, SHARED_SET
from tests.unit.router.house import CHAT

if TYPE_CHECKING:
    from tests.isolation.world import World

UNKNOWN = "01980000-0000-7000-8000-000000000000"
NO_FILE, NO_BATCH = f"file-{24 * '0'}", f"batch_{24 * '0'}"
OTHERS_MODEL = f"intents/{owned(OTHERS_SET, OTHERS)}"

OPEN = {
    ("GET", "/health/live"): "says `ok`",
    ("GET", "/health/ready"): "says how far the log lags, not whose rows wait",
    ("GET", "/v1/analytics/schema"): "is the same at every server",
}
"""Routes that show nothing of anybody, with why."""

ANSWERED = {
    ("POST", "/v1/inference"), ("POST", "/v1/route"), ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/images/generations"), ("POST", "/v1/audio/transcriptions"), ("POST", "/models/{address:path}"),
}  # fmt: skip
"""Routes that answer what they are sent: of others they could only tell the models these made."""


class Read(NamedTuple):
    """A request that reads, of a route; `shows` when an admin is told of the others by the same request."""

    route: tuple[str, str]
    path: str
    sent: dict[str, Any] = {}  # noqa: RUF012 -- never changed
    shows: bool = True


def _questions() -> list[Read]:
    route = ("GET", "/v1/analytics/{question:str}")
    return [
        Read(route, f"/v1/analytics/{name}?by={by}{step}", shows=by == "tenant" and name in {"summary", "timeseries"})
        for name, question in QUESTIONS.items()
        for by in question.by
        for step in (["", "&step=minute"] if question.steps else [""])
    ]


READS = [
    Read(("GET", "/v1/decisions"), "/v1/decisions"),
    Read(("GET", "/v1/decisions"), "/v1/decisions?status=refused"),
    Read(("GET", "/v1/decisions"), f"/v1/decisions?model=model/of-{OTHERS}"),
    *_questions(),
    *(Read(("POST", "/v1/analytics/sql"), "/v1/analytics/sql", {"json": {"query": f"FROM {view}"}},
        shows=view in {"decisions", "feedback", "compare_runs", "compare_trials"}) for view in VIEWS),
    Read(("POST", "/v1/replay"), "/v1/replay", {"json": {"policy": "fastest"}}, shows=False),
    Read(("GET", "/v1/intents"), "/v1/intents"),
    Read(("GET", "/v1/models"), "/v1/models"),
    Read(("GET", "/v1/system"), "/v1/system", shows=False),
    Read(("GET", "/metrics"), "/metrics", shows=False),
    Read(("GET", "/v1/files"), "/v1/files"),
    Read(("GET", "/v1/batches"), "/v1/batches"),
    Read(("GET", "/v1/compare"), "/v1/compare"),
]  # fmt: skip

ONE_OF_THEM = {
    ("GET", "/v1/decisions/{decision_id:str}"), ("POST", "/v1/feedback"), ("GET", "/v1/intents/{name:str}"),
    ("GET", "/v1/intents/{name:str}/head"),
    ("DELETE", "/v1/intents/{name:str}"), ("GET", "/v1/models/{model_id:path}"),
    ("GET", "/v1/files/{file_id:str}"), ("GET", "/v1/files/{file_id:str}/content"),
    ("DELETE", "/v1/files/{file_id:str}"), ("POST", "/v1/batches"), ("GET", "/v1/batches/{batch_id:str}"),
    ("POST", "/v1/batches/{batch_id:str}/cancel"), ("POST", "/v1/decisions/browser"),
    ("GET", "/v1/compare/{run_id:str}"), ("DELETE", "/v1/compare/{run_id:str}"),
}  # fmt: skip
"""Routes about one thing that is named: see `test_what_is_anothers_is_as_unknown_as_what_is_not`."""

MADE = {("POST", "/v1/intents"), ("POST", "/v1/files"), ("POST", "/v1/compare")}
"""Routes that make what is the sender's own: see `test_intents`, and `test_keys` for what is uploaded."""


def routes() -> set[tuple[str, str]]:
    return {
        (str(method), path)
        for handler in HANDLERS
        for path in handler.paths
        for method in handler.http_methods
        if method not in {"HEAD", "OPTIONS"}
    }


def for_admins() -> set[tuple[str, str]]:
    return {
        (str(method), path)
        for handler in HANDLERS
        for path in handler.paths
        for method in handler.http_methods
        if scopes.ADMIN == scopes.needed(str(method), path, handler.opt)
    }


def test_every_route_is_tested_here_or_said_to_be_open() -> None:
    """A new route must be told apart, too: list it in READS, ONE_OF_THEM, MADE or ANSWERED, or say why it is OPEN.

    One that is for admins alone tells nobody else anything: see `test_keys`.
    """
    listed = {read.route for read in READS} | ONE_OF_THEM | MADE | ANSWERED | OPEN.keys()

    assert routes() - for_admins() == listed


@pytest.mark.parametrize("read", READS, ids=lambda read: f"{read.path} {read.sent.get('json', '')}"[:80])
def test_no_route_tells_a_tenant_of_another(world: World, read: Read) -> None:
    """The other's name is in all it sent, and in no answer; an admin is told of both by the same request."""
    answer = world.ask(MINE, read.route[0], read.path, **read.sent)

    assert answer.status_code in {200, 403}
    assert OTHERS not in answer.text
    assert not set(world.ids[OTHERS]) & set(re.findall(r"[0-9a-f-]{36}", answer.text))
    if read.shows:
        assert OTHERS in world.ask(None, read.route[0], read.path, **read.sent).text


def test_a_tenant_is_told_of_its_own(world: World) -> None:
    """Answered and refused alike: the log knows whose a request is that was refused before it could be decided."""
    for tenant in (MINE, OTHERS):
        told = world.ask(tenant, "GET", "/v1/decisions").json()["data"]

        assert {tenant} == {row["tenant"] for row in told}
        status = {row["decision_id"]: row["status"] for row in told}
        assert ["ok", "ok", "refused", "refused"] == [status[one] for one in world.ids[tenant][:4]]


def _without(text: str, name: str) -> str:
    assert name in text
    return text.replace(name, "NAME")


@pytest.mark.parametrize(
    ("method", "path", "theirs", "unknown"),
    [
        ("GET", "/v1/decisions/{}", None, UNKNOWN),
        ("POST", "/v1/feedback", None, UNKNOWN),
        ("POST", "/v1/decisions/browser", None, UNKNOWN),
        ("GET", "/v1/intents/{}", OTHERS_SET, "no-such-words"),
        ("DELETE", "/v1/intents/{}", OTHERS_SET, "no-such-words"),
        ("GET", "/v1/intents/{}/head", OTHERS_SET, "no-such-words"),
        ("GET", "/v1/intents/{}/head", owned(OTHERS_SET, OTHERS), owned("none", OTHERS)),
        ("GET", "/v1/intents/{}", owned(OTHERS_SET, OTHERS), owned("none", OTHERS)),
        ("DELETE", "/v1/intents/{}", owned(OTHERS_SET, OTHERS), owned("none", OTHERS)),
        ("GET", "/v1/models/{}", OTHERS_MODEL, f"intents/{owned('none', OTHERS)}"),
        ("POST", "/v1/inference", OTHERS_MODEL, f"intents/{owned('none', OTHERS)}"),
        ("POST", "/v1/route", OTHERS_MODEL, f"intents/{owned('none', OTHERS)}"),
        ("POST", "/v1/chat/completions", OTHERS_MODEL, f"intents/{owned('none', OTHERS)}"),
        ("POST", "/v1/embeddings", OTHERS_MODEL, f"intents/{owned('none', OTHERS)}"),
        ("POST", "/v1/completions", OTHERS_MODEL, f"intents/{owned('none', OTHERS)}"),
        ("GET", "/v1/files/{}", "file", NO_FILE),
        ("GET", "/v1/files/{}/content", "file", NO_FILE),
        ("DELETE", "/v1/files/{}", "file", NO_FILE),
        ("POST", "/v1/batches", "file", NO_FILE),
        ("GET", "/v1/batches/{}", "batch", NO_BATCH),
        ("POST", "/v1/batches/{}/cancel", "batch", NO_BATCH),
        ("POST", "/models/{}", OTHERS_MODEL, f"intents/{owned('none', OTHERS)}"),
        ("GET", "/v1/compare/{}", "run", UNKNOWN),
        ("DELETE", "/v1/compare/{}", "run", UNKNOWN),
    ],
)
def test_what_is_anothers_is_as_unknown_as_what_is_not(
    world: World, method: str, path: str, theirs: str | None, unknown: str
) -> None:
    """The same status and the same words: nobody can find out what others have by asking for it."""
    told = []
    known = {None: world.ids[OTHERS][0], **world.kept[OTHERS]}
    for name in (known.get(theirs, theirs), unknown):
        body = {
            "/v1/batches": {"input_file_id": name, "endpoint": "/v1/chat/completions"},
            "/v1/completions": {"model": name, "prompt": "x"},
            "/v1/feedback": {"decision_id": name, "score": 0.0},
            "/v1/decisions/browser": {"decision_id": name, "status": "ok", "latency_ms": 1.0},
            "/v1/inference": {"model": name, "inputs": "x"},
            "/v1/route": {"model": name, "inputs": "x"},
            "/v1/chat/completions": {"model": name, "messages": [{"role": "user", "content": "x"}]},
            "/v1/embeddings": {"model": name, "input": "x"},
            "/models/{}": {"inputs": "x"},
        }.get(path)
        said = {} if method != "POST" or body else {"headers": {"content-type": "application/json"}}
        answer = world.ask(NOSY, method, path.format(name), json=body, **said)
        error = answer.json()["error"]
        words = error if isinstance(error, str) else error["message"]
        told.append((answer.status_code, _without(words, name)))

    assert told[0] == told[1]
    assert 404 == told[0][0]


def test_anothers_decision_gets_no_vote(world: World) -> None:
    """What was refused was not written either."""
    query = {"query": "SELECT value FROM feedback"}
    before = world.ask(OTHERS, "POST", "/v1/analytics/sql", json=query).json()["rows"]
    world.ask(MINE, "POST", "/v1/feedback", json={"decision_id": world.ids[OTHERS][0], "score": 0.0})

    assert [[0.5]] == before == world.ask(OTHERS, "POST", "/v1/analytics/sql", json=query).json()["rows"]


def test_one_decision_is_told_whole_to_whose_it_is(world: World) -> None:
    """With its feedback and its explanation; an admin reads everybody's."""
    path = f"/v1/decisions/{world.ids[OTHERS][0]}"

    assert f"label of {OTHERS}" == world.ask(OTHERS, "GET", path).json()["feedback"][0]["label"]
    assert 200 == world.ask(None, "GET", path).status_code


def test_what_was_asked_is_told_to_whose_it_is_and_to_an_admin(world: World) -> None:
    """Stored inputs are in one answer alone; of another's decision there is no such answer."""
    path = f"/v1/decisions/{world.ids[OTHERS][0]}"

    assert f"words of {OTHERS}" in str(world.ask(OTHERS, "GET", path).json()["inputs"])
    assert f"words of {OTHERS}" in str(world.ask(None, "GET", path).json()["inputs"])
    assert 404 == world.ask(MINE, "GET", path).status_code


def test_files_and_batches_are_whole_for_whose_they_are(world: World) -> None:
    """Lists hold one's own alone, and what another tried to do to it changed nothing."""
    for tenant, kept in world.kept.items():
        files, batches = (world.ask(tenant, "GET", f"/v1/{kind}").json()["data"] for kind in ("files", "batches"))

        assert [kept["file"]] == [file["id"] for file in files if file["purpose"] == "batch"]
        assert [(kept["batch"], f"batch of {tenant}")] == [(one["id"], one["metadata"]["of"]) for one in batches]
        assert batches[0]["cancelling_at"] is None
        assert f"words of {tenant}" in world.ask(tenant, "GET", f"/v1/files/{kept['file']}/content").text


def test_a_comparison_is_told_whole_to_whose_it_is(world: World) -> None:
    """Its list holds one's own alone, and what another tried to do to it changed nothing."""
    for tenant, kept in world.kept.items():
        told = world.ask(tenant, "GET", f"/v1/compare/{kept['run']}").json()

        assert ("completed", f"comparison of {tenant}") == (told["status"], told["suite"])
        assert [kept["run"]] == [run["id"] for run in world.ask(tenant, "GET", "/v1/compare").json()["data"]]
        assert 200 == world.ask(None, "GET", f"/v1/compare/{kept['run']}").status_code


def test_nobody_pages_from_what_is_anothers(world: World) -> None:
    """An id of another's is in nobody's list, so it is no place to begin at either."""
    for kind, name in (("files", "file"), ("batches", "batch")):
        answer = world.ask(NOSY, "GET", f"/v1/{kind}", params={"after": world.kept[OTHERS][name]})

        assert (400, "after") == (answer.status_code, answer.json()["error"]["param"])


def test_a_cursor_opens_nobody_elses_pages(world: World) -> None:
    """One that an admin was given, or another tenant, shows a tenant its own."""
    for giver in (None, OTHERS):
        page = world.ask(giver, "GET", "/v1/decisions?limit=1").json()
        found = world.ask(MINE, "GET", "/v1/decisions", params={"cursor": page["next_cursor"]}).json()

        assert {MINE} == {row["tenant"] for row in found["data"]}


def test_replay_reads_its_senders_decisions(world: World) -> None:
    """As many as it has, of which an admin replays all."""
    counted = {
        tenant: world.ask(tenant, "POST", "/v1/replay", json={"policy": "fastest"}).json()["requests"]
        for tenant in (MINE, OTHERS, None)
    }

    assert 2 == counted[OTHERS]
    assert counted[None] == counted[MINE] + counted[OTHERS]


def test_what_all_share_is_told_to_a_tenant_and_sums_over_all_are_not(world: World) -> None:
    """System Health says which version runs where; how much is asked of it altogether is for admins."""
    mine, all_of_it = (world.ask(who, "GET", "/v1/system").json() for who in (MINE, None))

    assert all_of_it["version"] == mine["version"]
    assert {"log", "admission", "shadowing", "hub_token", "problems"} == all_of_it.keys() - mine.keys() & {
        "log", "admission", "shadowing", "hub_token", "problems",
    }  # fmt: skip
    assert 403 == world.ask(MINE, "GET", "/metrics").status_code
    assert 200 == world.ask(None, "GET", "/metrics").status_code


def test_near_names_are_those_that_may_be_known(world: World) -> None:
    """A slip of the pen names no set that somebody made for itself, to nobody."""
    for tenant in (NOSY, None):
        told = world.ask(tenant, "GET", "/v1/models/intents/bravo-9c-word").json()["error"]["message"]

        assert OTHERS_SET not in told.replace("bravo-9c-word'", "")
    assert SHARED_SET in world.ask(NOSY, "GET", "/v1/models/intents/shared-word").json()["error"]["message"]


def test_everybodys_sets_are_changed_by_nobody_in_particular(world: World) -> None:
    """A tenant reads them and cannot delete them; its own set of a name stands before everybody's."""
    assert 200 == world.ask(MINE, "GET", f"/v1/intents/{SHARED_SET}").status_code
    assert 403 == world.ask(MINE, "DELETE", f"/v1/intents/{SHARED_SET}").status_code
    mine, theirs = (world.ask(who, "GET", f"/v1/intents/{OWN_SET}").json() for who in (MINE, OTHERS))
    assert (True, True, OWN_SET, OWN_SET) == (mine["own"], theirs["own"], mine["name"], theirs["name"])
    assert mine["model"] != theirs["model"]
    assert ["yes of somebody", "no of somebody"] == mine["labels"]


def test_handlers_read_the_log_by_one_door() -> None:
    """`services.reader` knows who asks. A handler that took the log's own reader would read everybody's rows."""
    folder = Path(router.http.__file__).parent
    there = {file.name for file in folder.glob("*.py") if ".reader(" in file.read_text(encoding="utf-8")}

    assert {"services.py"} == there


def test_an_answer_is_given_in_its_senders_name(world: World) -> None:
    """The routes that answer are this suite's only writers: what they wrote is there, and is the sender's."""
    sent = {"model": CHAT, "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    made = world.ask(MINE, "POST", "/v1/chat/completions", json=sent).headers["x-nearfar-decision-id"]
    world.ids[MINE].append(made)

    assert MINE == world.ask(None, "GET", f"/v1/decisions/{made}").json()["tenant"]
    assert 404 == world.ask(OTHERS, "GET", f"/v1/decisions/{made}").status_code
