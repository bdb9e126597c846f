"""The hub's answers, from a hub on loopback."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from backends.errors import ModelNotFound, RateLimited, RemoteError, Timeout, Unauthorized, Unavailable
from backends.remote import hub
from backends.remote.hub import HubModel, HubProvider, TokenState
from backends.types import Task


class Hub(ThreadingHTTPServer):
    """Answers every request with the same status, headers and body; remembers what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def says(self, payload: Any, status: int = 200, **headers: str) -> None:
        self.answer = (
            status,
            {key.replace("_", "-"): value for key, value in headers.items()},
            json.dumps(payload).encode(),
        )


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("authorization")))
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def far_hub(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[Hub]:
    """A hub on loopback, with an ambient token lying around that nobody may use."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setenv("HF_TOKEN", "hf_ambient")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert huggingface_hub.get_token() == "hf_ambient"
    with Hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", server.url)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        close_session()


def account(role="fineGrained", **fine_grained):
    return {"name": "ada", "auth": {"type": "access_token", "accessToken": {"role": role, "fineGrained": fine_grained}}}


def test_a_model_is_described(far_hub):
    """One request gives task, size and who may see it."""
    far_hub.says(
        {
            "id": "org/m",
            "pipeline_tag": "text-generation",
            "gated": "manual",
            "private": False,
            "safetensors": {"parameters": {"F32": 7}, "total": 7},
        }
    )
    model = hub.model_info("org/m", "hf_mine")

    expected = HubModel(id="org/m", task=Task.TEXT_GENERATION, parameters=7, gated=True, private=False)
    assert expected == model
    assert [path.partition("?")[0] for path, _ in far_hub.asked] == ["/api/models/org/m"]
    assert ["Bearer hf_mine"] == [token for _, token in far_hub.asked]


def serving(**providers):
    entry = {"providerId": "there/m", "status": "live", "task": "conversational"}
    return {name: entry | more for name, more in providers.items()}


def test_who_serves_a_model_comes_with_it(far_hub):
    """In the same request; a name there, and whether it answers now."""
    far_hub.says({"id": "org/m", "inferenceProviderMapping": serving(together={}, groq={"status": "error"})})
    expected = (
        HubProvider(provider="together", model="there/m", task="conversational", live=True),
        HubProvider(provider="groq", model="there/m", task="conversational", live=False),
    )

    assert expected == hub.model_info("org/m").providers
    assert 1 == len(far_hub.asked)
    assert "inferenceProviderMapping" in far_hub.asked[0][0]


@pytest.mark.parametrize(
    ("tag", "mapping", "served"),
    [
        ("text-generation", serving(together={}), True),
        ("text-generation", serving(together={"status": "staging"}), False),
        ("text-to-image", serving(**{"fal-ai": {}}), False),
        ("text-to-image", serving(**{"hf-inference": {}}), True),
        ("text-to-image", {}, False),
        ("text-to-image", None, None),
    ],
)
def test_whether_a_model_is_served_far_is_known_or_unknown(far_hub, tag, mapping, served):
    """Chat by anybody, the other tasks by hf-inference alone; a hub that says nothing leaves it open."""
    far_hub.says(
        {"id": "org/m", "pipeline_tag": tag} | ({} if mapping is None else {"inferenceProviderMapping": mapping})
    )

    assert served is hub.model_info("org/m").served


@pytest.mark.parametrize("mapping", ["all of them", {"together": {"status": "live"}}, [{"provider": "together"}]])
def test_a_mapping_of_another_shape_is_a_broken_answer(far_hub, mapping):
    """Nothing of the hub's client escapes."""
    far_hub.says({"id": "org/m", "inferenceProviderMapping": mapping})
    with pytest.raises(RemoteError, match="the hub's answer is broken"):
        hub.model_info("org/m")


def test_no_ambient_token_is_used(far_hub):
    """Without a token of ours the request is anonymous, whatever the environment holds."""
    far_hub.says({"id": "org/m", "pipeline_tag": "sentence-similarity"})
    model = hub.model_info("org/m")

    assert (Task.FEATURE_EXTRACTION, None) == (model.task, model.parameters)
    assert [None] == [token for _, token in far_hub.asked]


def test_a_task_that_we_do_not_run_is_none(far_hub):
    """The hub knows many more tasks than we do."""
    far_hub.says({"id": "org/m", "pipeline_tag": "text-to-video"})

    assert hub.model_info("org/m").task is None


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (404, {"x_error_code": "RepoNotFound"}, ModelNotFound),
        (404, {}, ModelNotFound),
        (403, {"x_error_code": "GatedRepo"}, Unauthorized),
        (401, {}, Unauthorized),
        (403, {}, Unauthorized),
        (429, {}, RateLimited),
        (500, {}, RemoteError),
    ],
)
def test_a_refusal_is_one_of_our_errors(far_hub, status, headers, kind):
    """The hub's exceptions do not leave this module."""
    far_hub.says({"error": "no"}, status, **headers)
    with pytest.raises(kind, match="model org/m: ") as caught:
        hub.model_info("org/m")

    assert status == caught.value.http_status


