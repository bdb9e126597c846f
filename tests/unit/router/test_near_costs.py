"""What near attempts cost on each basis: never negative, more for more, and no energy that no meter has counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.energy import Meters
from backends.hardware import Gpu, Probe
from backends.types import Target, Task
from router.energy_shares import Energy
from router.near_costs import NearCosts
from router.pricing import CPU_WATTS_PER_CORE, ELECTRICITY_USD_PER_KWH, LocalRates, local_rates, near_rates
from router.sections import LocalSettings
from router.utilisation import SLOT_S, SLOTS, Utilisation

MACHINE = Probe(
    platform="Linux x86_64",
    cores=4,
    ram_total_bytes=1 << 34,
    ram_available_bytes=1 << 33,
    gpus=(
        Gpu(index=0, name="a", kind="cuda", vram_total_bytes=1, vram_free_bytes=1, power_limit_w=300.0),
        Gpu(index=1, name="b", kind="cuda", vram_total_bytes=1, vram_free_bytes=1),
    ),
)
seconds = st.just(0.0) | st.floats(1e-6, 1e5)
modes = st.sampled_from(["occupancy", "marginal"])


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counter:
    """A meter that a test moves by hand."""

    source = "rapl"

    def __init__(self) -> None:
        self.counted: float | None = 0.0

    def joules(self) -> float | None:
        return self.counted

    def close(self) -> None:
        self.counted = None


def rates(mode: str = "occupancy") -> LocalRates:
    """3.6 $ an hour, 3.6 $ a kWh and 100 W: a thousandth of a dollar a second, and a ten-thousandth for its energy."""
    return near_rates(
        LocalSettings(rate_usd_per_hour=3.6, electricity_usd_per_kwh=3.6, watts=100.0, cost_mode=mode), MACHINE
    )


def target(model: str = "m", source: str | None = "package:m") -> Target:
    return Target(backend="local", provider="local", model=model, task=Task.FEATURE_EXTRACTION, source=source)


# --- three bases ----------------------------------------------------------------------------------


@given(seconds, seconds, modes)
def test_no_basis_is_negative_and_none_is_cheaper_for_more(held_s, more_s, mode) -> None:
    """Occupancy and energy are in proportion to the seconds, and whoever held a device at all cost something."""
    near = NearCosts(rates(mode))
    less, more = near.cost("cpu", held_s).bases, near.cost("cpu", held_s + more_s).bases

    assert 0 <= less.occupancy_usd <= more.occupancy_usd
    assert 0 <= less.marginal_usd <= more.marginal_usd
    assert 0 <= less.energy_j <= more.energy_j
    assert less.amortised_usd >= 0 <= more.amortised_usd
    assert (held_s > 0) == (less.occupancy_usd > 0) == (less.marginal_usd > 0)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20))
def test_occupancy_and_energy_of_parts_add_up_to_those_of_the_whole(parts) -> None:
    """However a batch is divided among its requests."""
    near = NearCosts(rates())
    costs = [near.cost("cpu", part).bases for part in parts]
    whole = near.cost("cpu", sum(parts)).bases

    assert pytest.approx(whole.occupancy_usd) == sum(cost.occupancy_usd for cost in costs)
    assert pytest.approx(whole.marginal_usd) == sum(cost.marginal_usd for cost in costs)
    assert pytest.approx(whole.energy_j) == sum(cost.energy_j for cost in costs)


def test_each_basis_is_its_formula() -> None:
    """Ten seconds of 100 s passed: the rate, the energy, and the rate by a utilisation of a tenth."""
    clock = Clock()
    near = NearCosts(rates(), clock=clock)
    clock.now += 100
    bases = near.cost("cpu", 10.0).bases

    assert pytest.approx(0.01) == bases.occupancy_usd
    assert (pytest.approx(0.001), 1000.0, "watts") == (bases.marginal_usd, bases.energy_j, bases.energy_source)
    assert pytest.approx(0.1) == bases.amortised_usd


@given(st.lists(st.tuples(st.floats(1, 1e4), st.floats(0.01, 0.9)), min_size=1, max_size=30))
def test_the_amortised_cost_of_a_second_is_the_rate_by_the_utilisation(work) -> None:
    """A tenth of the load is ten times the cost; under no load it would be as high as you like."""
    clock = Clock()
    near = NearCosts(rates(), clock=clock)
    for passed_s, share in work:
        clock.now += passed_s
        held_s = passed_s * share
        bases = near.cost("cpu", held_s).bases
        assert pytest.approx(bases.occupancy_usd / near._utilisation.share("cpu")) == bases.amortised_usd


def test_a_device_time_that_nobody_knows_costs_nobody_knows_what() -> None:
    """On no basis is unknown zero; and what never held the device cost nothing on all of them."""
    near = NearCosts(rates())
    unknown, nothing = near.cost("cpu", None), near.cost("cpu", 0.0)

    assert (None, "unknown") == (unknown.usd, unknown.source)
    assert {None} == {getattr(unknown.bases, name) for name in unknown.bases.__struct_fields__}
    assert (0.0, 0.0, 0.0, 0.0) == (
        nothing.usd, nothing.bases.marginal_usd, nothing.bases.amortised_usd, nothing.bases.energy_j
    )  # fmt: skip


def test_a_device_of_unknown_power_has_no_marginal_cost() -> None:
    """A GPU whose limit its driver does not tell: the energy is not known, so neither is its price."""
    for mode, known in (("occupancy", True), ("marginal", False)):
        near = NearCosts(near_rates(LocalSettings(cost_mode=mode), MACHINE))
        usd, basis = near.expected(2.0, "cuda:1")
        cost = near.cost("cuda:1", 2.0)

        assert (known, mode if known else "unknown") == (usd is not None, basis)
        assert (known, "measured" if known else "unknown") == (cost.usd is not None, cost.source)
        assert (None, None, None) == (cost.bases.marginal_usd, cost.bases.energy_j, cost.bases.energy_source)
        assert cost.bases.occupancy_usd > 0


@pytest.mark.parametrize(("mode", "a_second"), [("occupancy", 0.001), ("marginal", 0.0001)])
def test_the_mode_says_which_basis_is_the_cost_and_the_prediction(mode, a_second) -> None:
    """Both are known whichever it is."""
    near = NearCosts(rates(mode))

    assert (pytest.approx(5 * a_second), mode) == near.expected(5.0, "cpu")
    assert (pytest.approx(5 * a_second), "measured") == (near.cost("cpu", 5.0).usd, near.cost("cpu", 5.0).source)
    assert (0.005, 0.0005) == pytest.approx((
        near.cost("cpu", 5.0).bases.occupancy_usd, near.cost("cpu", 5.0).bases.marginal_usd
    ))  # fmt: skip


def test_no_load_changes_what_a_request_is_expected_to_cost() -> None:
    """A busy hour or an idle one: what absorbs idle time is not what policies see."""
    for mode in ("occupancy", "marginal"):
        clock = Clock()
        near = NearCosts(rates(mode), clock=clock)
        before = near.expected(1.0, "cpu")
        for _ in range(50):
            clock.now += 1.0
            near.cost("cpu", 0.9)
        clock.now += 10_000
        near.cost("cpu", 0.001)
        assert before == near.expected(1.0, "cpu")


# --- the rate card --------------------------------------------------------------------------------


def test_a_rate_card_says_where_its_figures_come_from() -> None:
    """Published defaults until something is set, each by itself."""
    card = near_rates(LocalSettings(), MACHINE)
    assert ("default", "default", "default") == (card.source, card.electricity_source, card.watts_source)
    assert (ELECTRICITY_USD_PER_KWH, None) == (card.electricity_usd_per_kwh, card.carbon_g_per_kwh)
    assert {"cpu": 4 * CPU_WATTS_PER_CORE, "cuda:0": 300.0} == card.watts

    card = near_rates(LocalSettings(electricity_usd_per_kwh=0.0, watts=65.0, carbon_g_per_kwh=400.0), MACHINE)
    assert ("default", "settings", "settings") == (card.source, card.electricity_source, card.watts_source)
    assert (0.0, 400.0) == (card.electricity_usd_per_kwh, card.carbon_g_per_kwh)
    assert dict.fromkeys(("cpu", "cuda:0", "cuda:1"), 65.0) == card.watts


def test_configured_watts_go_before_any_meter() -> None:
    """Whoever measured at the plug knows more than a counter that sees the packages alone."""
    near = NearCosts.opened(LocalSettings(watts=65.0), MACHINE)

    assert [
        (device, None, "local.watts goes before any meter", 65.0, "settings") for device in ("cpu", "cuda:0", "cuda:1")
    ] == [(of["device"], of["meter"], of["no_meter"], of["watts"], of["watts_source"]) for of in near.report()]
    near.close()


# --- metered energy -------------------------------------------------------------------------------


def metered(mode: str = "occupancy") -> tuple[NearCosts, Counter, Clock]:
    meter, clock = Counter(), Clock()
    return NearCosts(rates(mode), Meters({"cpu": meter}, {}), clock), meter, clock


def test_whoever_was_alone_gets_what_the_meter_counted_while_it_held_the_device() -> None:
    """Four seconds of five: four fifths of 50 J. What was counted before it came is nobody's."""
    near, meter, clock = metered()
    meter.counted = 1000.0
    stay = near.begin("cpu", target())
    clock.now += 5
    meter.counted = 1050.0
    bases = near.cost("cpu", 4.0, stay).bases

    assert (pytest.approx(40.0), "rapl") == (bases.energy_j, bases.energy_source)
    assert pytest.approx(40.0 / 3.6e6 * 3.6) == bases.marginal_usd


