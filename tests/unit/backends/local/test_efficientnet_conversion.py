"""The converted EfficientNet-Lite0 against the architecture written down anew, on a checkpoint made here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backends.local import efficientnet_conversion

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
ROOT = Path(efficientnet_conversion.__file__).parents[2]

# Table 1 of the EfficientNet paper (Tan and Le, 2019, B0), and what Lite leaves out (the README of Google's
# efficientnet/lite): expansion, kernel, stride, output channels, repeats.
STAGES = [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
          (6, 3, 1, 320, 1)]  # fmt: skip
BLOCKS = [
    (expansion, kernel, stride if repeat == 0 else 1, channels)
    for expansion, kernel, stride, channels, repeats in STAGES
    for repeat in range(repeats)
]


@pytest.fixture(scope="module")
def checkpoint():
    """Weights of a size that keeps the signal alive through fifty layers, under the names of the published file."""
    generator = torch.Generator().manual_seed(5)
    weights = {}

    def conv(name, out, into, kernel):
        fan = into * kernel * kernel
        weights[f"{name}.weight"] = torch.randn(out, into, kernel, kernel, generator=generator) * (2 / fan) ** 0.5

    def norm(name, width):
        weights[f"{name}.weight"] = 0.5 + torch.rand(width, generator=generator)
        weights[f"{name}.bias"] = torch.randn(width, generator=generator) * 0.2
        weights[f"{name}.running_mean"] = torch.randn(width, generator=generator) * 0.1
        weights[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=generator)
        weights[f"{name}.num_batches_tracked"] = torch.tensor(1)

    conv("_conv_stem", 32, 3, 3)
    norm("_bn0", 32)
    into = 32
    for number, (expansion, kernel, _stride, channels) in enumerate(BLOCKS):
        block, width = f"_blocks.{number}", into * expansion
        if expansion > 1:
            conv(f"{block}._expand_conv", width, into, 1)
            norm(f"{block}._bn0", width)
        conv(f"{block}._depthwise_conv", width, 1, kernel)
        norm(f"{block}._bn1", width)
        conv(f"{block}._project_conv", channels, width, 1)
        norm(f"{block}._bn2", channels)
        into = channels
    conv("_conv_head", 1280, 320, 1)
    norm("_bn1", 1280)
    weights["_fc.weight"] = torch.randn(1000, 1280, generator=generator) * 0.03
    weights["_fc.bias"] = torch.randn(1000, generator=generator) * 0.03
    return weights


def expected(weights, pixels):
    """The forward pass of EfficientNet-Lite0: padding as TensorFlow's SAME, ReLU6, no squeeze-excite."""
    functional = torch.nn.functional

    def conv(name, x, stride=1, groups=1):
        kernel = weights[f"{name}.weight"]
        size, side = x.shape[-1], kernel.shape[-1]
        total = max((-(-size // stride) - 1) * stride + side - size, 0)
        x = functional.pad(x, (total // 2, total - total // 2) * 2)
        return functional.conv2d(x, kernel, stride=stride, groups=groups)

    def norm(name, x):
        part = [weights[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *part, eps=1e-3)

    x = functional.relu6(norm("_bn0", conv("_conv_stem", pixels, stride=2)))
    for number, (expansion, _kernel, stride, _channels) in enumerate(BLOCKS):
        block, start = f"_blocks.{number}", x
        if expansion > 1:
            x = functional.relu6(norm(f"{block}._bn0", conv(f"{block}._expand_conv", x)))
        x = functional.relu6(norm(f"{block}._bn1", conv(f"{block}._depthwise_conv", x, stride, groups=x.shape[1])))
        x = norm(f"{block}._bn2", conv(f"{block}._project_conv", x))
        if x.shape == start.shape and stride == 1:
            x = x + start
    x = functional.relu6(norm("_bn1", conv("_conv_head", x)))
    return functional.linear(x.mean((2, 3)), weights["_fc.weight"], weights["_fc.bias"])


@pytest.fixture(scope="module")
def converted(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("efficientnet")
    torch.save(checkpoint, folder / "lite0.pth")
    efficientnet_conversion.convert(folder / "lite0.pth", folder / "out")
    return folder / "out"


def test_the_logits_are_those_of_the_architecture(checkpoint, converted):
    """The gates that transformers insists on are open to the last bit; 1e-4 of the logits' spread is float32's own."""
    torch.set_num_threads(1)
    model = transformers.AutoModelForImageClassification.from_pretrained(converted, local_files_only=True)
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        ours, theirs = model(pixels).logits, expected(checkpoint, pixels)

    assert theirs.std() > 0.1  # a network that says nothing would agree with anything
    assert float((ours - theirs).abs().max()) < 1e-4 * float(theirs.std())


def test_the_labels_are_a_thousand_names(converted):
    """No two classes share one, and those everybody knows by number are where they belong."""
    names = json.loads((converted / "config.json").read_text())["id2label"]

    assert 1000 == len(names) == len(set(names.values()))
    assert ("tench, Tinca tinca", "Egyptian cat", "espresso", "daisy") == tuple(
        names[n] for n in ("0", "285", "967", "985")
    )


def test_the_result_is_safetensors_and_a_processor_anybody_can_load(converted):
    """Nothing that runs code is left, and the preparation of pictures is said in the hub's own terms."""
    assert ["config.json", "model.safetensors", "preprocessor_config.json"] == sorted(
        p.name for p in converted.iterdir()
    )
    wanted = json.loads((converted / "preprocessor_config.json").read_text())
    processor = transformers.AutoImageProcessor.from_pretrained(converted, backend="pil", local_files_only=True)

    assert {"shortest_edge": 256} == wanted["size"]
    assert type(processor).__name__.startswith(wanted["image_processor_type"])


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    """`weights_only` stops it: the conversion fails, and what the file asked for never happened."""
    evidence = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (evidence,))

    torch.save({"_fc.weight": Evil()}, tmp_path / "evil.pth")
    command = [sys.executable, "-m", "backends.local.efficientnet_conversion", str(tmp_path), "evil.pth"]
    finished = subprocess.run([*command, str(tmp_path / "out"), "{}"], cwd=ROOT, capture_output=True, check=False)

    assert finished.returncode != 0
    assert not evidence.exists()
