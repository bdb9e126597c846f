"""Trains the picture model on one CPU core: `python -m backends.local.shapes.training --out DIR --minilm DIR`.

The same seed and steps draw the same pictures and the same noise: every step has dice of its own, so that a run that
was killed and went on with `--resume` is the run that was not.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import track

from backends.local.shapes import drawing, networks

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

_VAE_RATE = 1.5e-3
_VAE_BATCH = 32
_VAE_NOISE = 0.04  # on the latents it learns to decode: the denoiser's are never quite right either
_CROP = 32  # cheap corners of pictures first, whole ones for the last part
_CROP_SHARE = 0.85
_UNET_RATE = 8e-4
_UNET_BATCH = 24
_UNSAID = 0.1  # of the captions left out, which is what guidance compares with
_AVERAGE = 0.998
_CHECKPOINT_STEPS = 300


@dataclass(frozen=True)
class Run:
    """What is asked of one training."""

    out: Path
    minilm: Path
    steps: int
    vae_steps: int
    pictures: int
    seed: int
    resume: bool

    @property
    def checkpoint(self) -> Path:
        """Where a killed run is picked up from; of no use once `out` has its weights."""
        return self.out / "checkpoint"


@dataclass(frozen=True)
class Lessons:
    """The training set as the denoiser sees it."""

    latents: Any
    features: Any  # of each different caption; the first is the empty one
    captions: Any  # which of the features goes with which latents


def train(run: Run) -> None:
    """Draw, learn to encode, encode, learn to denoise, save."""
    began = time.process_time()
    run.checkpoint.mkdir(parents=True, exist_ok=True)
    pictures, captions = _draw(run)
    vae = _autoencoder(run, pictures)
    latents = _latents(vae, pictures)
    vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 4))
    features, which = _features(run.minilm, captions)
    logger.info("%d pictures, %d captions, %.0f CPU s", len(captions), len(features), time.process_time() - began)
    average = _denoiser(run, Lessons(latents * vae.config.scaling_factor, features, which))
    networks.save(run.out, average, vae)
    logger.info("saved in %s after %.1f CPU minutes", run.out, (time.process_time() - began) / 60)


def _steps(first: int, last: int, what: str) -> Iterable[int]:
    return track(range(first, last), description=what, total=last, completed=first)


def _dice(*seeds: int | str) -> Any:
    import torch

    return torch.Generator().manual_seed(drawing.dice(*seeds).getrandbits(63))


def _draw(run: Run) -> tuple[Any, list[str]]:
    import torch

    images, captions = zip(*drawing.training_set(run.pictures, run.seed), strict=True)
    pixels = torch.frombuffer(bytearray(b"".join(image.tobytes() for image in images)), dtype=torch.uint8)
    side = drawing.PIXELS
    return pixels.view(-1, side, side, 3).permute(0, 3, 1, 2).contiguous(), list(captions)


def _signed(pixels: Any) -> Any:
    return pixels.float() / 127.5 - 1


def _pace(optimizer: Any, rate: float, step: int, steps: int) -> None:
    """A short warm-up, then half a cosine down to 2 % of the rate."""
    warm = min(1.0, (step + 1) / 100)
    cosine = 0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))
    for group in optimizer.param_groups:
        group["lr"] = rate * warm * cosine


def _step(optimizer: Any, network: Any, loss: Any) -> None:
    import torch

    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def _autoencoder(run: Run, pictures: Any) -> Any:
    import torch
    from diffusers import AutoencoderTiny

    kept = run.checkpoint / "vae"
    if run.resume and kept.exists():
        return AutoencoderTiny.from_pretrained(kept, local_files_only=True).eval()
    torch.manual_seed(run.seed)
    vae = networks.autoencoder()
    _learn_to_encode(run, vae, pictures)
    vae.save_pretrained(kept)
    return vae.eval()


def _learn_to_encode(run: Run, vae: Any, pictures: Any) -> None:
    import torch

    optimizer = torch.optim.AdamW(vae.parameters(), lr=_VAE_RATE, weight_decay=1e-4, betas=(0.9, 0.99))
    began = time.process_time()
    for step in _steps(0, run.vae_steps, "autoencoder"):
        _pace(optimizer, _VAE_RATE, step, run.vae_steps)
        dice = _dice("vae", run.seed, step)
        batch = _signed(pictures[torch.randint(len(pictures), (_VAE_BATCH,), generator=dice)])
        if step < run.vae_steps * _CROP_SHARE:
            top, left = torch.randint(drawing.PIXELS - _CROP + 1, (2,), generator=dice).tolist()
            batch = batch[:, :, top : top + _CROP, left : left + _CROP]
        latents = vae.encode(batch).latents
        noise = torch.randn(latents.shape, generator=dice) * _VAE_NOISE
        decoded = vae.decode(latents + noise).sample
        loss = _difference(decoded, batch) + 1e-3 * latents.square().mean()
        _step(optimizer, vae, loss)
        if step % 100 == 99:
            spent = time.process_time() - began
            logger.info("autoencoder %d: loss %.4f, %.0f CPU s", step + 1, loss.item(), spent)


def _difference(decoded: Any, batch: Any) -> Any:
    """Of the pixels, and of the steps between neighbours, without which edges blur."""
    from torch.nn.functional import l1_loss, mse_loss

    loss = l1_loss(decoded, batch) + mse_loss(decoded, batch)
    for axis in (2, 3):
        loss = loss + 0.5 * l1_loss(decoded.diff(dim=axis), batch.diff(dim=axis))
    return loss


def _latents(vae: Any, pictures: Any) -> Any:
    import torch

    with torch.inference_mode():
        parts = [vae.encode(_signed(part)).latents for part in pictures.split(128)]
    return torch.cat(parts).clone()


def _features(minilm: Path, captions: list[str]) -> tuple[Any, Any]:
    import torch

    encoder = networks.TextEncoder(minilm)
    different = ["", *sorted(set(captions))]
    place = {caption: index for index, caption in enumerate(different)}
    parts = [encoder.features(different[start : start + 256]).half() for start in range(0, len(different), 256)]
    return torch.cat(parts).clone(), torch.tensor([place[caption] for caption in captions])


def _denoiser(run: Run, lessons: Lessons) -> Any:
    """The denoiser's weights averaged over the steps, which draw better than the last step's."""
    import torch

    torch.manual_seed(run.seed)
    network, average = networks.unet().train(), networks.unet().eval()
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=_UNET_RATE, weight_decay=1e-3, betas=(0.9, 0.99))
    kept = run.checkpoint / "denoiser.pt"
    state = {"network": network, "average": average, "optimizer": optimizer}
    first = _resume(kept, state) if run.resume and kept.exists() else 0
    began, mean = time.process_time(), math.nan
    for step in _steps(first, run.steps, "denoiser"):
        _pace(optimizer, _UNET_RATE, step, run.steps)
        loss = _denoising_loss(network, lessons, _dice("denoiser", run.seed, step))
        _step(optimizer, network, loss)
        _follow(average, network, min(_AVERAGE, (step + 1) / (step + 10)))
        mean = loss.item() if math.isnan(mean) else 0.99 * mean + 0.01 * loss.item()
        if step % 100 == 99:
            logger.info("denoiser %d: loss %.4f, %.0f CPU s", step + 1, mean, time.process_time() - began)
        if step % _CHECKPOINT_STEPS == _CHECKPOINT_STEPS - 1:
            _keep(kept, state, step + 1)
    return average


def _denoising_loss(network: Any, lessons: Lessons, dice: Any) -> Any:
    import torch

    schedule = networks.scheduler()
    chosen = torch.randint(len(lessons.latents), (_UNET_BATCH,), generator=dice)
    said = torch.rand(_UNET_BATCH, generator=dice) >= _UNSAID
    latents, features = lessons.latents[chosen], lessons.features[lessons.captions[chosen] * said].float()
    times = torch.randint(schedule.config.num_train_timesteps, (_UNET_BATCH,), generator=dice)
    noise = torch.randn(latents.shape, generator=dice)
    noisy = schedule.add_noise(latents, noise, times)
    guess = network(noisy, times, encoder_hidden_states=features).sample
    return torch.nn.functional.mse_loss(guess, schedule.get_velocity(latents, noise, times))


def _follow(average: Any, network: Any, share: float) -> None:
    import torch

    with torch.no_grad():
        for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
            slow.lerp_(fast, 1 - share)


def _keep(path: Path, state: dict[str, Any], step: int) -> None:
    """Written beside and then moved: a kill leaves the old one or the new one."""
    import torch

    beside = path.with_suffix(".new")
    torch.save({"step": step, **{name: part.state_dict() for name, part in state.items()}}, beside)
    beside.replace(path)


def _resume(path: Path, state: dict[str, Any]) -> int:
    import torch

    saved = torch.load(path, weights_only=True)
    for name, part in state.items():
        part.load_state_dict(saved[name])
    step = int(saved["step"])
    logger.info("going on after step %d", step)
    return step


def _arguments() -> Run:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the model is written")
    parser.add_argument("--minilm", type=Path, required=True, help="the directory of all-MiniLM-L6-v2")
    parser.add_argument("--steps", type=int, default=6000, help="of the denoiser")
    parser.add_argument("--vae-steps", type=int, default=1500, help="of the autoencoder")
    parser.add_argument("--pictures", type=int, default=16000, help="drawn to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    return Run(**vars(parser.parse_args()))


def main() -> None:
    """Train as the command line asks, on one core and behind everybody else."""
    import torch

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    os.nice(5)
    train(_arguments())


if __name__ == "__main__":
    main()
