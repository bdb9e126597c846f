"""One table through which every foreign exception of the near side passes. Imports none of the libraries it names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from backends.errors import BackendError, InvalidInput, OutOfMemory, Unavailable
from backends.local.types import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator

# Foreign messages are not repeated: they hold paths and pieces of prompts. `{kind}` is the exception's class.
_TABLE: dict[str, tuple[type[BackendError], str]] = {
    "builtins.MemoryError": (OutOfMemory, "no memory left for '{model}'"),
    "torch.OutOfMemoryError": (OutOfMemory, "no memory left on the device of '{model}'"),
    "jinja2.exceptions.TemplateError": (InvalidInput, "the chat template of '{model}' refuses these messages"),
    "safetensors._safetensors_rust.SafetensorError": (Unavailable, "weights of '{model}' are damaged or incomplete"),
    "builtins.OSError": (Unavailable, "the files of '{model}' are damaged or incomplete"),
    "builtins.ImportError": (Unavailable, "'{model}' needs a library that is not installed"),
    "builtins.Exception": (Unavailable, "'{model}' failed on this machine: {kind}"),
}
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # RuntimeErrors of torch's CPU allocator


@contextmanager
def translated(model: str) -> Iterator[None]:
    """Let `BackendError`s through and turn everything else into one, by its most specific class in the table."""
    try:
        yield
    except (BackendError, Cancelled):
        raise
    except Exception as error:
        raise _ours(error, model) from error


def _ours(error: Exception, model: str) -> BackendError:
    name = next(name for name in map(_qualified, type(error).__mro__) if name in _TABLE)
    if isinstance(error, RuntimeError) and any(hint in str(error) for hint in _NO_MEMORY):
        name = "builtins.MemoryError"
    ours, sentence = _TABLE[name]
    return ours(sentence.format(model=model, kind=type(error).__name__))


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
