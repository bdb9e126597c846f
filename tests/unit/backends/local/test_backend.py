"""The local backend over made-up tasks and models: what it reports, measures, shares, refuses and cleans up."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import threading
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.errors import InvalidInput, OutOfMemory, Overloaded, Unavailable
from backends.hardware import GIB, Probe
from backends.local import preparation, tasks
from backends.local.backend import LocalBackend, LocalOptions
from backends.local.types import Answer, LocalFamily, LocalTask, Unit
from backends.types import (
    Delta,
    GenerationInput,
    GenerationOutput,
    InferenceRequest,
    InferenceResult,
    Target,
    Task,
    Usage,
)
from tests.unit.backends.local.machinery import HANG_S
from tests.unit.backends.local.test_model_source import model, safetensors

MACHINE = Probe(platform="Linux x86_64", cores=4, ram_total_bytes=8 * GIB, ram_available_bytes=8 * GIB)
REQUEST = InferenceRequest(task=Task.TEXT_GENERATION, model="some/model", payload=GenerationInput(prompt="a b c"))


class Parrot:
    """A model that says the prompt's words again."""

    device = "cpu"
    dtype = "float32"
    runtime = "parrot"

    def __init__(self):
        self.loads = 0
        self.running = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()


def pre(_parrot, payload):
    if payload.prompt == "wrong":
        raise InvalidInput("no")
    return [Unit(payload.prompt.split())]


def core(parrot, contents, control):
    parrot.running.set()
    (words,) = contents
    for word in words:
        control.emit(Delta(word))
        while not parrot.may_go_on.wait(0.001):
            control.check()
    if words == ["broken"]:
        raise KeyError("secret")
    return ["".join(words)]


def post(_parrot, _payload, units, results):
    usage = Usage(prompt_tokens=len(units[0].content), completion_tokens=1)
    return Answer(GenerationOutput(results[0], "stop"), usage)


@pytest.fixture
def parrot(monkeypatch):
    """The one model of the fake family; `loads` counts how often it was loaded."""
    bird = Parrot()

    def load(_opening):
        bird.loads += 1
        return bird

    warm_ups = (GenerationInput(prompt="warm up"), GenerationInput(prompt="warm up some more"))
    task = LocalTask(task=Task.TEXT_GENERATION, family="causal-lm", pre=pre, post=post, warm_ups=warm_ups)
    monkeypatch.setitem(tasks._TASKS, Task.TEXT_GENERATION, task)
    monkeypatch.setitem(tasks.FAMILIES, "causal-lm", LocalFamily(load=load, core=core))
    return bird


@pytest.fixture
def target(tmp_path):
    """A target whose files are on this disk."""
    directory = model(tmp_path / "mine", {"model.safetensors": safetensors()})
    return Target(
        backend="local", provider="local", model="some/model", task=Task.TEXT_GENERATION, source=str(directory)
    )


def within(check, tmp_path, probe=MACHINE, **options):
    """Run `check(backend)` on a loop with a backend that is closed afterwards."""

    async def main():
        backend = LocalBackend(LocalOptions(models_dir=tmp_path, threads=1, **options), probe)
        try:
            return await check(backend)
        finally:
            await backend.aclose()

    return asyncio.run(main())


def workers():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("nearfar-")]


def asking(prompt):
    return InferenceRequest(task=REQUEST.task, model=REQUEST.model, payload=GenerationInput(prompt=prompt))


def test_importing_the_backend_imports_no_model_library():
    """A thin install and `nearfar --help` stay quick."""
    code = (
        "import sys, backends.local.backend, backends.hardware;"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'huggingface_hub', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[4]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)

    assert "[]" == answer.stdout.strip()


def test_an_unknown_target_is_unavailable(tmp_path, target):
    """Nobody has looked at it yet."""

    async def check(backend):
        assert "this target has not been prepared" == backend.status(target).unavailable

    within(check, tmp_path)


def test_a_prepared_target_tells_where_it_would_run(tmp_path, target, parrot):
    """Device, precision and memory are known before anything is loaded."""

    async def check(backend):
        await backend.prepare(target)
        status = backend.status(target)

        assert (None, None, False, "cpu", "float32", 0, 0) == (
            status.unavailable,
            status.does_not_fit,
            status.loaded,
            status.device,
            status.dtype,
            status.queued,
            parrot.loads,
        )
        assert status.memory_bytes > 0

    within(check, tmp_path)


