"""Made-up models for the tests of workers, batches and residency: plain Python, no weights."""

from __future__ import annotations

import asyncio
import threading

from backends.local.job import Ask
from backends.local.types import Answer, LocalFamily, LocalTask, Unit
from backends.types import GenerationInput, GenerationOutput, Task, Usage

LETTERS = GenerationInput(prompt="warm up")
HANG_S = 60  # what does not come within it never does, however busy the machine


class Parrot:
    """A model that says words again, and remembers the batches in which it did."""

    device = "cpu"
    dtype = "float32"
    runtime = "parrot"

    def __init__(self):
        self.batches = []
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()


def pre(parrot, payload):
    """One unit a word, as large as the word is long."""
    if payload.prompt.startswith("cannot"):
        raise ValueError(payload.prompt)
    return [Unit(word, len(word)) for word in payload.prompt.split()]


def core(parrot, contents, control):
    parrot.begun.set()
    while not parrot.may_go_on.wait(0.001):
        control.check()
    if "poison" in contents:
        raise KeyError("a batch mate")
    parrot.batches.append(list(contents))
    return [word.upper() for word in contents]


def post(parrot, payload, units, results):
    text = " ".join(results)
    return Answer(GenerationOutput(text, "stop"), Usage(prompt_tokens=len(units), completion_tokens=len(results)))


TASK = LocalTask(task=Task.TEXT_GENERATION, family="causal-lm", pre=pre, post=post, warm_ups=(LETTERS,))


def family(budget=100, core=core, load=Parrot):
    return LocalFamily(load=lambda opening: load(), core=core, budget=budget)


def ask(prompt, tenant="", emit=None, deadline=None, task=TASK):
    return Ask(
        model="parrot",
        task=task,
        payload=GenerationInput(prompt=prompt),
        emit=emit,
        tenant=tenant,
        deadline=deadline,
        weight=float(len(prompt)),
    )


async def happened(event):
    assert await asyncio.to_thread(event.wait, HANG_S)
