"""A refused body names the field that is wrong by its path, and what is known there."""

import msgspec
import pytest

from router.http.intents import IntentsBody
from router.http.schemas import invalid


def test_a_field_inside_a_dictionary_is_named_with_its_alternatives() -> None:
    """The key itself is not told by the decoder: `[*]` stands for it."""
    body = b'{"name": "x", "intents": {"a": {"examples": ["b"], "foo": 1}}}'
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=IntentsBody)
    refusal = invalid(caught.value, IntentsBody)

    assert "intents[*].foo" == refusal.param
    assert "known: examples, description" in str(refusal)
