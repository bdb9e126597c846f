"""The Hugging Face protocol: one way to ask, and every known way to answer."""

import base64

import pytest

from backends.errors import InvalidInput, ModelNotFound, RemoteError
from backends.fake.answers import png
from backends.remote.call import Call
from backends.remote.huggingface_wire import (
    classification_call,
    embeddings_call,
    generation_call,
    parse_classification,
    parse_embeddings,
    parse_photos,
    photo_calls,
)
from backends.types import ClassificationInput, EmbeddingInput, GenerationInput, Message, PhotoInput, ZeroShotInput

ONE = EmbeddingInput(texts=("a",))
TWO = EmbeddingInput(texts=("a", "b"))
VECTOR = [0.6, 0.8]
GOOD = {"label": "good", "score": 0.75}
BAD = {"label": "bad", "score": 0.25}


def rounded(output):
    return [[round(number, 3) for number in vector] for vector in output.vectors]


def labels(output):
    return [[label.label for label in row] for row in output.labels]


def test_feature_extraction_has_its_parameters_at_the_root():
    """The server ignores a `parameters` object for this task."""
    call = embeddings_call(EmbeddingInput(texts=("a", "b"), dimensions=3, truncate=False), "org/m")

    expected = {"inputs": ["a", "b"], "normalize": True, "truncate": False, "dimensions": 3}
    assert Call("/models/org/m/pipeline/feature-extraction", expected) == call


def test_one_text_is_classified_bare_and_several_as_a_list():
    """As the hub's own client does; without top_k there are no parameters."""
    assert Call("/models/m", {"inputs": "a"}) == classification_call(ClassificationInput(texts=("a",)), "m")
    assert Call("/models/m", {"inputs": ["a", "b"], "parameters": {"top_k": 2}}) == classification_call(
        ClassificationInput(texts=("a", "b"), top_k=2), "m"
    )


def test_zero_shot_sends_its_labels():
    """The template only when given."""
    payload = ZeroShotInput(texts=("a",), candidate_labels=("x", "y"), hypothesis_template="About {}.")

    expected = {"candidate_labels": ["x", "y"], "multi_label": False, "hypothesis_template": "About {}."}
    assert expected == classification_call(payload, "m").body["parameters"]


def test_chat_goes_to_the_route_under_its_model():
    """With the model in the body too, and the parameters that OpenAI's servers refuse."""
    payload = GenerationInput(messages=(Message("user", "hi"),), top_k=3)
    call = generation_call(payload, "org/m", stream=False)

    assert "/models/org/m/v1/chat/completions" == call.path
    assert ("org/m", 3) == (call.body["model"], call.body["top_k"])
    assert "/models/m/v1/completions" == generation_call(GenerationInput(prompt="p"), "m", stream=False).path


def test_a_model_id_cannot_leave_its_place_in_the_path():
    """Reserved characters are quoted, and dots do not climb."""
    assert "/models/a%3Fb%23c%20d" == classification_call(ClassificationInput(texts=("x",)), "a?b#c d").path
    for model in ("../admin", "a/../b", "", "a//b", "."):
        with pytest.raises(ModelNotFound):
            classification_call(ClassificationInput(texts=("x",)), model)


@pytest.mark.parametrize(
    ("answer", "payload", "vectors"),
    [
        ([VECTOR, VECTOR], TWO, 2),
        ([VECTOR], ONE, 1),
        (VECTOR, ONE, 1),
        ({"embeddings": [VECTOR]}, ONE, 1),
        ({"embeddings": VECTOR}, ONE, 1),
        ({"results": [VECTOR]}, ONE, 1),
        ({"data": [{"embedding": VECTOR}]}, ONE, 1),
    ],
    ids=["nested", "nested one", "flat one", "hf-serve", "wrapped flat", "results", "openai"],
)
def test_vectors_are_found_in_every_known_shape(answer, payload, vectors):
    """Nested, flat, wrapped."""
    assert [VECTOR] * vectors == rounded(parse_embeddings(answer, payload))


def test_vectors_are_cut_and_scaled_here_where_the_far_side_did_not():
    """`dimensions` keeps the first, `normalize` gives length 1; a unit vector is left as it is."""
    payload = EmbeddingInput(texts=("a",), dimensions=2)

    assert [VECTOR] == rounded(parse_embeddings([[3.0, 4.0, 5.0]], payload))
    assert [[3.0, 4.0]] == rounded(parse_embeddings([[3.0, 4.0]], EmbeddingInput(texts=("a",), normalize=False)))
    assert [[0.0, 0.0]] == rounded(parse_embeddings([[0.0, 0.0]], ONE))


