"""The catalogue over HTTP: seen, changed, refused, gone back to; in a real house on fakes."""

from pathlib import Path

import pytest
from litestar.testing import TestClient

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.http import catalogue
from router.http.scopes import needed
from router.section_of_routing import RoutingSettings
from router.sections import AliasEntry, LogSettings, Settings
from router.settings import Secrets
from tests.unit.router.house import CHAT, chat_model, fake

MODEL = {
    "id": "team/writer",
    "task": "text-generation",
    "candidates": [{"backend": "fake", "provider": "b", "price": {"input_per_1m_usd": 0.5}}],
}


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """One for all that is refused."""
    with opened(tmp_path_factory.mktemp("unchanged")) as client:
        yield client


@pytest.fixture
def client(tmp_path: Path):
    with opened(tmp_path) as client:
        yield client


def opened(folder: Path) -> TestClient:
    settings = Settings(
        models=(chat_model(fake(), fake("b")),),
        aliases=(AliasEntry(name="team", models=(CHAT,)),),
        log=LogSettings(path=str(folder / "nearfar.duckdb")),
        routing=RoutingSettings(policy="fastest"),
    )
    log = DecisionLog.open(Path(":memory:"))
    return TestClient(create_app(settings, Secrets(), log), base_url="http://127.0.0.1")


def ask(client, model: str):
    return client.post("/v1/inference", json={"model": model, "task": "text-generation", "inputs": "hello"})


def entry(client, name: str, kind: str = "models", key: str = "id"):
    return next((one for one in client.get("/v1/catalog").json()[kind] if one[key] == name), None)


def test_a_model_is_added_asked_changed_disabled_and_removed(client) -> None:
    """Each answer names the snapshot in force, and the next request goes by it."""
    assert 404 == ask(client, "team/writer").status_code
    told = client.post("/v1/models", json=MODEL)
    assert 201 == told.status_code, told.text
    assert (f'"{told.json()["snapshot"]}"', True) == (told.headers["etag"], told.json()["changed"])
    assert 200 == ask(client, "team/writer").status_code
    assert ("run-time", None) == (entry(client, "team/writer")["origin"], entry(client, "team/writer")["covers"])

    changed = client.patch("/v1/models/team/writer", json={"quality": 0.9, "prices": {"b": {"per_request_usd": 2.0}}})
    assert 200 == changed.status_code, changed.text
    found = entry(client, "team/writer")["entry"]
    assert (0.9, 2.0, "run-time") == (
        found["quality"],
        found["candidates"][0]["price"]["per_request_usd"],
        found["candidates"][0]["price"]["source"],
    )
    assert 2.0 == ask(client, "team/writer").json()["cost_usd"]

    assert 200 == client.patch("/v1/models/team/writer", json={"enabled": False}).status_code
    refused = ask(client, "team/writer")
    assert (422, True) == (refused.status_code, "disabled in the catalogue" in refused.json()["error"]["message"])
    assert 200 == client.delete("/v1/models/team/writer").status_code
    assert 404 == ask(client, "team/writer").status_code
    assert 404 == client.delete("/v1/models/team/writer").status_code


