"""Subtitles and verbose JSON of a transcript."""

from backends.types import Span, TranscriptOutput
from router.http import transcripts

OUTPUT = TranscriptOutput(
    text=" Near and far. Over & out <now>.",
    language="en",
    segments=(Span(" Near and far.", 0.0, 1.5), Span(" Over & out\n<now>.", 3661.0, None)),
    words=(Span(" Near", 0.0, 0.4), Span(" and", 0.4, None), Span(" far.", 0.7, 1.5)),
)


def test_srt_numbers_its_cues_and_ends_the_last_with_the_recording() -> None:
    """Commas before milliseconds, one line of text a cue."""
    expected = (
        "1\n00:00:00,000 --> 00:00:01,500\nNear and far.\n\n2\n01:01:01,000 --> 01:01:02,250\nOver & out <now>.\n"
    )

    assert expected == transcripts.srt(OUTPUT, 3662.25)


def test_vtt_has_its_head_and_escapes_markup() -> None:
    """A text that looks like a tag stays a text."""
    expected = (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nNear and far.\n\n"
        "01:01:01.000 --> 01:01:01.000\nOver &amp; out &lt;now&gt;.\n"
    )

    assert expected == transcripts.vtt(OUTPUT, None)


def test_nothing_said_is_still_a_file() -> None:
    """Silence has no cues."""
    silence = TranscriptOutput(text="")

    assert "" == transcripts.srt(silence, 4.0)
    assert "WEBVTT\n" == transcripts.vtt(silence, 4.0)
    assert [] == transcripts.verbose(silence, 4.0, ())["segments"]


def test_verbose_carries_what_was_asked_for_and_invents_nothing() -> None:
    """Segments unless only words were asked for; what no decoder told us is null, an unknown end the next start."""
    whole = transcripts.verbose(OUTPUT, 3662.25, ())
    words = transcripts.verbose(OUTPUT, 3662.25, ("word",))
    both = transcripts.verbose(OUTPUT, 3662.25, ("word", "segment"))

    assert ("en", 3662.25, OUTPUT.text) == (whole["language"], whole["duration"], whole["text"])
    assert [(0, 0.0, 1.5), (1, 3661.0, 3662.25)] == [(s["id"], s["start"], s["end"]) for s in whole["segments"]]
    assert whole["segments"][0]["avg_logprob"] is None
    assert [("Near", 0.4), ("and", 0.7), ("far.", 1.5)] == [(w["word"], w["end"]) for w in words["words"]]
    assert "words" not in whole
    assert "segments" not in words
    assert {"words", "segments"} <= set(both)
