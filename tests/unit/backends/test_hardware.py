"""What a machine has, and where a model would run: recorded machines, fake cgroup trees, and properties."""

from __future__ import annotations

import subprocess

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends import hardware
from backends.hardware import GIB, Gpu, ModelNeed, Placement, Probe
from backends.types import Task

MINILM = ModelNeed(task=Task.FEATURE_EXTRACTION, parameters=22_713_216, weights_bytes=90_868_376)
SMOLLM = ModelNeed(task=Task.TEXT_GENERATION, parameters=134_515_008, kv_values_per_token=2 * 30 * 3 * 64)
LLAMA_3B = ModelNeed(task=Task.TEXT_GENERATION, parameters=3_212_749_824, kv_values_per_token=2 * 28 * 8 * 128)
LLAMA_8B = ModelNeed(task=Task.TEXT_GENERATION, parameters=8_030_261_248, kv_values_per_token=2 * 32 * 8 * 128)
LLAMA_70B = ModelNeed(task=Task.TEXT_GENERATION, parameters=70_553_706_496, kv_values_per_token=2 * 80 * 8 * 128)


def machine(ram_gib: float, cores: float = 8, gpus: tuple[Gpu, ...] = (), flags: frozenset[str] = frozenset()) -> Probe:
    ram = int(ram_gib * GIB)
    return Probe(
        platform="Linux x86_64", cores=cores, ram_total_bytes=ram, ram_available_bytes=ram, gpus=gpus, cpu_flags=flags
    )


def cuda(total_mib: int, free_mib: int, capability: tuple[int, int], index: int = 0) -> Gpu:
    return Gpu(
        index=index,
        name="recorded",
        kind="cuda",
        vram_total_bytes=total_mib << 20,
        vram_free_bytes=free_mib << 20,
        compute_capability=capability,
    )


SMALL = machine(24, cores=2)
SERVER = machine(256, cores=64, flags=frozenset({"avx2", "avx512f", "avx512_bf16", "amx_bf16"}))
T4 = machine(16, cores=4, gpus=(cuda(15_360, 15_000, (7, 5)),))
A100 = machine(128, cores=16, gpus=(cuda(81_920, 81_000, (8, 0)),))
H200 = machine(128, cores=16, gpus=(cuda(143_771, 143_000, (9, 0)),))
FULL_GPU = machine(64, gpus=(cuda(24_576, 300, (8, 6)),))
PASCAL = machine(32, gpus=(cuda(11_264, 11_000, (6, 1)),))
APPLE = Probe(
    platform="Darwin arm64",
    cores=8,
    ram_total_bytes=16 * GIB,
    ram_available_bytes=12 * GIB,
    gpus=(Gpu(index=0, name="Apple GPU", kind="mps", vram_total_bytes=16 * GIB, vram_free_bytes=12 * GIB),),
)
CONTAINER = machine(2, cores=1.5)


