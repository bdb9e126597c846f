"""How good each model's answers are, by what is wanted: the catalogue's word, and what was heard of its answers since.

The quality of a model for an intent is the posterior mean of a share. A Beta prior that counts as `prior_weight`
answers (k) is centred on the catalogue's figure, and each judgement in 0..1 moves it by its weight:

    quality = (k * centre + sum of weight * score) / (k + sum of weight)

Intents pool what they have in common (partial pooling; Gelman et al., Bayesian Data Analysis, 3rd ed., chapter 5):
where the catalogue has no figure of its own for an intent, its centre is moved by what was heard of the model's other
intents, at half its weight, and counts k at most. Nobody knows a quality without a figure in the catalogue and with
judgements that weigh less than `least`: it is None, never 0.

Two kinds of judgement:

* Feedback: its score, weight 1 (or what its row says).
* A shadow run: a near answer agrees with the far one that was given to the degree `a`. Where the far answer is right,
  the near one is right exactly as far as it agrees; so over many answers the near model's share of right answers lies
  within 1 - q of the share that agrees, q being the far model's quality (the argument of Platanios, Blum and Mitchell,
  "Estimating Accuracy from Unlabeled Data", UAI 2014). It counts as a score of a * q, what agrees and is right if the
  two do not depend on each other, and nothing for what the near model may know better; weight `shadow_weight`. Where q
  is not known it says nothing. q itself is never learnt from shadows, so that no two models praise each other.

Judgements fade: each counts half after `half_life_days`, as models behind a name are changed and so are their users.
Exponential fading commutes with adding up, so the order of judgements does not matter, and a sum by SQL at the next
start is the same figure. State is bounded by `MAX_MODELS` and `MAX_INTENTS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from router.section_of_routing import QualitySettings
    from router.slate import Candidate

    Prior = float | Mapping[str, float] | None

T = TypeVar("T")
MAX_MODELS, MAX_INTENTS = 1000, 1000
MAX_KEPT, KEPT_S = 10_000, 60.0  # figures, worked out anew after every judgement and as time passes
SHARED = 0.5  # of a judgement's weight for the model's other intents
DEFAULT = "default"  # the figure of every intent without one of its own
DAY_S = 86_400.0


class Figure(NamedTuple):
    """A quality in 0..1 and what it rests on; value and source None where nobody knows.

    `source` joins `prior`, `feedback` and `agreement`; `weight` is that of the judgements behind it, faded.
    """

    value: float | None
    source: str | None
    weight: float


UNKNOWN = Figure(None, None, 0.0)


class Sums(NamedTuple):
    """Sums of weight * score and of weight: about one intent, and about the model's others, which count half."""

    own: float = 0.0
    own_weight: float = 0.0
    others: float = 0.0
    others_weight: float = 0.0

    @property
    def weight(self) -> float:
        """Of all of it."""
        return self.own_weight + self.others_weight

    def plus(self, other: Sums, times: float = 1.0) -> Sums:
        """Both together, the other one's scores times a factor in 0..1."""
        return Sums(
            self.own + other.own * times,
            self.own_weight + other.own_weight,
            self.others + other.others * times,
            self.others_weight + other.others_weight,
        )


class _Evidence:
    """Judgements added up, as they stood at `at_s` (seconds since 1970)."""

    __slots__ = ("at_s", "total", "weight")

    def __init__(self, at_s: float) -> None:
        self.total = self.weight = 0.0
        self.at_s = at_s

    def add(self, score: float, weight: float, half_life_days: float | None, at_s: float) -> None:
        """Take one judgement; a negative weight takes one back."""
        left = fading(at_s - self.at_s, half_life_days)
        self.weight = max(0.0, self.weight * left + weight)
        self.total = min(self.weight, max(0.0, self.total * left + score * weight))
        self.at_s = at_s


class _Tally:
    """What was heard of one model, by intent and in all."""

    __slots__ = ("by_intent", "whole")

    def __init__(self, at_s: float) -> None:
        self.by_intent: dict[str | None, _Evidence] = {}
        self.whole = _Evidence(at_s)

    def add(self, intent: str | None, score: float, weight: float, half_life_days: float | None, at_s: float) -> None:
        """Take one judgement; those of ever more intents count for the whole alone."""
        cell = self.by_intent.get(intent)
        if cell is None and len(self.by_intent) < MAX_INTENTS:
            cell = self.by_intent[intent] = _Evidence(at_s)
        for each in (self.whole,) if cell is None else (cell, self.whole):
            each.add(score, weight, half_life_days, at_s)

    def sums(self, intent: str | None, half_life_days: float | None, at_s: float) -> Sums:
        """As they are now; everything is its own where nobody asks for an intent."""
        left = fading(at_s - self.whole.at_s, half_life_days)
        total, weight = self.whole.total * left, self.whole.weight * left
        if intent is None:
            return Sums(total, weight)
        cell = self.by_intent.get(intent)
        if cell is None:
            return Sums(others=SHARED * total, others_weight=SHARED * weight)
        left = fading(at_s - cell.at_s, half_life_days)
        own, own_weight = cell.total * left, cell.weight * left
        others_weight = SHARED * max(0.0, weight - own_weight)
        return Sums(own, own_weight, min(others_weight, max(0.0, SHARED * (total - own))), others_weight)


class _Kept(NamedTuple):
    """A figure that was worked out, from which prior, and until when fading leaves it as it is."""

    figure: Figure
    prior: Prior
    until: float


