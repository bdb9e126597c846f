"""image-classification: what a photo shows, by a transformers image classifier. Knows pixels and labels, no HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backends.local import photos
from backends.local.checkpoint import read_whole
from backends.local.types import Answer, LocalFamily, LocalTask, Unit
from backends.types import ClassificationOutput, LabelScore, PhotoInput, Task, Usage

if TYPE_CHECKING:
    from backends.local.types import Control, Opening

BUDGET = (
    16  # images in one forward: more gain nothing on a CPU, and little on a GPU while photos are decoded on one core
)


class ImageClassifier:
    """A loaded classifier and its preprocessing. Used from its worker's thread only."""

    runtime = "torch"

    def __init__(self, model: Any, processor: Any, device: str, dtype: str) -> None:
        self.device = device
        self.dtype = dtype
        self.labels: tuple[str, ...] = tuple(model.config.id2label[at] for at in range(model.config.num_labels))
        # As transformers' own pipeline decides: labels that do not exclude each other are scored on their own.
        self.exclusive = model.config.problem_type != "multi_label_classification" and len(self.labels) > 1
        self.side = _longest(processor)
        self._model = model
        self._processor = processor

    def pixels(self, image: Any) -> Any:
        """What the model reads of a PIL image: a float32 array, channels x height x width."""
        return self._processor(images=[image], return_tensors="np")["pixel_values"][0]

    def logits(self, pixels: list[Any]) -> Any:
        """One row an image, one column a label, float32 in RAM. The arrays are all of one shape."""
        import torch

        batch = torch.stack([torch.from_numpy(array) for array in pixels])
        if self.device.startswith("cuda"):
            batch = batch.pin_memory()
        batch = batch.to(self.device, self._model.dtype, non_blocking=True)
        with torch.inference_mode():
            return self._model(pixel_values=batch).logits.to("cpu", torch.float32)


def _longest(processor: Any) -> int:
    """The longest side, in pixels, that an image processor may scale a picture to or cut out of it."""
    sizes = [dict(getattr(processor, name, None) or {}) for name in ("size", "crop_size")]
    known = [int(value) for size in sizes for value in size.values() if value]
    return max(known, default=1024)


def load(opening: Opening) -> ImageClassifier:
    """Load the classifier in the directory, from these files only.

    Raises:
        Unavailable: The files lack some of the model's weights, which transformers would fill with random ones.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    files: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    processor = AutoImageProcessor.from_pretrained(str(opening.directory), backend="pil", **files)
    complaint = "the weights of the image classifier lack {count} of its tensors, {first} first"
    model = read_whole(AutoModelForImageClassification, opening, complaint, **files)
    # Channels last: 15 % less time on a CPU and what tensor cores want; moves a logit by less than 1e-5.
    model = model.to(opening.device, memory_format=torch.channels_last).eval()
    return ImageClassifier(model, processor, opening.device, opening.dtype)


def pre(model: ImageClassifier, payload: PhotoInput) -> list[Unit]:
    """Decode each image and scale it to what the model reads; one unit an image.

    Raises:
        InvalidInput: One of them is no image, damaged, or too large or small; which one is said.
    """
    count = len(payload.images)
    names = ["the image"] if count == 1 else [f"image {at} of {count}" for at in range(1, count + 1)]
    return [
        Unit(model.pixels(photos.decode(data, name, model.side)))
        for data, name in zip(payload.images, names, strict=True)
    ]


def core(model: ImageClassifier, contents: list[Any], _control: Control) -> list[Any]:
    """A tensor of logits for each pixel array; those of equal shape go through the model together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for at, array in enumerate(contents):
        groups.setdefault(array.shape, []).append(at)
    rows = {
        at: row
        for indices in groups.values()
        for at, row in zip(indices, model.logits([contents[at] for at in indices]), strict=True)
    }
    return [rows[at] for at in range(len(contents))]


def post(model: ImageClassifier, payload: PhotoInput, units: list[Unit], results: list[Any]) -> Answer:
    """Labels with their probabilities, best first; `top_k` of them, all where there are no more."""
    scored = tuple(_ranked(model, logits, payload.top_k) for logits in results)
    return Answer(ClassificationOutput(scored), Usage(images=len(units)))


def _ranked(model: ImageClassifier, logits: Any, top_k: int | None) -> tuple[LabelScore, ...]:
    scores = logits.softmax(dim=-1) if model.exclusive else logits.sigmoid()
    best = scores.topk(min(top_k or len(model.labels), len(model.labels)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(LabelScore(model.labels[at], score) for at, score in pairs)


FAMILY = LocalFamily(load=load, core=core, budget=BUDGET)
TASK = LocalTask(
    task=Task.IMAGE_CLASSIFICATION,
    family="image-classifier",
    pre=pre,
    post=post,
    warm_ups=(PhotoInput(images=(photos.plain_png(256),)), PhotoInput(images=(photos.plain_png(256),) * 4)),
)
