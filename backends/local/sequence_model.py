"""A loaded classifier of token sequences: texts to token ids, token ids to logits. Knows no task and no request."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from backends.local.checkpoint import read_whole
from backends.local.encoders.batches import BUDGET, RATIO, padded, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.local.types import Opening

_GPU_BUDGET = 16_384  # padded tokens of a batch on a GPU, which wants more at once than a processor's caches hold
_NO_LIMIT = 1_000_000  # tokenizers without a limit state one astronomically large


class Tokens(NamedTuple):
    """A text's or a pair's token ids, special ones included, and which of the two each is of, where a model asks."""

    ids: list[int]
    types: list[int] | None


class SequenceModel:
    """A model and its tokenizer. Used from its worker's thread only.

    Attributes:
        labels: What its logits stand for.
        problem: `regression`, `multi_label_classification` or `single_label_classification`; None says nothing.
        entailment, contradiction: Which logits say that one text follows from another, and that it does not.
        limit: Tokens it reads, special ones included; None when it says nothing.
    """

    runtime = "torch"

    def __init__(self, model: Any, tokenizer: Any, device: str, dtype: str) -> None:
        config = model.config
        self.device = device
        self.dtype = dtype
        self.labels: tuple[str, ...] = tuple(str(config.id2label[at]) for at in range(config.num_labels))
        self.problem: str | None = config.problem_type
        self.entailment = _starting(self.labels, "entail")
        self.contradiction = _contradiction(self.labels, self.entailment)
        self.limit = _limit(model, tokenizer)
        self._model = model
        self._tokenizer = tokenizer
        self._filler: int | None = config.get_text_config().pad_token_id
        self._end: int | None = config.eos_token_id if config.is_encoder_decoder else None
        # A model that wants its padding on the left is given none: which tokens it then takes for the last differs.
        self._ratio = RATIO if tokenizer.padding_side == "right" else 1.0
        self._budget = _GPU_BUDGET if device.startswith("cuda") else BUDGET
        takes_cache = "use_cache" in inspect.signature(model.forward).parameters
        self._settings = {"use_cache": False} if takes_cache else {}

    def tokens(self, texts: Sequence[str], pairs: Sequence[str] | None = None, **cut: Any) -> list[Tokens]:
        """Token ids of texts, or of texts with what is paired with each, as long as they are unless `cut` says."""
        if not texts:
            return []
        options = {"truncation": False, "padding": False, "return_attention_mask": False, "verbose": False, **cut}
        encoded = self._tokenizer(list(texts), None if pairs is None else list(pairs), **options)
        types = encoded.get("token_type_ids") or [None] * len(texts)
        return [Tokens(ids, of) for ids, of in zip(encoded["input_ids"], types, strict=True)]

    def is_too_long(self, tokens: Tokens) -> bool:
        """True when the model cannot read it whole."""
        return self.limit is not None and len(tokens.ids) > self.limit

    def cut(self, text: str, pair: str | None = None) -> Tokens:
        """As much of the text as the model reads; of what is paired with it nothing is lost."""
        side = "longest_first" if pair is None else "only_first"
        pairs = None if pair is None else [pair]
        return self.tokens([text], pairs, truncation=side, max_length=self.limit)[0]

    def logits(self, sequences: Sequence[Tokens]) -> list[list[float]]:
        """One row a sequence, one column a label, in the order of `sequences`."""
        import torch

        if not sequences:
            return []
        batches = self._batches(sequences)
        with torch.inference_mode():
            rows = [self._forward([sequences[at] for at in batch]) for batch in batches]
            gathered = torch.cat(rows).to("cpu", torch.float32).tolist()
        placed = dict(zip((at for batch in batches for at in batch), gathered, strict=True))
        return [placed[at] for at in range(len(sequences))]

    def _batches(self, sequences: Sequence[Tokens]) -> list[list[int]]:
        """Of like length. Encoder-decoders read at the last end token, and want as many of them in each row."""
        if self._filler is None:
            return [[at] for at in range(len(sequences))]
        groups: dict[int, list[int]] = {}
        for at, sequence in enumerate(sequences):
            ends = 0 if self._end is None else sequence.ids.count(self._end)
            groups.setdefault(ends, []).append(at)
        return [
            [group[at] for at in batch]
            for group in groups.values()
            for batch in plan([len(sequences[at].ids) for at in group], self._budget, self._ratio)
        ]

    def _forward(self, batch: list[Tokens]) -> Any:
        ids, mask = padded([sequence.ids for sequence in batch], self._filler or 0)
        inputs = {"input_ids": self._moved(ids), "attention_mask": self._moved(mask)}
        types = [sequence.types for sequence in batch if sequence.types is not None]
        if types:
            inputs["token_type_ids"] = self._moved(padded(types, self._tokenizer.pad_token_type_id)[0])
        return self._model(**inputs, **self._settings).logits

    def _moved(self, array: Any) -> Any:
        """On the device; to a GPU from pinned memory, so that the copy waits for nothing."""
        import torch

        tensor = torch.from_numpy(array)
        if not self.device.startswith("cuda"):
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)


def load(opening: Opening) -> SequenceModel:
    """Load the classifier in `opening.directory`, from these files only.

    Raises:
        Unavailable: The files lack some of the model's weights, which transformers would fill with random ones.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    files: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(str(opening.directory), **files)
    complaint = "these weights are of no text classifier: {count} are missing, {first} first"
    model = read_whole(AutoModelForSequenceClassification, opening, complaint, **files)
    return SequenceModel(model.to(opening.device).eval(), tokenizer, opening.device, opening.dtype)


def _starting(labels: Sequence[str], beginning: str) -> int | None:
    return next((at for at, label in enumerate(labels) if label.lower().startswith(beginning)), None)


def _contradiction(labels: Sequence[str], entailment: int | None) -> int:
    """The label of that name; else, as transformers has it, the first label, or the last where that is entailment."""
    named = _starting(labels, "contra")
    return named if named is not None else -1 if entailment == 0 else 0


def _limit(model: Any, tokenizer: Any) -> int | None:
    """What the tokenizer says, and no more than there are positions.

    Models after RoBERTa begin to count positions behind the number of their padding token, so fewer are left than their
    configuration says.
    """
    positions = getattr(model.config, "max_position_embeddings", None) or 0
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions = module.num_embeddings - module.padding_idx - 1
    limits = [limit for limit in (tokenizer.model_max_length, positions) if 0 < limit < _NO_LIMIT]
    return min(limits, default=None)
