"""Whom a chain of attempts goes to next: rules, without a clock, a backend or a network."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import errors
from backends.types import GenerationInput, InferenceRequest, Limits, Message, Status, Target, Task
from policies.registry import create
from policies.types import Decision, Estimate
from router.course import LEAST_BACKOFF_S, MOST_BACKOFF_S, Course
from router.outcome import Attempt, Cost
from router.request import Call, Routing
from router.slate import Candidate, Plan, Size

LONG_S = 1000.0
NEVER_AGAIN = (
    errors.Timeout("silent", http_status=504),
    errors.Timeout("silent"),
    errors.Unauthorized("no", http_status=401),
    errors.PaymentRequired("no", http_status=402),
    errors.ModelNotFound("no", http_status=404),
    errors.RemoteError("a broken body"),
    errors.OutOfMemory("no"),
)


def candidate(name: str, *, context: int | None = None, near: bool = False, continues: bool = False) -> Candidate:
    backend = "local" if near else "remote"
    target = Target(
        backend=backend, provider=name, model="m", task=Task.TEXT_GENERATION, continues=continues
    )  # fmt: skip
    return Candidate(
        id=name, target=target, near=near, status=Status(), context_length=context, limits=Limits(), account=name
    )


def plan_of(*candidates: Candidate, chat: bool = True, cost_usd: float | None = 0.01, latency_s=(), **routing) -> Plan:
    payload = GenerationInput(messages=(Message("user", "hi"),)) if chat else GenerationInput(prompt="hi")
    request = InferenceRequest(task=Task.TEXT_GENERATION, model="m", payload=payload, stream=True)
    estimates = [
        Estimate(
            candidate_id=each.id, backend=each.target.backend, provider=each.id, near=each.near,
            latency_s=dict(latency_s).get(each.id, 1.0), latency_source="prior", service_s=1.0, cost_usd=cost_usd,
            cost_source="priced",
        )
        for each in candidates
    ]  # fmt: skip
    return Plan(
        decision_id="d",
        ts_us=0,
        call=Call(request=request, routing=Routing(**routing), surface="test", received=time.monotonic()),
        size=Size(items=1, input_tokens=100, output_tokens=50),
        candidates=list(candidates),
        estimates=estimates,
        decision=Decision(ranked=tuple(each.id for each in candidates), reason="", policy="p", version="1"),
        policy=create("fastest"),
        decide_us=0,
        deadline_s=LONG_S,
    )


def course_of(*candidates: Candidate, most: int = 4, refused=(), gone=(), **options) -> Course:
    def account_refusal(each):
        return "gone" if each.id in gone else None

    def refusal(each):
        return account_refusal(each) or ("open" if each.id in refused else None)

    return Course(plan_of(*candidates, **options), most, refusal, account_refusal)


def failed(course: Course, step, error: errors.BackendError | None, cost: Cost | None = None) -> None:
    course.failed(
        step.candidate,
        Attempt(
            candidate_id=step.candidate.id, backend="remote", provider="p", model="m", device="remote", started_us=0,
            total_s=0.1, cost=cost or Cost(0.0, "priced"), error=error,
        ),
    )  # fmt: skip


def walked(course: Course, *fails: errors.BackendError) -> list[tuple[str, str]]:
    """Whom a course goes to while these failures happen, as (role, candidate)."""
    steps = []
    for error in (*fails, None):
        step = course.next(LONG_S, 0.5)
        if step is None:
            break
        steps.append((step.role, step.candidate.id))
        if error is None:
            break
        failed(course, step, error)
    return steps


A, B, NEAR = candidate("a"), candidate("b"), candidate("near", near=True)


REPEATED = (errors.Interrupted("r"), errors.RemoteError("x", http_status=500), errors.RemoteError("x", http_status=502))


@pytest.mark.parametrize("error", REPEATED)
def test_what_is_safe_and_likely_to_help_is_repeated_once(error) -> None:
    """A connection that broke before headers, and 5xx: the same place again after a moment, then elsewhere."""
    assert [("primary", "a"), ("retry", "a"), ("fallback", "b")] == walked(course_of(A, B), error, error)


@pytest.mark.parametrize("error", NEVER_AGAIN)
def test_the_others_go_elsewhere_at_once(error) -> None:
    """A silent route is not asked again, nor whoever refuses a key, a payment or a name."""
    assert [("primary", "a"), ("fallback", "b")] == walked(course_of(A, B), error)
    assert [("primary", "a")] == walked(course_of(A), error)


def replaceable(error: errors.BackendError) -> errors.BackendError:
    error.replaceable = True
    return error


ONE_OF_SEVERAL = [
    replaceable(error)
    for error in (
        errors.Unavailable("refused"),
        errors.RemoteError("a broken body"),
        errors.RateLimited("wait", retry_after_s=60.0, http_status=429),
    )
]


@pytest.mark.parametrize("error", ONE_OF_SEVERAL)
def test_another_server_of_the_same_candidate_is_asked_at_once(error) -> None:
    """As often as there is one, within the attempts that are allowed: and then elsewhere."""
    course = course_of(A, B, most=3)
    failed(course, course.next(LONG_S, 0.5), error)
    again = course.next(LONG_S, 0.5)
    assert ("retry", "a", 0.0) == (again.role, again.candidate.id, again.wait_s)
    failed(course, again, error)
    assert "a" == course.next(LONG_S, 0.5).candidate.id

    last = errors.Unavailable("nobody else is there")
    assert [("primary", "a"), ("retry", "a"), ("fallback", "b")] == walked(course_of(A, B), error, last)


def test_the_last_attempt_is_left_to_who_is_near() -> None:
    """However many servers a far candidate has."""
    error = ONE_OF_SEVERAL[0]

    assert [("primary", "a"), ("retry", "a"), ("fallback", "near")] == walked(course_of(A, NEAR, most=3), error, error)


def test_another_server_goes_on_with_what_was_said_if_it_can() -> None:
    """A chat only where the candidate says so."""
    for continues, role in ((True, "continuation"), (False, None)):
        course = course_of(candidate("a", continues=continues))
        failed(course, course.next(LONG_S, 0.5), ONE_OF_SEVERAL[1])
        course.continuing = True
        step = course.next(LONG_S, 0.5)
        assert role == (None if step is None else step.role)


@pytest.mark.parametrize("kind", [errors.RateLimited, errors.Overloaded])
def test_who_asks_to_wait_is_waited_for_only_where_nobody_else_is_left(kind) -> None:
    """Somebody else may answer now; alone, its own word and a moment more are waited, once."""
    error = kind("wait", retry_after_s=2.0, http_status=429)
    assert [("primary", "a"), ("fallback", "b")] == walked(course_of(A, B), error)

    course = course_of(A)
    failed(course, course.next(LONG_S, 0.0), error)
    step = course.next(LONG_S, 0.0)
    assert ("retry", 2.0 + LEAST_BACKOFF_S) == (step.role, step.wait_s)
    failed(course, step, error)
    assert course.next(LONG_S, 0.0) is None


def test_a_full_queue_of_our_own_is_not_waited_for() -> None:
    """It said nothing over a wire: it is this machine's, and the answer is elsewhere or a refusal."""
    assert [("primary", "near")] == walked(course_of(NEAR), errors.Overloaded("full", retry_after_s=0.1))


