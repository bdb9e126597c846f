"""automatic-speech-recognition with a model that says what it is told, and on a tiny random Whisper."""

from __future__ import annotations

import sys
import threading

import pytest

from backends.errors import InvalidInput, Unavailable
from backends.local import automatic_speech_recognition as task
from backends.local import sound, whisper_ctranslate2
from backends.local.transcript import Heard
from backends.local.types import Cancelled, Control, Opening
from backends.types import Delta, Span, SpeechInput
from tests.unit.backends.local.recordings import encode, silence, tone

np = pytest.importorskip("numpy")
pytest.importorskip("av")


class Scripted:
    """Says the same segments of every stretch, and remembers what it was asked."""

    device, dtype, runtime = "cpu", "int8", "scripted"

    def __init__(self, *segments, languages=("en",), stretch_s=40.0, tells_word_times=True):
        self.segments = segments
        self.languages = languages
        self.stretch_s = stretch_s
        self.tells_word_times = tells_word_times
        self.asked = []
        self.given = 0

    def listen(self, samples, language, *, words, check):
        self.asked.append((len(samples) / sound.RATE, language, words))

        def said():
            for segment in self.segments:
                check()
                self.given += 1
                yield segment

        return language or self.languages[0], said()


def heard(text, start_s, end_s, *words):
    return Heard(text, start_s, end_s, words, tokens=len(text.split()))


def transcribe(model, samples, control=None, **options):
    """The answer, and the pieces that were given out meanwhile."""
    pieces = []
    payload = SpeechInput(audio=encode(samples, "wav"), **options)
    units = task.pre(model, payload)
    results = task.core(model, [unit.content for unit in units], control or Control(threading.Event(), pieces.append))
    return task.post(model, payload, units, results), pieces


def test_a_transcript_is_as_sure_as_its_tokens_are_probable():
    """The geometric mean over the tokens that are written down; None where a segment tells nothing."""
    sure = Heard(" Hello there.", 0.5, 1.5, (), tokens=3, likelihood=0.9)
    unsure = Heard(" General.", 1.5, 2.5, (), tokens=1, likelihood=0.4)
    told, _ = transcribe(Scripted(sure, unsure), tone(3))
    untold, _ = transcribe(Scripted(sure, heard(" General.", 1.5, 2.5)), tone(3))

    assert told.output.confidence == pytest.approx((0.9**3 * 0.4) ** 0.25)
    assert None is untold.output.confidence


def test_each_segment_is_given_out_and_all_are_the_text():
    """Only the text's first space goes, so the pieces join to it."""
    model = Scripted(heard(" Hello there.", 0, 2), heard(" General", 2, 3), heard(" Kenobi.", 3, 4))
    answer, pieces = transcribe(model, tone(5))

    assert [Delta("Hello there."), Delta(" General"), Delta(" Kenobi.")] == pieces
    assert "Hello there. General Kenobi." == answer.output.text
    assert ("Hello there.", "General", "Kenobi.") == tuple(span.text for span in answer.output.segments)
    assert (5.0, 4) == (answer.usage.audio_s, answer.usage.completion_tokens)


def test_a_language_without_spaces_gets_none():
    """Whisper writes none before its segments either."""
    answer, _ = transcribe(Scripted(heard("你好", 0, 1), heard("世界", 1, 2), languages=("zh",)), tone(3))

    assert ("你好世界", "zh") == (answer.output.text, answer.output.language)


def test_a_long_sound_is_listened_to_in_stretches():
    """Times count from the start of the whole; the language of the first stretch is told to the others."""
    model = Scripted(heard(" now", 1, 2, Span("now", 1, 2)), languages=("de", "en"))
    long = np.concatenate([part for _ in range(3) for part in (tone(38), silence(1))])
    answer, _ = transcribe(model, long, timestamps="word")

    starts = [start for start, _ in sound.stretches(sound.Sound(long), 40)]
    assert 3 == len(starts)
    assert [None, "de", "de"] == [language for _, language, _ in model.asked]
    assert {True} == {words for *_, words in model.asked}
    assert [pytest.approx(start + 1) for start in starts] == [span.start_s for span in answer.output.segments]
    assert answer.output.segments == answer.output.words
    assert "now now now" == answer.output.text


