"""Texts to token ids, by the model's own fast tokenizer; measures lengths and cuts only where that is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from backends.errors import ContextLengthExceeded, InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NO_LIMIT = 1_000_000  # tokenizers without a limit state one astronomically large


class Tokens:
    """A model's tokenizer. Used from one thread at a time.

    Attributes:
        limit: Tokens the model reads of a text, special ones included; None when it says nothing.
    """

    def __init__(self, directory: Path) -> None:
        """Read the tokenizer and the limits in `directory`.

        Raises:
            Unavailable: There is no fast tokenizer.
        """
        from tokenizers import Tokenizer

        file = directory / "tokenizer.json"
        if not file.is_file():
            raise Unavailable("the model has no tokenizer.json")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._prefix = _prompt(directory)
        self.limit = _limit(directory)

    def ids(self, texts: Sequence[str], *, truncate: bool) -> list[list[int]]:
        """Token ids of each text, special tokens included, at most `limit` of them.

        Raises:
            ContextLengthExceeded: A text is longer and `truncate` is off; names its index, its length and the limit.
        """
        encoded = self._tokenizer.encode_batch_fast([self._prefix + text for text in texts])
        return [self._cut(index, row.ids, truncate=truncate) for index, row in enumerate(encoded)]

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """What token ids say, without special tokens: the model's own are put around it again when it is read.

        Raises:
            InvalidInput: An id is none of the model's, or a row says nothing.
        """
        known = self._tokenizer.get_vocab_size(with_added_tokens=True)
        for index, row in enumerate(rows):
            if (largest := max(row, default=0)) >= known:
                said = f"input {index} has the token id {largest}; this model's own ids are below {known}"
                raise InvalidInput(f"{said}: ids of another model's tokenizer mean other words, send text instead")
        texts: list[str] = self._tokenizer.decode_batch([list(row) for row in rows], skip_special_tokens=True)
        if empty := [index for index, text in enumerate(texts) if not text.strip()]:
            raise InvalidInput(f"input {empty[0]}: its token ids say nothing")
        return texts

    def _cut(self, index: int, ids: list[int], *, truncate: bool) -> list[int]:
        limit = self.limit
        if limit is None or len(ids) <= limit:
            return ids
        if not truncate:
            raise ContextLengthExceeded(f"text {index} has {len(ids)} tokens; the model reads {limit}")
        ending = (
            self._tokenizer.num_special_tokens_to_add(is_pair=False) - 1
        )  # all but the one in front stand at the end
        return ids[: limit - ending] + ids[len(ids) - ending :] if ending > 0 else ids[:limit]


def _limit(directory: Path) -> int | None:
    """What sentence-transformers would read: its own setting, else the tokenizer's, else the positions there are."""
    positions = _json(directory / "config.json").get("max_position_embeddings")
    own = _json(directory / "sentence_bert_config.json").get("max_seq_length")
    tokenizer = _json(directory / "tokenizer_config.json").get("model_max_length")
    limits = [limit for limit in (positions, own or tokenizer) if isinstance(limit, int) and limit < _NO_LIMIT]
    return min(limits, default=None)


def _prompt(directory: Path) -> str:
    """The words a model wants in front of every text, when it names a default."""
    settings = _json(directory / "config_sentence_transformers.json")
    name = settings.get("default_prompt_name")
    return str((settings.get("prompts") or {}).get(name, "")) if name else ""


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read
