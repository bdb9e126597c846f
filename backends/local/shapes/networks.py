"""The parts of the pipeline, all of them standard classes: diffusers' UNet, tiny autoencoder and DDIM, MiniLM's BERT.

Small enough to learn on one CPU core in an hour: latents are 16 x 16 x 8, and text comes from an encoder that is there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from backends.local.shapes.drawing import PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TOKENS = 20  # of a caption; the longest one drawn has 18
LATENT_CHANNELS = 8
_LATENT_PIXELS = PIXELS // 4
_TEXT_FEATURES = 384

# What `DiffusionPipeline.from_pretrained` reads first. The text parts are MiniLM's and are joined before it is called.
_INDEX: dict[str, object] = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "BertModel"],
    "tokenizer": ["transformers", "BertTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderTiny"],
}


def autoencoder() -> Any:
    """A fresh autoencoder, 64 x 64 x 3 to 16 x 16 x 8; without norm layers, so flat colours stay what they are."""
    from diffusers import AutoencoderTiny

    network = AutoencoderTiny(
        encoder_block_out_channels=(48, 48, 48),
        decoder_block_out_channels=(48, 48, 48),
        latent_channels=LATENT_CHANNELS,
        num_encoder_blocks=(0, 1, 2),
        num_decoder_blocks=(2, 1, 0),
    )
    _start_lively(network)
    return network


def _start_lively(network: Any) -> None:
    """He's start, with quiet residual branches: torch's own starves ReLU layers that no norm feeds."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in network.modules():
            if type(module).__name__ == "AutoencoderTinyBlock":
                module.conv[-1].weight.mul_(0.2)
        last = network.decoder.layers[-1]
        last.weight.mul_(0.3)
        last.bias.fill_(0.5)


def unet() -> Any:
    """A fresh denoiser of 5.7 million parameters that looks at the caption at 8 x 8 and 4 x 4."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=_LATENT_PIXELS,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=(48, 96, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=_TEXT_FEATURES,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def scheduler() -> Any:
    """DDIM on velocities, down to no signal at all: else no ground could be quite black or quite white."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,
    )


class TextEncoder:
    """MiniLM's token features of a caption, padded to `TOKENS`, as the pipeline will make them."""

    def __init__(self, directory: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(directory, model_max_length=TOKENS, local_files_only=True)
        self.model = AutoModel.from_pretrained(directory, local_files_only=True, use_safetensors=True).eval()
        self.model.config.use_attention_mask = True

    def features(self, captions: Sequence[str]) -> Any:
        """One matrix of features a caption."""
        import torch

        read = self.tokenizer(list(captions), padding="max_length", truncation=True, return_tensors="pt")
        with torch.inference_mode():
            return self.model(input_ids=read.input_ids, attention_mask=read.attention_mask).last_hidden_state


def save(directory: Path, denoiser: Any, pictures: Any) -> None:
    """Write everything but the text parts, in half precision."""
    import torch

    directory.mkdir(parents=True, exist_ok=True)
    denoiser.to(torch.float16).save_pretrained(directory / "unet")
    pictures.to(torch.float16).save_pretrained(directory / "vae")
    scheduler().save_pretrained(directory / "scheduler")
    (directory / "model_index.json").write_text(json.dumps(_INDEX, indent=2) + "\n", encoding="utf-8")


def load(directory: Path, minilm: Path | None = None) -> Any:
    """The pipeline in `directory`, joined already or with `minilm` as its text parts; from these files only."""
    import torch
    from diffusers import DiffusionPipeline

    parts: dict[str, Any] = {}
    if minilm is not None:
        text = TextEncoder(minilm)
        parts = {"text_encoder": text.model, "tokenizer": text.tokenizer}
    pipeline = DiffusionPipeline.from_pretrained(
        directory, dtype=torch.float32, local_files_only=True, use_safetensors=True, **parts
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
