"""Embeddings whose far side fails: the near model of the same vector space answers, for one caller and for a crowd."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.faults.asking import client_of
from tests.faults.house import VECTORS, VECTORS_OF_A_CROWD
from tests.faults.scripts import DIMENSIONS
from tests.faults.test_crowds import CALLERS

if TYPE_CHECKING:
    from tests.faults.conftest import House

FAR_FIRST, NEAR_ONLY = {"policy": "remote-first"}, {"backend": "local"}


class Embedded(NamedTuple):
    """What a caller got for a text."""

    vector: list[float]
    headers: dict[str, str]


def embed(faulty: House, model: str, routing: dict[str, str], text: str = "Which vector arrives?") -> Embedded:
    with client_of(faulty.url) as client:
        raw = client.embeddings.with_raw_response.create(model=model, input=text, extra_body={"routing": routing})
    return Embedded(raw.parse().data[0].embedding, dict(raw.headers))


@pytest.mark.parametrize("script", VECTORS)
def test_a_vector_arrives_in_spite_of(faulty: House, script: str) -> None:
    """It is the near model's own, and the log tells that the far one was asked first."""
    model = f"{script}.vectors"
    before = len(faulty.far.asked(model))
    told = embed(faulty, model, FAR_FIRST)
    near = embed(faulty, model, NEAR_ONLY)
    asked = 2 if script == "error" else 1

    assert (DIMENSIONS, "local") == (len(told.vector), told.headers["x-nearfar-backend"])
    assert near.vector == pytest.approx(told.vector, abs=1e-5)
    assert asked == len(faulty.far.asked(model)) - before
    assert [["primary", "remote"], *[["retry", "remote"]] * (asked - 1), ["fallback", "local"]] == faulty.server.sql(
        "select role, backend from attempts "
        f"where decision_id = '{told.headers['x-nearfar-decision-id']}' order by attempt"
    )


def test_a_crowd_is_served_near_and_the_far_side_left_alone(faulty: House) -> None:
    """Every one of 96 callers gets its vector; after the first wave the breaker keeps them from who is in trouble."""
    model, waves = VECTORS_OF_A_CROWD, 3
    before = len(faulty.far.asked(model))
    with ThreadPoolExecutor(CALLERS) as pool:
        told = [
            one
            for wave in range(waves)
            for one in pool.map(lambda n, w=wave: embed(faulty, model, FAR_FIRST, f"{w} {n}"), range(CALLERS))
        ]

    assert [DIMENSIONS] * CALLERS * waves == [len(one.vector) for one in told]
    assert {"local"} == {one.headers["x-nearfar-backend"] for one in told}
    assert len(faulty.far.asked(model)) - before <= CALLERS + 2