def test_a_batch_divides_its_energy_as_it_divides_its_time() -> None:
    """One of 3 s and one of 1 s, under way together: three quarters and one."""
    near, meter, clock = metered()
    stays = [near.begin("cpu", target()) for _ in range(2)]
    clock.now += 4
    meter.counted = 80.0

    assert [60.0, 20.0] == pytest.approx([
        near.cost("cpu", held_s, stay).bases.energy_j for held_s, stay in zip((3.0, 1.0), stays, strict=True)
    ])  # fmt: skip


def test_models_at_work_at_the_same_time_share_alike() -> None:
    """Each held the device all the time, as its own thread sees it, or longer; the meter counted once."""
    near, meter, clock = metered()
    stays = [near.begin("cpu", target(source=source)) for source in ("package:a", "package:b")]
    clock.now += 4
    meter.counted = 80.0

    assert [40.0, 40.0] == pytest.approx([
        near.cost("cpu", held_s, stay).bases.energy_j for held_s, stay in zip((6.0, 4.0), stays, strict=True)
    ])  # fmt: skip


def test_what_the_meter_saw_is_what_the_next_one_is_expected_to_take() -> None:
    """Watts of the card until then; ten watts after ten joules a second."""
    near, meter, clock = metered("marginal")
    assert pytest.approx(100 / 1e6) == near.expected(1.0, "cpu")[0]
    for _ in range(3):
        stay = near.begin("cpu", target())
        clock.now += 1
        meter.counted += 10
        near.cost("cpu", 1.0, stay)

    assert pytest.approx(10 / 1e6) == near.expected(1.0, "cpu")[0]
    [cpu] = near.report()
    assert ("rapl", None, pytest.approx(10.0), "rapl") == (
        cpu["meter"],
        cpu["no_meter"],
        cpu["watts"],
        cpu["watts_source"],
    )


