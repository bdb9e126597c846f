"""Routes, aliases and policies that cannot work refuse the start, naming the rule and its line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from router.checks import checked
from router.cli import main
from router.errors import CatalogError, SettingsError
from router.policy_check import warnings_of
from router.settings import load

MODELS = """
[[models]]
id = "test/near"
task = "text-generation"
quality = 0.5
candidates = [{ backend = "fake", provider = "near", script = { near = true }, price = { per_request_usd = 0.0 } }]

[[models]]
id = "test/far"
task = "text-generation"
  [[models.candidates]]
  backend = "fake"
  provider = "a"
  price = { per_request_usd = 0.1 }
  [[models.candidates]]
  backend = "fake"
  provider = "b"

[[models]]
id = "test/free"
task = "text-generation"
candidates = [{ backend = "fake", provider = "b" }]

[[models]]
id = "test/vectors"
task = "feature-extraction"
candidates = [{ backend = "fake", provider = "a", price = { per_request_usd = 0.0 } }]

[[aliases]]
name = "talk"
models = ["test/near", "test/far"]

[[aliases]]
name = "vectors"
models = ["test/vectors"]
"""
LINES = MODELS.count("\n")


def settings_of(text: str, before: str = ""):
    path = Path("house.toml")
    path.write_text(before + MODELS + text)
    return load(path, {})


def refusal(text: str, before: str = "") -> str:
    with pytest.raises((SettingsError, CatalogError)) as caught:
        checked(settings_of(text, before))
    return str(caught.value)


BROKEN = [
    ('match = { task = "chat" }', "match.task: unknown task 'chat'; one of automatic-speech-recognition, "),
    ('match = { alias = "tlak" }', "match.alias: unknown alias 'tlak'; there are: chat, embed, talk, vectors"),
    ('match = { model = "talc" }', "match.model: unknown model 'talc'; near ones: talk"),
    ("match = { tag = [] }", "match.tag: names nothing, so it can never match"),
    ('match = { intent = "coding" }', "match.intent: it can never match, as nobody is asked what a prompt wants"),
    (
        "match = { min_input_tokens = 9, max_input_tokens = 8 }",
        "it can never match: min_input_tokens, 9, is more than max_input_tokens, 8",
    ),
    ('match = { hours = "09:00-09:00" }', "match: hours of '09:00-09:00' are none: they end when they begin"),
    ('match = { hours = "morning" }', "match: hours are 'morning', but are written as"),
    ('match = { days = ["mon"], zone = "Nowhere" }', "match: no time zone 'Nowhere'"),
    (
        'match = { task = "feature-extraction", model = "test/near" }',
        "it can never match: test/near does text-generation, not feature-extraction",
    ),
    (
        'match = { task = "text-generation", alias = "vectors" }',
        "it can never match: vectors does feature-extraction, not text-generation",
    ),
    (
        'match = { task = "text-to-image" }\nuse = { alias = "talk" }',
        "it matches text-to-image, but its candidates do text-generation",
    ),
    ('use = { alias = "tlak" }', "use.alias: unknown alias 'tlak'; there are: chat, embed, talk, vectors"),
    ('use = { alias = "talk", models = ["test/far"] }', "use: give an alias or models, not both"),
    ('use = { models = ["test/fra"] }', "use.models: unknown model 'test/fra'; near ones: test/far"),
    ('use = { models = ["talk", "vectors"] }', "its models do different tasks: feature-extraction, text-generation"),
    ('use = { policy = "cheapst" }', "unknown policy 'cheapst': did you mean cheapest?"),
    ('use = { policy = "budget" }', "the policy 'budget' spends a day's money: it needs a [[budgets]]"),
    ('use = { only = ["grok"] }', "use.only: unknown provider 'grok'; there are: a, b, "),
    ('use = { only = ["a", "b"], ignore = ["b"] }', "use.only and use.ignore contradict each other: both name b"),
    ('use = { order = ["b"], ignore = ["b"] }', "use.order and use.ignore contradict each other: both name b"),
    ('use = { backend = "remote", private = true }', "use.private keeps requests on this machine, but use.backend"),
    ('use = { backend = "remote", policy = "local-only" }', "use.policy = 'local-only' keeps requests on this machine"),
    (
        'use = { models = ["test/far"], private = true }',
        "nobody may serve its requests: none of the candidates of test/far is left by use.private",
    ),
    (
        'use = { alias = "talk", only = ["local"] }',
        "none of the candidates of test/near, test/far is left by use.only",
    ),
    (
        'use = { models = ["test/free"], policy = "cheapest" }',
        "the policy 'cheapest' ranks by cost, and no candidate has a price: b:test/free",
    ),
]


@pytest.mark.parametrize(("route", "said"), BROKEN, ids=[route for route, _ in BROKEN])
def test_a_route_that_cannot_work_refuses_the_start(route, said) -> None:
    """The message names the file's line, the rule, and what is wrong with it."""
    fine = '[[routes]]\nname = "fine"\nmatch = { tenant = "nobody" }\n'
    text = f'{fine}\n# a remark\n[[routes]]\nname = "mine"\n{route}\n'
    message = refusal(text)

    assert message.startswith(f"house.toml, line {LINES + 6}: routes: mine: ")
    assert said in message


def test_a_route_without_a_name_goes_by_its_number() -> None:
    """From one, as people count."""
    text = '[[routes]]\nmatch = { tenant = "x" }\n[[routes]]\nuse = { alias = "none" }\n'

    assert refusal(text).startswith(f"house.toml, line {LINES + 3}: routes: route 2: use.alias: unknown alias 'none'")


