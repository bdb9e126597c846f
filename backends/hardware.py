"""What this machine has, and where a model of a given size would run; knows no model by name.

Imports no torch: looking at a GPU must not create a CUDA context, which would take hundreds of megabytes of it.
"""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil  # type: ignore[import-untyped]
from msgspec import Struct

from backends.types import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1 << 30
NVIDIA_SMI_TIMEOUT_S = 10.0
CPU_FLAGS = frozenset({"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16"})
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})

MOST_THREADS = 16
OVERHEAD = 1.2  # weights x 1.2: the field's rule of thumb for activations and buffers; not a figure we measured
CUDA_CONTEXT_BYTES = GIB // 2  # what the driver takes beside the model as soon as the GPU is used
PLANNED_TOKENS = 4096  # the conversation a generation model must have room for
ONE_SPACE_BELOW = 1_000_000_000  # smaller encoders stay float32 everywhere: half precision moves their vectors

_SIZE = {"float32": 4, "float16": 2, "bfloat16": 2}
_NVIDIA_QUERY = "index,name,memory.total,memory.free,compute_cap,power.limit"


class Gpu(Struct, frozen=True, kw_only=True):
    """One GPU. Apple's share the RAM: their total and free bytes are the machine's.

    Attributes:
        power_limit_w: What its driver lets it take; None where it does not say.
    """

    index: int
    name: str
    kind: Literal["cuda", "mps"]
    vram_total_bytes: int
    vram_free_bytes: int
    compute_capability: tuple[int, int] | None = None
    power_limit_w: float | None = None

    @property
    def device(self) -> str:
        """The name torch gives it."""
        return f"cuda:{self.index}" if self.kind == "cuda" else "mps"


class Probe(Struct, frozen=True, kw_only=True):
    """This machine as this process may use it: what affinity and cgroups take away is not counted.

    Attributes:
        cores: Usable cores; a container's quota may leave a fraction.
        gpu_note: Why GPUs that may exist are not listed; None when the list is to be trusted.
    """

    platform: str
    cores: float
    ram_total_bytes: int
    ram_available_bytes: int
    gpus: tuple[Gpu, ...] = ()
    gpu_note: str | None = None
    cpu_flags: frozenset[str] = frozenset()


class Now(Struct, frozen=True, kw_only=True):
    """How this machine is at this moment.

    Attributes:
        process_bytes: What this process holds in memory.
        load_1m: Processes that ran or wanted to, on average over the last minute; None where the system does not say.
    """

    ram_available_bytes: int
    process_bytes: int
    load_1m: float | None


class ModelNeed(Struct, frozen=True, kw_only=True):
    """What is known about a model's size before it is loaded.

    Attributes:
        parameters: Number of weights; None when unknown, then `weights_bytes` at two bytes a weight stands in.
        weights_bytes: Size of the weight files.
        kv_values_per_token: `2 x layers x kv_heads x head_dim`, from the model's own configuration.
    """

    task: Task
    parameters: int | None = None
    weights_bytes: int | None = None
    kv_values_per_token: int | None = None


class Placement(Struct, frozen=True, kw_only=True):
    """Where a model would run, in which precision, and what it would occupy; `reason` says why it does not fit."""

    device: str
    dtype: str
    memory_bytes: int
    fits: bool
    reason: str | None = None


def probe(root: Path = Path("/")) -> Probe:
    """Look at the machine. Blocks for as long as `nvidia-smi` takes: keep it off the event loop.

    Args:
        root: Where `/proc` and `/sys` are found; tests bring their own.
    """
    total, available = _memory(root)
    gpus, note = _gpus(total, available)
    return Probe(
        platform=f"{platform.system()} {platform.machine()}",
        cores=_cores(root),
        ram_total_bytes=total,
        ram_available_bytes=available,
        gpus=gpus,
        gpu_note=note,
        cpu_flags=_cpu_flags(root),
    )


