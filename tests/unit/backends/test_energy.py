"""Meters of energy: RAPL on a tree of real files, NVML on a module that pretends. What is not readable is no meter."""

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.energy import open_meters
from backends.energy.nvml import PERIOD_S, Gpu, Sampled
from backends.energy.types import NoMeter

RANGE = 262_143_328_850  # of a real package, microjoules


def zone(root: Path, name: str, called: str, energy_uj: int | str, range_uj: int = RANGE) -> Path:
    folder = root / "sys/class/powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{called}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def rapl(root: Path):
    meters = open_meters(["cpu"], root)
    assert {} == meters.missing
    return meters.found["cpu"]


def missing(root: Path) -> str:
    meters = open_meters(["cpu"], root)
    assert {} == meters.found
    return meters.missing["cpu"]


# --- RAPL -----------------------------------------------------------------------------------------


def test_the_packages_count_and_nothing_else(tmp_path) -> None:
    """Parts of a package, the board around it and the same package shown twice are not added to it."""
    one = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    two = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core", 1),
        zone(tmp_path, "intel-rapl:0:1", "dram", 1),
        zone(tmp_path, "intel-rapl:2", "psys", 1),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1),
    ]
    (tmp_path / "sys/class/powercap/intel-rapl").mkdir()  # the control has no name and no energy
    meter = rapl(tmp_path)

    assert 0.0 == meter.joules()
    one.write_text("3500000\n")
    two.write_text("5250000\n")
    for other in others:
        other.write_text("999999999\n")
    assert pytest.approx(2.75) == meter.joules()
    assert pytest.approx(2.75) == meter.joules()
    assert "rapl" == meter.source


def test_a_counter_that_wrapped_has_gone_to_its_end_and_on(tmp_path) -> None:
    """From 1 J before the end of its range to 2 J after zero are 3 J."""
    file = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    meter = rapl(tmp_path)

    file.write_text("2000000\n")
    assert pytest.approx(3.0) == meter.joules()
    file.write_text("2500000\n")
    assert pytest.approx(3.5) == meter.joules()


@given(st.integers(1, 10**9), st.data())
def test_what_a_package_took_is_counted_past_any_number_of_wraps(range_uj, data) -> None:
    """Looked at often enough: less than a whole range between two looks."""
    steps = data.draw(st.lists(st.integers(0, range_uj - 1), max_size=20))
    with tempfile.TemporaryDirectory() as folder:
        file = zone(Path(folder), "intel-rapl:0", "package-0", 0, range_uj)
        meter = rapl(Path(folder))
        total = 0
        for step in steps:
            total += step
            file.write_text(str(total % range_uj))
            assert pytest.approx(total / 1e6) == meter.joules()
        meter.close()


def test_a_machine_without_packages_has_no_meter(tmp_path) -> None:
    """No powercap at all, as in a virtual machine, or one that shows the board alone."""
    assert "no RAPL" in missing(tmp_path)
    zone(tmp_path, "intel-rapl:0", "psys", 1)
    assert "no RAPL" in missing(tmp_path)


AS_NOBODY = """
import codecs, os, sys
from pathlib import Path
from backends.energy import open_meters
codecs.lookup("ascii")  # a codec that nobody may read is unknown from then on, to the whole process
os.seteuid(65534)
print(open_meters(["cpu"], Path(sys.argv[1])).missing["cpu"])
"""


def test_counters_that_only_root_may_read_are_no_meter() -> None:
    """Most kernels show them to root alone; the reason says so. Root, who reads everything, asks as somebody else."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the folder of a test is for its own user alone
        counter = zone(Path(folder), "intel-rapl:0", "package-0", 1)
        for each in (Path(folder), *Path(folder).rglob("*")):
            each.chmod(0o755)
        counter.chmod(0)
        why = missing(Path(folder)) if os.geteuid() else asked_as_nobody(folder)

    assert "only be read by root" in why


def asked_as_nobody(folder: str) -> str:
    asked = subprocess.run([sys.executable, "-c", AS_NOBODY, folder], capture_output=True, text=True, check=True)
    return asked.stdout


def test_counters_that_hold_no_number_are_no_meter(tmp_path) -> None:
    """Nor are those whose range is not told."""
    zone(tmp_path, "intel-rapl:0", "package-0", "?")
    assert "cannot be read" in missing(tmp_path)
    file = zone(tmp_path, "intel-rapl:1", "package-1", 1)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("1")
    file.with_name("max_energy_range_uj").unlink()
    assert "cannot be read" in missing(tmp_path)


def test_a_meter_that_fails_once_says_nothing_any_more(tmp_path) -> None:
    """What was missed in between could not be told; unknown is not zero."""
    file = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = rapl(tmp_path)

    file.write_text("gone")
    assert meter.joules() is None
    file.write_text("1000000")
    assert meter.joules() is None
    meter.close()
    assert meter.joules() is None


def test_no_file_stays_open(tmp_path) -> None:
    """Neither behind a meter that was closed, nor behind one that could not be opened."""
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    files = Path("/proc/self/fd")
    before = len(list(files.iterdir()))
    rapl(tmp_path).close()
    zone(tmp_path, "intel-rapl:1", "package-1", "?")
    missing(tmp_path)

    assert before == len(list(files.iterdir()))


# --- NVML -----------------------------------------------------------------------------------------


class Nvml:
    """What nvidia-ml-py offers of a driver with one GPU, as far as a meter asks for it."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, starts: bool = True, energy: bool = True, power: bool = True) -> None:
        self.starts, self.energy, self.power = starts, energy, power
        self.millijoules = 5_000_000  # since the driver was loaded
        self.milliwatts = 100_000
        self.open = 0
        self.reads = 0
        self.read_often = threading.Event()

    def nvmlInit(self) -> None:  # noqa: N802 -- NVML's own names
        if not self.starts:
            raise self.NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index != 0:
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: int) -> int:  # noqa: N802
        self.reads += 1
        if self.reads > 3:
            self.read_often.set()
        if not self.energy:
            raise self.NVMLError("Not Supported")
        return self.millijoules

    def nvmlDeviceGetPowerUsage(self, _handle: int) -> int:  # noqa: N802
        if not self.power:
            raise self.NVMLError("Not Supported")
        return self.milliwatts


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_gpu_counts_from_when_its_meter_was_opened() -> None:
    """Millijoules since the driver was loaded become joules since then."""
    nvml = Nvml()
    gpu = Gpu(0, nvml)
    nvml.millijoules += 2500

    assert pytest.approx(2.5) == gpu.joules()


