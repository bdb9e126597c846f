"""What every backend promises, whichever it is: one suite over all of them."""

import asyncio
import math

import pytest

from backends.errors import BackendError, Unavailable
from backends.media import png_size
from backends.reports import LoadReport
from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    Delta,
    DrawingOutput,
    EmbeddingInput,
    EmbeddingOutput,
    GenerationOutput,
    InferenceRequest,
    InferenceResult,
    Progress,
    SpeechInput,
    Task,
    TranscriptOutput,
    ZeroShotInput,
)
from tests.contract.subjects import (
    CHAT,
    CLASSIFY,
    DRAW,
    EMBED,
    PAYLOADS,
    PHOTOS,
    PROMPT,
    TEXTS,
    ZERO_SHOT,
    asked,
    each_payload,
    streamed,
)
from tests.unit.backends.test_media import wav


def test_every_task_is_served_somewhere_here():
    """A task that no payload below asks for would be tested nowhere."""
    assert set(Task) == {task for task, _ in PAYLOADS}


def test_embeddings_are_unit_vectors_in_the_order_of_the_texts(run):
    """One float32 vector a text; the same text gives the same vector, wherever it stands."""

    async def check(subject):
        result = await asked(subject, Task.FEATURE_EXTRACTION, EMBED)
        turned = await asked(subject, Task.FEATURE_EXTRACTION, EmbeddingInput(texts=TEXTS[::-1]))

        assert isinstance(result.output, EmbeddingOutput)
        assert len(TEXTS) == len(result.output.vectors)
        assert {"f"} == {vector.typecode for vector in result.output.vectors}
        assert all(abs(1 - math.hypot(*vector)) < 1e-3 for vector in result.output.vectors)
        assert [list(vector) for vector in result.output.vectors[::-1]] == [
            pytest.approx(list(vector), abs=1e-5) for vector in turned.output.vectors
        ]

    run(check)


def test_embeddings_keep_the_first_dimensions_and_stay_unit(run):
    """Asking for fewer dimensions gives shorter vectors of length 1."""

    async def check(subject):
        result = await asked(subject, Task.FEATURE_EXTRACTION, EmbeddingInput(texts=("a b",), dimensions=4))

        (vector,) = result.output.vectors
        assert 4 == len(vector)
        assert pytest.approx(1, abs=1e-3) == math.hypot(*vector)

    run(check)


@pytest.mark.parametrize(
    ("task", "payload"), [(Task.TEXT_CLASSIFICATION, CLASSIFY), (Task.ZERO_SHOT_CLASSIFICATION, ZERO_SHOT)]
)
def test_classifications_give_labels_best_first(run, task, payload):
    """Each text has its labels with probabilities, the best first; the sum is 1 where labels exclude each other."""

    async def check(subject):
        result = await asked(subject, task, payload)
        if result is None:
            return

        assert isinstance(result.output, ClassificationOutput)
        assert len(payload.texts) == len(result.output.labels)
        for labels in result.output.labels:
            scores = [label.score for label in labels]
            assert sorted(scores, reverse=True) == scores
            assert pytest.approx(1, abs=1e-3) == sum(scores)
        if isinstance(payload, ZeroShotInput):
            assert all(set(payload.candidate_labels) == {one.label for one in row} for row in result.output.labels)

    run(check)


def test_top_k_bounds_the_labels(run):
    """No more labels come back than were asked for."""

    async def check(subject):
        result = await asked(subject, Task.TEXT_CLASSIFICATION, ClassificationInput(texts=TEXTS[:1], top_k=1))
        if result is None:
            return

        assert [1] == [len(labels) for labels in result.output.labels]

    run(check)


def test_drawings_are_png_files_of_the_asked_size(run):
    """As many as were asked for, each with its seed where it is known; the same seed draws the same again."""

    async def check(subject):
        result = await asked(subject, Task.TEXT_TO_IMAGE, DRAW)
        if result is None:
            return
        again = await asked(subject, Task.TEXT_TO_IMAGE, DRAW)

        assert isinstance(result.output, DrawingOutput)
        assert [(64, 64)] * 2 == [png_size(image) for image in result.output.images]
        assert result.output.seeds in {(7, 8), (None, None)}
        assert result.output.images[0] != result.output.images[1]
        assert result.output == again.output
        assert 2 == result.usage.images
        assert result.usage.pixel_steps in {None, 2 * 64 * 64 * 2}

    run(check)


def test_photos_have_labels_best_first(run):
    """Each photo its own, with probabilities, no more than were asked for."""

    async def check(subject):
        result = await asked(subject, Task.IMAGE_CLASSIFICATION, PHOTOS)
        if result is None:
            return

        assert isinstance(result.output, ClassificationOutput)
        assert [3, 3] == [len(labels) for labels in result.output.labels]
        for labels in result.output.labels:
            scores = [label.score for label in labels]
            assert sorted(scores, reverse=True) == scores
            assert all(0 <= score <= 1 for score in scores)
        assert 2 == result.usage.images

    run(check)


@pytest.mark.parametrize("timestamps", ["segment", "word"])
def test_a_transcript_has_a_text_and_times_in_order(run, timestamps):
    """Words only where their times were asked for; the recording's length is in the usage."""
    payload = SpeechInput(audio=wav(1.0), language="en", timestamps=timestamps)

    async def check(subject):
        result = await asked(subject, Task.AUTOMATIC_SPEECH_RECOGNITION, payload)
        if result is None:
            return

        output = result.output
        assert isinstance(output, TranscriptOutput)
        for spans in (output.segments, output.words):
            assert sorted(span.start_s for span in spans) == [span.start_s for span in spans]
            assert all(span.end_s is None or span.start_s <= span.end_s for span in spans)
        assert timestamps == "word" or output.words == ()
        assert pytest.approx(1.0, abs=0.01) == result.usage.audio_s

    run(check)


