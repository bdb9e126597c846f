"""The fake does what its script says, the same each time, and never hides that it is a fake."""

import asyncio
from contextlib import aclosing

import pytest

from backends import errors, media
from backends.errors import ModelNotFound, Overloaded, RateLimited, RemoteError
from backends.fake import FakeBackend, Script, backend, script_of
from backends.fake.answers import png
from backends.fake.script import FAILURES
from backends.types import (
    Delta,
    DrawingInput,
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    InferenceResult,
    PhotoInput,
    Progress,
    Span,
    SpeechInput,
    Target,
    Task,
    Usage,
    ZeroShotInput,
)
from tests.unit.backends.test_media import decoded, wav


def target(task=Task.TEXT_GENERATION, **script):
    return Target(backend="fake", provider="fake", model="m", task=task, script=tuple(script.items()))


def generate(prompt="say something", **parameters):
    payload = GenerationInput(prompt=prompt, **parameters)
    return InferenceRequest(task=Task.TEXT_GENERATION, model="m", payload=payload)


def embed(*texts, **parameters):
    payload = EmbeddingInput(texts=texts, **parameters)
    return InferenceRequest(task=Task.FEATURE_EXTRACTION, model="m", payload=payload)


def draw(prompt="a red circle", **parameters):
    payload = DrawingInput(prompt=prompt, **parameters)
    return InferenceRequest(task=Task.TEXT_TO_IMAGE, model="m", payload=payload)


def transcribe(audio=None, **parameters):
    payload = SpeechInput(audio=wav(2.0) if audio is None else audio, **parameters)
    return InferenceRequest(task=Task.AUTOMATIC_SPEECH_RECOGNITION, model="m", payload=payload)


def infer(request, at):
    return asyncio.run(FakeBackend().infer(request, at))


async def listen(backend, request, at):
    """What came, and the error that ended it."""
    items = []
    try:
        async with aclosing(backend.stream(request, at)) as stream:
            async for item in stream:
                items.append(item)  # noqa: PERF401 -- what came before an error counts
    except errors.BackendError as error:
        return items, error
    return items, None


def test_an_empty_script_pretends_nothing():
    """No latency, no failure, 384 dimensions."""
    assert Script() == script_of(target())
    assert 384 == script_of(target()).dimensions


def test_an_unknown_key_is_refused_with_the_known_ones():
    """A typo in a catalogue entry names what there is."""
    with pytest.raises(ValueError, match=r"unknown script key 'latencyms'; there are: latency_ms, .*dimensions"):
        script_of(target(latencyms=3))


def test_an_unknown_error_is_refused_with_the_known_ones():
    """Only classes of backends.errors can be scripted."""
    with pytest.raises(ValueError, match=r"unknown error 'KeyError'; there are: ContentRefused, .*Unavailable"):
        script_of(target(fail="KeyError"))


@pytest.mark.parametrize("script", [{"latency_ms": "slow"}, {"tokens": -1}, {"dimensions": 0}, {"near": 3}])
def test_a_wrong_value_is_refused(script):
    """Wrong types and impossible numbers do not wait for the first request."""
    with pytest.raises(ValueError, match="fake model m"):
        script_of(target(**script))


def test_prepare_checks_the_script():
    """A wrong script is found before anything is asked."""
    with pytest.raises(ValueError, match="unknown script key"):
        asyncio.run(FakeBackend().prepare(target(nonsense=1)))


def test_every_answer_declares_itself():
    """Provider, device and text all say fake."""
    result = infer(generate(), target())

    assert ("fake", "fake") == (result.provider, result.device)
    assert result.output.text.startswith("[fake]")


def test_a_generation_is_a_function_of_its_prompt():
    """The same prompt gives the same text, another prompt another."""
    once, again, other = (infer(generate(prompt), target()).output.text for prompt in ("a", "a", "b"))

    assert once == again
    assert once != other


def test_a_generation_has_the_scripted_words():
    """Usage counts words: of the prompt and of the answer."""
    result = infer(generate("one two three"), target(tokens=7))

    assert 7 == len(result.output.text.split())
    assert (3, 7) == (result.usage.prompt_tokens, result.usage.completion_tokens)
    assert "stop" == result.output.finish_reason


def test_a_stop_string_ends_the_text_before_it():
    """What stands behind a stop string is never shown."""
    result = infer(generate(stop=("fake",)), target())

    assert ("[", "stop") == (result.output.text, result.output.finish_reason)


