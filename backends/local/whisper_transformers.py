"""A Whisper model that torch computes, through transformers: the reference, and for weights that are not converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backends.errors import Unavailable
from backends.local.checkpoint import read_whole
from backends.local.sound import RATE
from backends.local.transcript import Heard
from backends.types import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backends.local.types import Opening

# Radford et al. 2022, section 4.5: a window is decoded again, more freely, when it repeats itself (zlib's ratio; 1.35
# of tokens is 2.4 of text) or is improbable, and left out when it is improbable and probably without speech.
_LONG_FORM = {
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": 1.35,
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
}
_UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")  # languages written without spaces


class TransformersWhisper:
    """A loaded model. Used from its worker's thread only."""

    runtime = "torch"
    stretch_s = 60.0  # it gives its segments at the end of a stretch, and keeps the scores of all tokens until then

    def __init__(self, model: Any, processor: Any, device: str, dtype: str) -> None:
        self.device = device
        self.dtype = dtype
        config = model.generation_config
        self._codes: dict[int, str] = {
            token: code[2:-2] for code, token in (getattr(config, "lang_to_id", None) or {}).items()
        }
        self.languages: tuple[str, ...] = tuple(sorted(self._codes.values())) or ("en",)
        self.tells_word_times = getattr(config, "alignment_heads", None) is not None
        self._model = model
        self._features = processor.feature_extractor
        self._tokenizer = processor.tokenizer
        self._text_tokens = int(config.eos_token_id)  # from here on tokens are marks and times

    def listen(
        self, samples: Any, language: str | None, *, words: bool, check: Callable[[], None]
    ) -> tuple[str, Iterator[Heard]]:
        """The language that is spoken, and what is said. `check` is called for every token.

        Args:
            samples: float32 at 16 kHz.
            language: None to find out.
            words: Whether the time of each word is wanted.
            check: Raises to stop.
        """
        import torch

        # Not filled up to a window: `generate` does that itself, and else would go on in what is beyond the end.
        heard = self._features(
            samples,
            sampling_rate=RATE,
            return_tensors="pt",
            return_attention_mask=True,
            truncation=False,
            padding="longest",
        )
        features = heard["input_features"].to(self.device, self._model.dtype)
        with torch.inference_mode():
            language = language or self._spoken(features)
            generated = self._model.generate(
                features,
                attention_mask=heard["attention_mask"].to(self.device),
                return_timestamps=True,
                return_segments=True,
                return_token_timestamps=words or None,
                stopping_criteria=[_Watch(check)],
                **({"language": language, "task": "transcribe"} if self._codes else {}),
                **_LONG_FORM,
            )
        segments = generated["segments"][0]
        return language, (self._heard(segment, language) for segment in segments)

    def _spoken(self, features: Any) -> str:
        """The language of the first window."""
        if not self._codes:
            return "en"
        import torch

        window = 2 * self._model.config.max_source_positions  # frames of 10 ms, of which the encoder joins two
        filled = torch.nn.functional.pad(features, (0, max(0, window - features.shape[-1])))
        token = int(self._model.detect_language(filled)[0])
        return self._codes[token]

    def _heard(self, segment: Any, language: str) -> Heard:
        tokens: list[int] = segment["tokens"].tolist()
        text: str = self._tokenizer.decode([token for token in tokens if token < self._text_tokens])
        times = segment["token_timestamps"].tolist() if "token_timestamps" in segment else []
        words = tuple(self._words(tokens, times, float(segment["start"]), language))
        return Heard(text, float(segment["start"]), float(segment["end"]), words, len(tokens))

    def _words(self, tokens: list[int], ends_s: list[float], start_s: float, language: str) -> Iterator[Span]:
        """Words and their times; a token has the time of its end. Punctuation belongs to the word before it."""
        word, pending = Span("", start_s, start_s), []
        for token, end_s in zip(tokens, ends_s, strict=False):  # none where times were not asked for
            if token < self._text_tokens:
                pending.append(token)
                text: str = self._tokenizer.decode(pending)
                if "\ufffd" in text:
                    continue  # a part of a character
                fresh = text.startswith(" ") or (language in _UNSPACED and text.isalnum())
                if fresh and word.text.strip():
                    yield word
                    word = Span("", word.end_s or start_s, None)
                word, pending = Span(word.text + text, word.start_s, end_s), []
            elif not word.text:
                word = Span("", end_s, end_s)
        if word.text.strip():
            yield word


class _Watch:
    """A stopping criterion that stops nothing, but lets `check` raise after each token."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def __call__(self, input_ids: Any, _scores: Any, **_: Any) -> Any:
        import torch

        self._check()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def load(opening: Opening) -> TransformersWhisper:
    """Load the model in the directory, from these files only.

    Raises:
        Unavailable: It is no Whisper model, or some of its weights are missing.
    """
    from transformers import AutoConfig, WhisperForConditionalGeneration, WhisperProcessor

    files: dict[str, Any] = {"local_files_only": True}
    kind = AutoConfig.from_pretrained(str(opening.directory), trust_remote_code=False, **files).model_type
    if kind != "whisper":
        raise Unavailable(f"only Whisper models recognise speech here, not those of type '{kind}'")
    processor = WhisperProcessor.from_pretrained(str(opening.directory), **files)
    complaint = "the weights of the Whisper model lack {count} of its tensors, {first} first"
    model = read_whole(WhisperForConditionalGeneration, opening, complaint, **files)
    return TransformersWhisper(model.to(opening.device).eval(), processor, opening.device, opening.dtype)
