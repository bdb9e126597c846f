"""Intents by example: what may be defined, and what a fit to it answers and reports."""

import msgspec
import numpy as np
import pytest

from backends.local.intents import definition
from backends.local.intents.classifier import Classifier, packed
from backends.local.intents.definition import BadIntents, Intent, IntentSet, builtin, checked, read_toml
from backends.local.intents.fitting import fit, texts_of
from tests.unit.backends.local.trigrams import SUPPORT, vectors_of

STRANGERS = ("bananas are yellow", "zzz qqq xxx", "the weather in Paris", "play some music", "who won the cup")


def fitted(intents=SUPPORT):
    return fit(intents, vectors_of(texts_of(intents)))


def answers(classifier, *texts):
    return [classifier.labels[row.argmax()] for row in classifier.probabilities(vectors_of(texts))]


def a_set(intents=None, *, name="mine", unknown=()):
    given = {"a": ("one", "two"), "b": ("three", "four")} if intents is None else intents
    return IntentSet(name=name, intents={label: Intent(texts) for label, texts in given.items()}, unknown=unknown)


# --- what may be defined ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (a_set(name=""), "name"),
        (a_set(name="../etc"), "name"),
        (a_set(name=".hidden"), "name"),
        (a_set(name="Mine"), "name"),
        (a_set(name="x" * 65), "name"),
        (a_set(name="builtin"), "name"),
        (a_set({"a": ("one", "two")}), "intents"),
        (a_set({str(n): ("x", "y") for n in range(1001)}), "intents"),
        (a_set({"a": ("one", "two"), " ": ("three", "four")}), "intents"),
        (a_set({"a": ("one", "two"), "Unknown": ("three", "four")}), "intents"),
        (a_set({"a": ("one", "two"), "l" * 129: ("three", "four")}), "intents"),
        (a_set({"a": ("one",), "b": ("three", "four")}), "intents.a.examples"),
        (a_set({"a": ("one", " ONE "), "b": ("three", "four")}), "intents.a.examples"),
        (a_set({"a": tuple(map(str, range(2001))), "b": ("x", "y")}), "intents.a.examples"),
        (a_set({"a": ("one", "two"), "b": ("three", " ")}), "intents.b.examples[1]"),
        (a_set({"a": ("one", "two"), "b": ("three", "Two ")}), "intents.b.examples[1]"),
        (a_set({"a": ("one", "x" * 10_001), "b": ("three", "four")}), "intents.a.examples[1]"),
        (a_set(unknown=("five", "")), "unknown[1]"),
        (a_set(unknown=("two",)), "unknown[0]"),
        (a_set({str(n): tuple(f"{n} {m}" for m in range(1001)) for n in range(20)}), "intents"),
    ],
)
def test_a_definition_that_cannot_be_used_is_refused_by_field(wrong, field):
    """The message says where and why."""
    with pytest.raises(BadIntents, match=r"^[a-z]") as refused:
        checked(wrong)

    assert field == refused.value.field
    assert str(refused.value).startswith(f"{field}: ")


def test_a_refusal_repeats_no_example():
    """Examples may be customers' own words."""
    with pytest.raises(BadIntents) as refused:
        checked(a_set({"a": ("my secret", "two"), "b": ("My  Secret", "four")}))

    assert "secret" not in str(refused.value).lower()


def test_a_text_counts_once_under_its_label():
    """Repeated in another spelling of the same, it would be in two folds at once."""
    kept = checked(a_set({"a": ("One  way", "one way", "two"), "b": ("three", "four")}, unknown=("x", "X")))

    assert (("One  way", "two"), ("x",)) == (kept.intents["a"].examples, kept.unknown)


def test_a_file_holds_a_table_a_label():
    """And the texts that are none of them as an array."""
    text = 'unknown = ["x"]\n[refund]\ndescription = "money"\nexamples = ["a", "b"]\n[other]\nexamples = ["c", "d"]\n'

    wanted = {"refund": Intent(("a", "b"), "money"), "other": Intent(("c", "d"))}
    assert IntentSet(name="n", intents=wanted, unknown=("x",)) == read_toml(text, "n")


@pytest.mark.parametrize("text", ["[a", "a = 1", "[a]\nexample = ['x']", "unknown = 'x'", "[a]\nexamples = [1]"])
def test_a_file_of_another_shape_is_refused(text):
    """Not a set of intents."""
    with pytest.raises(BadIntents, match="not a TOML file of intents"):
        read_toml(text, "n")


def test_the_digest_follows_what_is_fitted():
    """Not the name, but every text, the labels' order and the method."""
    other = a_set({"b": ("three", "four"), "a": ("one", "two")})
    digests = {a_set().digest, other.digest, a_set(unknown=("x",)).digest, a_set(name="other").digest}

    assert 3 == len(digests)


def test_the_builtin_set_keeps_the_rules():
    """Only its name is not for others."""
    checked(msgspec.structs.replace(builtin(), name="mine"))
    assert definition.BUILTIN == builtin().name


# --- fits ---------------------------------------------------------------------------------------


def test_unseen_texts_are_put_where_they_belong():
    """With probabilities that add up to 1, `unknown` among them."""
    classifier = Classifier(fitted().head)
    probabilities = classifier.probabilities(vectors_of(["money back", "is the parcel here", "new password please"]))

    assert ["refund", "delivery", "password"] == [classifier.labels[row.argmax()] for row in probabilities]
    assert ("refund", "delivery", "password", "unknown") == classifier.labels
    np.testing.assert_allclose(1, probabilities.sum(axis=1), rtol=1e-5)


