"""Random pipelines of the real classes, small enough to be built in a test: what they draw is noise."""

from __future__ import annotations

import json

VOCABULARY = 514  # every byte, every byte that ends a word, a start and an end
READS = 77  # tokens, as CLIP does


def tokenizer(directory):
    """A CLIP tokenizer with a token a byte: it needs no download."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    directory.mkdir(parents=True)
    (directory / "vocab.json").write_text(json.dumps({token: at for at, token in enumerate(tokens)}))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"), model_max_length=READS)


def text_config(**changes):
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        bos_token_id=512, eos_token_id=513, pad_token_id=1, projection_dim=32, **changes,
    )  # fmt: skip


def unet(**changes):
    from diffusers import UNet2DConditionModel

    sizes = {
        "block_out_channels": (32, 64), "layers_per_block": 1, "sample_size": 8, "in_channels": 4, "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 32,
    }  # fmt: skip
    return UNet2DConditionModel(**{**sizes, **changes}).eval()


def autoencoder():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=[16, 32], in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, norm_num_groups=8,
    ).eval()  # fmt: skip


def scheduler():
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip


def tiny_autoencoder():
    """What the built-in model has in place of the autoencoder that its pipeline expects."""
    from diffusers import AutoencoderTiny

    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).eval()  # fmt: skip


def stable_diffusion(directory, *, safety_checker=None, feature_extractor=None, vae=None):
    """The classes of Stable Diffusion 1.5, which draws 16 x 16 pixels here."""
    import torch
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    return StableDiffusionPipeline(
        vae=vae or autoencoder(),
        text_encoder=CLIPTextModel(text_config()).eval(),
        tokenizer=tokenizer(directory),
        unet=unet(),
        scheduler=scheduler(),
        safety_checker=safety_checker,
        feature_extractor=feature_extractor,
        requires_safety_checker=safety_checker is not None,
    )


def stable_diffusion_xl(directory):
    """The classes of Stable Diffusion XL: two text encoders, and a size that goes into the prediction."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    config = text_config(hidden_act="gelu")
    return StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(config).eval(),
        text_encoder_2=CLIPTextModelWithProjection(config).eval(),
        tokenizer=tokenizer(directory / "one"),
        tokenizer_2=tokenizer(directory / "two"),
        unet=unet(
            attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=8, transformer_layers_per_block=(1, 2), cross_attention_dim=64,
            projection_class_embeddings_input_dim=6 * 8 + 32,
        ),
        scheduler=EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1),
        add_watermarker=False,
    )  # fmt: skip


def safety_checker(flags):
    """Stable Diffusion's own checker, so set that it flags everything or nothing; and what prepares images for it."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil

    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 16, "patch_size": 8,
    }  # fmt: skip
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16)).eval()
    threshold = -2.0 if flags else 2.0  # no cosine is below the one or above the other
    for weights in (checker.concept_embeds_weights, checker.special_care_embeds_weights):
        with torch.no_grad():
            weights.fill_(threshold)
    return checker, CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