def test_words_where_nothing_sounds_are_left_out():
    """Whisper hears `you` in silence, and goes on after the end; what it says where something sounds stays."""
    model = Scripted(
        heard(" you", 0, 2), heard(" Hello.", 2.5, 4), heard(" Thank you.", 4, 6), heard(" Bye", 6, 9), heard(" ", 3, 4)
    )
    answer, pieces = transcribe(model, np.concatenate([silence(2), tone(2), silence(2)]))

    assert ("Hello.", (Span("Hello.", 2.5, 4.0),)) == (answer.output.text, answer.output.segments)
    assert [Delta("Hello.")] == pieces


def test_times_stay_within_the_sound():
    """A window is 30 seconds long whatever the sound's length is."""
    (span,) = transcribe(Scripted(heard(" Hello", 1, 30)), tone(3))[0].output.segments

    assert (1.0, 3.0) == (span.start_s, span.end_s)


def test_silence_is_an_empty_text():
    """No segment, no piece, but seconds of sound all the same."""
    answer, pieces = transcribe(Scripted(), silence(3))

    assert ("", (), (), 3.0) == (answer.output.text, answer.output.segments, answer.output.words, answer.usage.audio_s)
    assert [] == pieces


def test_who_has_gone_is_not_written_for():
    """After the first piece the listener goes: the second is not asked for."""
    cancelled = threading.Event()
    model = Scripted(heard(" one", 0, 1), heard(" two", 1, 2), heard(" three", 2, 3))
    with pytest.raises(Cancelled):
        transcribe(model, tone(4), Control(cancelled, lambda piece: cancelled.set()))

    assert 1 == model.given


def test_an_english_model_knows_english_only():
    """It says so, and what was asked."""
    model = Scripted(heard(" Hi", 0, 1))

    assert "en" == transcribe(model, tone(1), language="en")[0].output.language
    with pytest.raises(InvalidInput, match=r"knows English \(en\) only, not 'de'"):
        transcribe(model, tone(1), language="de")


@pytest.mark.parametrize("language", ["xx", "EN", "en-US", "german", ""])
def test_an_unknown_language_is_refused_with_some_that_are_known(language):
    """Of as many as there are."""
    model = Scripted(languages=("de", "en", "ja", "yue"))
    with pytest.raises(InvalidInput, match=rf"no language '{language}', but 4 others, such as en, de, ja$"):
        transcribe(model, tone(1), language=language)


def test_word_times_need_a_model_that_tells_them():
    """Otherwise those of segments are named."""
    with pytest.raises(InvalidInput, match="ask for those of segments"):
        transcribe(Scripted(tells_word_times=False), tone(1), timestamps="word")


def test_warm_ups_are_sounds_of_two_sizes():
    """Smallest first; the larger one fills more than a window."""
    seconds = [unit.content.sound.seconds for warm_up in task.TASK.warm_ups for unit in task.pre(Scripted(), warm_up)]

    assert [1.0, 31.0] == seconds


# --- loading ------------------------------------------------------------------------------------


def opening(directory):
    return Opening(directory=directory, device="cpu", dtype="float32", threads=1, cache_dir=directory)


def converted(directory, **files):
    """What looks like a model of CTranslate2."""
    for name in ("model.bin", "vocabulary.txt", "tokenizer.json", "config.json"):
        directory.joinpath(name).write_bytes(files.get(name.partition(".")[0], b"{}"))
    return directory


@pytest.mark.parametrize(
    "weights", [b"", b"\x06\0\0\0\x0c\0WhisperSpec\0", b"PK\x03\x04" + bytes(100), b"\x80\x04}q\0."]
)
def test_damaged_weights_of_ctranslate2_are_refused(tmp_path, weights):
    """Empty, cut short, and what torch would unpickle."""
    pytest.importorskip("faster_whisper")
    with pytest.raises(Unavailable, match="damaged or incomplete"):
        task.load(opening(converted(tmp_path, model=weights)))


def test_a_missing_tokenizer_is_not_looked_for_elsewhere(tmp_path):
    """The library would ask the hub."""
    pytest.importorskip("faster_whisper")
    converted(tmp_path).joinpath("tokenizer.json").unlink()

    with pytest.raises(Unavailable, match=r"tokenizer\.json is missing"):
        task.load(opening(tmp_path))