def test_vectors_depend_on_model_and_text():
    """Two models do not share a vector space."""
    here = infer(embed("a"), target(Task.FEATURE_EXTRACTION, dimensions=8)).output.vectors[0]
    there = asyncio.run(
        FakeBackend().infer(
            embed("a"), Target(backend="fake", provider="fake", model="n", task=Task.FEATURE_EXTRACTION)
        )
    ).output.vectors[0]

    assert 8 == len(here)
    assert list(here) != list(there)[:8]


def test_multi_label_scores_stand_alone():
    """With multi_label the probabilities need not sum to 1."""
    payload = ZeroShotInput(texts=("x",), candidate_labels=("a", "b", "c"), multi_label=True)
    request = InferenceRequest(task=Task.ZERO_SHOT_CLASSIFICATION, model="m", payload=payload)
    (labels,) = infer(request, target(Task.ZERO_SHOT_CLASSIFICATION)).output.labels

    assert 1 != sum(label.score for label in labels)


def test_a_drawing_is_a_real_picture_of_the_asked_size():
    """One colour, a function of prompt and seed; the file itself says that it is fake."""
    (image,) = infer(draw(width=20, height=5, seed=3), target(Task.TEXT_TO_IMAGE)).output.images
    (again,) = infer(draw(width=20, height=5, seed=3), target(Task.TEXT_TO_IMAGE)).output.images
    (other,) = infer(draw(width=20, height=5, seed=4), target(Task.TEXT_TO_IMAGE)).output.images

    assert image == again != other
    assert (20, 5) == media.png_size(image)
    assert b"[fake]" in image
    width, height, colours = decoded(image)
    assert (20, 5, 1) == (width, height, len(colours))


def test_a_drawing_has_a_seed_for_each_image():
    """Each further one has the next; a request without a seed gets the same one each time."""
    result = infer(draw(images=3, seed=7, width=4, height=4, steps=5), target(Task.TEXT_TO_IMAGE))
    unseeded = [infer(draw(), target(Task.TEXT_TO_IMAGE)).output for _ in range(2)]

    assert (7, 8, 9) == result.output.seeds
    assert 3 == len(set(result.output.images))
    assert Usage(prompt_tokens=3, images=3, steps=3 * 5, pixel_steps=3 * 4 * 4 * 5) == result.usage
    assert unseeded[0] == unseeded[1]


def test_a_streamed_drawing_tells_its_steps():
    """As many as asked, or as the script has tokens; images are drawn one after the other."""
    asked, _ = asyncio.run(listen(FakeBackend(), draw(steps=2, images=2), target(Task.TEXT_TO_IMAGE)))
    scripted, _ = asyncio.run(listen(FakeBackend(), draw(), target(Task.TEXT_TO_IMAGE, tokens=3)))

    assert [Progress(step, 4) for step in (1, 2, 3, 4)] == asked[:-1]
    assert [Progress(step, 3) for step in (1, 2, 3)] == scripted[:-1]
    assert 2 == len(asked[-1].output.images)
    assert asked[-1].timings.first_token_s is None


def test_photos_have_labels_that_say_fake():
    """Each photo its own, best first, no more than asked for."""
    payload = PhotoInput(images=(png(1, 1, (1, 2, 3)), b"another"), top_k=2)
    request = InferenceRequest(task=Task.IMAGE_CLASSIFICATION, model="m", payload=payload)
    result = infer(request, target(Task.IMAGE_CLASSIFICATION))

    assert [2, 2] == [len(labels) for labels in result.output.labels]
    assert all(label.label.startswith("[fake] ") for labels in result.output.labels for label in labels)
    assert result.output.labels[0] != result.output.labels[1]
    assert Usage(images=2) == result.usage


def test_a_transcript_has_one_segment_as_long_as_the_recording():
    """Words have times where they were asked for; a recording without a length of its own gets one by its bytes."""
    result = infer(transcribe(timestamps="word"), target(Task.AUTOMATIC_SPEECH_RECOGNITION, tokens=4))
    plain = infer(transcribe(b"x" * 8000, language="de"), target(Task.AUTOMATIC_SPEECH_RECOGNITION, tokens=4))

    assert result.output.text.startswith("[fake] ")
    assert (Span(result.output.text, 0.0, 2.0),) == result.output.segments
    assert [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5), (1.5, 2.0)] == [(w.start_s, w.end_s) for w in result.output.words]
    assert result.output.text.split() == [word.text for word in result.output.words]
    assert (2.0, 4) == (result.usage.audio_s, result.usage.completion_tokens)
    assert ((), "de", 0.5) == (plain.output.words, plain.output.language, plain.usage.audio_s)