def test_a_model_of_the_file_is_covered_and_revealed_again(client) -> None:
    """What is changed at run time wins over the file until it is taken back."""
    assert ("file", 0.001) == (
        entry(client, CHAT)["origin"],
        entry(client, CHAT)["entry"]["candidates"][0]["price"]["per_request_usd"],
    )
    assert 200 == client.patch(f"/v1/models/{CHAT}", json={"prices": {"a": None, "b": None}}).status_code
    assert ("run-time", "file", None) == (
        entry(client, CHAT)["origin"],
        entry(client, CHAT)["covers"],
        entry(client, CHAT)["entry"]["candidates"][0]["price"],
    )
    assert ask(client, CHAT).json()["cost_usd"] is None
    assert 200 == client.delete(f"/v1/models/{CHAT}").status_code
    assert "file" == entry(client, CHAT)["origin"]
    refused = client.delete(f"/v1/models/{CHAT}")
    assert (400, True) == (refused.status_code, "not changed at run time" in refused.json()["error"]["message"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/v1/models", MODEL | {"task": "brew-tea"}, 400, ["models: team/writer", "brew-tea"]),
        ("POST", "/v1/models", MODEL | {"id": CHAT}, 409, ["exists already", CHAT]),
        ("POST", "/v1/models", MODEL | {"id": "intents/x"}, 400, ["intents/"]),
        ("POST", "/v1/models", MODEL | {"id": "a\nb"}, 400, ["printable"]),
        ("POST", "/v1/models", MODEL | {"id": "a/../b"}, 400, ["`..`"]),
        ("POST", "/v1/models", MODEL | {"parameters": 2**70}, 400, ["parameters"]),
        ("PATCH", f"/v1/models/{CHAT}", {"context_length": 2**70}, 400, ["context_length"]),
        ("PUT", "/v1/routes", {"routes": [{"match": {"min_input_tokens": 2**70}}]}, 400, ["min_input_tokens"]),
        ("POST", "/v1/models", MODEL | {"colour": "red"}, 400, ["colour", "known: id, task, candidates"]),
        ("POST", "/v1/models", MODEL | {"quality": 7}, 400, ["quality"]),
        (
            "PATCH",
            f"/v1/models/{CHAT}",
            {"prices": {"a": {"input_per_1m_usd": 1e-7}}},
            400,
            ["input_per_1m_usd = 1e-07", "Then write 0.1"],
        ),
        ("PATCH", f"/v1/models/{CHAT}", {"prices": {"z": None}}, 400, ["no far candidate 'z'", "a, a:test/chat"]),
        ("PATCH", f"/v1/models/{CHAT}", {"candidates": []}, 400, [CHAT, "needs at least one"]),
        ("PATCH", f"/v1/models/{CHAT}", {"task": None}, 400, ["task"]),
        ("PATCH", "/v1/models/no/such", {"enabled": False}, 404, ["no/such"]),
        ("PUT", "/v1/aliases/x", {"models": ["test/chatt"]}, 400, ["aliases: x", "unknown model", CHAT]),
        ("PUT", "/v1/aliases/x", {"models": ["x"]}, 400, ["leads back to itself"]),
        ("PUT", f"/v1/aliases/{CHAT}", {"models": [CHAT]}, 400, ["is taken"]),
        ("PUT", "/v1/aliases/x", {"models": [CHAT], "policy": "luck"}, 400, ["aliases: x", "luck"]),
        ("PATCH", "/v1/aliases/x", {"enabled": False}, 404, ["no alias 'x'", "chat, embed, team"]),
        ("DELETE", "/v1/aliases/team", None, 400, ["the file's"]),
        ("POST", "/v1/routes", {"route": {"use": {"alias": "nope"}}}, 400, ["routes: route 1", "unknown alias 'nope'"]),
        ("POST", "/v1/routes", {"route": {"use": {"alias": "team"}}, "before": "n"}, 404, ["no route 'n'"]),
        ("DELETE", "/v1/routes/n", None, 404, ["no route 'n'"]),
        ("POST", "/v1/catalog/rollback", {"snapshot": "feedbeef"}, 404, ["feedbeef"]),
        ("GET", "/v1/catalog/snapshots/feedbeef", None, 404, ["feedbeef"]),
        ("GET", "/v1/catalog/snapshots?limit=0", None, 400, ["limit"]),
        ("GET", "/v1/catalog/snapshots?offset=-1", None, 400, ["offset"]),
    ],
)
def test_what_does_not_hold_together_is_refused_and_changes_nothing(
    unchanged, method, path, body, status, words
) -> None:
    """As at the start: the refusal says what, where, and what there is instead."""
    before = unchanged.get("/v1/catalog").json()
    refused = unchanged.request(method, path, json=body)

    assert status == refused.status_code, refused.text
    assert [] == [word for word in words if word not in refused.json()["error"]["message"]], refused.text
    assert before == unchanged.get("/v1/catalog").json()


