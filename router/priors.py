"""How long things take before anything was measured: physics of the device, or of a network. Learns nothing.

Each figure is replaced by the first measurement; what matters is that they grow with a request as its time does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from backends.types import OWN_MODELS, Task

if TYPE_CHECKING:
    from router.slate import Candidate, Size

PRIOR_PARAMETERS = 1_000_000_000
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

# CPU: GEMM throughput and memory bandwidth of one core of a 2.5 GHz server; GPU: a mid-range card; far: round trip of
# a public API and a common decode speed.
CPU_FLOPS, GPU_FLOPS = 50e9, 20e12
CPU_BYTES_PER_S, GPU_BYTES_PER_S = 10e9, 500e9
NEAR_OVERHEAD_S, FAR_OVERHEAD_S = 0.01, 0.4
FAR_S_PER_OUTPUT_TOKEN, FAR_S_PER_INPUT_TOKEN = 0.02, 0.00005
LOAD_BYTES_PER_S, RUNTIME_START_S = 300e6, 4.0
REPLICA_START_S = 20.0  # a process of a cluster with its libraries; measured with Ray Serve 2.60 on two cores
FAKE_S = 0.001
FAKE_S_PER_OUTPUT_TOKEN, FAKE_S_PER_INPUT_TOKEN = 0.00005, 0.0000001

# Weights are read once per position of what a network looks at, two operations each.
# Drawings: most weights of a UNet work on latents far smaller than the picture. torch's FlopCounterMode finds 0.80
# TFLOP a step in Stable Diffusion 1.5 (0.86 G weights, 512 x 512 pixels: a position per 561) and 6.76 in SDXL (2.57 G,
# 1024 x 1024: per 796); 512 leaves room for what stands around the UNet. Guidance computes each step twice.
PIXELS_PER_POSITION, GUIDANCE = 512, 2
# Photos: 14 x 14 patches of 224 x 224 pixels, as a ViT-B/16 has (35 GFLOP with 86 M weights).
POSITIONS_PER_PHOTO = 196
# Speech: Whisper's encoder makes 1500 positions of 30 seconds. tiny.en comes to 0.08 s a second, which was measured.
POSITIONS_PER_AUDIO_S = 50

# What a drawing is like that says nothing itself, by the number of weights (pixels, steps): SDXL, SD 1.x and what is
# smaller than any of them. The defaults of diffusers' pipelines; for the smallest those of nearfar/shapes-64.
TYPICAL_DRAWINGS = ((2_000_000_000, 1024 * 1024, 50), (100_000_000, 512 * 512, 50), (0, 64 * 64, 10))

# Far, an A100 draws SDXL's 50 steps in 4 to 12 s (diffusers' own table: 30 steps in 2.5 to 7.4 s); a photo takes a
# ViT-B on the two cores that hf-inference mostly runs on 0.3 s; speech is assumed to be heard 50 times as fast as it
# was said by a whole GPU.
FAR_S_PER_DRAWING, FAR_S_PER_PHOTO, FAR_S_PER_AUDIO_S = 5.0, 0.3, 0.02


Parts = tuple[float, float, float]


def weighed(factors: Parts, parts: Parts) -> float:
    """The parts, each times its factor, added up."""
    return factors[0] * parts[0] + factors[1] * parts[1] + factors[2] * parts[2]


class Listed(NamedTuple):
    """What a far candidate's router measured of it for all its users; None where nobody said."""

    first_token_s: float | None
    tokens_per_s: float | None


def prior_service_s(candidate: Candidate, size: Size) -> float:
    """Seconds one request would take before anything was measured; always above 0.

    Near: 2 x parameters floating-point operations per position read (a token, or as above), and one pass over the
    weights per output token (decoding is bound by memory bandwidth). Far: one round trip plus a time per unit.
    """
    return sum(prior_parts(candidate, size))