@pytest.mark.parametrize(
    ("probe", "need", "expected"),
    [
        pytest.param(SMALL, MINILM, ("cpu", "float32", True), id="2 cores, 24 GiB: a small encoder"),
        pytest.param(SMALL, SMOLLM, ("cpu", "float32", True), id="2 cores, 24 GiB: a small language model"),
        pytest.param(SMALL, LLAMA_3B, ("cpu", "float32", True), id="2 cores, 24 GiB: 3B just fits"),
        pytest.param(SMALL, LLAMA_8B, ("cpu", "float32", False), id="2 cores, 24 GiB: 8B does not, and no bf16 flags"),
        pytest.param(SERVER, LLAMA_8B, ("cpu", "float32", True), id="64 cores: float32 while it fits"),
        pytest.param(SERVER, LLAMA_70B, ("cpu", "bfloat16", True), id="64 cores: bfloat16 when float32 does not fit"),
        pytest.param(T4, LLAMA_3B, ("cuda:0", "float16", True), id="T4: float16"),
        pytest.param(T4, LLAMA_8B, ("cpu", "float32", False), id="T4: 8B fits neither"),
        pytest.param(T4, MINILM, ("cuda:0", "float32", True), id="T4: vectors stay in float32"),
        pytest.param(A100, LLAMA_8B, ("cuda:0", "bfloat16", True), id="A100: bfloat16"),
        pytest.param(A100, LLAMA_70B, ("cpu", "float32", False), id="A100: 70B does not fit one"),
        pytest.param(H200, LLAMA_8B, ("cuda:0", "bfloat16", True), id="H200: bfloat16"),
        pytest.param(APPLE, LLAMA_3B, ("mps", "float16", True), id="Apple: float16 in shared memory"),
        pytest.param(APPLE, MINILM, ("mps", "float32", True), id="Apple: vectors stay in float32"),
        pytest.param(FULL_GPU, SMOLLM, ("cpu", "float32", True), id="full GPU: the CPU serves"),
        pytest.param(PASCAL, SMOLLM, ("cuda:0", "float32", True), id="before Volta: float32"),
        pytest.param(CONTAINER, SMOLLM, ("cpu", "float32", True), id="2 GiB container: a small model fits"),
        pytest.param(CONTAINER, LLAMA_3B, ("cpu", "float32", False), id="2 GiB container: 3B does not"),
    ],
)
def test_placement_on_recorded_machines(probe: Probe, need: ModelNeed, expected: tuple[str, str, bool]):
    """Each recorded machine puts each model where a human would."""
    placement = hardware.place(probe, need, 0.7)

    assert expected == (placement.device, placement.dtype, placement.fits)


def test_a_model_that_does_not_fit_says_what_it_needs():
    """The reason holds the need, the room and what the GPU has."""
    assert "needs 36.9 GiB in float32; 11.2 of 16.0 GiB RAM may be used and the roomiest GPU has 14.6 GiB free" == (
        hardware.place(T4, LLAMA_8B, 0.7).reason
    )


def test_the_roomiest_of_several_gpus_is_taken():
    """A half-used first GPU is not the default."""
    gpus = (cuda(24_576, 9_000, (8, 6), 0), cuda(24_576, 24_000, (8, 6), 1))

    assert "cuda:1" == hardware.place(machine(64, gpus=gpus), LLAMA_3B, 0.7).device


def test_vectors_never_move_to_half_precision_to_fit():
    """A small encoder without room does not fit, even where bfloat16 would make it."""
    tight = machine(0.11, flags=hardware.BF16_FLAGS)

    assert (False, "float32") == (
        hardware.place(tight, MINILM, 0.7).fits,
        hardware.place(tight, MINILM, 0.7).dtype,
    )


def test_the_kv_cache_of_a_known_model_is_the_published_one():
    """Llama-3.2-3B keeps 448 MiB for 4096 tokens in bfloat16."""
    weights = int(3_212_749_824 * 2 * hardware.OVERHEAD)

    assert 448 << 20 == hardware.memory_bytes(LLAMA_3B, "bfloat16") - weights


def test_an_unknown_cache_is_estimated_from_above():
    """Without a configuration the cache of a usual shape is assumed, and a grouped-query model needs less."""
    unknown = ModelNeed(task=Task.TEXT_GENERATION, parameters=LLAMA_8B.parameters)

    assert hardware.memory_bytes(unknown, "bfloat16") > hardware.memory_bytes(LLAMA_8B, "bfloat16")


def test_without_parameters_the_files_size_the_model():
    """Two bytes a weight are assumed on disk, so float32 doubles them."""
    need = ModelNeed(task=Task.FEATURE_EXTRACTION, weights_bytes=1000)

    assert int(2000 * hardware.OVERHEAD) == hardware.memory_bytes(need, "float32")