def test_a_meter_that_fails_is_told_and_watts_count_from_then_on(caplog) -> None:
    """Also for those under way; once is enough to say it."""
    near, meter, clock = metered()
    stays = [near.begin("cpu", target()) for _ in range(2)]
    clock.now += 1
    meter.counted = None

    assert [(100.0, "watts")] * 2 == [
        (bases.energy_j, bases.energy_source) for bases in (near.cost("cpu", 1.0, stay).bases for stay in stays)
    ]
    assert 1 == caplog.text.count("cannot be read any more")
    assert "it cannot be read any more" == near.report()[0]["no_meter"]
    assert "watts" == near.cost("cpu", 1.0, near.begin("cpu", target())).bases.energy_source


def test_who_ran_elsewhere_than_planned_is_not_metered_there() -> None:
    """The planned device's meter says nothing of the one that served."""
    near, meter, clock = metered()
    stay = near.begin("cpu", target())
    clock.now += 1
    meter.counted = 50.0
    bases = near.cost("cuda:0", 1.0, stay).bases

    assert (100.0, "watts") == (bases.energy_j, bases.energy_source)


events = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "lost"]),
        st.sampled_from("ab"),
        st.sampled_from([0.0, 1.0, 3.0]) | st.floats(0, 5),  # seconds that pass before it
        st.sampled_from([0.0, 10.0]) | st.floats(0, 500),  # joules counted in them
        st.sampled_from([0.0, 0.5, 1.0, 1.5]),  # of the seconds it was under way, those it says it held the device
    ),
    max_size=60,
)


