"""The quality of models: a prior, moved by what is heard of their answers."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.quality import DAY_S, Figure, Quality, Sums, posterior_mean, prior_of
from router.section_of_routing import QualitySettings

SETTINGS = QualitySettings()
BY_INTENT = {"default": 0.8, "code": 0.6}
shares = st.floats(0, 1)
intents = st.sampled_from([None, "code", "smalltalk"])
votes = st.lists(st.tuples(intents, shares), max_size=30)
priors = st.none() | shares | st.dictionaries(st.sampled_from(["default", "code", "smalltalk"]), shares)


@dataclass
class Clock:
    seconds: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


def quality(prior=None, *heard, clock=None, **settings) -> Quality:
    """A quality of models that all have this figure; `m` was judged so."""
    made = Quality(QualitySettings(**settings), lambda _: prior, clock or Clock())
    for intent, score in heard:
        made.judged("m", intent, score)
    return made


def test_without_prior_and_judgement_nothing_is_known() -> None:
    """Unknown is None, never 0."""
    assert Figure(None, None, 0.0) == quality().of("m", "code")


def test_the_catalogue_speaks_first() -> None:
    """One figure is for every intent; a table has one for each, `default` for the others, and may leave some open."""
    assert Figure(0.8, "prior", 0.0) == quality(0.8).of("m", "code")
    assert [0.6, 0.8, 0.8] == [quality(BY_INTENT).of("m", intent).value for intent in ("code", "smalltalk", None)]
    assert None is quality({"code": 0.6}).of("m", "smalltalk").value


def test_a_judgement_moves_the_figure_by_its_weight() -> None:
    """Twenty answers' worth of 0.8 and five right ones are 21 of 25."""
    found = quality(0.8, *[("code", 1.0)] * 5).of("m", "code")

    assert found.value == pytest.approx(21 / 25)
    assert ("prior+feedback", 5.0) == (found.source, found.weight)


def test_other_intents_count_for_less_than_the_own() -> None:
    """What was wrong in code lowers smalltalk too, but not as much; an intent with its own figure stays where it is."""
    told = quality(0.8, *[("code", 0.0)] * 20)
    code, smalltalk = told.of("m", "code").value, told.of("m", "smalltalk").value

    assert code < smalltalk < 0.8
    assert 0.6 == quality(BY_INTENT, *[("smalltalk", 0.0)] * 20).of("m", "code").value


def test_enough_judgements_make_up_for_a_missing_figure() -> None:
    """Nine are too few, ten are the mean."""
    nine, ten = (quality(None, *[(None, 1.0), (None, 0.5)] * 4, *[(None, 0.5)] * more) for more in (1, 2))

    assert None is nine.of("m").value
    assert Figure(pytest.approx(0.7), "feedback", 10.0) == ten.of("m")


def test_a_judgement_loses_half_its_weight_in_its_half_life() -> None:
    """Ten wrong answers of 90 days ago weigh as five of today; None keeps them for ever."""
    clock, lasting = Clock(), Clock()
    told = quality(0.8, *[("code", 0.0)] * 10, clock=clock)
    kept = quality(0.8, *[("code", 0.0)] * 10, clock=lasting, half_life_days=None)
    clock.seconds += 90 * DAY_S
    lasting.seconds += 90 * DAY_S

    assert told.of("m", "code").value == pytest.approx(16 / 25)
    assert kept.of("m", "code").value == pytest.approx(16 / 30)


def test_what_is_taken_back_was_never_said() -> None:
    """A vote that is replaced leaves nothing behind."""
    told = quality(0.8, ("code", 0.0))
    told.judged("m", "code", 0.0, -1.0)

    assert told.of("m", "code").value == pytest.approx(0.8)


def test_agreement_says_as_much_as_the_other_model_is_good() -> None:
    """To agree with a model that is right nine times in ten is a score of 0.9 at a quarter of a judgement's weight."""
    known = {"far": 0.9, "near": 0.5}
    told = Quality(SETTINGS, known.get, Clock())
    for _ in range(40):
        told.agreed("near", "code", "far", 1.0)
    found = told.of("near", "code")

    assert found.value == pytest.approx((20 * 0.5 + 10 * 0.9) / 30)
    assert ("prior+agreement", pytest.approx(10.0)) == (found.source, found.weight)
    assert Figure(0.9, "prior", 0.0) == told.of("far", "code")


def test_agreement_with_a_model_nobody_knows_says_nothing() -> None:
    """Unknown is not 1."""
    told = quality(None)
    told.agreed("m", None, "stranger", 1.0)

    assert None is told.of("m").value


@given(prior=priors, heard=votes, wanted=intents)
def test_a_quality_is_a_share(prior, heard, wanted) -> None:
    """In 0..1, or unknown; unknown only without a figure and with few judgements, of which others' count half."""
    found = quality(prior, *heard).of("m", wanted)

    if found.value is None:
        assert prior_of(prior, wanted) is None
        assert len(heard) < 2 * SETTINGS.least
    else:
        assert 0 <= found.value <= 1


@given(prior=priors, heard=votes, wanted=intents, data=st.data())
def test_the_order_of_judgements_does_not_matter(prior, heard, wanted, data) -> None:
    """Sums commute."""
    shuffled = data.draw(st.permutations(heard))
    one, other = (quality(prior, *each).of("m", wanted).value for each in (heard, shuffled))

    assert one == (None if other is None else pytest.approx(other, abs=1e-9))


@given(prior=priors, heard=votes.filter(bool), wanted=intents, better=shares, data=st.data())
def test_a_better_judgement_never_lowers_a_quality(prior, heard, wanted, better, data) -> None:
    """Whichever of the judgements is raised."""
    place = data.draw(st.integers(0, len(heard) - 1))
    raised = list(heard)
    raised[place] = (heard[place][0], max(heard[place][1], better))
    one, other = (quality(prior, *each).of("m", wanted).value for each in (heard, raised))

    assert one is None or one <= other + 1e-9


@given(prior=shares, score=shares, times=st.integers(1, 200))
def test_judgements_pull_towards_what_they_say(prior, score, times) -> None:
    """The figure lies between the prior and the judgements, and ever nearer to these."""
    found = quality(prior, *[(None, score)] * times).of("m").value

    assert min(prior, score) - 1e-9 <= found <= max(prior, score) + 1e-9
    assert abs(found - score) == pytest.approx(abs(prior - score) * 20 / (20 + times), abs=1e-9)


def test_an_intent_without_evidence_has_what_the_others_say() -> None:
    """The other intents' mean, where the catalogue is silent."""
    sums = Sums(own=0.0, own_weight=0.0, others=9.0, others_weight=12.0)

    assert 0.75 == posterior_mean(None, "code", sums, SETTINGS)


def test_the_models_remembered_have_a_bound(monkeypatch) -> None:
    """The one that was heard of first is forgotten first."""
    monkeypatch.setattr("router.quality.MAX_MODELS", 2)
    told = quality(0.5)
    for model in ("first", "second", "third"):
        told.judged(model, None, 1.0)

    assert ["prior", "prior+feedback"] == [told.of(model).source for model in ("first", "third")]


def test_ever_more_intents_count_for_the_whole(monkeypatch) -> None:
    """An intent beyond the bound has no cell of its own, and is heard all the same."""
    monkeypatch.setattr("router.quality.MAX_INTENTS", 1)
    told = quality(0.5, ("a", 1.0), ("b", 1.0))

    assert ["a"] == told.intents("m")
    assert told.of("m").weight == 2.0