def test_a_server_that_fails_and_asks_to_wait_is_not_waited_for_while_others_are_there() -> None:
    """A gateway's 500 with a Retry-After of two minutes is no reason to stand still."""
    error = errors.RemoteError("down", http_status=500, retry_after_s=120.0)

    assert [("primary", "a"), ("fallback", "b")] == walked(course_of(A, B), error)
    assert [("primary", "a"), ("retry", "a")] == walked(course_of(A), error)


def test_of_two_that_asked_to_wait_the_sooner_is_returned_to() -> None:
    """Whoever it was that asked last."""
    soon = errors.RateLimited("wait", retry_after_s=1.0, http_status=429)
    late = errors.RateLimited("wait", retry_after_s=3600.0, http_status=429)

    assert [("primary", "a"), ("fallback", "b"), ("retry", "a")] == walked(course_of(A, B), soon, late)


def test_a_step_that_was_not_taken_costs_no_attempt() -> None:
    """Nobody was asked."""
    course = course_of(A, B, most=2)
    failed(course, course.next(LONG_S, 0.5), errors.Interrupted("reset"))
    assert "retry" == course.next(LONG_S, 0.5).role
    course.passed_over()

    assert "b" == course.next(LONG_S, 0.5).candidate.id


def test_a_hedge_keeps_to_the_requests_budget_together_with_what_it_stands_beside() -> None:
    """Each is expected at a cent."""
    for limit_usd, expected in ((0.015, []), (0.02, ["b"]), (None, ["b"])):
        course = course_of(A, B, max_cost_usd=limit_usd)
        under_way = course.next(LONG_S, 0.5).candidate

        assert expected == [each.id for each in course.beside(under_way)]


