"""Transcripts in both protocols: what is sent, and every known way to answer."""

import base64

import pytest

from backends.errors import InvalidInput, RemoteError
from backends.remote.call import Call
from backends.remote.transcripts_wire import hub_call, openai_call, parse_hub, parse_openai, usage_for
from backends.types import Span, SpeechInput, TranscriptOutput, Usage
from tests.unit.backends.remote.test_call import parsed
from tests.unit.backends.test_media import wav

SOUND = wav(1.5)
PLAIN = SpeechInput(audio=SOUND)
WORDS = SpeechInput(audio=SOUND, timestamps="word", language="de")
OGG = SpeechInput(audio=b"OggS" + bytes(20))


def test_the_hub_gets_the_raw_recording_with_its_own_type():
    """Or base64, where parameters go with it."""
    call = hub_call(WORDS, "org/m")

    assert Call("/models/m", SOUND, content_type="audio/wav") == hub_call(PLAIN, "m")
    assert "audio/ogg" == hub_call(OGG, "m").content_type
    assert {"return_timestamps": "word", "generation_parameters": {"language": "de"}} == call.body["parameters"]
    assert base64.b64decode(call.body["inputs"]) == SOUND


def test_openai_gets_a_form():
    """The name of the file tells its type; granularities may come twice."""
    fields, files = parsed(openai_call(WORDS, "org/m"))

    assert [("audio.wav", SOUND)] == files
    expected = {
        "model": [b"org/m"],
        "response_format": [b"verbose_json"],
        "timestamp_granularities[]": [b"segment", b"word"],
        "language": [b"de"],
    }
    assert expected == fields
    assert {"model", "response_format"} == parsed(openai_call(PLAIN, "m"))[0].keys()


@pytest.mark.parametrize("audio", [b"", b"no sound at all", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_recording_is_not_sent(audio):
    """It would be paid for."""
    for call in (hub_call, openai_call):
        with pytest.raises(InvalidInput, match="known audio format"):
            call(SpeechInput(audio=audio), "m")


def test_the_hubs_chunks_are_segments_or_words_as_asked():
    """An end that is open stays open; without chunks there are no times."""
    answer = {
        "text": " a b ",
        "chunks": [{"text": " a", "timestamp": [0, 0.5]}, {"text": " b", "timestamp": [0.5, None]}],
    }
    spans = (Span("a", 0.0, 0.5), Span("b", 0.5, None))

    assert TranscriptOutput(text="a b", segments=spans) == parse_hub(answer, PLAIN)
    assert TranscriptOutput(text="a b", language="de", words=spans) == parse_hub(answer, WORDS)
    assert TranscriptOutput(text="") == parse_hub({"text": ""}, PLAIN)


def test_openais_segments_and_words_are_read():
    """Words only where they were asked for; the language's English name becomes its code."""
    answer = {
        "text": "ja nein",
        "language": "German",
        "duration": 1.5,
        "segments": [{"id": 0, "start": 0, "end": 1.5, "text": " ja nein", "tokens": [1]}],
        "words": [{"word": "ja", "start": 0.0, "end": 0.5}, {"word": "nein", "start": 0.5, "end": 1.5}],
    }
    segments = (Span("ja nein", 0.0, 1.5),)
    words = (Span("ja", 0.0, 0.5), Span("nein", 0.5, 1.5))

    assert TranscriptOutput(text="ja nein", language="de", segments=segments) == parse_openai(answer, PLAIN)
    assert words == parse_openai(answer, WORDS).words
    assert TranscriptOutput(text="x") == parse_openai({"text": "x"}, PLAIN)


@pytest.mark.parametrize(
    ("said", "code"), [("english", "en"), ("EN", "en"), (None, None), ("", None), ("klingon", None), ("e1", None)]
)
def test_a_language_is_a_code_or_unknown(said, code):
    """What is not known is not guessed."""
    assert code == parse_openai({"text": "x", "language": said}, PLAIN).language


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"error": "x"},
        {"text": None},
        {"text": "a", "segments": [{"text": "a"}]},
        {"text": "a", "segments": [{"text": "a", "start": -1.0}]},
        {"text": "a", "segments": [{"text": "a", "start": 0.0, "end": float("nan")}]},
        {"text": "a", "segments": [{"text": "a", "start": float("inf")}]},
    ],
)
def test_other_shapes_are_refused(answer):
    """A surprise is an error of the far side, not of ours."""
    with pytest.raises(RemoteError):
        parse_openai(answer, PLAIN)


@pytest.mark.parametrize(
    "chunk", [{"text": "a"}, {"text": "a", "timestamp": [0.0]}, {"text": "a", "timestamp": [-1, 1]}]
)
def test_other_chunks_are_refused(chunk):
    """Also times before the beginning."""
    with pytest.raises(RemoteError):
        parse_hub({"text": "a", "chunks": [chunk]}, PLAIN)


@pytest.mark.parametrize(
    ("answer", "audio_s"),
    [
        ({"text": "x", "duration": 9.5}, 9.5),
        ({"text": "x", "duration": "9.5"}, 9.5),
        ({"text": "x", "duration": 9.5, "usage": {"type": "duration", "seconds": 9}}, 9.0),
        ({"text": "x"}, None),
        ({"text": "x", "duration": 0}, None),
        ({"text": "x", "duration": -1}, None),
        ({"text": "x", "duration": float("nan")}, None),
        ({"text": "x", "duration": 1e12}, None),
        ({"text": "x", "duration": True}, None),
        ({"text": "x", "duration": "long"}, None),
        ([], None),
    ],
)
def test_a_length_is_believed_only_where_the_recording_does_not_say_its_own(answer, audio_s):
    """A WAV's header does; for the rest the far side's word counts, as far as it can be true. Unknown is not 0."""
    assert audio_s == usage_for(answer, OGG).audio_s
    assert 1.5 == usage_for(answer, PLAIN).audio_s


def test_tokens_and_prices_of_a_transcript_are_read():
    """Some servers bill by the token, and some say what it cost."""
    said = {"text": "x", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.25}}

    raw = '{"completion_tokens":2,"cost":0.25,"prompt_tokens":3}'
    expected = Usage(prompt_tokens=3, completion_tokens=2, audio_s=1.5, declared_cost_usd=0.25, raw=raw)
    assert expected == usage_for(said, PLAIN)
