"""Models on the Hugging Face hub: what is in its cache here, what a model would need, and its download with progress.

Asks the hub only in `look_up` and `download`; they block, so they run on threads.
"""

from __future__ import annotations

import glob
import json
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from backends.errors import BackendError, ModelNotFound, Unauthorized, Unavailable
from backends.local import model_layout
from backends.local.download_bar import counting_bar
from backends.local.model_layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from backends.types import Target

    Progress = Callable[[str, int, int], None]

HUB = "hub"
_PREFERRED_GGUF = ("Q4_K_M", "Q8_0")  # one of the precisions that a repository offers: small, then near lossless
_MAX_HEADERS = 64  # weight files whose headers are asked for one by one


class RemoteModel(Struct, frozen=True, kw_only=True):
    """What the hub would send for a model.

    Attributes:
        model: Its id.
        revision: The commit all this is said of.
        layout: By which library's habits the files lie there.
        files: Those that are needed, by name, with their sizes in bytes.
        download_bytes: Of these, what is not in the cache yet.
        weights_bytes: The weight files alone.
        parameters: Number of weights; None when neither the hub nor the files' headers say.
    """

    model: str
    revision: str
    layout: Layout
    files: dict[str, int]
    download_bytes: int
    weights_bytes: int
    parameters: int | None


def cached(target: Target) -> Path | None:
    """The model's directory in the hub's cache, as far as it was downloaded; opens no connection."""
    hub = _hub()
    try:
        # No file is insisted on: what is missing is judged by what a loader reads, not by what the repository has.
        return Path(
            hub.snapshot_download(target.model, revision=target.revision, local_files_only=True, allow_patterns=[])
        )
    except (hub.errors.LocalEntryNotFoundError, hub.errors.HFValidationError):
        return None


