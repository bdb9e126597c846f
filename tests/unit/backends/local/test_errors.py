"""Foreign exceptions become ours, by their most specific class, without their words."""

from __future__ import annotations

import pytest

from backends.errors import InvalidInput, OutOfMemory, Overloaded, Unavailable
from backends.local.errors import translated
from backends.local.worker import Cancelled

jinja2 = pytest.importorskip("jinja2")
safetensors = pytest.importorskip("safetensors")
torch = pytest.importorskip("torch")


class AnotherOSError(OSError):
    """Something a library made up."""


@pytest.mark.parametrize(
    ("foreign", "expected", "sentence"),
    [
        (MemoryError(), OutOfMemory, "no memory left for 'm'"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried /secret"), OutOfMemory, "no memory left for 'm'"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfMemory, "no memory left for 'm'"),
        (safetensors.SafetensorError("InvalidHeader /secret"), Unavailable, "weights of 'm' are damaged or incomplete"),
        (AnotherOSError("/secret/model.safetensors"), Unavailable, "the files of 'm' are damaged or incomplete"),
        (ModuleNotFoundError("No module named 'x'"), Unavailable, "'m' needs a library that is not installed"),
        (jinja2.TemplateError("roles must alternate"), InvalidInput, "the chat template of 'm' refuses these messages"),
        (KeyError("/secret"), Unavailable, "'m' failed on this machine: KeyError"),
    ],
)
def test_a_foreign_exception_becomes_ours(foreign, expected, sentence):
    """The most specific row of the table speaks; the original is the cause."""
    with pytest.raises(expected) as caught, translated("m"):
        raise foreign

    assert sentence == str(caught.value)
    assert foreign is caught.value.__cause__


@pytest.mark.parametrize("ours", [Overloaded("full", retry_after_s=1), Cancelled(), KeyboardInterrupt()])
def test_ours_pass_through(ours):
    """What is already said, and what is no failure, is left alone."""
    with pytest.raises(type(ours)) as caught, translated("m"):
        raise ours

    assert ours is caught.value
