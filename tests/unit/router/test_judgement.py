"""What is known of answers, put together: thresholds of models, and which answers are asked for again."""

from router.judgement import Judgement
from router.quality import Quality
from router.section_of_routing import CascadeSettings, QualitySettings
from router.thresholds import NOTHING_HOLDS, Pair

SETTINGS = CascadeSettings(min_pairs=40)


def judgement() -> Judgement:
    return Judgement(Quality(QualitySettings(), lambda _: None, lambda: 0.0), SETTINGS)


def test_a_model_nobody_judged_has_the_threshold_that_is_configured() -> None:
    """Whatever is known of others."""
    told = judgement()
    for number in range(100):
        told.pair("m", str(number), Pair(0.5, 1.0))

    assert (True, False) == (told.threshold("m").learnt, told.threshold("o").learnt)
    assert 0.8 == told.threshold("o").value


def test_the_latest_word_on_an_answer_counts() -> None:
    """A hundred times the same answer is one pair."""
    told = judgement()
    for _ in range(100):
        told.pair("m", "one", Pair(0.5, 1.0))

    assert not told.threshold("m").learnt


def test_a_threshold_follows_what_is_said_of_answers() -> None:
    """Right answers lower it; as many wrong ones later leave nothing that holds."""
    told = judgement()
    for number in range(50):
        told.pair("m", str(number), Pair(0.5, 1.0))
    low = told.threshold("m").value
    for number in range(50, 100):
        told.pair("m", str(number), Pair(0.5, 0.0))

    assert low <= 0.5
    assert NOTHING_HOLDS == told.threshold("m").value


def test_the_pairs_remembered_have_a_bound(monkeypatch) -> None:
    """The oldest go, of a model and of all."""
    monkeypatch.setattr("router.judgement.MAX_PAIRS", 3)
    monkeypatch.setattr("router.judgement.MAX_MODELS", 2)
    told = judgement()
    for model in ("a", "b", "c"):
        for number in range(5):
            told.pair(model, str(number), Pair(0.5, 1.0))

    assert {"b": ["2", "3", "4"], "c": ["2", "3", "4"]} == {model: list(pairs) for model, pairs in told._pairs.items()}


def test_an_answer_below_its_models_threshold_is_unsure() -> None:
    """So is one of which nothing tells how sure it is, unless that may be kept."""
    told = judgement()
    keeping = Judgement(told.quality, CascadeSettings(unsaid="keep"))

    assert [False, True, False] == [told.unsure(0.8, sure) for sure in (0.8, 0.79, 1.0)]
    assert [True, True] == [told.unsure(NOTHING_HOLDS, sure) for sure in (0.0, 1.0)]
    assert (True, False) == (told.unsure(0.8, None), keeping.unsure(0.8, None))