@given(events)
def test_all_attempts_together_never_get_more_than_the_meter_counted(events) -> None:
    """Whatever they say of their seconds, and however they overlap: from the first that comes to the last that goes."""
    meter, clock = Counter(), Clock()
    energy = Energy({}, {"cpu": meter}, clock)
    under_way, given_j, counted_j = [], 0.0, 0.0
    for kind, model, passed_s, joules, share in events:
        clock.now += passed_s
        meter.counted += joules
        counted_j = counted_j + joules if under_way else 0.0
        given_j = given_j if under_way else 0.0
        if kind == "begin":
            under_way.append(energy.begin("cpu", model))
        elif under_way:
            stay = under_way.pop(0)
            held_s = share * (clock.now - stay.began_s) if kind == "end" else None
            got_j, source = energy.end("cpu", held_s, stay)
            assert (None, None) == (got_j, source) if held_s is None else got_j >= 0.0
            given_j += got_j or 0.0
        assert given_j <= counted_j * (1 + 1e-9) + 1e-9


def test_who_says_too_much_gets_what_is_left() -> None:
    """Two of one model that both claim the whole time: the second gets the rest, and old leftovers are nobody's."""
    near, meter, clock = metered()
    first = near.begin("cpu", target())
    clock.now += 10
    meter.counted = 100.0
    assert pytest.approx(10.0) == near.cost("cpu", 1.0, first).bases.energy_j  # 90 J are left, and gone
    stays = [near.begin("cpu", target()) for _ in range(2)]
    clock.now += 2
    meter.counted = 120.0

    assert [20.0, 0.0] == pytest.approx([near.cost("cpu", 2.0, stay).bases.energy_j for stay in stays])


@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(0, 1000), st.sampled_from("ab")), min_size=1, max_size=20))
def test_a_device_that_was_never_idle_gives_all_its_energy_to_its_attempts(steps) -> None:
    """One after the other, each holding it all the time: a model that has gone has no share any more."""
    meter, clock = Counter(), Clock()
    energy = Energy({}, {"cpu": meter}, clock)
    total = 0.0
    for held_s, joules, model in steps:
        stay = energy.begin("cpu", model)
        clock.now += held_s
        meter.counted += joules
        total += energy.end("cpu", clock.now - stay.began_s, stay)[0]

    assert pytest.approx(meter.counted) == total


# --- utilisation ----------------------------------------------------------------------------------


def test_only_the_last_day_counts() -> None:
    """An old busy hour is forgotten, and nothing of it is kept in memory."""
    clock = Clock()
    use = Utilisation(clock)
    assert use.share("cpu") is None
    clock.now += 10
    use.add("cpu", 5.0)
    assert (pytest.approx(10.0), pytest.approx(5.0)) == use.of("cpu")
    assert 0.0 == use.share("cuda:0")
    clock.now += 2 * SLOTS * SLOT_S
    passed_s, busy_s = use.of("cpu")

    assert 0.0 == busy_s
    assert (SLOTS - 1) * SLOT_S <= passed_s <= SLOTS * SLOT_S
    use.add("cpu", 1.0)
    assert 1 == len(use._busy["cpu"])


@given(st.lists(st.tuples(st.floats(0, 3 * SLOT_S), st.floats(0, 1)), max_size=300))
def test_a_device_that_one_attempt_at_a_time_holds_is_never_busier_than_time_passes(steps) -> None:
    """But for what ended in the first quarter of the day and had begun before it."""
    clock = Clock()
    use = Utilisation(clock)
    for passed_s, share in steps:
        clock.now += passed_s
        use.add("cpu", share * passed_s)
        seen_s, busy_s = use.of("cpu")
        assert seen_s >= 0
        assert busy_s <= seen_s + 3 * SLOT_S + 1e-6


def test_no_more_than_a_day_is_kept_in_memory() -> None:
    """However long the process runs."""
    clock = Clock()
    use = Utilisation(clock)
    for _ in range(3 * SLOTS):
        use.add("cpu", 450.0)
        clock.now += SLOT_S

    assert SLOTS == len(use._busy["cpu"])
    assert pytest.approx(0.5, rel=0.02) == use.share("cpu")


def test_a_published_rate_is_used_until_one_is_set() -> None:
    """The card of a machine without GPUs is the one that was there before, with its watts."""
    plain = Probe(platform="x", cores=2, ram_total_bytes=1, ram_available_bytes=1)

    assert local_rates(None, 2) == near_rates(LocalSettings(), plain)
    assert local_rates(1.5, 2) == near_rates(LocalSettings(rate_usd_per_hour=1.5), plain)