@pytest.mark.parametrize(
    ("answer", "payload"),
    [
        ([VECTOR], TWO),
        (VECTOR, TWO),
        ([VECTOR, [1.0]], TWO),
        ([[VECTOR, VECTOR]], ONE),
        ([], ONE),
        ([[]], ONE),
        ([["a"]], ONE),
        ([[float("inf")]], ONE),
        ([[1.0]], EmbeddingInput(texts=("a",), dimensions=2)),
        ("text", ONE),
        (None, ONE),
        ({"other": 1}, ONE),
    ],
)
def test_other_vectors_are_refused(answer, payload):
    """Also a vector a token, which would need a pooling that nobody named."""
    with pytest.raises(RemoteError):
        parse_embeddings(answer, payload)


@pytest.mark.parametrize(
    ("answer", "texts", "expected"),
    [
        ([[BAD, GOOD]], 1, [["good", "bad"]]),
        ([BAD, GOOD], 1, [["good", "bad"]]),
        (GOOD, 1, [["good"]]),
        ([[GOOD], [BAD]], 2, [["good"], ["bad"]]),
        ([GOOD, BAD], 2, [["good"], ["bad"]]),
        ({"results": [BAD, GOOD]}, 1, [["good", "bad"]]),
        ({"sequence": "s", "labels": ["bad", "good"], "scores": [0.25, 0.75]}, 1, [["good", "bad"]]),
        ([{"labels": ["a"], "scores": [1]}, {"labels": ["b"], "scores": [1]}], 2, [["a"], ["b"]]),
    ],
    ids=["nested", "flat", "single", "nested two", "flat two", "results", "pipeline", "pipeline two"],
)
def test_labels_are_found_in_every_known_shape(answer, texts, expected):
    """Whatever the nesting, each text gets its labels, best first."""
    assert expected == labels(parse_classification(answer, ClassificationInput(texts=("a", "b")[:texts])))


def test_top_k_holds_even_where_the_far_side_ignores_it():
    """Never more labels than were asked for."""
    assert [["good"]] == labels(parse_classification([[BAD, GOOD]], ClassificationInput(texts=("a",), top_k=1)))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "good",
        {},
        [],
        [[]],
        [[GOOD], [BAD]],
        [["good"]],
        [{"label": "x"}],
        [{"label": "x", "score": "high"}],
        [{"label": "x", "score": float("nan")}],
        {"labels": ["a", "b"], "scores": [1]},
        [[1.0]],
    ],
)
def test_other_labels_are_refused(answer):
    """A surprise is an error of the far side, not of ours."""
    with pytest.raises(RemoteError):
        parse_classification(answer, ClassificationInput(texts=("a",)))


PHOTO, JPEG = png(1, 1, (1, 2, 3)), b"\xff\xd8\xff\xe0 and so on"


def test_each_photo_is_sent_alone_with_its_own_type():
    """Raw where nothing else is asked, base64 beside `top_k`."""
    raw = photo_calls(PhotoInput(images=(PHOTO, JPEG)), "org/m")
    (cut,) = photo_calls(PhotoInput(images=(JPEG,), top_k=2), "org/m")

    assert [("/models/org/m", PHOTO, "image/png"), ("/models/org/m", JPEG, "image/jpeg")] == [
        (call.path, call.body, call.content_type) for call in raw
    ]
    assert ({"top_k": 2}, JPEG) == (cut.body["parameters"], base64.b64decode(cut.body["inputs"]))


@pytest.mark.parametrize("image", [b"", b"text", b"OggS...."])
def test_what_is_no_photo_is_not_sent(image):
    """It would be paid for; the message does not repeat it."""
    with pytest.raises(InvalidInput, match=f"the file of {len(image)} bytes does not begin like any known image"):
        photo_calls(PhotoInput(images=(PHOTO, image)), "m")


def test_each_photos_labels_come_from_its_own_answer():
    """In the shapes of a classification, best first and no more than asked for."""
    answers = [[BAD, GOOD], {"labels": ["x"], "scores": [1.0]}]

    assert [["good", "bad"], ["x"]] == labels(parse_photos(answers, PhotoInput(images=(PHOTO, PHOTO))))
    assert [["good"], ["x"]] == labels(parse_photos(answers, PhotoInput(images=(PHOTO, PHOTO), top_k=1)))
    with pytest.raises(RemoteError):
        parse_photos([[[GOOD], [BAD]], [GOOD]], PhotoInput(images=(PHOTO, PHOTO)))
