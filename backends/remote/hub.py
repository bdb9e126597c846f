"""What the hub says of a token and of a model, spending nothing. Synchronous: call it in a thread.

It never uses a token that was not given to it, and sends no telemetry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from backends.errors import BackendError, ModelNotFound, RateLimited, RemoteError, Unauthorized, Unavailable
from backends.errors import Timeout as LimitReached
from backends.types import Task

if TYPE_CHECKING:
    from types import ModuleType

INFERENCE_SCOPE = "inference.serverless.write"
"""What a fine-grained token must be allowed, to call inference providers."""

TokenStateName = Literal["not_configured", "invalid", "valid", "valid_no_inference", "unknown"]


class HubProvider(Struct, frozen=True, kw_only=True):
    """One who serves a model by the hub's own mapping; `task` is in the hub's words, `model` its name there."""

    provider: str
    model: str
    task: str
    live: bool


class HubModel(Struct, frozen=True, kw_only=True):
    """What the hub knows of a model. `task` is None for tasks that we do not run.

    Attributes:
        providers: Who serves it; None where the hub does not say, empty where nobody does.
    """

    id: str
    task: Task | None
    parameters: int | None
    gated: bool
    private: bool
    providers: tuple[HubProvider, ...] | None = None

    @property
    def served(self) -> bool | None:
        """Whether it can be asked for far: chat by anybody behind the router, all else by hf-inference. None: unknown.

        The other providers speak protocols of their own for those tasks, which we do not.
        """
        if self.providers is None:
            return None
        anybody = self.task is Task.TEXT_GENERATION
        return any(p.live and (anybody or p.provider == "hf-inference") for p in self.providers)


class TokenState(Struct, frozen=True):
    """Whether a token can be used for inference; `detail` is a sentence for people, and never the token."""

    state: TokenStateName
    detail: str


def model_info(model: str, token: str | None = None, timeout_s: float = 10) -> HubModel:
    """Ask the hub for a model's task, its size and who serves it, in one request.

    Raises:
        ModelNotFound: No such model, or not visible to this token.
        Unauthorized: It is gated, and the token may not see it.
        Unavailable, Timeout, RateLimited, RemoteError: The hub could not be asked.
    """
    hub = _hub()
    try:
        info = hub.HfApi().model_info(
            model,
            token=token or False,  # None would mean: whichever token lies around
            timeout=timeout_s,
            expand=["safetensors", "pipeline_tag", "gated", "private", "inferenceProviderMapping"],
        )
    except (hub.utils.httpx.HTTPError, OSError, ValueError, TypeError, KeyError) as error:
        raise _translated(hub, error, f"model {model}") from error
    return HubModel(
        id=model,
        task=_task(info.pipeline_tag),
        parameters=info.safetensors.total if info.safetensors else None,
        gated=bool(info.gated),
        private=bool(info.private),
        providers=_mapping(info.inference_provider_mapping),
    )


def whoami(token: str | None, timeout_s: float = 10) -> TokenState:
    """Ask the hub whose token this is and whether it may call inference providers. Never raises."""
    if not token:
        return TokenState("not_configured", "no token: set HF_TOKEN or log in with the hub's own command")
    hub = _hub()
    try:
        answer = hub.utils.get_session().get(
            f"{hub.constants.ENDPOINT}/api/whoami-v2",
            headers=hub.utils.build_hf_headers(token=token),
            timeout=timeout_s,
        )
        hub.utils.hf_raise_for_status(answer)
        return _state(answer.json())
    except (hub.utils.httpx.HTTPError, OSError, ValueError) as error:
        failure = _translated(hub, error, "the token")
    if failure.http_status == 401:
        return TokenState("invalid", "the hub does not accept the token")
    return TokenState("unknown", str(failure))


def _state(account: Any) -> TokenState:
    """What a whoami answer means for inference."""
    if not isinstance(account, dict) or not isinstance(account.get("name"), str):
        return TokenState("unknown", "the hub's answer has an unknown shape")
    name = account["name"]
    auth = account.get("auth")
    access: Any = auth.get("accessToken") if isinstance(auth, dict) else None
    if not isinstance(access, dict) or access.get("role") != "fineGrained":
        return TokenState("valid", f"the token of {name}")
    if INFERENCE_SCOPE not in _permissions(access.get("fineGrained")):
        return TokenState("valid_no_inference", f"the token of {name} lacks the permission {INFERENCE_SCOPE}")
    return TokenState("valid", f"the token of {name}")


def _permissions(fine_grained: Any) -> set[str]:
    """Every permission that a fine-grained token has, for anything."""
    if not isinstance(fine_grained, dict):
        return set()
    scopes = [scope for scope in _listed(fine_grained.get("scoped")) if isinstance(scope, dict)]
    named = (_listed(fine_grained.get("global")), *(_listed(scope.get("permissions")) for scope in scopes))
    return {name for names in named for name in names if isinstance(name, str)}


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _mapping(found: Any) -> tuple[HubProvider, ...] | None:
    if found is None:
        return None
    return tuple(
        HubProvider(provider=str(m.provider), model=str(m.provider_id), task=str(m.task), live=m.status == "live")
        for m in found
    )


def _task(pipeline_tag: str | None) -> Task | None:
    """Sentence similarity is the hub's other name for models that embed."""
    if pipeline_tag == "sentence-similarity":
        return Task.FEATURE_EXTRACTION
    return next((task for task in Task if task == pipeline_tag), None)


def _translated(hub: ModuleType, error: Exception, what: str) -> BackendError:
    """The hub's exceptions into ours, by status where there is one: most of them are OSErrors too."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    kind, sentence = _by_status(status) if status else _by_type(hub, error)
    if isinstance(error, hub.errors.GatedRepoError):
        kind, sentence = Unauthorized, "gated on the hub, and the token may not see it"
    elif isinstance(error, hub.errors.RepositoryNotFoundError):  # also 401, for a private model
        kind, sentence = _by_status(404)
    return kind(f"{what}: {sentence}", http_status=status)


def _by_status(status: int) -> tuple[type[BackendError], str]:
    table: dict[int, tuple[type[BackendError], str]] = {
        401: (Unauthorized, "the hub does not accept the token"),
        403: (Unauthorized, "the hub forbids it to this token"),
        404: (ModelNotFound, "not on the hub, or private"),
        429: (RateLimited, "the hub asks to wait"),
    }
    return table.get(status, (RemoteError, f"the hub answered {status}"))


def _by_type(hub: ModuleType, error: Exception) -> tuple[type[BackendError], str]:
    table: tuple[tuple[type[Exception], type[BackendError], str], ...] = (
        (hub.errors.HFValidationError, ModelNotFound, "no model id"),
        (hub.errors.OfflineModeIsEnabled, Unavailable, "the hub's client is in offline mode"),
        (hub.utils.httpx.TimeoutException, LimitReached, "the hub did not answer in time"),
        (hub.utils.httpx.TransportError, Unavailable, "the hub cannot be reached"),
        (OSError, Unavailable, "the hub cannot be reached"),
    )
    found = ((kind, sentence) for foreign, kind, sentence in table if isinstance(error, foreign))
    return next(found, (RemoteError, "the hub's answer is broken"))


def _hub() -> ModuleType:
    """The hub's client, with its telemetry off: it would ask the hub for a list of agents before the first call."""
    import huggingface_hub  # slow to import, and needs nothing of it at start
    from huggingface_hub import constants, errors, utils  # noqa: F401 -- bound on the package

    constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub
