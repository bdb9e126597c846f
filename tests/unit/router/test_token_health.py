"""The hub token's state: from what requests saw, and from asking a hub (on loopback) that spends nothing."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ContentRefused, PaymentRequired, RateLimited, RemoteError, Timeout, Unauthorized
from router.catalog import BUILTIN_PROVIDERS
from router.sections import ProviderSettings
from router.token_health import BILLING_PAGE, CACHED_S, RED, STATES, TOKENS_PAGE, TokenHealth
from tests.unit.backends.remote.test_hub import account, far_hub

__all__ = ["far_hub"]

TOKEN = "hf_of_this_test"
PROVIDERS = {entry.name: entry for entry in BUILTIN_PROVIDERS}
REFUSALS = {
    "invalid": Unauthorized("no", http_status=401),
    "valid_no_inference": Unauthorized("no", http_status=403),
    "exhausted": PaymentRequired("no", http_status=402),
}


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def health(token: str | None = TOKEN, *, clock=None, **given) -> TokenHealth:
    return TokenHealth(lambda: token, PROVIDERS, clock=clock or Clock(), **given)


def check(subject: TokenHealth, **given):
    return asyncio.run(subject.check(**given))


# --- what requests saw ------------------------------------------------------------------------------


def test_nothing_is_known_before_anybody_asked() -> None:
    """With a token its state is unknown, without one there is nothing to know; both say where tokens are made."""
    with_token, without = health().state(), health(None).state()

    assert ("unknown", "not_configured") == (with_token.state, without.state)
    assert (None, TOKENS_PAGE, False) == (with_token.checked_at, with_token.link, with_token.red)
    assert not without.red


@pytest.mark.parametrize("state", list(REFUSALS))
def test_a_refusal_turns_it_red_and_an_answer_back(state) -> None:
    """401, 403 and 402 each mean something of their own; the next success proves them over."""
    subject = health()
    subject.observe(REFUSALS[state])
    refused = subject.state()
    subject.observe(None)

    assert (state, True) == (refused.state, refused.red)
    assert (BILLING_PAGE if state == "exhausted" else TOKENS_PAGE) == refused.link
    assert ("valid", False) == (subject.state().state, subject.state().red)


@pytest.mark.parametrize(
    "error", [Timeout("t"), RateLimited("r"), RemoteError("5"), ContentRefused("c", http_status=403)]
)
def test_what_says_nothing_of_the_token_changes_nothing(error) -> None:
    """Neither for the better nor for the worse."""
    subject = health()
    subject.observe(REFUSALS["exhausted"])
    subject.observe(error)

    assert "exhausted" == subject.state().state


def test_without_a_token_a_refusal_is_no_news() -> None:
    """Our own `no token` is an Unauthorized, too."""
    subject = health(None)
    subject.observe(Unauthorized("no token"))

    assert "not_configured" == subject.state().state


def test_a_state_has_lasted_since_it_began() -> None:
    """Repeating it does not begin it anew."""
    clock = Clock()
    subject = health(clock=clock)
    for seconds in (0, 60, 60):
        clock.now += seconds
        subject.observe(REFUSALS["invalid"])

    assert "2027-01-15T08:00:00+00:00" == subject.state().since


@given(st.lists(st.sampled_from([None, *REFUSALS.values(), Timeout("t"), RateLimited("r")])))
def test_the_last_word_counts(events) -> None:
    """Whatever came before: the last refusal or success is the state."""
    subject = health()
    for event in events:
        subject.observe(event)
    telling = [e for e in events if e is None or e in REFUSALS.values()]
    names = {id(error): state for state, error in REFUSALS.items()} | {id(None): "valid"}

    assert (names[id(telling[-1])] if telling else "unknown") == subject.state().state
    assert subject.state().red == (subject.state().state in RED)
    assert subject.state().state in STATES


def test_it_concerns_whoever_is_asked_with_the_hubs_token() -> None:
    """The hub's own two, who stands behind its router, and a far side that names the token; nobody else."""
    direct = ProviderSettings(name="groq", protocol="openai", base_url="http://127.0.0.1:1", api_key_env="GROQ")
    mine = ProviderSettings(name="mine", protocol="openai", base_url="http://127.0.0.1:1", api_key_env="HF_TOKEN")
    subject = TokenHealth(lambda: TOKEN, PROVIDERS | {"groq": direct, "mine": mine})

    asked = ("huggingface", "hf-inference", "together", "mine", "groq", "local", "gpu-box")
    assert [True, True, True, True, False, False, False] == [subject.concerns(name) for name in asked]


def test_a_router_with_a_key_of_its_own_says_nothing_of_the_hubs_token() -> None:
    """Nor does who stands behind it."""
    own = ProviderSettings(name="huggingface", protocol="openai", base_url="http://127.0.0.1:1", api_key_env="OWN")
    subject = TokenHealth(lambda: TOKEN, PROVIDERS | {"huggingface": own})

    assert [False, False, True] == [subject.concerns(name) for name in ("huggingface", "together", "hf-inference")]


# --- asking -----------------------------------------------------------------------------------------


