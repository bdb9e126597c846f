"""`nearfar compare --vote`: the answers of a run, shown without names; which is best goes to the log as feedback."""

from __future__ import annotations

import random
import string
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from backends.types import GenerationOutput, Task, TranscriptOutput
from router.errors import InvalidRequest
from router.feedback import Said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backends.types import Output
    from router.compare.job import Job
    from router.compare.run import Trial
    from router.feedback import Feedback

READ = frozenset({Task.TEXT_GENERATION, Task.AUTOMATIC_SPEECH_RECOGNITION})
SOURCE = "nearfar compare --vote"
TIE, SKIP, END = "=", "s", "q"


class Ballot(NamedTuple):
    """One input, and the answers to it in an order drawn by lot: each with the decision that it is of."""

    input: str
    answers: tuple[tuple[str, str], ...]


class Answers:
    """The first answer of every candidate to every input, in memory until somebody voted.

    Raises:
        InvalidRequest: what the suite asks for is not read.
    """

    def __init__(self, job: Job) -> None:
        if job.suite.task not in READ:
            raise InvalidRequest(f"--vote: answers are read to vote on them, and {job.suite.task} gives no text.")
        self._seed = job.suite.seed
        self._inputs = [_shown(number, one.value) for number, one in enumerate(job.inputs)]
        self._heard: defaultdict[int, dict[str, tuple[str, str]]] = defaultdict(dict)

    def hear(self, trial: Trial, output: Output) -> None:
        """Keep an answer, if it is the first of its kind."""
        first = not trial.warm_up and trial.load == trial.repeat == 0 and trial.decision_id is not None
        if first and isinstance(output, GenerationOutput | TranscriptOutput):
            self._heard[trial.input][trial.candidate] = (str(trial.decision_id), output.text)

    def ballots(self) -> Iterator[Ballot]:
        """One for each input that two or more have answered, in the suite's order."""
        for place, answers in sorted(self._heard.items()):
            if len(answers) > 1:
                order = sorted(answers.values())
                random.Random(f"{self._seed} {place}").shuffle(order)  # noqa: S311 - who stands left, nothing secret
                yield Ballot(self._inputs[place], tuple(order))


def asked(answers: Answers) -> dict[str, float]:
    """Ask about one ballot after the other; what was said of each decision, 0..1. Ctrl-C ends it like `q`."""
    said: dict[str, float] = {}
    for ballot in answers.ballots():
        try:
            choice = _choice(ballot)
        except click.Abort:
            break
        if choice == END:
            break
        if choice != SKIP:
            said |= _scores(ballot, choice)
    return said


async def taken(feedback: Feedback, said: dict[str, float]) -> int:
    """Write down what was said, as feedback on each decision; on how many.

    Raises:
        RouterError: the log cannot be written.
    """
    for decision_id, score in said.items():
        await feedback.take(Said(decision_id, score, None, SOURCE, None))
    return len(said)


def _choice(ballot: Ballot) -> str:
    letters = string.ascii_uppercase[: len(ballot.answers)]
    click.echo(f"\n{ballot.input}", err=True)
    for letter, (_, text) in zip(letters, ballot.answers, strict=True):
        click.echo(f"\n{letter}: {text}", err=True)
    choices = click.Choice([*letters, TIE, SKIP, END], case_sensitive=False)
    found: str = click.prompt(
        f"\nWhich is best? ({TIE} all equally good, {SKIP} skip it, {END} end)", type=choices, err=True
    )
    return found


def _scores(ballot: Ballot, choice: str) -> dict[str, float]:
    """Of each decision the share of its comparisons that it wins, where equal ones share the win."""
    names: Sequence[str] = [decision_id for decision_id, _ in ballot.answers]
    if choice == TIE:
        return dict.fromkeys(names, 0.5)
    others = len(names) - 1
    best = names[string.ascii_uppercase.index(choice)]
    return {name: 1.0 if name == best else (others - 1) / 2 / others for name in names}


def _shown(number: int, value: str | list[Any]) -> str:
    """An input as people read it: the last message of a chat; a file only by its number."""
    last = value[-1] if isinstance(value, list) and value else None
    content = last.get("content") if isinstance(last, dict) else None
    return f"Input {number + 1}: {content}" if isinstance(content, str) else f"Input {number + 1}"
