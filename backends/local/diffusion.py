"""A loaded diffusers pipeline, of whatever kind: what it takes, and how it draws one picture. Knows no request.

Every pipeline comes through the same door: Stable Diffusion 1.5, XL and Turbo, Flux, and the built-in tiny one.
"""

from __future__ import annotations

import copy
import inspect
import math
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from backends.errors import ContentRefused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_SMALLEST_MULTIPLE = 8  # pixels; pipelines refuse sizes that 8 does not divide, whatever their autoencoder says


class Picture(Struct, frozen=True, kw_only=True):
    """One prompt, and everything about the drawing of it that is decided: sizes in pixels, one seed a picture."""

    prompt: str
    negative_prompt: str | None
    width: int
    height: int
    steps: int
    guidance_scale: float | None
    seeds: tuple[int, ...]
    prompt_tokens: int


class Diffusion:
    """A pipeline and what follows from its files. Used from its worker's thread only.

    Attributes:
        steps, guidance_scale, width, height: The model's own defaults; None where it has none.
        multiple: Width and height are multiples of it, in pixels.
    """

    runtime = "torch"

    def __init__(self, pipeline: Any, device: str, dtype: str) -> None:
        self._pipeline = pipeline
        self._scheduler = (
            pipeline.scheduler
        )  # as loaded: each drawing has a copy, and leaves nothing behind for the next
        self._takes = inspect.signature(pipeline.__call__).parameters
        self._denoiser = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
        self.device = device
        self.dtype = dtype
        self.steps: int | None = self._default("num_inference_steps")
        self.guidance_scale: float | None = self._default("guidance_scale")
        self.width, self.height = self._native_size()
        self.multiple = self._multiple()

    @property
    def kind(self) -> str:
        """The pipeline's class."""
        return type(self._pipeline).__name__

    @property
    def takes_guidance(self) -> bool:
        """True when its calls have a `guidance_scale`."""
        return "guidance_scale" in self._takes

    def heeds_negative(self, guidance_scale: float | None) -> bool:
        """True when a negative prompt has a part in the drawing: only where two predictions are set against each other.

        Guidance is that from above 1 on (Ho and Salimans 2022), unless it was distilled into the model: such models
        embed the scale (`time_cond_proj_dim`) or name the true one apart (`true_cfg_scale`).
        """
        if "negative_prompt" not in self._takes:
            return False
        if "true_cfg_scale" in self._takes:
            return (self._default("true_cfg_scale") or 0) > 1
        distilled = getattr(self._denoiser, "config", {}).get("time_cond_proj_dim") is not None
        return not distilled and (guidance_scale is None or guidance_scale > 1)

    def tokens(self, text: str) -> tuple[int, int | None]:
        """Tokens of a text, special ones included, and how many are read, by the text encoder that reads most."""
        cap = self._default("max_sequence_length") or math.inf
        read: list[tuple[float, int]] = []
        for name, part in self._pipeline.components.items():
            if name.startswith("tokenizer") and hasattr(part, "model_max_length"):
                length = len(part(text, truncation=False, verbose=False)["input_ids"])
                read.append((min(part.model_max_length, cap), length))
        limit, length = max(read, default=(math.inf, 0))
        return length, None if limit == math.inf else int(limit)

    def can_do(self, steps: int) -> bool:
        """True when the scheduler can make a schedule of so many steps; distilled ones know only some."""
        if self._scheduler.config.get("use_dynamic_shifting"):
            return True  # its schedule depends on the picture's size, and knows no limit
        try:
            copy.deepcopy(self._scheduler).set_timesteps(steps)
        except (ValueError, ArithmeticError, LookupError):
            return False
        return True

    def draw(self, picture: Picture, seed: int, after_step: Callable[[int, int], None]) -> Any:
        """One picture as uint8, height x width x 3. `after_step` hears `(done, of)` predictions and may raise.

        The noise comes from the CPU's generator, so that a seed means the same on every device.

        Raises:
            ContentRefused: The pipeline has a safety checker, and it flags the picture.
            Unavailable: What was drawn are no numbers.
        """
        import torch

        def step_end(pipeline: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            after_step(index + 1, getattr(pipeline, "num_timesteps", None) or picture.steps)
            return tensors

        self._pipeline.scheduler = copy.deepcopy(self._scheduler)
        drawn = self._pipeline(
            prompt=picture.prompt,
            width=picture.width,
            height=picture.height,
            num_inference_steps=picture.steps,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
            callback_on_step_end=step_end,
            **self._guidance(picture),
        )
        if any(getattr(drawn, "nsfw_content_detected", None) or ()):
            raise ContentRefused(f"the model's own safety checker refuses what it drew from seed {seed}")
        image = drawn.images[0]
        if not math.isfinite(image.sum()):  # components are in 0..1: only what is no number makes no sum
            raise Unavailable(f"the model drew no numbers in {self.dtype}")
        return (image[..., :3] * 255).round().astype("uint8")

    def _guidance(self, picture: Picture) -> dict[str, Any]:
        named = {"guidance_scale": picture.guidance_scale, "negative_prompt": picture.negative_prompt}
        return {name: value for name, value in named.items() if value is not None and name in self._takes}

    def _default(self, name: str) -> Any:
        parameter = self._takes.get(name)
        return None if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default

    def _native_size(self) -> tuple[int | None, int | None]:
        """The size it was trained at: of its latents, times what the autoencoder enlarges them by."""
        size = getattr(self._pipeline, "default_sample_size", None)
        if size is None and self._denoiser is not None:
            size = self._denoiser.config.get("sample_size")
        if size is None:
            return None, None
        height, width = (size, size) if isinstance(size, int) else size
        scale = self._pipeline.vae_scale_factor
        return width * scale, height * scale

    def _multiple(self) -> int:
        """Latents come in whole numbers, and transformers read them in patches; some pipelines pack them by two."""
        patch = 1
        transformer = getattr(self._pipeline, "transformer", None)
        if transformer is not None:
            packed = 2 if hasattr(self._pipeline, "_pack_latents") else 1
            patch = max(packed, int(transformer.config.get("patch_size") or 1))
        return math.lcm(_SMALLEST_MULTIPLE, int(getattr(self._pipeline, "vae_scale_factor", 8)) * patch)
