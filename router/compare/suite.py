"""A suite: what is asked, of whom, how often and how fast. Reads TOML, and refuses what cannot be run."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from backends.types import Task
from router.compare.run import Closed, Metric, Open
from router.errors import InvalidRequest
from router.section import NonNegative, Positive, Section
from router.toml_lines import line_of

if TYPE_CHECKING:
    from router.compare.run import Load

MOST_INPUTS, MOST_TRIALS = 10_000, 1_000_000
PRINTED = r"^[^\x00-\x1f\x7f]*$"  # of names, which stand in tables
STREAMED = frozenset({Task.TEXT_GENERATION, Task.TEXT_TO_IMAGE, Task.AUTOMATIC_SPEECH_RECOGNITION})
SUITES = "suites"  # where those of ours lie, in this package
Count = Annotated[int, Meta(ge=1, le=100_000)]
Rate = Annotated[float, Meta(gt=0, le=10_000)]

_LABELS = (Task.TEXT_CLASSIFICATION, Task.ZERO_SHOT_CLASSIFICATION, Task.IMAGE_CLASSIFICATION)
# What a metric can score.
_SCORES: dict[Metric, frozenset[Task]] = {
    "exact_match": frozenset({Task.TEXT_GENERATION, Task.AUTOMATIC_SPEECH_RECOGNITION, *_LABELS}),
    "label_accuracy": frozenset(_LABELS),
    "cosine": frozenset({Task.FEATURE_EXTRACTION}),
    "word_error_rate": frozenset({Task.AUTOMATIC_SPEECH_RECOGNITION}),
    "vote": frozenset(),  # people vote, and none of them is asked in a run
}


class InputEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input: text, messages, or a `file` beside the suite; `expected` is what a right answer is."""

    input: str | list[Any] | None = None
    file: str | None = None
    expected: str | list[Any] | None = None


class DataEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of inputs, beside the suite: the columns that hold the input and what is expected."""

    path: str
    format: Literal["csv", "jsonl", "parquet"]
    input: str
    expected: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_INPUTS)] | None = None


class CandidateEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to ask: one candidate of a model, by what tells it apart.

    `parameters` go over the suite's. One that is not `required` is left out where it cannot be asked.
    """

    model: str
    name: Annotated[str, Meta(max_length=100, pattern=PRINTED)] = ""  # by default what tells it apart
    candidate: str | None = None  # its id, as the catalogue's
    backend: Literal["local", "remote", "fake"] | None = None
    provider: str | None = None
    runtime: str | None = None  # near: torch, packed, onnx, llama.cpp; by default the fastest
    parameters: dict[str, Any] = field(default_factory=dict)
    required: bool = True

    @property
    def called(self) -> str:
        """Its name, or what it is told apart by."""
        where = self.candidate or self.provider or self.backend or self.model
        return self.name or (f"{where} {self.runtime}" if self.runtime else where)


class Suite(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a comparison is made of."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=PRINTED)]
    task: str
    candidates: Annotated[tuple[CandidateEntry, ...], Meta(min_length=2, max_length=64)]
    description: str = ""
    inputs: tuple[str | InputEntry, ...] = ()
    data: DataEntry | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    concurrency: Count | tuple[Count, ...] | None = None  # callers; of several, one load after the other
    rate_per_s: Rate | tuple[Rate, ...] | None = None  # arrivals, of all candidates together
    arrivals: Literal["poisson", "constant"] = "poisson"
    repeats: Annotated[int, Meta(ge=1, le=10_000)] = 5
    warm_up: Annotated[int, Meta(ge=0, le=1000)] = 2  # trials of each candidate before any counts
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    stream: bool | None = None  # by default where text is generated
    timeout_s: Positive = 60.0  # for one trial
    budget_usd: NonNegative | None = None  # what may be spent far
    metric: Metric | None = None
    reference: str | None = None  # whose answers are the measure, where no input says what is expected

    @property
    def loads(self) -> tuple[Load, ...]:
        """How trials are sent, in order; one by one where nothing is said."""
        if self.rate_per_s is not None:
            rates = self.rate_per_s if isinstance(self.rate_per_s, tuple) else (self.rate_per_s,)
            return tuple(Open(rate_per_s=rate, process=self.arrivals) for rate in rates)
        callers = self.concurrency or 1
        return tuple(Closed(concurrency=each) for each in (callers if isinstance(callers, tuple) else (callers,)))

    @property
    def streams(self) -> bool:
        """Whether answers are read piece by piece."""
        return self.task == Task.TEXT_GENERATION if self.stream is None else self.stream

    @property
    def names(self) -> tuple[str, ...]:
        """Of its candidates, in order."""
        return tuple(candidate.called for candidate in self.candidates)


def built_in() -> dict[str, str]:
    """The suites that everybody has, by name, as TOML."""
    folder = resources.files(__package__).joinpath(SUITES)
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    }


