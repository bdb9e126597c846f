"""The whole application with senders who must say who they are: keys, tokens, scopes, limits, and what stays open."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
from litestar.testing import TestClient

from router.access.gate import MAX_FAILURES_PER_MINUTE
from router.access.keys import Limits, Wanted, created
from router.access.store import KeyFile
from router.app import create_app
from router.decision_log.log import DecisionLog
from router.errors import SettingsError
from router.house import open_house, serving_house
from router.http.door import duration
from router.section import AuthSettings
from router.sections import BudgetEntry, CandidateEntry, ModelEntry, Price, Settings
from router.settings import Secrets

SECRET = "0123456789abcdef0123456789abcdef"
MODEL = ModelEntry(
    id="test/chat",
    task="text-generation",
    candidates=(CandidateEntry(backend="fake", provider="a", price=Price(per_request_usd=1.0)),),
)
ASK = {"model": "test/chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
NATIVE = {"model": "test/chat", "inputs": "hello", "parameters": {"max_new_tokens": 8}}


def key(name: str, *scopes: str, **limits: int) -> dict[str, str]:
    """The header of a new key."""
    wanted = Wanted(name=name, scopes=scopes or ("infer", "read"), limits=Limits(**limits))

    def work(keys):
        made = created(keys, wanted, time.time())
        return made.keys, made.secret

    return {"authorization": f"Bearer {KeyFile(Path('nearfar-keys.json')).change(work)}"}


def token(**claims) -> dict[str, str]:
    whole = {"sub": "alice", "exp": time.time() + 60, "scope": "infer"} | claims
    return {"authorization": f"Bearer {jwt.encode(whole, SECRET, algorithm='HS256')}"}


@contextmanager
def serving(mode: str = "keys", budgets=(), log: DecisionLog | None = None, **auth) -> Iterator[TestClient]:
    settings = Settings(auth=AuthSettings(mode=mode, **auth), models=(MODEL,), budgets=tuple(budgets))
    app = create_app(settings, Secrets(jwt_secret=SECRET), log or DecisionLog.open(Path(":memory:")))
    with TestClient(app, base_url="http://far.example") as client:
        yield client


def test_without_a_credential_nothing_but_health_and_the_description_answers() -> None:
    """401 says how to do better, in each family's shape, and the same for every wrong credential."""
    with serving() as http:
        wrong = [
            http.post("/v1/chat/completions", json=ASK, headers=headers)
            for headers in (
                {},
                {"authorization": "Bearer nf_" + "A" * 43},
                {"authorization": "Basic dTpw"},
                {"authorization": "Bearer a.b.c"},
                {"x-api-key": "nf_wrong"},
            )
        ]
        native = http.post("/v1/inference", json=NATIVE)
        hub = http.post("/models/test/chat", json={"inputs": "hello"})
        openings = [http.get(path).status_code for path in ("/health/live", "/health/ready", "/schema/openapi.json")]
        closed = [http.get(path).status_code for path in ("/metrics", "/v1/system", "/v1/decisions", "/v1/models")]

    assert {401} == {answer.status_code for answer in wrong}
    assert 1 == len({answer.text for answer in wrong})
    assert 'Bearer realm="nearfar"' == wrong[0].headers["www-authenticate"]
    assert "invalid_api_key" == wrong[0].json()["error"]["code"]
    assert (401, False) == (native.status_code, native.json()["success"])
    assert isinstance(hub.json()["error"], str)
    assert [200, 200, 200] == openings
    assert [401, 401, 401, 401] == closed


