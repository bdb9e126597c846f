"""Which answers would come again: only those are kept. Knows payloads, candidates and outcomes, and keeps nothing.

* Vectors, labels and transcripts: always. The model has no dice.
* Text: at temperature 0 or with a seed, and only of a candidate that says it repeats itself. Near ones do: greedy there
  is greedy, and each request draws from a generator of its own. A far side's seed is "best effort" in its own words,
  and its batches change its sums, so its texts are kept only where its entry in the catalogue says `deterministic`.
* Drawings: with a seed, and only where every picture says which seed it was drawn with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.types import DrawingInput, DrawingOutput, GenerationInput

if TYPE_CHECKING:
    from backends.types import Output, Payload
    from router.slate import Candidate


def may_repeat(payload: Payload) -> bool:
    """Whether the same request could have the same answer again, at some candidate or other."""
    if isinstance(payload, GenerationInput):
        return payload.temperature == 0 or payload.seed is not None
    return not isinstance(payload, DrawingInput) or payload.seed is not None


def repeats(payload: Payload, candidate: Candidate, output: Output) -> bool:
    """Whether this candidate would give this answer again."""
    if not may_repeat(payload):
        return False
    if isinstance(payload, GenerationInput):
        return candidate.deterministic
    return not isinstance(output, DrawingOutput) or None not in output.seeds