def test_the_hub_is_asked_once_in_ten_minutes(far_hub) -> None:
    """Unless somebody insists; the time of asking is told."""
    clock, answers = Clock(), []
    subject = health(clock=clock)
    far_hub.says(account("read"))
    for seconds, force in ((0, False), (CACHED_S - 1, False), (0, True), (CACHED_S, False)):
        clock.now += seconds
        answers.append((check(subject, force=force).state, len(far_hub.asked)))

    assert [("valid", 1), ("valid", 1), ("valid", 2), ("valid", 3)] == answers
    assert subject.state().checked_at is not None
    assert {f"Bearer {TOKEN}"} == {sent for _, sent in far_hub.asked}


def test_who_asks_at_the_same_time_shares_one_question(far_hub) -> None:
    """The hub limits it hard."""
    subject = health()
    far_hub.says(account("read"))

    async def together():
        return await asyncio.gather(*(subject.check(force=True) for _ in range(8)))

    assert {"valid"} == {report.state for report in asyncio.run(together())}
    assert 1 == len(far_hub.asked)


@pytest.mark.parametrize(("token", "offline", "state"), [(None, False, "not_configured"), (TOKEN, True, "unknown")])
def test_nobody_is_asked_without_a_token_or_offline(far_hub, token, offline, state) -> None:
    """Even by force."""
    assert state == check(health(token, offline=offline), force=True).state
    assert [] == far_hub.asked


def test_the_hub_knows_scopes_and_not_credits(far_hub) -> None:
    """What it says replaces what a request saw, but for the credits, which only a request can see."""
    subject = health()
    far_hub.says(account())
    lacking = check(subject)
    far_hub.says(account("write"))
    subject.observe(REFUSALS["valid_no_inference"])
    restored = check(subject, force=True)
    subject.observe(REFUSALS["exhausted"])
    still = check(subject, force=True)
    far_hub.says({"error": "no"}, 401)
    gone = check(subject, force=True)

    assert ["valid_no_inference", "valid", "exhausted", "invalid"] == [
        r.state for r in (lacking, restored, still, gone)
    ]


def test_a_silent_hub_undoes_nothing_that_is_known(far_hub) -> None:
    """The state stays with its reason, beside which stands that the hub could not be asked; a request ends that."""
    subject = health()
    subject.observe(REFUSALS["invalid"])
    why = subject.state().detail
    far_hub.says({"error": "busy"}, 500)
    reports = [check(subject, force=True) for _ in range(2)]
    subject.observe(None)

    assert [("invalid", f"{why} (the token: the hub answered 500)")] * 2 == [(r.state, r.detail) for r in reports]
    assert ("valid", "a request was answered") == (subject.state().state, subject.state().detail)


def test_a_silent_hub_is_all_that_is_told_where_nothing_is_known(far_hub) -> None:
    """And the next request that is answered says what is so."""
    subject = health()
    far_hub.says({"error": "busy"}, 500)
    report = check(subject, force=True)

    assert ("unknown", "the token: the hub answered 500") == (report.state, report.detail)


def test_an_answer_ends_a_silence_that_was_told_beside_a_valid_state(far_hub) -> None:
    """What the hub could not say is no news once a request was answered."""
    subject = health()
    subject.observe(None)
    far_hub.says({"error": "busy"}, 500)
    silent = check(subject, force=True)
    subject.observe(None)

    assert ("valid", "a request was answered (the token: the hub answered 500)") == (silent.state, silent.detail)
    assert "a request was answered" == subject.state().detail


def test_another_token_starts_unknown(far_hub) -> None:
    """And is asked for at once, however recently the old one was; an answer about the old one is not taken for it."""
    tokens = ["hf_old"]
    subject = TokenHealth(lambda: tokens[0], PROVIDERS, clock=Clock())
    far_hub.says(account("read"))

    async def rotated_meanwhile():
        question = asyncio.create_task(subject.check(force=True))
        await asyncio.sleep(0)  # it has read the old token and waits for the hub
        tokens[0] = "hf_new"
        subject.forget()
        return await question

    late = asyncio.run(rotated_meanwhile())
    fresh = check(subject)

    assert ("unknown", None, "valid") == (late.state, late.checked_at, fresh.state)
    assert "Bearer hf_new" == far_hub.asked[-1][1]


def test_who_waited_behind_a_question_does_not_ask_about_a_token_that_is_gone(far_hub) -> None:
    """Another one came meanwhile: the old one is asked about once, and not again by everybody in the queue."""
    tokens = ["hf_old"]
    subject = TokenHealth(lambda: tokens[0], PROVIDERS, clock=Clock())
    far_hub.says(account("read"))

    async def rotated_meanwhile():
        questions = [asyncio.create_task(subject.check(force=True)) for _ in range(8)]
        await asyncio.sleep(0)  # each has read the old token, and one waits for the hub
        tokens[0] = "hf_new"
        subject.forget()
        return await asyncio.gather(*questions)

    assert {"unknown"} == {report.state for report in asyncio.run(rotated_meanwhile())}
    assert ["Bearer hf_old"] == [sent for _, sent in far_hub.asked]


def test_the_token_is_in_no_report(far_hub) -> None:
    """Nor in what a log line would print."""
    subject = health()
    far_hub.says({"error": f"{TOKEN} is wrong"}, 401)
    subject.observe(Unauthorized(f"bad {TOKEN}", http_status=401))

    assert TOKEN not in f"{check(subject, force=True)!r} {subject.state()!r}"