def test_a_key_opens_what_its_scopes_say_in_either_header() -> None:
    """403 names the scope that is lacking."""
    with serving() as http:
        asks, reads, admin = key("asks", "infer"), key("reads", "read"), key("admin", "admin")
        http.get("/v1/keys", headers=admin)  # not known yet: the keys are read again below
        http.app.state.services.access.keyring.reread()
        asked = http.post("/v1/chat/completions", json=ASK, headers=asks)
        other_header = http.post(
            "/v1/chat/completions", json=ASK, headers={"x-api-key": asks["authorization"].removeprefix("Bearer ")}
        )
        lacking = [http.get("/v1/decisions", headers=asks), http.post("/v1/inference", json=NATIVE, headers=reads)]
        for_admins = [http.get("/v1/keys", headers=who).status_code for who in (asks, reads, admin)]
        models = [http.get("/v1/models", headers=who).status_code for who in (asks, reads, admin)]

    assert [200, 200] == [asked.status_code, other_header.status_code]
    assert [403, 403] == [answer.status_code for answer in lacking]
    assert "the scope read" in lacking[0].json()["error"]["message"]
    assert "the scope infer" in lacking[1].json()["error"]["message"]
    assert [403, 403, 200] == for_admins
    assert [200, 200, 200] == models


def test_rows_are_their_senders_and_strangers_leave_none() -> None:
    """Who is refused with a name has a row; whoever nobody knows cannot fill the log."""
    alice = key("alice", "infer")
    log = DecisionLog.open(Path("log.duckdb"))
    with serving(log=log) as http:
        http.post("/v1/inference", json=NATIVE, headers=alice)
        http.post("/v1/inference", json=NATIVE)
        http.post("/v1/inference", content="{}", headers={"content-type": "text/plain"})
        http.post("/v1/inference", json=NATIVE, headers={"origin": "https://elsewhere.example"})
        log.flush()
        rows = log.reader().sql("SELECT tenant FROM decisions").rows
        metrics = http.app.state.services.metrics
        counted = metrics._registry.get_sample_value("nearfar_turned_away_total", {"why": "missing"})

    assert [("alice",)] == [tuple(row) for row in rows]
    assert 1 == counted


def test_tokens_open_by_their_scopes_and_keys_do_not_where_only_tokens_do() -> None:
    """And the other way round; with both modes either opens."""
    alice = key("alice", "infer")
    status = {}
    for mode in ("keys", "jwt", "keys+jwt"):
        with serving(mode) as http:
            status[mode] = [
                http.post("/v1/inference", json=NATIVE, headers=headers).status_code
                for headers in (alice, token(), token(scope="read"), token(exp=time.time() - 99))
            ]

    assert {
        "keys": [200, 401, 401, 401],
        "jwt": [401, 200, 403, 401],
        "keys+jwt": [200, 200, 403, 401],
    } == status


def test_a_command_needs_nothing_to_check_tokens_with_and_a_server_does() -> None:
    """`nearfar run` asks nobody who they are; a server that could not check anybody does not start."""
    settings = Settings(auth=AuthSettings(mode="jwt"), models=(MODEL,))

    async def opens(house) -> str:
        async with house(settings, Secrets(), DecisionLog.open(Path(":memory:"))) as services:
            return services.access.mode

    assert "jwt" == asyncio.run(opens(open_house))
    with pytest.raises(SettingsError, match="NEARFAR_JWT_SECRET"):
        asyncio.run(opens(serving_house))


def test_guessing_is_told_to_wait_and_locks_nobody_out() -> None:
    """Behind a proxy many share an address: a good key still opens."""
    alice = key("alice", "infer")
    with serving() as http:
        guesses = [
            http.get("/v1/models", headers={"authorization": f"Bearer nf_{n}"})
            for n in range(MAX_FAILURES_PER_MINUTE + 1)
        ]
        good = http.get("/v1/models", headers=alice)

    assert [401] * MAX_FAILURES_PER_MINUTE + [429] == [guess.status_code for guess in guesses]
    assert 1 <= int(guesses[-1].headers["retry-after"]) <= 60
    assert 200 == good.status_code