def test_two_editors_do_not_overwrite_each_other(client) -> None:
    """A change made to a catalogue that is not in force any more is refused; looked at again, it is made."""
    seen = client.get("/v1/catalog")
    tag, snapshot = seen.headers["etag"], seen.json()["snapshot"]
    assert 201 == client.post("/v1/models", json=MODEL, headers={"If-Match": tag}).status_code
    late = client.patch(f"/v1/models/{CHAT}", json={"quality": 0.5}, headers={"If-Match": tag})
    assert (409, True) == (late.status_code, snapshot in late.json()["error"]["message"])
    assert 409 == client.patch(f"/v1/models/{CHAT}?snapshot={snapshot}", json={"quality": 0.5}).status_code
    again = client.get("/v1/catalog").json()["snapshot"]
    assert 200 == client.patch(f"/v1/models/{CHAT}?snapshot={again}", json={"quality": 0.5}).status_code
    assert 200 == client.patch(f"/v1/models/{CHAT}", json={"quality": 0.6}, headers={"If-Match": "*"}).status_code


def test_what_changes_nothing_is_no_new_snapshot(client) -> None:
    """The same change twice is one change."""
    first = client.put("/v1/aliases/team", json={"models": [CHAT, "fake/chat"]}).json()
    second = client.put("/v1/aliases/team", json={"models": [CHAT, "fake/chat"]}).json()

    assert (True, False, first["snapshot"]) == (first["changed"], second["changed"], second["snapshot"])
    assert 2 == client.get("/v1/catalog/snapshots").json()["total"]


def test_aliases_are_set_changed_disabled_and_taken_back(client) -> None:
    """A disabled alias is as if it was not there, a built-in one too."""
    assert 200 == client.put("/v1/aliases/quick", json={"models": ["fake/chat"]}).status_code
    assert 200 == ask(client, "quick").status_code
    assert 200 == client.patch("/v1/aliases/quick", json={"fallbacks": [CHAT]}).status_code
    assert [CHAT] == entry(client, "quick", "aliases", "name")["entry"]["fallbacks"]
    assert 200 == client.patch("/v1/aliases/quick", json={"enabled": False}).status_code
    assert 404 == ask(client, "quick").status_code
    assert 200 == client.delete("/v1/aliases/quick").status_code
    assert entry(client, "quick", "aliases", "name") is None

    assert ("built-in", True) == (
        entry(client, "chat", "aliases", "name")["origin"],
        entry(client, "chat", "aliases", "name")["enabled"],
    )
    assert 200 == client.patch("/v1/aliases/chat", json={"enabled": False}).status_code
    assert 404 == ask(client, "chat").status_code
    told = entry(client, "chat", "aliases", "name")
    assert (False, [], None) == (told["enabled"], told["models"], told["entry"])
    assert 200 == client.patch("/v1/aliases/chat", json={"enabled": True}).status_code
    assert 200 == client.post("/v1/route", json={"model": "chat", "inputs": "x", "task": "text-generation"}).status_code


def test_routes_are_inserted_in_order_disabled_and_taken_back(client) -> None:
    """The first that matches decides; one that is disabled lets the next one decide."""
    every = {"name": "every", "match": {"model": "auto"}, "use": {"models": ["fake/chat"]}}
    first = {"name": "first", "match": {"model": "auto", "max_input_tokens": 999}, "use": {"alias": "team"}}
    assert 201 == client.post("/v1/routes", json={"route": every}).status_code
    assert "fake/chat" == ask(client, "auto").json()["model"]
    assert 201 == client.post("/v1/routes", json={"route": first, "before": "every"}).status_code
    assert ["first", "every"] == [route["name"] for route in client.get("/v1/routes").json()["data"]]
    assert CHAT == ask(client, "auto").json()["model"]
    assert 200 == client.patch("/v1/routes/first", json={"enabled": False}).status_code
    assert "fake/chat" == ask(client, "auto").json()["model"]
    renamed = client.put("/v1/routes/first", json=first | {"name": "one of mine"})
    assert 200 == renamed.status_code, renamed.text
    assert CHAT == ask(client, "auto").json()["model"]
    assert 200 == client.delete("/v1/routes/one%20of%20mine").status_code
    assert ("run-time", ["every"]) == (
        client.get("/v1/routes").json()["origin"],
        [route["name"] for route in client.get("/v1/routes").json()["data"]],
    )
    assert 200 == client.put("/v1/routes", json={"routes": [first, every]}).status_code
    assert 200 == client.delete("/v1/routes").status_code
    assert ("file", []) == tuple(client.get("/v1/routes").json()[key] for key in ("origin", "data"))