def test_a_thin_install_names_the_extra(tmp_path, target, monkeypatch):
    """Without torch the status says what to install."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))

    async def check(backend):
        await backend.prepare(target)

        assert "the extra 'local' is not installed: pip install 'nearfar[local]'" == backend.status(target).unavailable
        with pytest.raises(Unavailable, match="extra 'local'"):
            await backend.infer(REQUEST, target)

    within(check, tmp_path)


def test_a_model_of_another_kind_is_refused_before_loading(tmp_path, target):
    """An encoder cannot generate, and its files say that it is one."""
    config = Path(target.source) / "config.json"
    config.write_text(json.dumps({"architectures": ["BertModel"]}))

    async def check(backend):
        await backend.prepare(target)

        assert "'some/model' is a BertModel, which cannot do text-generation here" == backend.status(target).unavailable

    within(check, tmp_path)


def test_a_model_that_does_not_fit_is_not_loaded(tmp_path, target, parrot):
    """The status says so before, and asking anyway is an error of ours."""
    tiny = Probe(platform="x", cores=1, ram_total_bytes=100, ram_available_bytes=100)

    async def check(backend):
        await backend.prepare(target)

        assert "needs" in backend.status(target).does_not_fit
        with pytest.raises(OutOfMemory, match="'some/model' needs"):
            await backend.infer(REQUEST, target)
        assert 0 == parrot.loads

    within(check, tmp_path, probe=tiny)


def test_the_first_request_pays_the_load_and_says_so(tmp_path, target, parrot):
    """`load_s` is there for one of two requests, and the model was loaded once."""

    async def check(backend):
        first, second = await asyncio.gather(backend.infer(REQUEST, target), backend.infer(REQUEST, target))

        assert None in {first.timings.load_s, second.timings.load_s}
        assert 1 == parrot.loads == backend.status(target).loads
        assert ("abc", "local", "some/model", "cpu") == (
            first.output.text,
            first.provider,
            first.model,
            first.device,
        )
        assert min(first.timings.queue_s, first.timings.service_s, first.timings.first_token_s) >= 0

    within(check, tmp_path)


def test_loading_measures_a_short_request(tmp_path, target, parrot):
    """The report holds the first request, and the size and the time of a warm one; a second load is free."""

    async def check(backend):
        report, again = await backend.load(target), await backend.load(target)
        (measurement,) = report.measured

        assert (2, 1) == (measurement.usage.prompt_tokens, measurement.usage.completion_tokens)
        assert min(report.load_s, report.first_s, measurement.service_s) > 0
        assert (0, ()) == (again.load_s, again.measured)
        assert backend.status(target).loaded

    within(check, tmp_path)


def test_a_thorough_load_measures_every_size_and_is_remembered(tmp_path, target, parrot):
    """Another backend on the same hardware knows the figures before it loads anything; other hardware does not."""

    async def measure(backend):
        await backend.load(target)
        report = await backend.load(target, thorough=True)
        assert [2, 4] == [each.usage.prompt_tokens for each in report.measured]
        assert 2 == parrot.loads  # loading was measured anew
        return report

    async def recall(backend):
        assert None is backend.calibration(target)
        await backend.prepare(target)
        return backend.calibration(target)

    report = within(measure, tmp_path)
    other = Probe(platform="Linux x86_64", cores=8, ram_total_bytes=8 * GIB, ram_available_bytes=8 * GIB)

    assert report == within(recall, tmp_path)
    assert None is within(recall, tmp_path, probe=other)


def test_damaged_figures_are_as_good_as_none(tmp_path, target, parrot):
    """The file is named in a warning, and everything works."""

    async def measure(backend):
        await backend.load(target, thorough=True)

    async def recall(backend):
        await backend.prepare(target)
        return backend.calibration(target)

    within(measure, tmp_path)
    (file,) = (tmp_path / "calibration").glob("*/*.json")
    file.write_text("{")

    assert None is within(recall, tmp_path)


def test_a_stream_is_its_pieces_then_the_result(tmp_path, target, parrot):
    """Deltas as they come, one result at the end."""

    async def check(backend):
        *deltas, result = [item async for item in backend.stream(REQUEST, target)]

        assert ["a", "b", "c"] == [delta.text for delta in deltas]
        assert sorted(delta.service_s for delta in deltas) == [delta.service_s for delta in deltas]
        assert isinstance(result, InferenceResult)
        assert "abc" == result.output.text

    within(check, tmp_path)


def test_closing_a_stream_early_frees_the_model(tmp_path, target, parrot):
    """The job is told, nothing stays queued, and the next request is served."""

    async def check(backend):
        await backend.load(target)
        parrot.may_go_on.clear()
        async with aclosing(backend.stream(REQUEST, target)) as stream:
            assert "a" == (await anext(stream)).text

        assert 0 == backend.status(target).queued
        parrot.may_go_on.set()
        assert "abc" == (await backend.infer(REQUEST, target)).output.text

    within(check, tmp_path)


@pytest.mark.parametrize("early", [True, False])
def test_a_failing_stream_raises_ours_after_its_pieces(tmp_path, target, parrot, early):
    """What came came; then the error, unless nobody listens any more."""

    async def check(backend):
        stream = backend.stream(asking("broken"), target)
        assert "broken" == (await anext(stream)).text
        if not early:
            with pytest.raises(Unavailable, match="'some/model' failed on this machine: KeyError"):
                await anext(stream)
        await stream.aclose()

    within(check, tmp_path)


def test_an_error_of_ours_passes_through(tmp_path, target, parrot):
    """What a task says about the input reaches the caller as it is."""

    async def check(backend):
        with pytest.raises(InvalidInput, match=r"^no$"):
            await backend.infer(asking("wrong"), target)

    within(check, tmp_path)


def test_a_full_queue_is_refused(tmp_path, target, parrot):
    """One runs, one waits, the third is told to come back; the status counts both."""

    async def check(backend):
        await backend.load(target)
        parrot.running.clear()
        parrot.may_go_on.clear()
        running = asyncio.create_task(backend.infer(REQUEST, target))
        assert await asyncio.to_thread(parrot.running.wait, HANG_S)
        waiting = asyncio.create_task(backend.infer(REQUEST, target))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await backend.infer(REQUEST, target)

        assert caught.value.retry_after_s > 0
        assert 2 == backend.status(target).queued
        parrot.may_go_on.set()
        await asyncio.gather(running, waiting)

    within(check, tmp_path, max_queue=1)


def test_a_failed_load_is_an_error_of_ours_and_tried_again(tmp_path, target, parrot, monkeypatch):
    """Damaged files are named, the disk's path is not; once repaired the next request is served."""
    good = tasks.FAMILIES["causal-lm"]

    def broken(opening):
        raise OSError(f"cannot read {opening.directory}")

    async def check(backend):
        monkeypatch.setitem(tasks.FAMILIES, "causal-lm", LocalFamily(load=broken, core=core))
        with pytest.raises(Unavailable, match="damaged or incomplete") as caught:
            await backend.infer(REQUEST, target)
        monkeypatch.setitem(tasks.FAMILIES, "causal-lm", good)

        assert str(tmp_path) not in str(caught.value)
        assert "abc" == (await backend.infer(REQUEST, target)).output.text

    within(check, tmp_path)