@each_payload
def test_every_answer_says_who_served_and_what_it_took(run, task, payload):
    """Provider, model, device and a service time are never missing; counts are None or not negative."""

    async def check(subject):
        result = await asked(subject, task, payload)
        if result is None:
            return

        assert all((result.provider, result.model, result.device))
        assert result.timings.service_s is not None
        usage = result.usage
        counts = (usage.prompt_tokens, usage.completion_tokens, usage.images, usage.pixel_steps, usage.audio_s)
        assert all(count is None or count >= 0 for count in counts)
        assert result.batch_size >= 1

    run(check)


@each_payload
def test_a_stream_gives_its_pieces_then_one_result_that_joins_them(run, task, payload):
    """Whatever comes before it, exactly one result ends it: the same output and usage as a buffered answer."""

    async def check(subject):
        items = await streamed(subject, task, payload)
        if items is None:
            return
        *pieces, result = items
        whole = await asked(subject, task, payload)

        assert isinstance(result, InferenceResult)
        assert {type(piece) for piece in pieces} <= {Delta, Progress}
        if task is not Task.FEATURE_EXTRACTION:  # floating-point sums may differ in the last digit
            assert whole.output == result.output
        assert whole.usage == result.usage
        text = "".join(piece.text for piece in pieces if isinstance(piece, Delta))
        if isinstance(result.output, GenerationOutput):
            assert result.output.text == text
            assert result.timings.first_token_s is not None
        elif isinstance(result.output, TranscriptOutput) and text:
            assert result.output.text == text.strip()
        steps = [(piece.step, piece.steps) for piece in pieces if isinstance(piece, Progress)]
        assert [(step, len(steps)) for step in range(1, len(steps) + 1)] == steps

    run(check)


def test_a_generation_keeps_to_its_max_tokens(run):
    """A generation that was cut says `length`."""

    async def check(subject):
        result = await asked(subject, Task.TEXT_GENERATION, PROMPT)

        assert "length" == result.output.finish_reason
        assert result.usage.completion_tokens is None or result.usage.completion_tokens <= PROMPT.max_tokens

    run(check)


def test_a_stream_closed_early_is_no_longer_in_flight(run):
    """Whoever stops listening leaves nothing behind, and the next request is served."""

    async def check(subject):
        target = subject.target(Task.TEXT_GENERATION)
        request = InferenceRequest(task=target.task, model=target.model, payload=CHAT, stream=True)
        await subject.backend.prepare(target)
        stream = subject.backend.stream(request, target)
        await anext(stream)
        await stream.aclose()

        assert 0 == subject.backend.status(target).queued
        assert isinstance((await streamed(subject, target.task, CHAT))[-1], InferenceResult)

    run(check)


def test_loading_twice_costs_nothing_the_second_time(run):
    """A loaded target answers `load` at once, with 0 seconds."""

    async def check(subject):
        target = subject.target(Task.FEATURE_EXTRACTION)
        await subject.backend.prepare(target)
        await subject.backend.load(target)

        assert subject.backend.status(target).loaded
        assert 0 == (await subject.backend.load(target)).load_s

    run(check)


def test_what_was_unloaded_answers_again(run):
    """Freeing memory frees it once, and takes nothing away that the next request does not bring back."""

    async def check(subject):
        target = subject.target(Task.FEATURE_EXTRACTION)
        await subject.backend.prepare(target)
        await subject.backend.load(target)
        freed = [await subject.backend.unload(target), await subject.backend.unload(target)]

        assert not freed[1]
        assert not (freed[0] and subject.backend.status(target).loaded)
        assert isinstance(await asked(subject, Task.FEATURE_EXTRACTION, EMBED), InferenceResult)

    run(check)


@pytest.mark.parametrize("task", list(Task))
def test_what_was_measured_before_is_a_report_or_nothing(run, task):
    """Asking for it loads nothing."""

    async def check(subject):
        target = subject.target(task)
        await subject.backend.prepare(target)
        loaded = subject.backend.status(target).loaded
        calibration = subject.backend.calibration(target)

        assert calibration is None or isinstance(calibration, LoadReport)
        assert loaded == subject.backend.status(target).loaded

    run(check)


def test_concurrent_requests_do_not_mix(run):
    """Each of many requests at once gets the answer to its own text."""

    async def check(subject):
        texts = [f"text number {number}" for number in range(20)]
        alone = [await asked(subject, Task.FEATURE_EXTRACTION, EmbeddingInput(texts=(text,))) for text in texts]
        together = await asyncio.gather(
            *(asked(subject, Task.FEATURE_EXTRACTION, EmbeddingInput(texts=(text,))) for text in texts)
        )

        assert [list(one.output.vectors[0]) for one in alone] == [
            pytest.approx(list(one.output.vectors[0]), abs=1e-4) for one in together
        ]

    run(check)


def test_a_closed_backend_is_unavailable(run):
    """After `aclose` it says so, raises nothing but a BackendError, and can be closed again."""

    async def check(subject):
        target = subject.target(Task.FEATURE_EXTRACTION)
        await subject.backend.prepare(target)
        await subject.backend.aclose()

        assert subject.backend.status(target).unavailable
        with pytest.raises(BackendError) as caught:
            await asked_anyway(subject)
        assert isinstance(caught.value, Unavailable)

    run(check)


async def asked_anyway(subject) -> InferenceResult:
    target = subject.target(Task.FEATURE_EXTRACTION)
    return await subject.backend.infer(InferenceRequest(task=target.task, model=target.model, payload=EMBED), target)