@pytest.mark.parametrize(("cores", "expected"), [(1.5, 1), (2.0, 1), (4.0, 3), (64.0, 16)])
def test_threads_leave_a_core_and_stop_at_sixteen(cores: float, expected: int):
    """One core serves HTTP; a small model gains nothing beyond sixteen."""
    assert expected == hardware.threads(machine(8, cores=cores))


def test_budgets_are_a_fraction_of_each_device():
    """All models together get the same fraction on every device."""
    assert {"cpu": 8 * GIB, "mps": 8 * GIB} == hardware.budgets(APPLE, 0.5)


needs = st.builds(
    ModelNeed,
    task=st.sampled_from(Task),
    parameters=st.integers(1, 10**12),
    kv_values_per_token=st.none() | st.integers(1, 10**7),
)
gpus = st.builds(
    lambda total, free, capability: cuda(total, min(total, free), capability),
    st.integers(0, 200_000),
    st.integers(0, 200_000),
    st.sampled_from([(6, 1), (7, 5), (8, 0), (9, 0)]),
)
probes = st.builds(
    lambda ram, gpus, flags: machine(
        ram, gpus=tuple(replace(gpu, index=index) for index, gpu in enumerate(gpus)), flags=flags
    ),
    st.floats(0.01, 2000),
    st.lists(gpus, max_size=2),
    st.sampled_from([frozenset(), hardware.BF16_FLAGS]),
)
fractions = st.floats(0.05, 1)


@given(probes, needs, fractions, st.integers(0, 1 << 40))
def test_more_ram_never_makes_a_model_stop_fitting(probe: Probe, need: ModelNeed, fraction: float, more: int):
    """Placement is monotone in RAM."""
    larger = replace(
        probe, ram_total_bytes=probe.ram_total_bytes + more, ram_available_bytes=probe.ram_available_bytes + more
    )

    assert hardware.place(probe, need, fraction).fits <= hardware.place(larger, need, fraction).fits


@given(probes, needs, fractions, gpus)
def test_another_gpu_never_makes_a_model_stop_fitting(probe: Probe, need: ModelNeed, fraction: float, gpu: Gpu):
    """Placement is monotone in GPUs."""
    larger = replace(probe, gpus=(*probe.gpus, replace(gpu, index=7)))

    assert hardware.place(probe, need, fraction).fits <= hardware.place(larger, need, fraction).fits


@given(probes, needs, fractions)
def test_a_placement_explains_itself_exactly_when_it_fails(probe: Probe, need: ModelNeed, fraction: float):
    """A reason means it does not fit, and a fitting model stays within the fraction of its device."""
    placement = hardware.place(probe, need, fraction)

    assert placement.fits is (placement.reason is None)
    assert not placement.fits or placement.memory_bytes <= hardware.budgets(probe, fraction)[placement.device]


@given(probes, needs, fractions)
def test_placement_is_a_pure_function(probe: Probe, need: ModelNeed, fraction: float):
    """The same machine and model give the same answer."""
    first: Placement = hardware.place(probe, need, fraction)

    assert first == hardware.place(probe, need, fraction)


# --- looking at the machine ---------------------------------------------------------------------