def look_up(target: Target, *, pickles: bool = False) -> RemoteModel:
    """Ask the hub what a model consists of: its list of files, their sizes, and the headers of its weights.

    Raises:
        ModelNotFound: No such model or revision, or not visible to this token.
        Unauthorized: It is gated.
        Unavailable: The hub cannot be asked, or has the weights only in a form that can run code.
    """
    hub = _hub()
    with _translated(hub, target):
        info = hub.HfApi().model_info(target.model, revision=target.revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        names = _one_gguf(sizes)
        files = model_layout.survey(names, lambda name: _fetched_json(hub, target.model, name, info.sha))
    if files.pickled and not pickles:
        raise Unavailable(pickled(target.model))
    missing = [name for name in files.weights if name not in sizes]
    if missing or not files.weights:
        absent = f"has no {', '.join(missing)}" if missing else "has no weights that can be loaded here"
        raise Unavailable(f"'{target.model}' on the hub {absent}")
    wanted = {name: sizes[name] for name in (*files.weights, *files.companions)}
    with _translated(hub, target):
        parameters = _parameters(hub, info, files)
    return RemoteModel(
        model=target.model,
        revision=info.sha,
        layout=files.layout,
        files=wanted,
        download_bytes=sum(size for name, size in wanted.items() if not _is_cached(hub, target.model, name, info.sha)),
        weights_bytes=sum(sizes[name] for name in files.weights),
        parameters=parameters,
    )


def download(target: Target, remote: RemoteModel, progress: Progress | None = None) -> Path:
    """Bring the files of a model into the hub's cache; the part of a file that is there already is kept.

    The cache knows the model under its revision's name only when all of it is there.

    Raises:
        Unavailable: The hub did not give all of it.
    """
    hub = _hub()
    report = progress or (lambda _stage, _done, _total: None)
    with _translated(hub, target):
        before = 0
        for name in remote.files:
            if _is_cached(hub, remote.model, name, remote.revision):
                continue
            bar = counting_bar(partial(_told, report, before, remote.download_bytes))
            hub.hf_hub_download(remote.model, name, revision=remote.revision, tqdm_class=bar)
            before += remote.files[name]
            report("download", before, remote.download_bytes)
        patterns = [glob.escape(name) for name in remote.files]
        silent = counting_bar(lambda _done: None)
        return Path(
            hub.snapshot_download(remote.model, revision=target.revision, allow_patterns=patterns, tqdm_class=silent)
        )


def _told(report: Progress, before: int, total: int, done: int) -> None:
    report("download", before + done, total)


def cache_dir() -> Path:
    """Where the hub's files come to lie."""
    return Path(_hub().constants.HF_HUB_CACHE)


def pickled(model: str) -> str:
    """Why a model is refused whose weights are pickles, and how it would not be."""
    return (
        f"'{model}' has only pickled weights, which can run code when they are read: safetensors or gguf are needed, "
        "or `local.pickles = true` to allow them"
    )


def _one_gguf(sizes: dict[str, int]) -> list[str]:
    """The names, with one precision of a gguf among those offered."""
    offered = sorted(name for name in sizes if name.endswith(".gguf"))
    chosen = next((p for p in _PREFERRED_GGUF if any(p.lower() in name.lower() for name in offered)), "")
    return [name for name in sizes if not name.endswith(".gguf") or chosen.lower() in name.lower()]


def _fetched_json(hub: ModuleType, model: str, name: str, revision: str) -> Any:
    return json.loads(Path(hub.hf_hub_download(model, name, revision=revision)).read_text(encoding="utf-8"))


def _parameters(hub: ModuleType, info: Any, files: model_layout.Files) -> int | None:
    """What the hub counted, where it counts: transformers models and ggufs; else what the files' headers say."""
    if files.layout == "transformers" and info.safetensors:
        return _floating(info.safetensors.parameters)
    if files.layout == "gguf" and info.gguf:
        return int(info.gguf["total"])
    safe = [name for name in files.weights if name.endswith(".safetensors")]
    if len(safe) < len(files.weights) or len(safe) > _MAX_HEADERS:
        return None
    api = hub.HfApi()
    headers = (api.parse_safetensors_file_metadata(info.id, name, revision=info.sha) for name in safe)
    return sum(_floating(header.parameter_count) for header in headers)


def _floating(counts: dict[str, int]) -> int:
    return sum(count for dtype, count in counts.items() if "F" in dtype)


def _is_cached(hub: ModuleType, model: str, name: str, revision: str) -> bool:
    return isinstance(hub.try_to_load_from_cache(model, name, revision=revision), str)


@contextmanager
def _translated(hub: ModuleType, target: Target) -> Iterator[None]:
    """Turn the hub client's exceptions into ours; their own messages hold addresses and paths."""
    try:
        yield
    except (hub.utils.httpx.HTTPError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _ours(hub.errors, error, target) from error


def _ours(errors: Any, error: Exception, target: Target) -> BackendError:
    model = target.model
    table: tuple[tuple[Any, type[BackendError], str], ...] = (
        (errors.GatedRepoError, Unauthorized, f"'{model}' is gated: accept its terms on the hub and set HF_TOKEN"),
        (errors.RevisionNotFoundError, ModelNotFound, f"'{model}' has no revision '{target.revision}'"),
        (errors.RepositoryNotFoundError, ModelNotFound, f"'{model}' is not on the hub, or private"),
        (errors.HFValidationError, ModelNotFound, f"'{model}' is no name of a model on the hub"),
        (errors.OfflineModeIsEnabled, Unavailable, f"'{model}' is not here, and the hub's client is offline"),
    )
    for kind, ours, sentence in table:
        if isinstance(error, kind):
            return ours(sentence)
    return Unavailable(f"the hub did not give '{model}': {type(error).__name__}")


def _hub() -> ModuleType:
    """The hub's client, with its telemetry off.

    Raises:
        Unavailable: It is not installed.
    """
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors, utils  # noqa: F401 -- bound on the package
    except ImportError as error:
        raise Unavailable("huggingface_hub is not installed") from error
    constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub
