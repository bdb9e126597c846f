"""The size a request will probably have, and the parts its duration is made of, by what is known of a candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.types import Task, Usage
from router.priors import assumed_pixel_steps, prior_parts
from router.slate import Size

if TYPE_CHECKING:
    from router.curves import Curve
    from router.prediction.history import State
    from router.priors import Parts
    from router.slate import Candidate


def sized(candidate: Candidate, state: State, size: Size, tokens: int | None) -> Size:
    """The size with what the request leaves to the model: as this candidate had it before, else as is usual."""
    if size.output_tokens is None and size.images is None:
        return size
    pixel_steps = None
    if candidate.target.task is Task.TEXT_TO_IMAGE:
        usual = state.drawings.get(left_open(size), 1.0)
        pixel_steps = round(assumed_pixel_steps(candidate, size) * usual)
    return Size(
        items=size.items,
        input_tokens=size.input_tokens,
        output_tokens=tokens,
        images=size.images,
        steps=size.steps,
        pixel_steps=pixel_steps,
        audio_s=size.audio_s,
    )


def parts_of(candidate: Candidate, state: State, size: Size) -> Parts:
    """As the prior has them; where a curve was measured, what it says of nothing read, and what reading adds."""
    parts = prior_parts(candidate, size, state.listed)
    if state.curve is None:
        return parts
    return curved(state.curve, parts)


def curved(curve: Curve, parts: Parts) -> Parts:
    """The parts of what was measured at this size. The curve never falls, so none of them is below 0."""
    fixed_s = curve.at(parts[0])
    return fixed_s, curve.at(parts[0] + parts[1] + parts[2]) - fixed_s, 0.0


def first_parts(parts: Parts, size: Size) -> Parts | None:
    """Of the time to the first token: all that comes before, and one token. None for tasks that generate no text."""
    if not size.output_tokens:
        return None
    return parts[0], parts[1], parts[2] / size.output_tokens


def left_open(size: Size) -> str:
    """What a drawing leaves to the model, as a word to keep its usual size by."""
    return f"{'pixels' if size.pixels is None else ''} {'steps' if size.steps is None else ''}"


def expected_usage(size: Size, tokens: int | None, service_s: float) -> Usage:
    """What a request of this size would use: nothing of it cached, and computing all the time it is expected to take.

    Texts and photos generate nothing; how many tokens a recording has, or a drawing is counted as, nobody knows.
    """
    unknown = tokens is None and (size.audio_s is not None or size.pixel_steps is not None)
    return Usage(
        prompt_tokens=size.input_tokens,
        completion_tokens=None if unknown else tokens or 0,
        images=size.images,
        steps=None if size.images is None or size.steps is None else size.images * size.steps,
        pixel_steps=size.pixel_steps,
        audio_s=size.audio_s,
        cached_tokens=0,
        compute_s=service_s,
    )