def test_keys_are_made_shown_rotated_and_revoked_over_the_api() -> None:
    """The secret is shown where it is made and nowhere else; a revoked key opens nothing from that moment."""
    admin = key("root", "admin")
    with serving() as http:
        made = http.post("/v1/keys", json={"name": "bob", "expires_in_s": 3600}, headers=admin)
        bob = {"authorization": f"Bearer {made.json()['secret']}"}
        first = http.get("/v1/models", headers=bob).status_code
        turned = http.post("/v1/keys/bob/rotate", json={"overlap_s": 0}, headers=admin)
        new = {"authorization": f"Bearer {turned.json()['secret']}"}
        both = [http.get("/v1/models", headers=who).status_code for who in (bob, new)]
        ended = http.delete("/v1/keys/bob", headers=admin)
        after = http.get("/v1/models", headers=new).status_code
        again = http.post("/v1/keys", json={"name": "bob"}, headers=admin)
        nobody = http.delete("/v1/keys/nobody", headers=admin)
        listed = http.get("/v1/keys", headers=admin)
        audit = http.get("/v1/audit", headers=admin).json()["data"]

    assert (201, "no-store", "active") == (made.status_code, made.headers["cache-control"], made.json()["state"])
    assert (200, [401, 200], 401) == (first, both, after)
    assert "revoked" == ended.json()["state"]
    assert (400, "name") == (again.status_code, again.json()["error"]["param"])
    assert (404, "key_not_found") == (nobody.status_code, nobody.json()["error"]["code"])
    assert ["root", "bob"] == [one["name"] for one in listed.json()["data"]]
    assert "secret" not in {name for one in listed.json()["data"] for name in one}
    assert [
        ("keys.revoke", "nobody", "UnknownKey"),
        ("keys.create", "bob", "InvalidRequest"),
        ("keys.revoke", "bob", "ok"),
        ("keys.rotate", "bob", "ok"),
        ("keys.create", "bob", "ok"),
    ] == [(one["action"], one["subject"], one["result"]) for one in audit]
    assert {("root", "http")} == {(one["who"], one["surface"]) for one in audit}
    for secret in (made.json()["secret"], turned.json()["secret"]):
        assert secret not in json.dumps(audit) + listed.text


def test_a_key_over_its_requests_is_told_when_and_how_it_stands() -> None:
    """In OpenAI's names, on answers and refusals alike; the others are not hindered."""
    busy, other = key("busy", requests_per_minute=2), key("other")
    with serving(requests_per_minute=100) as http:
        answers = [http.post("/v1/inference", json=NATIVE, headers=busy) for _ in range(3)]
        free = http.post("/v1/inference", json=NATIVE, headers=other)

    assert [200, 200, 429] == [answer.status_code for answer in answers]
    assert ["1", "0", "0"] == [answer.headers["x-ratelimit-remaining-requests"] for answer in answers]
    assert {"2"} == {answer.headers["x-ratelimit-limit-requests"] for answer in answers}
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert ("rate_limit_exceeded", False) == (answers[2].json()["error"]["code"], answers[2].json()["success"])
    assert "99" == free.headers["x-ratelimit-remaining-requests"]


def test_tokens_are_counted_as_used_and_a_request_that_would_use_more_waits() -> None:
    """What was set aside for it is given back when it ends; a refusal has a row in its sender's name."""
    busy = key("busy", tokens_per_minute=60)
    log = DecisionLog.open(Path("log.duckdb"))
    with serving(log=log) as http:
        long = NATIVE | {"inputs": "word " * 40}
        first = http.post("/v1/inference", json=NATIVE, headers=busy)
        left = http.app.state.services.access.limits.standing("busy")["tokens"].remaining
        refused = http.post("/v1/inference", json=long, headers=busy)
        log.flush()
        rows = log.reader().sql("SELECT count(*) FROM decisions").rows

    usage = first.json()["usage"]
    assert 60 - usage["total_tokens"] == pytest.approx(left, abs=1)
    assert 429 == refused.status_code
    assert "tokens a minute" in refused.json()["error"]["message"]
    assert [(2,)] == [tuple(row) for row in rows]