def test_a_streamed_transcript_is_its_segment():
    """It comes whole, and breaks before it where the script says so."""
    at = target(Task.AUTOMATIC_SPEECH_RECOGNITION, tokens=4)
    (delta, result), _ = asyncio.run(listen(FakeBackend(), transcribe(), at))
    broken = target(Task.AUTOMATIC_SPEECH_RECOGNITION, tokens=4, fail_after_tokens=2)
    items, error = asyncio.run(listen(FakeBackend(), transcribe(), broken))

    assert Delta(result.output.text) == delta
    assert [] == items
    assert isinstance(error, RemoteError)


def test_it_was_never_calibrated():
    """A pretender has measured nothing, and its loading measures nothing either."""
    at = target(load_ms=0.5)

    assert FakeBackend().calibration(at) is None
    assert () == asyncio.run(FakeBackend().load(at)).measured


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_every_error_can_be_scripted(name):
    """Whatever a backend may raise, the fake can."""
    with pytest.raises(getattr(errors, name), match=name):
        infer(generate(), target(fail=name))


def test_only_the_first_calls_fail():
    """`fail_times` counts calls of one target, then it recovers."""

    async def main():
        backend, at = FakeBackend(), target(fail="Overloaded", fail_times=2)
        for _ in range(2):
            with pytest.raises(Overloaded):
                await backend.infer(generate(), at)
        return await backend.infer(generate(), at)

    assert isinstance(asyncio.run(main()), InferenceResult)


def test_a_stream_fails_after_its_tokens():
    """The pieces before the failure have been heard; without a named error it is a RemoteError."""
    items, error = asyncio.run(listen(FakeBackend(), generate(), target(fail_after_tokens=2)))

    assert [Delta, Delta] == [type(item) for item in items]
    assert isinstance(error, RemoteError)


def test_a_stream_can_fail_after_its_last_token():
    """Even a whole text without its result is no answer."""
    items, error = asyncio.run(
        listen(FakeBackend(), generate(), target(tokens=2, fail_after_tokens=2, fail="RateLimited"))
    )

    assert 2 == len(items)
    assert isinstance(error, RateLimited)


def test_a_truncated_stream_ends_without_a_result():
    """It raises nothing; the missing result is all there is to see."""
    items, error = asyncio.run(listen(FakeBackend(), generate(), target(truncate_after_tokens=3)))

    assert [Delta] * 3 == [type(item) for item in items]
    assert error is None


@pytest.mark.parametrize("script", [{"fail_after_tokens": 2}, {"truncate_after_tokens": 2}])
def test_what_breaks_a_stream_breaks_a_buffered_answer(script):
    """The same request costs and fails the same either way."""
    with pytest.raises(RemoteError):
        infer(generate(), target(**script))


def test_loading_is_paid_once():
    """A target with load_ms is not loaded at first; the first load says what it took."""

    async def main():
        backend, at = FakeBackend(), target(load_ms=0.5)
        before = backend.status(at).loaded
        first, second = await backend.load(at), await backend.load(at)
        return before, backend.status(at).loaded, first.load_s > 0, second.load_s

    assert (False, True, True, 0.0) == asyncio.run(main())


def test_an_unloaded_target_loads_with_its_first_request():
    """The load time stands in that request's timings, and in no later one."""

    async def main():
        backend, at = FakeBackend(), target(load_ms=0.5)
        return [(await backend.infer(generate(), at)).timings.load_s > 0 for _ in range(2)]

    assert [True, False] == asyncio.run(main())


def test_requests_in_flight_are_counted():
    """`queued` rises while an answer is awaited, and falls when its task is cancelled."""

    async def main():
        backend, at = FakeBackend(), target(latency_ms=60_000)
        task = asyncio.create_task(backend.infer(generate(), at))
        await asyncio.sleep(0)
        during = backend.status(at).queued
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return during, backend.status(at).queued

    assert (1, 0) == asyncio.run(main())


def test_calls_are_counted_and_remembered_within_bounds(monkeypatch):
    """Tests can see what was asked; a demo that runs for months does not grow."""
    monkeypatch.setattr(backend, "MAX_TARGETS", 2)

    async def main():
        fake = FakeBackend()
        for number in range(backend.MAX_HISTORY + 5):
            await fake.infer(generate(str(number)), target(tokens=number + 1))
        return fake

    fake = asyncio.run(main())

    assert {"infer": backend.MAX_HISTORY + 5} == dict(fake.calls)
    assert backend.MAX_HISTORY == len(fake.history)
    assert "5" == fake.history[0].payload.prompt
    assert 2 == len(fake._states)


def test_an_error_keeps_its_class_contract():
    """Scripted errors are the real classes, so routers treat them alike."""
    with pytest.raises(ModelNotFound) as caught:
        infer(generate(), target(fail="ModelNotFound"))

    assert caught.value.elsewhere