def test_a_route_that_an_earlier_one_covers_refuses_the_start() -> None:
    """Both are named with their lines."""
    text = '[[routes]]\nname = "all"\n[[routes]]\nname = "late"\nmatch = { task = "text-generation" }\n'
    expected = (
        f"house.toml, line {LINES + 3}: routes: late: it can never match: 'all' before it "
        f"(house.toml, line {LINES + 1}) takes all that it would."
    )

    assert expected == refusal(text)


def test_a_route_is_not_covered_by_one_that_takes_another_task() -> None:
    """A route with candidates is bound to what they do."""
    text = '[[routes]]\nuse = { alias = "vectors" }\n[[routes]]\nmatch = { task = "text-generation" }\n'

    assert checked(settings_of(text)).find("test/near") is not None


def test_two_routes_of_one_name_refuse_the_start() -> None:
    """The log could not tell them apart."""
    text = '[[routes]]\nname = "x"\nmatch = { tenant = "a" }\n[[routes]]\nname = "x"\nmatch = { tenant = "b" }\n'

    assert "routes: x: another route has this name." in refusal(text)


def test_intents_are_those_of_the_configured_set() -> None:
    """The built-in set's, or one's own; what a set does not tell apart can never match."""
    ask = '[[routes]]\nmatch = { intent = ["coding", "cooking"] }\n'
    own = (
        '[routing]\nintents = "mine"\n[[intents.sets]]\nname = "mine"\n'
        'labels = { coding = { examples = ["a", "b"] }, sewing = { examples = ["c", "d"] } }\n'
    )

    assert "'builtin' knows no 'cooking'; it tells apart: " in refusal(ask, '[routing]\nintents = "builtin"\n')
    assert "'mine' knows no 'cooking'; it tells apart: coding, sewing, unknown." in refusal(ask, own)
    checked(settings_of('[[routes]]\nmatch = { intent = "unknown" }\n', own))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[aliases]]\nname = "x"\nmodels = ["y"]\n[[aliases]]\nname = "y"\nmodels = ["x"]\n',
            f"house.toml, line {LINES + 1}: aliases: x: it leads back to itself or another: x -> y -> x.",
        ),
        ('[[aliases]]\nname = "x"\nmodels = ["tlak"]\n', "aliases: x: unknown model 'tlak'; near ones: talk"),
        (
            '[[aliases]]\nname = "x"\nmodels = ["talk"]\npolicy = "budget"\n',
            f"house.toml, line {LINES + 1}: aliases: x: the policy 'budget' spends a day's money",
        ),
    ],
)
def test_a_broken_alias_is_named_with_its_line(text, said) -> None:
    """As a route is."""
    assert said in refusal(text)


def test_budget_as_the_policy_of_all_needs_a_daily_budget() -> None:
    """It has nothing to pace itself by otherwise."""
    before = '[routing]\npolicy = "budget"\n'

    assert refusal("", before).startswith("house.toml, line 2: routing: the policy 'budget' spends a day's money")
    assert "whose period is 'day'" in refusal('[[budgets]]\nlimit_usd = 1.0\nperiod = "month"\n', before)
    checked(settings_of("[[budgets]]\nlimit_usd = 1.0\n", before))


def test_a_price_or_a_quality_that_a_policy_lacks_is_warned_of() -> None:
    """With rule, line and candidate, where others of the set have one."""
    use = 'use = { alias = "talk", policy = "slo", min_quality = 0.4 }'
    text = f'[[routes]]\nname = "r"\nmatch = {{ tenant = "x" }}\n{use}\n'
    settings = settings_of(text, '[routing]\npolicy = "fastest"\n')
    where = f"house.toml, line {LINES + 3}: routes: r"
    lacks = [
        "b:test/far has no price, so 'slo', which ranks by cost, always rejects it",
        "test/far has no quality: until feedback gives it one, min_quality = 0.4 rejects it",
    ]

    assert [f"{where}: {lack}" for lack in lacks] == warnings_of(settings, checked(settings))


def test_the_built_in_catalogue_lacks_nothing() -> None:
    """Nobody is warned who configured nothing."""
    settings = load(None, {})

    assert [] == warnings_of(settings, checked(settings))


def test_serve_refuses_with_rule_and_line_and_doctor_says_the_same(tmp_path, monkeypatch) -> None:
    """Before it listens, opens a log or asks anybody."""
    monkeypatch.chdir(tmp_path)
    Path("house.toml").write_text(MODELS + '[[routes]]\nname = "odd"\nuse = { alias = "none" }\n')
    served = CliRunner().invoke(main, ["serve", "--config", "house.toml"])
    doctor = CliRunner().invoke(main, ["doctor", "--config", "house.toml", "--json"])

    expected = f"house.toml, line {LINES + 1}: routes: odd: use.alias: unknown alias 'none'"
    assert (1, 1) == (served.exit_code, doctor.exit_code)
    assert expected in served.output
    assert expected in doctor.output
    assert [tmp_path / "house.toml"] == sorted(tmp_path.iterdir())


def test_doctor_counts_the_routes(tmp_path, monkeypatch) -> None:
    """In their order, with the aliases, and what the policies lack."""
    monkeypatch.chdir(tmp_path)
    Path("house.toml").write_text(MODELS + '[[routes]]\nname = "one"\nmatch = { tenant = "x" }\n[[routes]]\n')
    output = CliRunner().invoke(main, ["doctor", "--config", "house.toml", "--json"]).output

    assert "2, first match wins: one, route 2; aliases: talk, vectors, chat, embed; policy balanced" in output
    assert "b:test/free has no price, so 'balanced', which ranks by cost, always rejects it" in output