def test_without_limits_no_answer_speaks_of_them() -> None:
    """Nothing is told that does not hold."""
    alice = key("alice")
    with serving() as http:
        answer = http.post("/v1/inference", json=NATIVE, headers=alice)

    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_each_keys_budget_is_its_own_and_survives_a_restart() -> None:
    """What one spent is gone for that one, also after the log is opened again."""
    budgets = [BudgetEntry(scope="key:alice", limit_usd=1.5, on_exceeded="refuse")]
    alice, bob = key("alice"), key("bob")
    with serving(budgets=budgets, log=DecisionLog.open(Path("log.duckdb"))) as http:
        before = [http.post("/v1/inference", json=NATIVE, headers=who).status_code for who in (alice, alice, bob, bob)]
    with serving(budgets=budgets, log=DecisionLog.open(Path("log.duckdb"))) as http:
        after = [http.post("/v1/inference", json=NATIVE, headers=who).status_code for who in (alice, bob)]

    assert [200, 402, 200, 200] == before
    assert [402, 200] == after


def test_an_open_route_makes_nobody_an_admin() -> None:
    """Whoever asks for health has no name and no scope there."""
    seen = []
    with serving() as http:
        door = http.app.asgi_handler

        async def spying(scope, receive, send):
            await door(scope, receive, send)
            seen.append(scope.get("state", {}).get("nearfar_identity"))

        http.app.asgi_handler = spying
        http.get("/health/live")

    assert [("", frozenset())] == [(who.tenant, who.scopes) for who in seen]


def test_a_page_of_an_allowed_origin_may_send_its_key() -> None:
    """The preflight needs no key and allows the header; other origins are refused, before and after it."""
    alice = key("alice")
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    page, stranger = {"origin": "https://app.example"}, {"origin": "https://evil.example"}
    with serving(cors_allow_origins=("https://app.example",), requests_per_minute=10) as http:
        preflight = http.options("/v1/inference", headers=ask | page)
        answer = http.post("/v1/inference", json=NATIVE, headers=alice | page)
        refused = http.post("/v1/inference", json=NATIVE, headers=page)
        strange = http.options("/v1/inference", headers=ask | stranger)
        stolen = http.post("/v1/inference", json=NATIVE, headers=alice | stranger)

    assert 204 == preflight.status_code
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    for one in (preflight, answer, refused):
        assert "https://app.example" == one.headers["access-control-allow-origin"]
    assert "x-ratelimit-remaining-requests" in answer.headers["access-control-expose-headers"]
    assert [200, 401, 400, 403] == [one.status_code for one in (answer, refused, strange, stolen)]
    assert "access-control-allow-origin" not in strange.headers
    assert "access-control-allow-origin" not in stolen.headers


def test_every_answer_carries_the_headers_that_protect_and_the_viewer_still_works() -> None:
    """Errors, unknown paths and files too; the viewer's page may run its own scripts, an API answer none."""
    with serving("none") as http:
        http.base_url = "http://127.0.0.1"
        paths = (
            "/health/live",
            "/nowhere",
            "/v1/decisions/x",
            "/schema",
            "/ui/vendor/swagger-ui/swagger-ui.css",
            "/v1/x",
        )
        answers = {path: http.get(path) for path in paths}

    for answer in answers.values():
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert "no-referrer" == answer.headers["referrer-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    assert "default-src 'none'" in answers["/v1/x"].headers["content-security-policy"]
    viewer = answers["/schema"].headers["content-security-policy"]
    assert "script-src 'self' 'unsafe-inline'" in viewer
    assert "http" not in viewer
    assert 200 == answers["/schema"].status_code
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", answers["/schema"].text)
    assert any("swagger-ui-bundle" in place for place in loaded)
    assert [] == [place for place in loaded if not place.startswith(("/ui/", "data:"))]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0ms"), (0.02, "20ms"), (1.5, "1.5s"), (59, "59s"), (360, "6m0s"), (61.4, "1m1s")]
)
def test_a_reset_is_written_as_openai_writes_it(seconds, said) -> None:
    """So that their clients read it."""
    assert said == duration(seconds)