def test_a_gpu_without_a_counter_is_metered_by_its_power() -> None:
    """The mean of two readings, times the time between them."""
    nvml, clock = Nvml(energy=False), Clock()
    gpu = Gpu(0, nvml, clock)
    clock.now, nvml.milliwatts = 102.0, 300_000

    assert pytest.approx(400.0) == gpu.joules()
    clock.now = 103.0
    assert pytest.approx(700.0) == gpu.joules()


@pytest.mark.parametrize(
    ("nvml", "device", "why"),
    [
        (Nvml(starts=False), "cuda:0", "NVML does not start: Driver Not Loaded"),
        (Nvml(energy=False, power=False), "cuda:0", "no energy and no power of GPU 0: Not Supported"),
        (Nvml(), "cuda:1", "of GPU 1: Invalid Argument"),
        (Nvml(), "mps", "no meter of mps is known"),
    ],
)
def test_a_gpu_that_tells_nothing_has_no_meter(nvml, device, why) -> None:
    """The reason is told, and NVML is let go."""
    meters = open_meters([device], nvml=nvml)

    assert {} == meters.found
    assert why in meters.missing[device]
    assert 0 == nvml.open


def test_without_its_library_a_gpu_has_no_meter(monkeypatch) -> None:
    """The extra that brings it is named."""
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)

    assert "nearfar[energy]" in open_meters(["cuda:0"]).missing["cuda:0"]


def test_a_thread_reads_the_gpu_and_ends_when_it_is_closed() -> None:
    """The figure that is told comes from memory; closing stops the thread and lets NVML go."""
    nvml = Nvml()
    meters = open_meters(["cuda:0"], nvml=nvml)
    meter = meters.found["cuda:0"]
    assert "nvml" == meter.source
    assert nvml.read_often.wait(30)
    meters.close()

    assert 0 == nvml.open
    assert meter.joules() is None
    assert "energy" not in {thread.name for thread in threading.enumerate()}


def test_a_gpu_that_cannot_be_read_any_more_tells_nothing() -> None:
    """Its last figure is not repeated for ever."""
    nvml = Nvml()
    meter = Sampled(Gpu(0, nvml), start=False)
    assert meter.sample()
    nvml.energy = False

    assert not meter.sample()
    assert meter.joules() is None


@given(st.lists(st.tuples(st.floats(PERIOD_S, 10 * PERIOD_S), st.integers(0, 10**6), st.floats(0, 1)), max_size=30))
def test_nobody_is_told_of_energy_that_was_not_counted(steps) -> None:
    """What is told grows steadily, one period behind, and never beyond the meter itself."""
    nvml, clock = Nvml(), Clock()
    gpu = Gpu(0, nvml, clock)
    meter = Sampled(gpu, clock, start=False)
    told = 0.0
    for wait_s, millijoules, into in steps:
        clock.now += wait_s
        nvml.millijoules += millijoules
        meter.sample()
        clock.now += into * PERIOD_S
        now = meter.joules()
        assert told <= now + 1e-9
        assert now <= gpu.joules() + 1e-9
        told = now
    clock.now += PERIOD_S
    assert pytest.approx(gpu.joules()) == meter.joules()


def test_between_two_readings_the_counter_moves_evenly() -> None:
    """Half a period after a reading, half of what that reading added has been told."""
    nvml, clock = Nvml(), Clock()
    meter = Sampled(Gpu(0, nvml), clock, start=False)
    for _ in range(2):
        clock.now += PERIOD_S
        nvml.millijoules += 8000
        meter.sample()

    clock.now += PERIOD_S / 2
    assert pytest.approx(12.0) == meter.joules()


def test_why_there_is_no_meter_stays_inside() -> None:
    """The error that carries the reason is not for anybody outside."""
    with pytest.raises(NoMeter):
        Gpu(0, Nvml(starts=False))