def test_old_decisions_keep_the_catalogue_they_were_made_from(client) -> None:
    """A decision names its snapshot, which says what things cost then, and can be gone back to."""
    first = client.get("/v1/catalog").json()["snapshot"]
    before = ask(client, CHAT).json()["decision_id"]
    client.patch(f"/v1/models/{CHAT}", json={"prices": {"a": {"per_request_usd": 7.0}}})
    second = client.get("/v1/catalog").json()["snapshot"]
    after = ask(client, CHAT).json()["decision_id"]

    assert [first, second] == [client.get(f"/v1/decisions/{one}").json()["catalog"] for one in (before, after)]
    kept = client.get(f"/v1/catalog/snapshots/{first}").json()
    prices = [
        model["candidates"][0]["price"]["per_request_usd"] for model in kept["catalog"]["models"] if model["id"] == CHAT
    ]
    assert [0.001] == prices
    back = client.post("/v1/catalog/rollback", json={"snapshot": first})
    assert (200, first, [CHAT]) == (back.status_code, back.json()["snapshot"], back.json()["models"])
    assert ["rolled back to " + first, f"changed model {CHAT}", "started"] == [
        one["change"] for one in client.get("/v1/catalog/snapshots").json()["data"]
    ]


def test_every_route_here_is_an_admins() -> None:
    """Whoever may only ask models, or read the log, neither sees nor changes the catalogue's entries."""
    asked = {
        needed(str(method), path, handler.opt)
        for handler in catalogue.HANDLERS
        for path in handler.paths
        for method in handler.http_methods
    }

    assert {("admin",)} == asked


def test_what_is_changed_and_what_is_refused_is_written_into_the_audit(client) -> None:
    """Who reads it sees what was done to the catalogue, newest first, and how it ended; looking is not told."""
    first = client.get("/v1/catalog").json()["snapshot"]
    client.post("/v1/models", json=MODEL)
    client.post("/v1/models", json=MODEL)
    client.put("/v1/routes", json={"routes": []})
    client.post("/v1/catalog/rollback", json={"snapshot": first})
    client.post("/v1/catalog/rollback", json={"snapshot": "none"})

    told = client.get("/v1/audit").json()["data"]

    assert {("catalog.change", "http")} == {(one["action"], one["surface"]) for one in told}
    assert [
        ("rollback to none", "NotFound"),
        (f"rollback to {first}", "ok"),
        ("set 0 routes", "ok"),
        ("added model team/writer", "Conflict"),
        ("added model team/writer", "ok"),
    ] == [(one["subject"], one["result"]) for one in told]


def test_the_description_of_the_api_has_it_all(unchanged) -> None:
    """Each route with its bodies, as the viewer shows them."""
    paths = unchanged.get("/schema/openapi.json").json()["paths"]

    assert {"post", "get"} == set(paths["/v1/models"])
    assert {"get", "patch", "delete"} == set(paths["/v1/models/{model_id}"])
    assert {"get", "put", "post", "delete"} == set(paths["/v1/routes"])
    assert {"/v1/catalog", "/v1/catalog/snapshots", "/v1/catalog/rollback"} <= set(paths)