def test_a_fit_is_deterministic():
    """The same definition gives the same bytes and figures, the time it took apart."""
    one, again = fitted(), fitted()

    assert one.head == again.head
    assert msgspec.structs.replace(one.report, fit_s=0) == msgspec.structs.replace(again.report, fit_s=0)


def test_the_report_is_of_unseen_texts():
    """Its figures fit together; five folds were made of six examples a label."""
    report = fitted().report
    low, high = report.accuracy_interval

    assert (3, 18, 5, None) == (report.labels, report.examples, report.folds, report.unknown_recall)
    assert 0 <= low <= report.accuracy <= high <= 1
    assert report.accuracy > 0.7
    assert report.known_kept >= 0.9
    wrong = round((1 - report.accuracy) * 18)
    assert wrong == sum(pair.texts for pair in report.confusions)
    assert all(pair.label != pair.taken_for and 0 < pair.share <= 1 for pair in report.confusions)


def test_two_examples_a_label_are_enough():
    """In two folds, of one example a label each."""
    small = a_set({"refund": ("money back", "refund my money"), "delivery": ("where is my parcel", "parcel is late")})
    result = fitted(small)
    probabilities = Classifier(result.head).probabilities(vectors_of(["my money", "the parcel"]))

    assert [0, 1] == probabilities.argmax(axis=1).tolist()
    assert 2 == result.report.folds


def test_unknown_wins_exactly_below_the_threshold():
    """Where the likeness to what was seen is too small; the labels keep their ratios either way."""
    head = fitted().head
    everything, nothing = (msgspec.structs.replace(head, threshold=value) for value in (99.0, -99.0))
    texts = ("money back", *STRANGERS)
    certain = Classifier(nothing).probabilities(vectors_of(texts))
    doubting = Classifier(head).probabilities(vectors_of(texts))

    assert {"unknown"} == set(answers(Classifier(everything), *texts))
    assert "unknown" not in answers(Classifier(nothing), *texts)
    shares = doubting[:, :3] / doubting[:, :3].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(certain[:, :3], shares, rtol=1e-3, atol=1e-6)


def test_examples_of_unknown_choose_the_threshold():
    """Strangers like those given are refused, at a recall measured on folds that did not choose it."""
    with_strangers = msgspec.structs.replace(SUPPORT, unknown=STRANGERS)
    result = fitted(with_strangers)

    assert result.report.unknown_recall is not None
    assert result.report.unknown_recall >= 0.6
    assert result.report.threshold == result.head.threshold != fitted().head.threshold
    assert ["unknown", "refund"] == answers(Classifier(result.head), "play some jazz music", "money back please")


@pytest.mark.parametrize("strangers", [0, 1, 4])
def test_a_few_strangers_teach_nothing(strangers):
    """They move the threshold at most: from five on a regression of known against unknown may join the likeness."""
    head = fitted(msgspec.structs.replace(SUPPORT, unknown=STRANGERS[:strangers])).head

    assert not np.frombuffer(head.direction, dtype="<f4").any()


def test_strangers_that_look_like_the_known_are_learnt():
    """Here each is nearly an example, but for the one word that makes it none."""
    intents = {"refund": SUPPORT.intents["refund"], "delivery": SUPPORT.intents["delivery"]}
    strangers = tuple(f"xylophone {text}" for intent in intents.values() for text in intent.examples)
    result = fitted(IntentSet(name="x", intents=intents, unknown=strangers))

    assert np.frombuffer(result.head.direction, dtype="<f4").any()
    assert result.report.unknown_recall + result.report.known_kept > 1.5


def test_a_rare_label_weighs_as_much_as_a_frequent_one():
    """How many examples it has says nothing about how often it is asked for."""
    many = tuple(f"parcel number {n} is late" for n in range(60))
    uneven = a_set({"delivery": many, "refund": ("I want my money back", "please refund the money")})

    likes = Classifier(fitted(uneven).head).probabilities(vectors_of(["money refund please", "late parcel number 99"]))

    assert [1, 0] == likes[:, :2].argmax(axis=1).tolist()
    assert likes[0, 1] > 0.5


def test_words_of_labels_are_used_where_they_help():
    """And left out where they say the opposite."""
    shuffled = {"delivery": "refund", "password": "delivery", "refund": "password"}
    misnamed = {shuffled[label]: intent.examples for label, intent in SUPPORT.intents.items()}

    assert ("labels", "none") == (fitted().report.words, fitted(a_set(misnamed)).report.words)


def test_descriptions_help_where_labels_say_nothing():
    """Labels are often codes."""
    words = {"refund": "refund, money back", "delivery": "parcel, delivery, arrived", "password": "login password"}
    coded = {
        code: Intent(SUPPORT.intents[label].examples[:2], words[label])
        for code, label in {"password": "refund", "refund": "delivery", "delivery": "password"}.items()
    }

    assert "descriptions" == fitted(IntentSet(name="codes", intents=coded)).report.words


@pytest.mark.parametrize(
    "change",
    [
        {"weights": b""},
        {"weights": b"123"},
        {"bias": packed(np.array([1.0, np.nan, 0.0]))},
        {"centres": packed(np.ones((3, 7)))},
        {"probe": packed(np.ones(7))},
        {"temperature": 0.0},
    ],
)
def test_arrays_that_do_not_fit_together_are_no_classifier(change):
    """Whatever a file may hold."""
    with pytest.raises(ValueError, match=r"array|buffer"):
        Classifier(msgspec.structs.replace(fitted().head, **change))