def now() -> Now:
    """Memory and load, read from the kernel: microseconds."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return Now(
        ram_available_bytes=_memory(Path("/"))[1], process_bytes=psutil.Process().memory_info().rss, load_1m=load
    )


def threads(machine: Probe) -> int:
    """How many threads inference should use: one core is left to the server, and above 16 small models lose."""
    return max(1, min(MOST_THREADS, int(machine.cores) - 1))


def most_threads(machine: Probe) -> int:
    """How many threads a runtime may use that takes fewer when other processes need the cores."""
    return max(1, min(MOST_THREADS, int(machine.cores)))


def budgets(machine: Probe, memory_fraction: float) -> dict[str, int]:
    """The bytes all models together may occupy on each device."""
    return {
        "cpu": int(memory_fraction * machine.ram_total_bytes),
        **{gpu.device: int(memory_fraction * gpu.vram_total_bytes) for gpu in machine.gpus},
    }


def place(machine: Probe, need: ModelNeed, memory_fraction: float) -> Placement:
    """Choose device and precision: the roomiest GPU that holds the model, else the CPU. A pure function."""
    for gpu in sorted(machine.gpus, key=lambda gpu: (-gpu.vram_free_bytes, gpu.index)):
        dtype = _gpu_dtype(gpu, need)
        needed = memory_bytes(need, dtype)
        if needed <= _room(gpu, memory_fraction):
            return Placement(device=gpu.device, dtype=dtype, memory_bytes=needed, fits=True)
    return _on_cpu(machine, need, memory_fraction)


def memory_bytes(need: ModelNeed, dtype: str) -> int:
    """`weights x 1.2 + KV cache`, the cache of one sequence of `PLANNED_TOKENS` and only for generation.

    KV cache = `2 x layers x kv_heads x head_dim x tokens x batch x bytes`: 448 MiB for Llama-3.2-3B at 4096 tokens
    in bfloat16.
    """
    weights = _parameters(need) * _SIZE[dtype]
    cache = 0
    if need.task is Task.TEXT_GENERATION:
        per_token = need.kv_values_per_token or _usual_kv_values(_parameters(need))
        cache = per_token * PLANNED_TOKENS * _SIZE[dtype]
    return int(weights * OVERHEAD) + cache


def _parameters(need: ModelNeed) -> int:
    return need.parameters or (need.weights_bytes or 0) // 2


def _usual_kv_values(parameters: int) -> int:
    """The cache's width of a Llama-2 shape of this size: an upper bound, newer models share their heads.

    `parameters = 12 x layers x width^2` and `layers = width / 128`, so a token keeps `2 x layers x width` values.
    """
    width: float = (parameters * 128 / 12) ** (1 / 3)
    return int(2 * width * width / 128)


def _gpu_dtype(gpu: Gpu, need: ModelNeed) -> str:
    """bfloat16 from Ampere (8.0) on, float16 from Volta (7.0) on and at Apple, float32 before."""
    if _one_space(need):
        return "float32"
    if gpu.kind == "mps":
        return "float16"
    capability = gpu.compute_capability or (0, 0)
    if capability >= (8, 0):
        return "bfloat16"
    return "float16" if capability >= (7, 0) else "float32"


def _one_space(need: ModelNeed) -> bool:
    return need.task is not Task.TEXT_GENERATION and _parameters(need) < ONE_SPACE_BELOW


def _room(gpu: Gpu, memory_fraction: float) -> int:
    context = CUDA_CONTEXT_BYTES if gpu.kind == "cuda" else 0
    return max(0, min(int(memory_fraction * gpu.vram_total_bytes), gpu.vram_free_bytes - context))


def _on_cpu(machine: Probe, need: ModelNeed, memory_fraction: float) -> Placement:
    room = min(int(memory_fraction * machine.ram_total_bytes), machine.ram_available_bytes)
    dtype = "float32"
    if memory_bytes(need, dtype) > room and machine.cpu_flags & BF16_FLAGS and not _one_space(need):
        dtype = "bfloat16"
    needed = memory_bytes(need, dtype)
    reason = None
    if needed > room:
        reason = (
            f"needs {needed / GIB:.1f} GiB in {dtype}; {room / GIB:.1f} of {machine.ram_total_bytes / GIB:.1f} GiB RAM "
            f"may be used{_gpu_sentence(machine)}"
        )
    return Placement(device="cpu", dtype=dtype, memory_bytes=needed, fits=reason is None, reason=reason)


def _gpu_sentence(machine: Probe) -> str:
    if not machine.gpus:
        return " and there is no GPU"
    best = max(gpu.vram_free_bytes for gpu in machine.gpus)
    return f" and the roomiest GPU has {best / GIB:.1f} GiB free"


# --- looking ------------------------------------------------------------------------------------


def _gpus(ram_total: int, ram_available: int) -> tuple[tuple[Gpu, ...], str | None]:
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        apple = Gpu(index=0, name="Apple GPU", kind="mps", vram_total_bytes=ram_total, vram_free_bytes=ram_available)
        return (apple,), None
    command = shutil.which("nvidia-smi")
    if command is None:
        return (), None
    try:
        answer = subprocess.run(  # noqa: S603 -- a fixed command, found on the PATH
            [command, f"--query-gpu={_NVIDIA_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True,
        )  # fmt: skip
        return parse_nvidia_smi(answer.stdout), None
    except subprocess.TimeoutExpired:
        return (), f"nvidia-smi did not answer within {NVIDIA_SMI_TIMEOUT_S:.0f} s"
    except subprocess.CalledProcessError as error:
        return (), f"nvidia-smi failed with exit status {error.returncode}"
    except (OSError, ValueError):
        return (), "the answer of nvidia-smi could not be read"


def parse_nvidia_smi(answer: str) -> tuple[Gpu, ...]:
    """Read the rows of `nvidia-smi --query-gpu`; `ValueError` when one makes no sense, as `[N/A]` under MIG."""
    gpus = []
    for row in csv.reader(answer.splitlines(), skipinitialspace=True):
        index, name, total_mib, free_mib, capability, limit_w = (field.strip() for field in row)
        major, minor = capability.split(".")
        gpus.append(
            Gpu(
                index=int(index),
                name=name,
                kind="cuda",
                vram_total_bytes=int(total_mib) << 20,
                vram_free_bytes=int(free_mib) << 20,
                compute_capability=(int(major), int(minor)),
                power_limit_w=_watts(limit_w),
            )
        )
    return tuple(gpus)


def _watts(field: str) -> float | None:
    """None where the driver says `[N/A]` or `[Not Supported]`: a GPU is no less one for that."""
    try:
        return float(field)
    except ValueError:
        return None


def _cpu_flags(root: Path) -> frozenset[str]:
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return CPU_FLAGS & frozenset(value.split())
    return frozenset()


def _cores(root: Path) -> float:
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    for group in _cgroups(root, "cpu"):
        quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        fields = (_read(group / "cpu.max") or f"{quota} {period}").split()
        if len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit() and int(fields[1]):
            cores = min(cores, int(fields[0]) / int(fields[1]))
    return cores


def _memory(root: Path) -> tuple[int, int]:
    """The bytes of RAM that this process may have, and those still free of them."""
    memory = psutil.virtual_memory()
    limit, used = _memory_limit(root)
    if limit is None:
        return memory.total, memory.available
    return min(memory.total, limit), max(0, min(memory.available, limit - used))


def _memory_limit(root: Path) -> tuple[int | None, int]:
    """The tightest memory limit of this process's cgroups and what is used under it; page cache can be taken back."""
    tightest: tuple[int | None, int] = (None, 0)
    for group in _cgroups(root, "memory"):
        limit = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
        if not limit.isdigit() or (tightest[0] is not None and int(limit) >= tightest[0]):
            continue
        used = _read(group / "memory.current") or _read(group / "memory.usage_in_bytes")
        tightest = (int(limit), max(0, int(used or 0) - _inactive_file(group)))
    return tightest


def _inactive_file(group: Path) -> int:
    for line in _read(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in {"inactive_file", "total_inactive_file"} and value.isdigit():
            return int(value)
    return 0


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Every directory that limits this process, from its own group up to the top; v2 first, then v1."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = top / own.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