def tree(root, files: dict[str, str]):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.fixture
def plenty(monkeypatch):
    """A host of 8 cores and 64 GiB without nvidia-smi."""
    memory = psutil.virtual_memory()._replace(total=64 * GIB, available=60 * GIB)
    monkeypatch.setattr(hardware.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(hardware.shutil, "which", lambda _name: None)
    monkeypatch.setattr(hardware.platform, "system", lambda: "Linux")


def test_a_machine_without_cgroups_is_taken_as_it_is(plenty, tmp_path):
    """No limit files: affinity and RAM stand."""
    probe = hardware.probe(tmp_path)

    assert (8.0, 64 * GIB, 60 * GIB, (), None) == (
        probe.cores,
        probe.ram_total_bytes,
        probe.ram_available_bytes,
        probe.gpus,
        probe.gpu_note,
    )


def test_a_container_v2_shrinks_cores_and_memory(plenty, tmp_path):
    """A quota of 1.5 CPUs and 2 GiB is what a process may use; page cache counts as free."""
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
            "sys/fs/cgroup/memory.current": f"{GIB}\n",
            "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB // 2}\n",
        },
    )
    probe = hardware.probe(root)

    assert (1.5, 2 * GIB, 3 * GIB // 2) == (probe.cores, probe.ram_total_bytes, probe.ram_available_bytes)


def test_a_limit_on_a_parent_group_counts(plenty, tmp_path):
    """A service manager limits slices: the tightest group on the way up wins."""
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice/app.scope\n",
            "sys/fs/cgroup/user.slice/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/user.slice/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/user.slice/app.scope/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user.slice/app.scope/memory.max": "max\n",
        },
    )
    probe = hardware.probe(root)

    assert (4.0, 4 * GIB) == (probe.cores, probe.ram_total_bytes)


def test_a_container_v1_is_read_too(plenty, tmp_path):
    """Old hosts keep one tree a controller, and show a container its own group at the top."""
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 * GIB),
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "0",
        },
    )
    probe = hardware.probe(root)

    assert (1.5, 2 * GIB) == (probe.cores, probe.ram_total_bytes)


def test_cpu_flags_are_read(plenty, tmp_path):
    """Only the flags that decide something are kept."""
    root = tree(tmp_path, {"proc/cpuinfo": "model name\t: x\nflags\t\t: fpu avx2 amx_bf16 sse4\n"})

    assert frozenset({"avx2", "amx_bf16"}) == hardware.probe(root).cpu_flags


def test_nvidia_smi_rows_become_gpus():
    """Two cards as `nvidia-smi` prints them."""
    answer = "0, Tesla T4, 15360, 15000, 7.5, 70.00\n1, NVIDIA A100-SXM4-80GB, 81920, 1234, 8.0, [N/A]\n"

    assert [(0, "Tesla T4", 15_360 << 20, (7, 5), 70.0), (1, "NVIDIA A100-SXM4-80GB", 81_920 << 20, (8, 0), None)] == [
        (gpu.index, gpu.name, gpu.vram_total_bytes, gpu.compute_capability, gpu.power_limit_w)
        for gpu in hardware.parse_nvidia_smi(answer)
    ]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (subprocess.CalledProcessError(9, "nvidia-smi"), "nvidia-smi failed with exit status 9"),
        (subprocess.TimeoutExpired("nvidia-smi", 10), "nvidia-smi did not answer within 10 s"),
        (PermissionError(), "the answer of nvidia-smi could not be read"),
        ("0, Tesla T4, [N/A], [N/A], 7.5, 70.00\n", "the answer of nvidia-smi could not be read"),
    ],
)
def test_an_unreadable_gpu_is_not_the_same_as_none(plenty, monkeypatch, tmp_path, outcome, expected):
    """A driver that fails leaves a note; a machine without one leaves none."""

    def run(command, **_options):
        if isinstance(outcome, Exception):
            raise outcome
        return subprocess.CompletedProcess(command, 0, stdout=outcome)

    monkeypatch.setattr(hardware.shutil, "which", lambda _name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(hardware.subprocess, "run", run)
    probe = hardware.probe(tmp_path)

    assert ((), expected) == (probe.gpus, probe.gpu_note)


def test_an_apple_machine_has_one_gpu_that_shares_its_memory(plenty, monkeypatch, tmp_path):
    """MPS is known from the platform alone."""
    monkeypatch.setattr(hardware.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "arm64")

    assert [("mps", 64 * GIB)] == [(gpu.device, gpu.vram_total_bytes) for gpu in hardware.probe(tmp_path).gpus]


def test_this_machine_can_be_probed():
    """The real probe finds a core and some memory."""
    probe = hardware.probe()

    assert probe.cores > 0
    assert 0 < probe.ram_available_bytes <= probe.ram_total_bytes
