"""The tasks the near side can do: adding one is a file and a row here. Imports no model library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.errors import Unavailable
from backends.local import (
    automatic_speech_recognition,
    embedder,
    feature_extraction,
    image_classification,
    sequence_classifier,
    text_classification,
    text_generation,
    text_to_image,
    zero_shot_classification,
)
from backends.types import Task

if TYPE_CHECKING:
    from backends.local.model_layout import Layout
    from backends.local.model_source import Contents
    from backends.local.types import Family, LocalFamily, LocalTask
    from backends.types import Target

FAMILIES: dict[Family, LocalFamily] = {
    "embedder": embedder.FAMILY,
    "sequence-classifier": sequence_classifier.FAMILY,
    "causal-lm": text_generation.FAMILY,
    "diffusion": text_to_image.FAMILY,
    "image-classifier": image_classification.FAMILY,
    "speech": automatic_speech_recognition.FAMILY,
}

# What does a task with a model of any architecture.
_TASKS: dict[Task, LocalTask] = {
    Task.FEATURE_EXTRACTION: feature_extraction.TASK,
    Task.ZERO_SHOT_CLASSIFICATION: zero_shot_classification.TASK,
    Task.TEXT_GENERATION: text_generation.TASK,
    Task.TEXT_TO_IMAGE: text_to_image.TASK,
    Task.IMAGE_CLASSIFICATION: image_classification.TASK,
    Task.AUTOMATIC_SPEECH_RECOGNITION: automatic_speech_recognition.TASK,
}
# What does it with a model that was trained to tell classes apart.
_CLASSIFIES = "ForSequenceClassification"
_CLASSIFIER_TASKS: dict[Task, LocalTask] = {
    Task.TEXT_CLASSIFICATION: sequence_classifier.TEXT_CLASSIFICATION,
    Task.ZERO_SHOT_CLASSIFICATION: sequence_classifier.ZERO_SHOT_CLASSIFICATION,
}
# Architectures that surely cannot do a family's work, by the end of their names.
_UNFIT: dict[Family, tuple[str, ...]] = {
    "embedder": (_CLASSIFIES, "ForTokenClassification", "ForQuestionAnswering", "ForImageClassification"),
    "causal-lm": ("Model", "ForMaskedLM", _CLASSIFIES, "ForTokenClassification", "ForImageClassification"),
    "image-classifier": ("Model", "LM", _CLASSIFIES),
}


# How the files of a family's models may lie.
_LAYOUTS: dict[Family, tuple[Layout, ...]] = {
    "causal-lm": ("transformers", "gguf"),
    "diffusion": ("diffusers",),
    "speech": ("ctranslate2", "transformers"),
}


def task_for(target: Target, contents: Contents) -> LocalTask:
    """How this target's task is done with a model of this architecture and layout.

    Raises:
        Unavailable: It cannot be done with it.
    """
    named = contents.architecture or ""
    if target.task is Task.TEXT_CLASSIFICATION and target.head is not None:
        task = text_classification.task_for(target.head)
    elif named.endswith(_CLASSIFIES) and target.task in _CLASSIFIER_TASKS:
        task = _CLASSIFIER_TASKS[target.task]
    elif target.task in _TASKS:
        task = _TASKS[target.task]
    else:
        raise Unavailable(f"'{target.model}' has no classes of its own: its candidate needs a `head`, a set of intents")
    if contents.layout not in _LAYOUTS.get(task.family, ("transformers",)):
        raise Unavailable(f"'{target.model}' lies in {contents.layout} files, which cannot do {target.task} here")
    if named and named.endswith(_UNFIT.get(task.family, ())):
        raise Unavailable(f"'{target.model}' is a {named}, which cannot do {target.task} here")
    return task
