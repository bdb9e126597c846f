"""A real app with the traffic of two tenants behind it, asked in anybody's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar.testing import TestClient

from backends.local.intents import storage
from backends.local.intents.definition import Intent, IntentSet
from backends.local.intents.storage import Stored
from router.app import create_app
from router.decision_log.log import DecisionLog
from router.identity import Identity, owned
from router.sections import IntentsSettings, LogSettings, Settings
from router.settings import Secrets
from tests.unit.router.house import CHAT, chat_model, fake

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from litestar.types import Receive, Scope, Send

MINE, OTHERS = "acme-7f", "bravo-9c"
NOSY = "carol-3d"  # asks for what others have; what it sent is in its rows, and so in what it is told
CHAT_PATH = "/v1/chat/completions"
BOTH = {"infer", "read"}
SHARED_SET, OWN_SET, OTHERS_SET = "shared-words", "words", "bravo-9c-words"


class _Kept(dict[str, Any]):
    """A request's state in which whoever asks stays who they are, whatever a guard finds: keys come with the guards."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "nearfar_identity":
            super().__setitem__(key, value)


class InTheName:
    """An app whose requests are those of the identity that a test says."""

    def __init__(self, app: Any) -> None:
        self.app, self.identity = app, Identity()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            scope["state"] = _Kept({"nearfar_identity": self.identity})  # type: ignore[typeddict-item]
        await self.app(scope, receive, send)


class World:
    """The app, and what each tenant did there: `ids` are its decisions, `kept` its file, its batch and its run."""

    def __init__(self, folder: Path) -> None:
        self.log_path = folder / "log.duckdb"
        sets = folder / "intents"
        for name in (SHARED_SET, *(owned(OWN_SET, who) for who in (MINE, OTHERS)), owned(OTHERS_SET, OTHERS)):
            storage.write(storage.path_of(sets, name), Stored(intents=_set(name)))
        settings = Settings(
            models=(chat_model(fake("a")),),
            log=LogSettings(path=str(self.log_path), store_inputs=True),
            intents=IntentsSettings(dir=str(sets)),
        )
        self.app = create_app(settings, Secrets(), DecisionLog.open(self.log_path))
        self._named = InTheName(self.app)
        self.client: TestClient[Any] = TestClient(
            self._named,  # type: ignore[type-var]
            base_url="http://127.0.0.1",
            raise_server_exceptions=False,
        )
        self.ids: dict[str, list[str]] = {}
        self.kept: dict[str, dict[str, str]] = {}

    def ask(self, tenant: str | None, method: str, path: str, **sent: Any) -> httpx.Response:
        """The answer to a tenant that may infer and read; to an admin where it is None."""
        admin = Identity("boss", frozenset({"admin"}))
        self._named.identity = admin if tenant is None else Identity(tenant, frozenset(BOTH))  # type: ignore[arg-type]
        return self.client.request(method, path, **sent)

    def traffic(self) -> None:
        """Each tenant: answered and refused requests, with its name in whatever a sender may write; feedback."""
        for tenant in (MINE, OTHERS):
            answers = [self.ask(tenant, "POST", path, **sent) for path, sent in _requests(tenant)]
            self.ids[tenant] = [answer.headers["x-nearfar-decision-id"] for answer in answers]
            self.kept[tenant] = self._batch(tenant) | {"run": self._comparison(tenant)}
            said = {"decision_id": self.ids[tenant][0], "score": 0.5, "label": f"label of {tenant}"}
            assert 200 == self.ask(tenant, "POST", "/v1/feedback", json=said).status_code

    def _comparison(self, tenant: str) -> str:
        """A comparison under the tenant's name, run to its end."""
        asked = {
            "name": f"comparison of {tenant}",
            "task": "text-generation",
            "inputs": [f"words of {tenant}"],
            "candidates": [{"model": CHAT, "name": f"candidate of {tenant}"}, {"model": "fake/chat"}],
            "parameters": {"max_tokens": 2},
            "repeats": 1,
            "warm_up": 0,
        }
        run = self.ask(tenant, "POST", "/v1/compare", json=asked).json()["id"]
        while self.ask(tenant, "GET", f"/v1/compare/{run}").json()["status"] == "running":
            pass
        return str(run)

    def _batch(self, tenant: str) -> dict[str, str]:
        """A file and a batch of it, in which nothing can be asked: what lines do is a matter of real servers."""
        content = ("file", (f"file of {tenant}.jsonl", f"words of {tenant}, and no JSON\n".encode()))
        form = {"files": [content], "data": {"purpose": "batch"}}
        file = self.ask(tenant, "POST", "/v1/files", **form).json()["id"]
        asked = {"input_file_id": file, "endpoint": CHAT_PATH, "metadata": {"of": f"batch of {tenant}"}}
        return {"file": file, "batch": self.ask(tenant, "POST", "/v1/batches", json=asked).json()["id"]}


def _requests(tenant: str) -> list[tuple[str, dict[str, Any]]]:
    hello = {"model": CHAT, "messages": [{"role": "user", "content": f"words of {tenant}"}], "max_tokens": 4}
    named = {"headers": {"x-request-id": f"id of {tenant}"}}
    routing = {"session": f"session of {tenant}"}
    return [
        (CHAT_PATH, {"json": hello, **named}),
        ("/v1/inference", {"json": {"model": CHAT, "inputs": f"words of {tenant}", "routing": routing}, **named}),
        (CHAT_PATH, {"json": {**hello, "model": f"model/of-{tenant}"}, **named}),  # refused by name
        (CHAT_PATH, {"json": {"model": f"no messages of {tenant}"}, **named}),  # refused by shape
    ]


def _set(kept_as: str) -> IntentSet:
    whose = OTHERS if kept_as in {owned(OWN_SET, OTHERS), owned(OTHERS_SET, OTHERS)} else "somebody"
    labels = {f"{label} of {whose}": Intent((f"{label} one of {whose}", f"{label} two")) for label in ("yes", "no")}
    return IntentSet(name=kept_as.partition("@")[0], intents=labels)