class Quality:
    """Every model's quality. One instance per process, in memory: what was heard is in the log."""

    def __init__(self, settings: QualitySettings, prior: Callable[[str], Prior], now: Callable[[], float]) -> None:
        """`prior` gives the catalogue's figure of a model, `now` the seconds since 1970."""
        self._settings = settings
        self._prior = prior
        self._now = now
        self._feedback: dict[str, _Tally] = {}
        self._agreement: dict[str, dict[str, _Tally]] = {}  # by whose answers they were compared with
        self._kept: dict[tuple[str, str | None], _Kept] = {}

    def of(self, model: str, intent: str | None = None) -> Figure:
        """The quality of a model of the catalogue where this is wanted; None asks whatever is wanted."""
        now, prior = self._now(), self._prior(model)
        kept = self._kept.get((model, intent))
        if kept is not None and kept.prior is prior and now < kept.until:
            return kept.figure
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        figure = self._worked_out(model, intent, prior, now)
        self._kept[model, intent] = _Kept(figure, prior, now + KEPT_S)
        return figure

    def _worked_out(self, model: str, intent: str | None, prior: Prior, now: float) -> Figure:
        feedback, agreed = self._heard(model, intent, now), self._agreed(model, intent, now)
        sums = feedback.plus(agreed)
        value = posterior_mean(prior, intent, sums, self._settings)
        if value is None:
            return UNKNOWN
        parts = {
            "prior": prior_of(prior, intent) is not None,
            "feedback": feedback.weight > 0,
            "agreement": agreed.weight > 0,
        }
        return Figure(value, "+".join(name for name, counts in parts.items() if counts), sums.weight)

    def rated(self, candidates: Sequence[Candidate], intent: str | None) -> list[Candidate]:
        """The candidates with the quality their models have for this intent."""
        figures = {model: self.of(model, intent) for model in {candidate.listed_as for candidate in candidates}}
        return [_rated(candidate, figures[candidate.listed_as]) for candidate in candidates]

    def intents(self, model: str) -> list[str]:
        """The intents of which anything was heard, in alphabetical order."""
        tallies = [self._feedback.get(model), *self._agreement.get(model, {}).values()]
        return sorted({intent for tally in tallies if tally for intent in tally.by_intent if intent is not None})

    def judged(self, model: str, intent: str | None, score: float, weight: float = 1.0) -> None:
        """Somebody said how good an answer was: 0..1. A negative weight takes back what was said before."""
        now = self._now()
        tally = _cell_of(self._feedback, model, lambda: _Tally(now))
        tally.add(intent, score, weight, self._settings.half_life_days, now)
        self._kept.clear()

    def agreed(self, model: str, intent: str | None, reference: str, agreement: float, weight: float = 1.0) -> None:
        """A near answer agreed to this degree (0..1) with the one that was given, by the model `reference`.

        That a model agrees with itself at another place says nothing of how good it is.
        """
        if model == reference:
            return
        now = self._now()
        tally = _cell_of(_cell_of(self._agreement, model, dict), reference, lambda: _Tally(now))
        tally.add(intent, agreement, weight * self._settings.shadow_weight, self._settings.half_life_days, now)
        self._kept.clear()

    def _heard(self, model: str, intent: str | None, now: float) -> Sums:
        tally = self._feedback.get(model)
        return Sums() if tally is None else tally.sums(intent, self._settings.half_life_days, now)

    def _agreed(self, model: str, intent: str | None, now: float) -> Sums:
        """Agreement as scores: times the quality of whom it was compared with, by the catalogue and feedback alone."""
        found = Sums()
        for reference, tally in self._agreement.get(model, {}).items():
            heard = self._heard(reference, intent, now)
            right = posterior_mean(self._prior(reference), intent, heard, self._settings)
            if right is not None:
                found = found.plus(tally.sums(intent, self._settings.half_life_days, now), right)
        return found


def posterior_mean(prior: Prior, intent: str | None, sums: Sums, settings: QualitySettings) -> float | None:
    """The mean above, in 0..1; None where there is neither a figure nor enough evidence."""
    k = settings.prior_weight
    figure = prior_of(prior, intent)
    if figure is None and round(sums.weight) < settings.least:
        return None
    own = None if prior is None or isinstance(prior, int | float) or intent is None else prior.get(intent)
    if own is not None:  # the user's word on this very intent: what other intents say does not move it
        centre, behind = own, k
    else:
        told = 0.0 if figure is None else k
        behind = told + sums.others_weight
        centre = (told * (figure or 0.0) + sums.others) / behind if behind else 0.0
    counts = min(k, behind)
    return min(1.0, max(0.0, (counts * centre + sums.own) / (counts + sums.own_weight)))


def prior_of(prior: Prior, intent: str | None = None) -> float | None:
    """The catalogue's figure for an intent: its own, else the default, else None."""
    if prior is None or isinstance(prior, int | float):
        return prior
    return prior.get(intent or DEFAULT, prior.get(DEFAULT))


def fading(age_s: float, half_life_days: float | None) -> float:
    """What is left of a judgement's weight after that many seconds; all of it where nothing fades."""
    return 1.0 if half_life_days is None or age_s <= 0 else 0.5 ** (age_s / (half_life_days * DAY_S))


def _rated(candidate: Candidate, figure: Figure) -> Candidate:
    if (candidate.quality, candidate.quality_source) == figure[:2]:
        return candidate
    return replace(candidate, quality=figure.value, quality_source=figure.source)


def _cell_of(cells: dict[str, T], key: str, new: Callable[[], T]) -> T:
    """The cell of this key; the oldest is forgotten where there are too many."""
    if key not in cells:
        if len(cells) >= MAX_MODELS:
            cells.pop(next(iter(cells)))
        cells[key] = new()
    return cells[key]