def prior_parts(candidate: Candidate, size: Size, listed: Listed | None = None) -> Parts:
    """The same in three parts: what every request takes, what grows with its input or work, what with its output.

    `listed` goes before what the candidate's router lists now: what was learnt in relation to it stays right when the
    listing is renewed.
    """
    output_tokens = size.output_tokens or 0
    if candidate.target.backend == "fake":
        read_s = FAKE_S_PER_INPUT_TOKEN * (size.input_tokens or 0)
        return FAKE_S, read_s, FAKE_S_PER_OUTPUT_TOKEN * output_tokens
    if candidate.target.backend not in OWN_MODELS:
        return _far_parts(candidate, size, listed or listed_of(candidate))
    on_cpu = candidate.status.device == "cpu"
    parameters = candidate.target.parameters or PRIOR_PARAMETERS
    read_s = 2 * parameters * _positions(candidate, size) / (CPU_FLOPS if on_cpu else GPU_FLOPS)
    decode_s = output_tokens * weight_bytes(candidate) / (CPU_BYTES_PER_S if on_cpu else GPU_BYTES_PER_S)
    return NEAR_OVERHEAD_S, read_s, decode_s


def listed_of(candidate: Candidate) -> Listed:
    """What the candidate's router lists of it."""
    return Listed(candidate.first_token_s, candidate.tokens_per_s)


def prior_load_s(candidate: Candidate, *, runtime_started: bool) -> float:
    """Seconds until a cold near model serves: its weights from disk, and the libraries where none is imported yet."""
    if candidate.target.backend == "ray":
        return REPLICA_START_S + weight_bytes(candidate) / LOAD_BYTES_PER_S
    return (0.0 if runtime_started else RUNTIME_START_S) + weight_bytes(candidate) / LOAD_BYTES_PER_S


def weight_bytes(candidate: Candidate) -> float:
    """The memory of the weights in the type they are computed in."""
    return (candidate.target.parameters or PRIOR_PARAMETERS) * DTYPE_BYTES.get(candidate.status.dtype or "", 4)


def assumed_pixel_steps(candidate: Candidate, size: Size) -> int:
    """All pixels drawn times their steps; what the request leaves to the model is as models of its size have it."""
    parameters = candidate.target.parameters or PRIOR_PARAMETERS
    pixels, steps = next((pixels, steps) for least, pixels, steps in TYPICAL_DRAWINGS if parameters >= least)
    return (size.images or 1) * (size.pixels or pixels) * (size.steps or steps)


def _positions(candidate: Candidate, size: Size) -> float:
    match candidate.target.task:
        case Task.TEXT_TO_IMAGE:
            pixel_steps = size.pixel_steps or assumed_pixel_steps(candidate, size)
            return GUIDANCE * pixel_steps / PIXELS_PER_POSITION
        case Task.IMAGE_CLASSIFICATION:
            return POSITIONS_PER_PHOTO * (size.images or 1)
        case Task.AUTOMATIC_SPEECH_RECOGNITION:
            return POSITIONS_PER_AUDIO_S * (size.audio_s or 0.0)
    return size.input_tokens or 0


def _far_parts(candidate: Candidate, size: Size, listed: Listed) -> Parts:
    """One round trip plus a time per unit; for text what the router measured of this provider, where it says so."""
    task = candidate.target.task
    read_s = FAR_S_PER_INPUT_TOKEN * (size.input_tokens or 0)
    each_s = 1 / listed.tokens_per_s if listed.tokens_per_s else FAR_S_PER_OUTPUT_TOKEN
    if task is Task.TEXT_TO_IMAGE:
        read_s += FAR_S_PER_DRAWING * (size.images or 1)
    elif task is Task.IMAGE_CLASSIFICATION:
        read_s += FAR_S_PER_PHOTO * (size.images or 1)
    elif task is Task.AUTOMATIC_SPEECH_RECOGNITION:
        read_s += FAR_S_PER_AUDIO_S * (size.audio_s or 0.0)
    return listed.first_token_s or FAR_OVERHEAD_S, read_s, each_s * (size.output_tokens or 0)