def test_without_faster_whisper_the_extra_is_named(tmp_path, monkeypatch):
    """For the models that need it."""
    monkeypatch.setitem(sys.modules, "faster_whisper", None)

    with pytest.raises(Unavailable, match=r"pip install 'nearfar\[speech\]'"):
        task.load(opening(converted(tmp_path)))
    assert whisper_ctranslate2.made_for(tmp_path)


def test_other_speech_models_are_refused(tmp_path):
    """By their configuration, before any weight is read."""
    transformers = pytest.importorskip("transformers")
    transformers.Wav2Vec2Config().save_pretrained(tmp_path)

    with pytest.raises(Unavailable, match="only Whisper models recognise speech here, not those of type 'wav2vec2'"):
        task.load(opening(tmp_path))


# --- transformers -------------------------------------------------------------------------------

MARKS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
)
MORE_MARKS = ("<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A Whisper of one layer and one token a byte that knows English and German, and writes nonsense."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    directory = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two that wait for each other are slower on two busy cores
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = transformers.WhisperTokenizer(
        vocab={byte: at for at, byte in enumerate(alphabet)} | {MARKS[0]: 256}, merges=[]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [*MARKS[1:], *MORE_MARKS]})
    tokenizer.add_tokens([f"<|{at * 0.02:.2f}|>" for at in range(1501)])
    numbers = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in (*MARKS, *MORE_MARKS)}
    ends = dict.fromkeys(("eos_token_id", "pad_token_id", "bos_token_id"), 256)
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, decoder_start_token_id=257, **ends,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=257, max_length=12, is_multilingual=True, alignment_heads=[[0, 0], [0, 1]],
        no_timestamps_token_id=numbers["<|notimestamps|>"], prev_sot_token_id=numbers["<|startofprev|>"],
        lang_to_id={mark: numbers[mark] for mark in ("<|en|>", "<|de|>")}, max_initial_timestamp_index=50,
        task_to_id={name: numbers[f"<|{name}|>"] for name in ("translate", "transcribe")}, **ends,
    )  # fmt: skip
    model.save_pretrained(directory)
    transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer).save_pretrained(directory)
    return task.load(opening(directory))


def test_a_transformers_directory_is_computed_by_torch(tiny):
    """With the languages that its marks name."""
    assert ("torch", "cpu", "float32") == (tiny.runtime, tiny.device, tiny.dtype)
    assert ("de", "en") == tiny.languages


def test_the_language_is_found_out_or_taken(tiny):
    """One of its own in either case."""
    found = transcribe(tiny, tone(1))[0].output.language
    told = transcribe(tiny, tone(1), language="de")[0].output.language

    assert ("de", True) == (told, found in tiny.languages)


def test_word_times_never_run_backwards(tiny):
    """Each word ends after it began, and lies in its sound."""
    words = transcribe(tiny, tone(4), timestamps="word", language="en")[0].output.words
    starts = [word.start_s for word in words]

    assert starts == sorted(starts)
    assert all(0 <= word.start_s <= word.end_s <= 4 and word.text for word in words)


def test_torch_stops_within_a_token(tiny):
    """The sign is looked at after each, not after each window."""
    looks = []

    def check():
        looks.append(1)
        if len(looks) == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        tiny.listen(np.zeros(16_000 * 3, np.float32), "en", words=False, check=check)
    assert 5 == len(looks)


def test_words_are_made_of_tokens(tiny):
    """A token has the time of its end; a character may take several, and punctuation stays with its word."""
    text = " Grüße, du"
    tokens = tiny._tokenizer(text, add_special_tokens=False)["input_ids"]
    ends = [number / 10 for number in range(1, len(tokens) + 1)]
    words = list(tiny._words(tokens, ends, 0.0, "de"))

    assert ["Grüße,", "du"] == [word.text.strip() for word in words]
    assert (0.0, 0.9, 0.9, 1.2) == tuple(time for word in words for time in (word.start_s, word.end_s))
    assert [] == list(tiny._words(tokens, [], 0.0, "de"))


def test_words_of_a_language_without_spaces_are_its_characters(tiny):
    """As other tools count them; punctuation still belongs to the one before."""
    tokens = tiny._tokenizer("你好。", add_special_tokens=False)["input_ids"]

    assert ["你", "好。"] == [word.text for word in tiny._words(tokens, [1.0] * len(tokens), 0.0, "zh")]
