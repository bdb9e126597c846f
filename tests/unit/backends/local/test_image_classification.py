"""image-classification on tiny random models: everything but whether the label is right."""

from __future__ import annotations

import io
import threading

import pytest

from backends.errors import InvalidInput, Unavailable
from backends.local import image_classification as task
from backends.local.types import Control, Opening
from backends.types import PhotoInput

Image = pytest.importorskip("PIL.Image")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LABELS = ("cat", "dog", "bird", "fish", "tree")
CONTROL = Control(threading.Event(), lambda piece: None)


def opening(directory):
    return Opening(directory=directory, device="cpu", dtype="float32", threads=1, cache_dir=directory)


def saved(directory, **config):
    """A vision transformer of two layers that looks at 32 x 32 pixels."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    names = dict(enumerate(LABELS))
    settings = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8,
        id2label=names, label2id={name: at for at, name in names.items()}, **config,
    )  # fmt: skip
    transformers.ViTForImageClassification(settings).save_pretrained(directory)
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def model(directory):
    return task.load(opening(directory))


def photo(seed, size=(64, 48), kind="PNG"):
    pixels = torch.randint(0, 255, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    buffer = io.BytesIO()
    Image.fromarray(pixels.to(torch.uint8).numpy()).save(buffer, kind)
    return buffer.getvalue()


def classify(model, *images, top_k=None):
    payload = PhotoInput(images=images, top_k=top_k)
    units = task.pre(model, payload)
    results = task.core(model, [unit.content for unit in units], CONTROL)
    return task.post(model, payload, units, results)


def scores(answer):
    return [{label.label: label.score for label in row} for row in answer.output.labels]


def test_every_label_has_its_probability(model):
    """Best first, together 1; the images are counted."""
    answer = classify(model, photo(1), photo(2))
    rows = answer.output.labels

    assert [set(LABELS)] * 2 == [set(row) for row in scores(answer)]
    assert [pytest.approx(1, abs=1e-5)] * 2 == [sum(row.values()) for row in scores(answer)]
    assert all(list(row) == sorted(row, key=lambda label: -label.score) for row in rows)
    assert 2 == answer.usage.images


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (3, 3), (5, 5), (1000, 5), (None, 5)])
def test_top_k_labels_are_given(model, top_k, count):
    """All there are where more are asked for."""
    (row,) = classify(model, photo(1), top_k=top_k).output.labels

    assert classify(model, photo(1)).output.labels[0][:count] == row


def test_the_scores_are_those_of_transformers(model, directory):
    """Its own pipeline, on the same file."""
    reference = transformers.pipeline("image-classification", model=str(directory), device="cpu")
    with Image.open(io.BytesIO(photo(3))) as image:
        expected = {entry["label"]: entry["score"] for entry in reference(image.convert("RGB"), top_k=5)}

    assert pytest.approx(expected, abs=1e-5) == scores(classify(model, photo(3)))[0]


def test_images_of_mixed_sizes_and_formats_are_as_one_by_one(model):
    """Whatever shares the batch."""
    images = [photo(1), photo(2, (33, 90)), photo(3, (200, 100), "WEBP"), photo(4, (9, 9)), photo(5, kind="GIF")]
    together, alone = scores(classify(model, *images)), [scores(classify(model, image))[0] for image in images]

    assert [pytest.approx(row, abs=1e-5) for row in alone] == together


def test_arrays_of_different_shapes_share_a_batch(model):
    """A processor may keep the shape of a photo: each shape has a forward of its own, and the order stays."""

    class Squeezing:
        device, labels = "cpu", LABELS

        def __init__(self):
            self.batches = []

        def logits(self, pixels):
            self.batches.append([array.shape for array in pixels])
            return torch.stack([torch.full((5,), float(array.mean())) for array in pixels])

    contents = [torch.full(shape, value) for value, shape in enumerate([(3, 8, 8), (3, 8, 9), (3, 8, 8)])]
    squeezing = Squeezing()
    rows = task.core(squeezing, [content.float() for content in contents], CONTROL)

    assert [0.0, 1.0, 2.0] == [float(row[0]) for row in rows]
    assert [2, 1] == [len(batch) for batch in squeezing.batches]


def test_labels_that_do_not_exclude_each_other_are_scored_alone(tmp_path):
    """The model says so: each has a probability of its own, as in transformers' pipeline."""
    several = task.load(opening(saved(tmp_path, problem_type="multi_label_classification")))
    reference = transformers.pipeline("image-classification", model=str(tmp_path), device="cpu")
    with Image.open(io.BytesIO(photo(3))) as image:
        expected = {entry["label"]: entry["score"] for entry in reference(image.convert("RGB"), top_k=5)}

    assert pytest.approx(expected, abs=1e-5) == scores(classify(several, photo(3)))[0]
    assert sum(expected.values()) != pytest.approx(1, abs=0.1)


def test_the_bad_image_among_good_ones_is_named(model):
    """By its place, before anything is computed."""
    with pytest.raises(InvalidInput, match=r"^image 2 of 3 is in no format"):
        classify(model, photo(1), b"hello", photo(2))
    with pytest.raises(InvalidInput, match=r"^the image is damaged"):
        classify(model, photo(1)[:100])


def test_the_model_says_what_it_is(model):
    """For status and estimates."""
    assert ("cpu", "float32", "torch", LABELS) == (model.device, model.dtype, model.runtime, model.labels)


def test_warm_ups_can_be_asked(model):
    """One image, then several."""
    sizes = [len(classify(model, *warm_up.images).output.labels) for warm_up in task.TASK.warm_ups]

    assert sizes == sorted(sizes)
    assert sizes[0] == 1


def test_a_model_without_its_classifier_is_refused(tmp_path, directory):
    """The library would make one up; the first missing tensor is named."""
    copied = copy(directory, tmp_path)
    safetensors = pytest.importorskip("safetensors.torch")
    weights = safetensors.load_file(copied / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("classifier")}
    safetensors.save_file(kept, copied / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(Unavailable, match=r"lack 2 of its tensors, classifier\.bias first"):
        task.load(opening(copied))


def test_pickled_weights_are_not_read(tmp_path, directory):
    """Not even looked at, unless that was allowed."""
    copied = copy(directory, tmp_path)
    copied.joinpath("model.safetensors").unlink()
    copied.joinpath("pytorch_model.bin").write_bytes(b"not even a pickle")

    with pytest.raises(OSError, match=r"model\.safetensors"):
        task.load(opening(copied))


def test_damaged_weights_leave_nothing_behind(tmp_path, directory):
    """The library's own error goes on, to be translated like all of them."""
    copied = copy(directory, tmp_path)
    whole = copied.joinpath("model.safetensors").read_bytes()
    copied.joinpath("model.safetensors").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(Exception, match=r"(?i)header|incomplete|deserializ"):
        task.load(opening(copied))


def copy(directory, target):
    for file in directory.iterdir():
        target.joinpath(file.name).write_bytes(file.read_bytes())
    return target
