"""Which of a model's files a loader would read, told from their names and its small JSON files. Touches no disk."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Read = Callable[[str], Any]

Layout = Literal["transformers", "diffusers", "ctranslate2", "gguf"]

INDEX = "model_index.json"  # of a diffusers pipeline
MODULES = "modules.json"  # of a sentence-transformers model
_SAFE, _PICKLED = "safetensors", "bin"
_STEMS = {_SAFE: ("model", "diffusion_pytorch_model"), _PICKLED: ("pytorch_model", "diffusion_pytorch_model")}
_HALF = ".fp16"  # the one variant that loaders know to ask for
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_COMPANIONS = (".json", ".txt", ".model", ".jinja")  # configurations, vocabularies, chat templates: nothing that runs
_ELSEWHERE = ("onnx/", "openvino/", "original/")
_WITHOUT_WEIGHTS = re.compile(r"(Scheduler|Tokenizer|TokenizerFast|Processor|Extractor)$")


class Files(Struct, frozen=True, kw_only=True):
    """A model's files.

    Attributes:
        weights: What a loader reads; those that an index names may be missing. Empty when there is nothing to read.
        pickled: Some of them, or when there are none, those that are there instead, can run code when they are read.
        companions: The other files a loader needs.
    """

    layout: Layout
    weights: tuple[str, ...]
    pickled: bool
    companions: tuple[str, ...]


def survey(names: Collection[str], read: Read) -> Files:
    """Tell the layout of a model, and which of its files count.

    Args:
        names: Paths below the model's directory, as posix; deeper than one folder is not looked at.
        read: Gives the parsed content of a JSON file among them.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: A JSON file is not what its name promises.
    """
    layout = _layout(names)
    weights = _SURVEYS[layout](names, read)
    there = weights or [name for name in names if not name.startswith(_ELSEWHERE)]
    pickled = layout != "ctranslate2" and any(name.endswith(_PICKLES) for name in there)
    return Files(layout=layout, weights=weights, pickled=pickled, companions=_companions(names))


def main_folder(read: Read, names: Collection[str]) -> str:
    """Where the configuration of a transformers model lies: `` or `0_Transformer/`, the first of its modules."""
    return _modules(names, read)[0]


def _layout(names: Collection[str]) -> Layout:
    if INDEX in names:
        return "diffusers"
    if "model.bin" in names and any(name.startswith("vocabulary.") for name in names):
        return "ctranslate2"
    safe = any(name.endswith((".safetensors", ".safetensors.index.json")) for name in names if "/" not in name)
    if not safe and MODULES not in names and any(name.endswith(".gguf") for name in names if "/" not in name):
        return "gguf"
    return "transformers"


def _transformers(names: Collection[str], read: Read) -> tuple[str, ...]:
    """Those of the model, and of each module that sentence-transformers puts behind it."""
    main, *rest = _modules(names, read)
    weights = _loadable(main, names, read) or tuple(
        sorted(name for name in names if "/" not in name and name.endswith(".safetensors"))
    )
    return tuple(dict.fromkeys((*weights, *(file for folder in rest for file in _loadable(folder, names, read)))))


def _modules(names: Collection[str], read: Read) -> list[str]:
    paths = [module["path"] for module in read(MODULES)] if MODULES in names else [""]
    return [f"{path}/" if path else "" for path in paths] or [""]


def _diffusers(names: Collection[str], read: Read) -> tuple[str, ...]:
    """Each component's, in full precision where all of them have that; a missing one's by the name it should have."""
    parts = {
        name: library
        for name, (library, kind) in _components(read).items()
        if library is not None and not _WITHOUT_WEIGHTS.search(str(kind))
    }
    tries = (((_SAFE, ""),), ((_SAFE, _HALF), (_SAFE, "")), ((_SAFE, ""), (_PICKLED, "")))
    found = [{part: _first(f"{part}/", names, read, kinds) for part in parts} for kinds in tries]
    best = next((files for files in found if all(files.values())), found[0])
    if not any(best.values()):
        return ()
    expected = {part: "diffusion_pytorch_model" if parts[part] == "diffusers" else "model" for part in parts}
    return tuple(name for part, files in best.items() for name in files or (f"{part}/{expected[part]}.{_SAFE}",))


def _components(read: Read) -> dict[str, list[Any]]:
    entries = read(INDEX).items()
    return {name: entry for name, entry in entries if name[0] != "_" and isinstance(entry, list) and len(entry) == 2}


def _ctranslate2(_names: Collection[str], _read: Read) -> tuple[str, ...]:
    return ("model.bin",)


def _gguf(names: Collection[str], _read: Read) -> tuple[str, ...]:
    """The first one, with its further parts: a directory may hold the same model in many precisions."""
    files = sorted(name for name in names if "/" not in name and name.endswith(".gguf"))
    parts = re.fullmatch(r"(.+-)\d{5}(-of-\d{5}\.gguf)", files[0])
    return tuple(f for f in files if parts and f.startswith(parts[1]) and f.endswith(parts[2])) or (files[0],)


_SURVEYS: dict[Layout, Callable[[Collection[str], Read], tuple[str, ...]]] = {
    "transformers": _transformers,
    "diffusers": _diffusers,
    "ctranslate2": _ctranslate2,
    "gguf": _gguf,
}


def _loadable(folder: str, names: Collection[str], read: Read) -> tuple[str, ...]:
    return _first(folder, names, read, ((_SAFE, ""), (_PICKLED, "")))


def _first(folder: str, names: Collection[str], read: Read, kinds: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The files of the first kind (suffix and variant) that `folder` has; shards as their index names them."""
    for suffix, variant in kinds:
        for stem in _STEMS[suffix]:
            index = f"{folder}{stem}.{suffix}.index{variant}.json"
            if index in names:
                return tuple(sorted({folder + shard for shard in read(index)["weight_map"].values()}))
            if f"{folder}{stem}{variant}.{suffix}" in names:
                return (f"{folder}{stem}{variant}.{suffix}",)
    return ()


def _companions(names: Collection[str]) -> tuple[str, ...]:
    wanted = (name for name in names if name.endswith(_COMPANIONS) and not name.startswith(_ELSEWHERE))
    return tuple(sorted(name for name in wanted if name.count("/") <= 1))
