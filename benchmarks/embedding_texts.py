"""The texts that embedding benchmarks send: sentences and paragraphs of the standard library's docstrings.

The same on every machine with the same Python, so no data file is needed. Knows no model but by its tokenizer.
"""

from __future__ import annotations

import ast
import random
import re
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT, MEDIUM, LONG = (12, 20), (50, 80), (200, 250)  # tokens, special ones included
MODULES = "[a-t]*.py"  # of the standard library's top folder


class TextSet(NamedTuple):
    """Texts, and how many tokens each has."""

    texts: list[str]
    tokens: list[int]

    @property
    def mean_tokens(self) -> float:
        """Tokens of a text, special ones included."""
        return sum(self.tokens) / len(self.tokens)


def text_sets(model: Path, short: int, mixed: int) -> dict[str, TextSet]:
    """`short`: so many sentences; `mixed`: so many texts, in turn short, medium and long.

    Raises:
        ValueError: There are not so many.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    each = -(-mixed // 3)
    found = {}
    for span, wanted in ((SHORT, max(short, each)), (MEDIUM, each), (LONG, each)):
        measured = ((text, len(tokenizer.encode(text).ids)) for text in _candidates(span))
        fitting = [(text, tokens) for text, tokens in measured if span[0] <= tokens <= span[1]]
        if len(fitting) < wanted:
            raise ValueError(f"{len(fitting)} texts of {span[0]} to {span[1]} tokens were found, {wanted} are needed")
        found[span] = random.Random(0).sample(fitting, wanted)
    triples = zip(*(found[span][:each] for span in (SHORT, MEDIUM, LONG)), strict=True)
    turns = [pair for triple in triples for pair in triple]
    return {"short": _set(found[SHORT][:short]), "mixed": _set(turns[:mixed])}


def _set(pairs: list[tuple[str, int]]) -> TextSet:
    return TextSet([text for text, _ in pairs], [tokens for _, tokens in pairs])


def _candidates(span: tuple[int, int]) -> list[str]:
    """Sentences for the short ones, paragraphs for the medium ones, and neighbouring paragraphs joined for the long."""
    least = span[0] * 3  # characters a token, at least
    pieces: dict[str, None] = {}
    for docstring in _docstrings():
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", docstring)]
        if span == SHORT:
            parts = [sentence for part in paragraphs for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z])", part)]
        elif span == MEDIUM:
            parts = paragraphs
        else:
            parts = [" ".join(paragraphs[i:j]) for i in range(len(paragraphs)) for j in range(i + 1, i + 6)][:4]
        pieces.update(dict.fromkeys(part for part in parts if least <= len(part) <= span[1] * 8))
    return list(pieces)


def _docstrings() -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob(MODULES)):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8", errors="replace"))):
            if isinstance(node, documented) and (docstring := ast.get_docstring(node)):
                yield docstring
