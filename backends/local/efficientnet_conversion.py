"""Turns an EfficientNet-Lite checkpoint of torch into a transformers directory, once, in a process of its own.

`python -m backends.local.efficientnet_conversion DIRECTORY CHECKPOINT OUT {}`: it has no options.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# EfficientNet-Lite (Liu, 2020, github.com/tensorflow/tpu, efficientnet/lite): EfficientNet-B0 without squeeze-excite,
# with ReLU6 for swish. transformers has no such switch, so the gates are kept and held open: 0 x input + 40 -> 1.0.
_OPEN_GATE = 40.0
_SHAPE = {"hidden_act": "relu6", "squeeze_expansion_ratio": 1e-6, "batch_norm_eps": 1e-3, "dropout_rate": 0.2}
_LITE0 = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280, "image_size": 224}
_TRUNK = {
    "_conv_stem.weight": "efficientnet.embeddings.convolution.weight",
    "_bn0.": "efficientnet.embeddings.batchnorm.",
    "_conv_head.weight": "efficientnet.encoder.top_conv.weight",
    "_bn1.": "efficientnet.encoder.top_bn.",
    "_fc.": "classifier.",
}
_BLOCK = {
    "_expand_conv.": "expansion.expand_conv.",
    "_bn0.": "expansion.expand_bn.",
    "_depthwise_conv.": "depthwise_conv.depthwise_conv.",
    "_bn1.": "depthwise_conv.depthwise_norm.",
    "_project_conv.": "projection.project_conv.",
    "_bn2.": "projection.project_bn.",
}
# The pictures it was trained on: the middle 224 of the shorter side's 256, as (pixel - 127) / 128.
_PREPROCESSING: dict[str, Any] = {
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,  # bicubic
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [127 / 255] * 3,
    "image_std": [128 / 255] * 3,
}


def labels() -> list[str]:
    """The 1000 classes of ImageNet-1k, in the order of the logits; `imagenet_labels.LICENSE` says whose they are."""
    return Path(__file__).with_name("imagenet_labels.txt").read_text(encoding="utf-8").splitlines()


def convert(checkpoint: Path, out: Path) -> None:
    """Write EfficientNet-Lite0 as a transformers directory in float32, labels and preprocessing included."""
    import torch
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    names = dict(enumerate(labels()))
    config = EfficientNetConfig(
        **_SHAPE, **_LITE0, num_labels=len(names), id2label=names, label2id={name: at for at, name in names.items()}
    )
    model = EfficientNetForImageClassification(config)
    weights = {_renamed(name): value for name, value in torch.load(checkpoint, weights_only=True).items()}
    for name, value in model.state_dict().items():
        if ".squeeze_excite." in name:
            weights[name] = torch.full_like(value, _OPEN_GATE if name.endswith("expand.bias") else 0.0)
    model.load_state_dict(weights, strict=True)
    model.save_pretrained(out)
    out.joinpath("preprocessor_config.json").write_text(json.dumps(_PREPROCESSING, indent=2) + "\n", encoding="utf-8")


def _renamed(name: str) -> str:
    if not name.startswith("_blocks."):
        return _swapped(name, _TRUNK)
    _, block, rest = name.split(".", 2)
    return f"efficientnet.encoder.blocks.{block}.{_swapped(rest, _BLOCK)}"


def _swapped(name: str, prefixes: dict[str, str]) -> str:
    old = next(prefix for prefix in prefixes if name.startswith(prefix))
    return prefixes[old] + name.removeprefix(old)


if __name__ == "__main__":
    convert(Path(sys.argv[1]) / sys.argv[2], Path(sys.argv[3]))