def test_nothing_is_waited_for_past_the_deadline() -> None:
    """A Retry-After that does not fit is an end, not a sleep."""
    course = course_of(A)
    failed(course, course.next(LONG_S, 0.0), errors.RateLimited("wait", retry_after_s=5.0, http_status=429))

    assert course.next(5.0, 0.0) is None


def test_after_everybody_failed_the_chain_returns_to_who_asked_to_wait() -> None:
    """Better late than never: it said when."""
    busy, gone = errors.RateLimited("wait", retry_after_s=1.0, http_status=429), errors.Timeout("silent")

    assert [("primary", "a"), ("fallback", "b"), ("retry", "a")] == walked(course_of(A, B), busy, gone)


@given(draw=st.floats(0, 1))
def test_waits_are_spread(draw) -> None:
    """Callers that failed together do not return together."""
    course = course_of(A)
    failed(course, course.next(LONG_S, draw), errors.Interrupted("reset"))

    assert LEAST_BACKOFF_S <= course.next(LONG_S, draw).wait_s <= MOST_BACKOFF_S


def test_an_open_breaker_is_respected_in_the_chain() -> None:
    """The first is the decision's; whoever follows must be allowed now."""
    assert [("primary", "a"), ("fallback", "near")] == walked(course_of(A, B, NEAR, refused={"b"}), NEVER_AGAIN[0])
    assert [("primary", "a")] == walked(course_of(A, refused={"a"}), errors.Interrupted("reset"))


def test_the_last_attempt_is_kept_for_who_is_near() -> None:
    """Many far candidates that fail together must not use up the chain before this machine is asked."""
    far = [candidate(str(number)) for number in range(6)]
    walk = walked(course_of(*far, NEAR, most=4), *[NEVER_AGAIN[0]] * 6)

    assert ["0", "1", "2", "near"] == [name for _, name in walk]


def test_the_last_resort_is_whoever_was_left_alone() -> None:
    """Its breaker is open, and nobody else is left: it may have recovered. An account without credits has not."""
    assert [("primary", "a"), ("fallback", "b")] == walked(course_of(A, B, refused={"b"}), NEVER_AGAIN[0])
    assert [("primary", "a")] == walked(course_of(A, B, gone={"b"}), NEVER_AGAIN[0])


def test_a_context_that_was_too_short_goes_to_a_longer_one_only() -> None:
    """A shorter or unknown one would refuse it again."""
    contexts = {"s": 100, "r": 50, "u": None, "l": 200}
    short, shorter, unknown, longer = (candidate(name, context=tokens) for name, tokens in contexts.items())
    error = errors.ContextLengthExceeded("too long", http_status=400)

    assert [("primary", "s"), ("fallback", "l")] == walked(course_of(short, shorter, unknown, longer), error)
    assert [("primary", "s")] == walked(course_of(short, shorter, unknown), error)