def opened(given: str) -> tuple[Suite, Path]:
    """The suite in a file, or the one of ours of that name; and the folder that its files lie in.

    Raises:
        InvalidRequest: there is none, or it cannot be run; names the file and the line.
    """
    path, ours = Path(given), built_in()
    if not path.is_file() and given in ours:
        folder = resources.files(__package__).joinpath(SUITES)
        return read(ours[given], f"{given}.toml"), Path(str(folder))
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InvalidRequest(f"{path.name}: no such suite: name a file, or one of {', '.join(ours)}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path.name}: cannot be read ({type(error).__name__}).") from error
    return read(text, path.name), path.parent


def read(text: str, file: str) -> Suite:
    """The suite that a TOML document says.

    Raises:
        InvalidRequest: it cannot be run; names the file and the line.
    """
    try:
        suite = msgspec.convert(tomllib.loads(text), Suite)
        check(suite)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{file}: not valid TOML: {error}.") from error
    except msgspec.ValidationError as error:
        what, _, key = str(error).partition(" - at `$.")
        raise _refused(file, text, key.rstrip("`"), what) from error
    except InvalidRequest as error:
        raise _refused(file, text, error.param or "", str(error).partition(": ")[2].rstrip(".")) from error
    return suite


def check(suite: Suite) -> None:
    """See that a suite can be run, as far as it says so itself.

    Raises:
        InvalidRequest: it cannot; `param` is the key at fault.
    """
    if suite.task not in set(Task):
        raise _wrong("task", f"there is no task {suite.task!r}; one of {', '.join(Task)}")
    if bool(suite.inputs) == (suite.data is not None):
        raise _wrong("inputs", "give either inputs or data")
    if suite.concurrency is not None and suite.rate_per_s is not None:
        raise _wrong("rate_per_s", "give either concurrency or rate_per_s")
    if not suite.loads:
        raise _wrong("concurrency" if suite.rate_per_s is None else "rate_per_s", "must not be empty")
    for place, entry in enumerate(suite.inputs):
        if isinstance(entry, InputEntry) and (entry.input is None) == (entry.file is None):
            raise _wrong(f"inputs[{place}]", "give either input or file")
    if suite.stream and suite.task not in STREAMED:
        raise _wrong("stream", f"{suite.task} cannot be streamed")
    _check_candidates(suite)
    _check_metric(suite)


def _check_candidates(suite: Suite) -> None:
    counts = Counter(suite.names)
    for place, (entry, name) in enumerate(zip(suite.candidates, suite.names, strict=True)):
        if counts[name] > 1:
            raise _wrong(f"candidates[{place}]", f"two candidates are called {name!r}: give them a name each")
        if entry.runtime is not None and (entry.backend or "local") != "local":
            raise _wrong(f"candidates[{place}].runtime", f"only what runs here has a runtime, {name!r} does not")
    if suite.reference is not None and suite.reference not in counts:
        raise _wrong("reference", f"{suite.reference!r} is no candidate; one of {', '.join(suite.names)}")


def _check_metric(suite: Suite) -> None:
    if suite.metric is None:
        return
    if suite.task not in _SCORES[suite.metric]:
        raise _wrong("metric", f"{suite.metric} cannot score {suite.task}")
    entries = [entry for entry in suite.inputs if isinstance(entry, InputEntry)]
    told = sum(entry.expected is not None for entry in entries)
    if suite.data is None and 0 < told < len(suite.inputs):
        raise _wrong("inputs", "say what is expected of every input, or of none")
    expects = told > 0 if suite.data is None else suite.data.expected is not None
    if suite.reference is None and not expects:
        raise _wrong("metric", f"{suite.metric} needs what is expected of every input, or a reference candidate")


def _wrong(key: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{key}: {what}.", param=key)


def _refused(file: str, text: str, key: str, what: str) -> InvalidRequest:
    """The refusal as the settings word theirs."""
    path = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", key)]
    named = re.search(r"unknown field `(\w+)`", what)
    line = line_of(text, *path, *([named[1]] if named else []))
    while line is None and path:
        line, path = line_of(text, *path), path[:-1]
    place = "" if line is None else f" (line {line})"
    return InvalidRequest(f"{file}: {key or 'top level'}: {what}{place}.", param=key or None)