def test_weights_that_arrive_later_are_found(tmp_path, parrot):
    """After a pull the same target serves, without a restart."""
    directory = tmp_path / "late"
    late = Target(
        backend="local", provider="local", model="some/model", task=Task.TEXT_GENERATION, source=str(directory)
    )

    async def check(backend):
        await backend.prepare(late)
        assert backend.status(late).unavailable
        model(directory, {"model.safetensors": safetensors()})

        assert "abc" == (await backend.infer(REQUEST, late)).output.text
        assert backend.status(late).loaded

    within(check, tmp_path)


def test_a_closed_backend_has_no_thread_and_serves_nothing(tmp_path, target, parrot):
    """Closing twice is closing once."""

    async def check(backend):
        await backend.infer(REQUEST, target)
        await backend.aclose()
        await backend.aclose()

        assert [] == workers()
        assert backend.status(target).unavailable
        with pytest.raises(Unavailable):
            await backend.infer(REQUEST, target)

    within(check, tmp_path)


def test_a_cpu_build_of_torch_uses_no_cuda_gpu(monkeypatch):
    """A GPU that this torch cannot use is not planned with, and a note says why."""
    from tests.unit.backends.test_hardware import T4

    monkeypatch.setattr(preparation.importlib.metadata, "version", lambda _name: "2.13.0+cpu")
    machine = preparation.machine(T4)

    assert ((), "the installed torch is built for the CPU only") == (machine.gpus, machine.gpu_note)
    monkeypatch.setattr(preparation.importlib.metadata, "version", lambda _name: "2.13.0")
    assert T4 == preparation.machine(T4)


def test_a_forgotten_model_leaves_memory_once_its_last_request_has_ended(tmp_path, target, parrot):
    """Who is being answered is answered to the end; whoever asks again afterwards is found and loaded anew."""

    async def check(backend):
        await backend.prepare(target)
        running = asyncio.create_task(backend.infer(asking("hello"), target))
        while not backend.status(target).loaded:  # noqa: ASYNC110 - a worker's thread loads it
            await asyncio.sleep(0.001)
        backend.forget(target)
        assert "this target has not been prepared" == backend.status(target).unavailable
        await running
        while workers():  # noqa: ASYNC110 - a thread ends
            await asyncio.sleep(0.001)
        await backend.infer(asking("hello"), target)

        assert 2 == parrot.loads

    within(check, tmp_path)


def test_weights_that_another_target_needs_stay(tmp_path, target, parrot):
    """Two names of one model share it: it goes with the last of them."""
    twin = replace(target, model="another/name")

    async def check(backend):
        for one in (target, twin):
            await backend.prepare(one)
            await backend.infer(asking("hello"), one)
        backend.forget(target)
        assert backend.status(twin).loaded
        backend.forget(twin)
        backend.forget(twin)  # nobody knows it any more
        await backend.prepare(twin)
        assert (False, 1) == (backend.status(twin).loaded, parrot.loads)

    within(check, tmp_path)