def test_a_refusal_of_the_content_goes_nowhere() -> None:
    """Neither to another provider nor to this machine."""
    assert [("primary", "a")] == walked(course_of(A, B, NEAR), errors.ContentRefused("no", http_status=400))


def test_a_wrong_request_stays_wrong_but_a_fallbacks_own_refusal_does_not_end_the_chain() -> None:
    """The first 400 is the sender's; one that follows another failure may be about the fallback."""
    wrong = errors.InvalidInput("no", http_status=400)

    assert [("primary", "a")] == walked(course_of(A, B), wrong)
    assert [("primary", "a"), ("fallback", "b"), ("fallback", "near")] == walked(
        course_of(A, B, NEAR), NEVER_AGAIN[0], wrong
    )


def test_only_who_can_continue_goes_on_with_an_answer() -> None:
    """Near models with their own template, far ones that say so; a plain text anybody."""
    declared = candidate("declared", continues=True)
    for options, expected in (({}, ["declared", "near"]), ({"chat": False}, ["b", "declared", "near"])):
        course = course_of(A, B, declared, NEAR, **options)
        failed(course, course.next(LONG_S, 0.5), NEVER_AGAIN[0])
        course.continuing = True

        assert expected == [each.id for each in course.left()]
        assert "continuation" == course.next(LONG_S, 0.5).role


def test_what_a_fallback_refuses_to_continue_the_next_one_may() -> None:
    """A prefill, or a content that it was given: that is its own affair."""
    for refusal in (errors.InvalidInput("no prefill", http_status=400), errors.ContentRefused("no", http_status=400)):
        course = course_of(A, candidate("b", continues=True), NEAR)
        failed(course, course.next(LONG_S, 0.5), NEVER_AGAIN[0])
        course.continuing = True
        failed(course, course.next(LONG_S, 0.5), refusal)

        assert "near" == course.next(LONG_S, 0.5).candidate.id


def test_one_budget_holds_for_the_whole_chain() -> None:
    """What failed attempts cost counts; what they may have cost is taken as expected."""
    spent = Cost(None, "unknown")  # 0.01 was expected
    for limit_usd, expected in ((0.015, None), (0.02, "b")):
        course = course_of(A, B, max_cost_usd=limit_usd)
        failed(course, course.next(LONG_S, 0.5), NEVER_AGAIN[0], spent)
        step = course.next(LONG_S, 0.5)

        assert expected == (step and step.candidate.id)


ANY_ERROR = st.sampled_from([*NEVER_AGAIN, errors.Interrupted("r"), errors.RemoteError("x", http_status=500),
                             errors.RateLimited("w", retry_after_s=1.0, http_status=429),
                             errors.InvalidInput("x", http_status=400)])  # fmt: skip


@given(errors_=st.lists(ANY_ERROR, min_size=20, max_size=20), most=st.integers(1, 8), count=st.integers(1, 5))
def test_a_chain_always_ends_and_never_storms(errors_, most, count) -> None:
    """No more attempts than allowed, and nobody is asked more than twice, whatever fails in whichever order."""
    asked = [name for _, name in walked(course_of(*(candidate(str(n)) for n in range(count)), most=most), *errors_)]

    assert 1 <= len(asked) <= most
    assert all(asked.count(name) <= 2 for name in asked)


@pytest.mark.parametrize(("left_s", "asked"), [(100.0, "b"), (5.0, "c"), (0.5, "c")])
def test_a_fallback_is_one_that_can_be_in_time(left_s, asked) -> None:
    """In the order of the ranking among those; the quickest where nobody can."""
    course = course_of(A, B, candidate("c"), latency_s={"b": 20.0, "c": 2.0}.items())
    failed(course, course.next(LONG_S, 0.5), errors.Timeout("silent"))

    assert asked == course.next(left_s, 0.5).candidate.id
