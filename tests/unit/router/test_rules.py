"""The routes as rules: which one matches, what it does to a request, and which can never match."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.constraints import apply
from policies.types import Estimate
from router.request import Routing
from router.rules import Facts, Rule, covers, first_match, matches, merged, rule_of
from router.sections import MatchEntry, UseEntry

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
TASKS, TAGS = ("text-generation", "feature-extraction"), ("batch", "vip", "cheap")
MODELS = ("org/a", "org/b", "other/a", "chat", "embed", "auto")
PATTERNS = (*MODELS, "*", "org/*", "*/a", "org/?", "[oc]*")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def some(*values: str) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | st.lists(st.sampled_from(values), min_size=1, max_size=3).map(tuple)


sizes = st.none() | st.integers(0, 20)
clocks = st.tuples(st.integers(0, 23), st.sampled_from([0, 30])).map(lambda at: f"{at[0]:02}:{at[1]:02}")
windows = st.none() | st.tuples(clocks, clocks).filter(lambda both: both[0] != both[1]).map("-".join)
entries = st.builds(
    MatchEntry,
    task=some(*TASKS),
    model=some(*PATTERNS),
    alias=some("chat", "embed"),
    tenant=some("t1", "t2"),
    tag=some(*TAGS),
    intent=some("coding", "math"),
    min_input_tokens=sizes,
    max_input_tokens=sizes,
    hours=windows,
    days=some(*DAYS),
    zone=st.sampled_from(["UTC", "UTC", "Europe/Berlin"]),
)
facts = st.builds(
    Facts,
    task=st.sampled_from(TASKS),
    name=st.sampled_from(MODELS),
    at=st.integers(0, 7 * 48 - 1).map(lambda half: MONDAY + timedelta(minutes=30 * half)),
    tenant=st.sampled_from(["", "t1", "t2"]),
    tags=st.frozensets(st.sampled_from(TAGS)),
    intent=st.sampled_from([None, "coding", "math", "unknown"]),
    input_tokens=st.none() | st.integers(0, 20),
).map(
    lambda f: Facts(
        **{name: getattr(f, name) for name in f.__struct_fields__} | {"is_alias": f.name in {"chat", "embed"}}
    )
)


def rule(**match) -> Rule:
    return rule_of("r", MatchEntry(**match), UseEntry(), None)


def fact(**given) -> Facts:
    return Facts(**{"task": TASKS[0], "name": "org/a", "at": MONDAY} | given)


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        ({"task": TASKS[1]}, {"task": TASKS[1]}, {}),
        ({"task": TASKS}, {}, {"task": "text-to-image"}),
        ({"model": "org/a"}, {}, {"name": "org/A"}),
        ({"model": ("x", "org/*")}, {"name": "org/b"}, {"name": "other/a"}),
        ({"model": "auto"}, {"name": "auto"}, {}),
        ({"alias": "chat"}, {"name": "chat", "is_alias": True}, {"name": "chat"}),
        ({"tenant": "t1"}, {"tenant": "t1"}, {}),
        ({"tag": ("vip", "batch")}, {"tags": frozenset({"batch", "other"})}, {"tags": frozenset({"other"})}),
        ({"intent": "coding"}, {"intent": "coding"}, {}),
        ({"min_input_tokens": 5}, {"input_tokens": 5}, {"input_tokens": 4}),
        ({"max_input_tokens": 5}, {"input_tokens": 5}, {"input_tokens": 6}),
        ({"min_input_tokens": 0}, {"input_tokens": 0}, {}),
    ],
)
def test_each_condition_takes_what_it_names(match, yes, no) -> None:
    """And nothing else: what nobody knows (an intent, a size) is not what was named."""
    assert matches(rule(**match), fact(**yes))
    assert not matches(rule(**match), fact(**no))


@pytest.mark.parametrize(
    ("match", "inside", "outside"),
    [
        ({"hours": "09:00-18:00"}, ["mon 09:00", "sun 17:59"], ["mon 08:59", "mon 18:00"]),
        ({"hours": "00:00-24:00", "days": ("sat", "sun")}, ["sat 00:00", "sun 23:59"], ["fri 23:59", "mon 00:00"]),
        ({"days": ("wed",)}, ["wed 12:00"], ["thu 00:00"]),
        (
            {"hours": "22:00-06:00", "days": ("sun",)},
            ["sun 22:00", "mon 05:59"],
            ["sun 05:00", "mon 06:00", "mon 22:00"],
        ),
        ({"hours": "09:00-18:00", "zone": "Asia/Tokyo"}, ["mon 00:00", "mon 08:59"], ["mon 09:00"]),
    ],
)
def test_hours_and_days_are_those_of_the_zone(match, inside, outside) -> None:
    """The end is not included, and a night belongs to the day on which it begins."""

    def at(text: str) -> Facts:
        day, clock = text.split()
        hour, minute = map(int, clock.split(":"))
        return fact(at=MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute))

    assert all(matches(rule(**match), at(text)) for text in inside)
    assert not any(matches(rule(**match), at(text)) for text in outside)


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ({"hours": "9-18"}, "hours are '9-18', but are written as \"09:00-18:00\""),
        ({"hours": "25:00-26:00"}, "but are written as"),
        ({"hours": "09:00-09:00"}, "are none: they end when they begin"),
        ({"zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"zone": "../../etc/passwd"}, "no time zone"),
    ],
)
def test_hours_that_are_none_are_refused(match, said) -> None:
    """With how they are written."""
    with pytest.raises(ValueError, match=said):
        rule(**match)


@given(st.lists(entries, max_size=5), facts)
def test_the_first_match_wins(matches_, call) -> None:
    """Whatever comes behind it."""
    rules = [rule_of(str(i), match, UseEntry(), None) for i, match in enumerate(matches_)]
    found = first_match(rules, call)

    assert (None if found is None else rules.index(found)) == next(
        (i for i, one in enumerate(rules) if matches(one, call)), None
    )


def drawn_match(drawn: Random) -> MatchEntry:
    """A match of few conditions, so that some cover others."""
    choices = {
        "task": TASKS,
        "model": PATTERNS,
        "alias": ("chat", "embed"),
        "tenant": ("t1", "t2"),
        "tag": TAGS,
        "intent": ("coding", "math"),
        "days": DAYS,
    }
    fields = {
        name: tuple(drawn.choices(choices[name], k=drawn.randint(1, len(choices[name]))))
        for name in drawn.sample(sorted(choices), drawn.randint(0, 2))
    }
    if drawn.random() < 0.3:
        fields["min_input_tokens"] = drawn.randint(0, 10)
    if drawn.random() < 0.3:
        fields["max_input_tokens"] = drawn.randint(5, 20)
    if drawn.random() < 0.3:
        begin, lasts = drawn.randint(0, 23), drawn.randint(1, 23)
        fields |= {
            "hours": f"{begin:02}:00-{(begin + lasts) % 24:02}:00",
            "zone": drawn.choice(["UTC", "Europe/Berlin"]),
        }
    return MatchEntry(**fields)


def drawn_call(drawn: Random) -> Facts:
    name = drawn.choice(MODELS)
    return fact(
        task=drawn.choice(TASKS),
        name=name,
        is_alias=name in {"chat", "embed"},
        at=MONDAY + timedelta(minutes=30 * drawn.randrange(7 * 48)),
        tenant=drawn.choice(["", "t1", "t2"]),
        tags=frozenset(drawn.sample(TAGS, drawn.randint(0, 3))),
        intent=drawn.choice([None, "coding", "math", "unknown"]),
        input_tokens=drawn.choice([None, *range(21)]),
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_rule_said_to_be_covered_is_never_reached(seed) -> None:
    """Whatever falls under it falls under the earlier one: hundreds of such pairs, and hundreds of calls at each."""
    drawn = Random(seed)
    calls = [drawn_call(drawn) for _ in range(400)]
    rules = [rule_of("r", drawn_match(drawn), UseEntry(), None) for _ in range(60)]
    taken = [{i for i, call in enumerate(calls) if matches(one, call)} for one in rules]
    covered = [(i, j) for i in range(60) for j in range(60) if i != j and covers(rules[i], rules[j])]

    assert len(covered) > 100
    assert all(taken[j] <= taken[i] for i, j in covered)


@given(entries, st.data())
def test_what_narrows_a_rule_is_covered_by_it(match, data) -> None:
    """With any condition added, or any choice taken away, it takes no more than before; and itself it covers."""
    wide = rule_of("r", match, UseEntry(), None)
    fields = {name: getattr(match, name) for name in match.__struct_fields__}
    for name in ("task", "model", "alias", "tenant", "tag", "intent"):
        if fields[name] is None:
            fields[name] = data.draw(some("chat", "embed") if name in {"model", "alias"} else some("x"))
        else:
            fields[name] = data.draw(st.sampled_from(fields[name]))
    low, high = fields["min_input_tokens"], fields["max_input_tokens"]
    if low is not None:
        fields["min_input_tokens"] = low + data.draw(st.integers(0, 3))
    if high is not None:
        fields["max_input_tokens"] = high - data.draw(st.integers(0, min(3, high)))
    if fields["days"] is not None:
        fields["days"] = (data.draw(st.sampled_from(fields["days"])),)

    assert covers(wide, wide)
    assert covers(wide, rule_of("r", MatchEntry(**fields), UseEntry(), None))


@pytest.mark.parametrize(
    ("earlier", "later", "covered"),
    [
        ({}, {"task": TASKS[0]}, True),
        ({"task": TASKS[0]}, {}, False),
        ({"task": TASKS}, {"task": TASKS[1]}, True),
        ({"model": "org/*"}, {"model": "org/a"}, True),
        ({"model": "org/*"}, {"model": "org/big-*"}, True),
        ({"model": "org/big-*"}, {"model": "org/*"}, False),
        ({"model": "*"}, {"alias": "chat"}, True),
        ({"model": "ch*"}, {"alias": "chat"}, True),
        ({"alias": ("chat", "embed")}, {"alias": "chat"}, True),
        ({"alias": "chat"}, {"model": "chat"}, False),
        ({"tag": "a"}, {"tag": ("a", "b")}, False),
        ({"max_input_tokens": 200}, {"max_input_tokens": 100}, True),
        ({"max_input_tokens": 200}, {"min_input_tokens": 100}, False),
        ({"max_input_tokens": 200}, {}, False),
        ({"hours": "08:00-20:00"}, {"hours": "09:00-18:00", "days": ("mon",)}, True),
        ({"hours": "08:00-20:00"}, {"hours": "09:00-18:00", "zone": "Asia/Tokyo"}, False),
        ({"hours": "00:00-24:00"}, {"hours": "09:00-18:00", "zone": "Asia/Tokyo"}, True),
        ({"hours": "08:00-20:00"}, {}, False),
        ({"task": TASKS[0], "tenant": "t1"}, {"task": TASKS[0]}, False),
    ],
)
def test_covered_rules_are_found(earlier, later, covered) -> None:
    """By every condition; where it is not certain, a rule is taken to be reachable."""
    assert covered is covers(rule(**earlier), rule(**later))


def test_of_two_limits_the_stricter_holds() -> None:
    """Whoever set it; what only one of them says holds as well."""
    wish = Routing(max_cost_usd=0.1, max_latency_ms=100.0, min_quality=0.5, deadline_ms=9.0)
    use = UseEntry(max_cost_usd=0.2, max_latency_ms=50.0, min_quality=0.7, private=True)
    both = merged(wish, use)

    assert (0.1, 50.0, 0.7, 9.0, True) == (
        both.max_cost_usd, both.max_latency_ms, both.min_quality, both.deadline_ms, both.private
    )  # fmt: skip
    assert merged(Routing(private=True), UseEntry()).private


def test_the_requests_own_policy_and_order_win() -> None:
    """Where only one can be had, its word counts; without one, the route's."""
    use = UseEntry(policy="cheapest", order=("a",))

    assert ("fastest", ("b",)) == (merged(Routing(policy="fastest", order=("b",)), use).policy, ("b",))
    assert ("cheapest", ("a",)) == (merged(Routing(), use).policy, merged(Routing(), use).order)


backends = st.sampled_from(["any", "local", "remote"])
places = st.lists(st.sampled_from(["local", "remote", "groq", "together"]), max_size=2).map(tuple)
wishes = st.builds(dict, backend=backends, only=places, ignore=places, private=st.booleans())
SLATE = [
    Estimate(name, "local" if name == "local" else "remote", name, near=name == "local", latency_s=1.0,
             latency_source="prior", service_s=1.0, cost_usd=0.0, cost_source="priced")
    for name in ("local", "groq", "together")
]  # fmt: skip


@given(wishes, wishes)
def test_a_merged_request_goes_where_both_allow_it(wish, use) -> None:
    """Exactly there: a route widens nothing that the request ruled out, nor the other way round."""

    def left(routing: Routing) -> set[str]:
        return {e.candidate_id for e in apply(SLATE, routing.constraints(offline=False, deadline_s=1.0))[0]}

    assert left(merged(Routing(**wish), UseEntry(**use))) == left(Routing(**wish)) & left(Routing(**use))