def test_a_broken_answer_is_a_remote_error(far_hub):
    """A proxy's HTML page with status 200."""
    far_hub.answer = (200, {}, b"<html>")
    with pytest.raises(RemoteError, match="the hub's answer is broken"):
        hub.model_info("org/m")


def test_an_impossible_model_id_is_not_found(far_hub):
    """The hub is not even asked."""
    with pytest.raises(ModelNotFound, match="no model id"):
        hub.model_info("a b/c d/e")

    assert [] == far_hub.asked


def test_a_hub_that_cannot_be_reached_is_unavailable(far_hub, monkeypatch):
    """Connection refused."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(Unavailable):
        hub.model_info("org/m")
    assert "unknown" == hub.whoami("hf_mine").state


def test_no_token_is_a_state_of_its_own(far_hub):
    """Nothing is asked, and the ambient token is not taken instead."""
    assert ["not_configured"] * 2 == [hub.whoami(token).state for token in (None, "")]
    assert [] == far_hub.asked


@pytest.mark.parametrize(
    ("payload", "state"),
    [
        (account("read"), "valid"),
        (account("write"), "valid"),
        ({"name": "ada", "auth": {"type": "oauth"}}, "valid"),
        (account(**{"global": ["inference.serverless.write"]}), "valid"),
        (account(scoped=[{"entity": {}, "permissions": ["inference.serverless.write"]}]), "valid"),
        (account(scoped=[{"entity": {}, "permissions": ["repo.content.read"]}]), "valid_no_inference"),
        (account(), "valid_no_inference"),
        (account(scoped=[None, {}, {"permissions": None}], **{"global": None}), "valid_no_inference"),
        ({"name": "ada"}, "valid"),
        (account(scoped=5), "valid_no_inference"),
        (account(scoped=[{"permissions": 5}], **{"global": True}), "valid_no_inference"),
        (account(scoped={"permissions": []}, **{"global": {"inference.serverless.write": 1}}), "valid_no_inference"),
        ({"name": "ada", "auth": []}, "valid"),
        ({}, "unknown"),
        ([], "unknown"),
    ],
)
def test_a_token_is_judged_by_its_scopes(far_hub, payload, state):
    """Only fine-grained tokens can lack the permission to infer; odd answers crash nothing."""
    far_hub.says(payload)

    assert state == hub.whoami("hf_mine").state
    assert ["Bearer hf_mine"] == [token for _, token in far_hub.asked]


@pytest.mark.parametrize(("status", "state"), [(401, "invalid"), (403, "unknown"), (429, "unknown"), (500, "unknown")])
def test_only_401_makes_a_token_invalid(far_hub, status, state):
    """A busy hub says nothing about a token."""
    far_hub.says({"error": "no"}, status)

    assert state == hub.whoami("hf_mine").state


def test_the_token_is_never_shown(far_hub):
    """Not even where the hub repeats it."""
    far_hub.says({"error": "bad token hf_mine"}, 401)

    assert TokenState("invalid", "the hub does not accept the token") == hub.whoami("hf_mine")


def test_a_silent_hub_is_a_timeout(far_hub, monkeypatch):
    """The limit is ours, not the hub client's, which has none."""
    from huggingface_hub.utils import httpx

    seen = []

    def slow(self, *_, timeout, **__):
        seen.append(timeout)
        message = "slow"
        raise httpx.ReadTimeout(message)

    monkeypatch.setattr(httpx.Client, "get", slow)
    with pytest.raises(Timeout, match="did not answer in time"):
        hub.model_info("org/m", timeout_s=3)

    assert "unknown" == hub.whoami("hf_mine", timeout_s=4).state
    assert [3, 4] == seen
