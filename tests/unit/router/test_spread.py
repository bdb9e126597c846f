"""Quantiles that keep their word: on any process, in any order, and never crossed."""

import math
import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.types import Quantiles
from router.prediction.spread import GAINS, TAILS, WINDOW, Spread

scores = st.lists(st.floats(-30, 30), max_size=60)


def promised(spread: Spread) -> Quantiles:
    return Quantiles(*map(math.exp, spread.offsets()))


def told(spread: Spread, draws, skip: int = 50) -> list[float]:
    """How often the median, p90, p95 and p99 held, from the `skip`th on."""
    held, count = [0, 0, 0, 0], 0
    for number, score in enumerate(draws):
        limits, seconds = promised(spread), math.exp(score)
        if number >= skip:
            count += 1
            for index, name in enumerate(("p50_s", "p90_s", "p95_s", "p99_s")):
                held[index] += seconds <= getattr(limits, name)
        spread.observe(score, seconds, limits)
    return [each / count for each in held]


def bimodal(dice: random.Random) -> float:
    return dice.gauss(0, 0.2) + (math.log(5) if dice.random() < 0.25 else 0.0)


def heavy(dice: random.Random) -> float:
    return dice.gauss(0, 0.2) + (dice.expovariate(1.2) if dice.random() < 0.1 else 0.0)


@pytest.mark.parametrize("process", [bimodal, heavy])
@pytest.mark.parametrize("seed", range(3))
def test_quantiles_cover_what_they_promise(process, seed) -> None:
    """Where noise is not normal by far."""
    dice = random.Random(seed)
    half, ninety, ninety_five, ninety_nine = told(Spread(), (process(dice) for _ in range(1500)))

    assert pytest.approx(0.5, abs=0.05) == half
    assert pytest.approx(0.9, abs=0.02) == ninety
    assert 0.93 <= ninety_five <= 0.97
    assert 0.98 <= ninety_nine <= 1.0


def test_quantiles_cover_while_the_noise_grows() -> None:
    """From a tenth to a whole, within a thousand observations."""
    dice = random.Random(4)
    _, _, ninety_five, _ = told(Spread(), (dice.gauss(0, 0.1 + 0.9 * n / 1000) for n in range(1000)))

    assert 0.93 <= ninety_five <= 0.97


def test_quantiles_cover_a_process_that_jumps_to_and_fro() -> None:
    """Whatever comes, the share of misses tends to what was promised (Gibbs and Candes, proposition 4.1)."""
    dice = random.Random(6)
    jumping = (dice.gauss(1.5 if number // 100 % 2 else 0.0, 0.2) for number in range(4000))
    _, ninety, ninety_five, _ = told(Spread(), jumping)

    assert pytest.approx(0.9, abs=0.02) == ninety
    assert 0.93 <= ninety_five <= 0.97


@given(scores, st.lists(st.booleans(), max_size=60))
def test_quantiles_never_cross_and_are_finite(seen, outlasted) -> None:
    """Whatever was seen, in whatever order, exactly or as a bound."""
    spread = Spread()
    for score, censored in zip(seen, [*outlasted, *[False] * len(seen)], strict=False):
        limits = promised(spread)
        (spread.outlasted if censored else spread.observe)(score, math.exp(score), limits)
        offsets = spread.offsets()
        assert all(a <= b for a, b in pairwise(offsets))
        assert all(math.isfinite(offset) for offset in offsets)
        assert all(-0.5 <= tail <= 0.5 for tail in spread.tails)


def test_what_is_kept_is_bounded() -> None:
    """The oldest score goes for the newest."""
    spread = Spread()
    for number in range(WINDOW + 5):
        spread.observe(float(number), 1.0, None)

    assert (WINDOW, 5.0) == (len(spread.scores), spread.scores[0])
    assert list(TAILS) == spread.tails  # nothing was promised, so nothing was judged


def test_a_level_follows_its_word() -> None:
    """A miss lowers what is left above by nearly the gain, and what held raises it by a little."""
    spread, limits = Spread(), Quantiles(1.0, 2.0, 3.0, 4.0)
    spread.judge(3.5, limits)

    moved = [tail - then for tail, then in zip(spread.tails, TAILS, strict=True)]
    expected = [GAINS[0] * (0.1 - 1), GAINS[1] * (0.05 - 1), GAINS[2] * 0.01]
    assert pytest.approx(expected) == moved
    assert (1, 0) == (spread.told, spread.kept)


def test_what_was_cut_short_does_not_make_the_rest_look_fast() -> None:
    """Leaving out time-outs would: every one above a limit is missing then. As bounds they leave p95 where it was."""
    dice = random.Random(5)
    draws = [dice.gauss(0, 0.5) for _ in range(2000)]
    limit = 0.6  # cuts off one in nine
    whole, bounded, dropped = Spread(), Spread(), Spread()
    for score in draws:
        whole.observe(score, math.exp(score), None)
        if score > limit:
            bounded.outlasted(limit, math.exp(limit), None)
        else:
            bounded.observe(score, math.exp(score), None)
            dropped.observe(score, math.exp(score), None)
    p80 = [sorted(each.scores)[int(0.8 * len(each.scores))] for each in (whole, bounded, dropped)]

    assert pytest.approx(p80[0], abs=0.08) == p80[1]
    assert p80[2] < p80[1]


def test_what_was_left_early_says_nothing() -> None:
    """A caller who goes away at once would else narrow everything."""
    spread = Spread()
    for score in (-1.0, 0.0, 1.0, 2.0):
        spread.observe(score, math.exp(score), None)
    before = list(spread.scores)
    spread.outlasted(-3.0, math.exp(-3.0), promised(spread))

    assert (before, 0, list(TAILS)) == (spread.scores, spread.told, spread.tails)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_in_order_is_what_was_seen(seed) -> None:
    """However it came about, it says what a spread says that begins with these scores, and keeps nothing else."""
    dice, spread = random.Random(seed), Spread()
    for number in range(3 * WINDOW):
        score, event = dice.gauss(0, 1), dice.random()
        if event < 0.9:
            spread.observe(score, math.exp(score), None)
        elif event < 0.99:
            spread.outlasted(score, math.exp(score), None)
        else:
            spread.moved(score, min(7, len(spread.scores)))
        if number % 10 == 0:
            kept = msgspec.json.decode(msgspec.json.encode(spread), type=Spread)
            assert (kept.offsets(), kept) == (spread.offsets(), spread)

    assert {"scores", "tails", "seen", "told", "kept"} == set(msgspec.to_builtins(spread))
