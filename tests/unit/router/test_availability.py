"""The breakers: open on repeated failures, probe with one attempt at a time, close on success."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backends import errors
from router.availability import FIRST_PAUSE_S, FORGETTING, HALF, LONGEST_PAUSE_S, MAX_BREAKERS, THRESHOLD, Breakers

SENDERS_FAULT = (errors.ContentRefused, errors.ContextLengthExceeded, errors.InvalidInput)
OPENS_AT_ONCE = (errors.Unauthorized, errors.PaymentRequired)
ORDINARY = (
    errors.Unavailable, errors.Interrupted, errors.Overloaded, errors.OutOfMemory, errors.ModelNotFound, errors.Timeout,
    errors.RateLimited, errors.RemoteError,
)  # fmt: skip


def broken(times: int = THRESHOLD, now: float = 0.0, kind: type[errors.BackendError] = errors.RemoteError) -> Breakers:
    """Breakers after so many attempts at the candidate `x` ran together and failed."""
    breakers = Breakers()
    for probe in [breakers.begin("x") for _ in range(times)]:
        breakers.failed("x", kind("no"), now, probe=probe)
    return breakers


def test_every_error_of_the_family_is_classified_here() -> None:
    """A new class of error makes somebody think about breakers."""
    family = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.BackendError) and kind is not errors.BackendError
    }

    assert {*SENDERS_FAULT, *OPENS_AT_ONCE, *ORDINARY} == family


@pytest.mark.parametrize("kind", ORDINARY)
def test_a_breaker_opens_at_the_third_failure_in_a_row(kind) -> None:
    """Not before; then for the first pause, and the reason names what happened."""
    assert broken(THRESHOLD - 1, kind=kind).refusal("x", 0.0) is None

    breakers = broken(THRESHOLD, kind=kind)
    assert kind.__name__ in (breakers.refusal("x", 0.0) or "")
    assert breakers.refusal("x", FIRST_PAUSE_S - 0.001) is not None
    assert breakers.refusal("x", FIRST_PAUSE_S) is None


@pytest.mark.parametrize("kind", OPENS_AT_ONCE)
def test_a_refused_key_opens_at_once(kind) -> None:
    """Asking again with the same key cannot help."""
    assert broken(1, kind=kind).refusal("x", 0.0) is not None


@pytest.mark.parametrize("kind", SENDERS_FAULT)
def test_the_requests_own_fault_never_opens(kind) -> None:
    """One sender's bad requests take nothing from the others."""
    assert {} == broken(100, kind=kind).open(0.0)


def test_a_success_in_between_starts_the_count_anew() -> None:
    """Three failures must follow each other."""
    breakers = broken(THRESHOLD - 1)
    breakers.succeeded("x")
    for _ in range(THRESHOLD - 1):
        breakers.failed("x", errors.RemoteError("no"), 0.0)

    assert breakers.refusal("x", 0.0) is None


def test_one_candidates_failures_are_not_anothers() -> None:
    """Every candidate has its own breaker."""
    assert ["x"] == list(broken().open(0.0))
    assert broken().refusal("y", 0.0) is None


def test_a_probe_that_fails_doubles_the_pause_up_to_a_minute() -> None:
    """5, 10, 20, 40, 60, 60 seconds."""
    breakers, now, pauses = broken(), 0.0, []
    for _ in range(6):
        pause = next(s for s in (5, 10, 20, 40, 60, 61) if breakers.refusal("x", now + s) is None)
        pauses.append(pause)
        now += pause
        probe = breakers.begin("x")
        breakers.failed("x", errors.RemoteError("no"), now, probe=probe)

    assert [5, 10, 20, 40, 60, 60] == pauses


def test_a_probe_is_alone_until_it_ends() -> None:
    """Whoever asks meanwhile is refused; a probe that its sender gave up leaves the place to the next."""
    breakers = broken()
    probe = breakers.begin("x")
    assert "probe is under way" in (breakers.refusal("x", FIRST_PAUSE_S) or "")

    breakers.abandoned("x", probe=probe)
    assert breakers.refusal("x", FIRST_PAUSE_S) is None


@pytest.mark.parametrize("kind", SENDERS_FAULT)
def test_a_probe_with_a_bad_request_decides_nothing(kind) -> None:
    """The breaker neither closes nor waits longer: the next request may probe."""
    breakers = broken()
    probe = breakers.begin("x")
    breakers.failed("x", kind("no"), FIRST_PAUSE_S, probe=probe)

    assert breakers.refusal("x", FIRST_PAUSE_S) is None
    breakers.begin("x")
    assert breakers.refusal("x", FIRST_PAUSE_S) is not None


def test_a_breaker_waits_at_least_as_long_as_it_was_asked_to() -> None:
    """A provider's own word goes before the pause, when it is longer."""
    breakers = broken(THRESHOLD - 1)
    breakers.failed("x", errors.RateLimited("no", retry_after_s=90.0), 0.0)

    assert breakers.refusal("x", 89.9) is not None
    assert breakers.refusal("x", 90.0) is None


def test_who_says_when_to_come_back_is_believed() -> None:
    """A second is a second, and not our own first pause; who fails often has lost that trust."""
    breakers = Breakers()
    breakers.failed("x", errors.RateLimited("no", retry_after_s=1.0), 0.0)
    assert breakers.refusal("x", 1.0) is None

    often = broken(THRESHOLD - 1)
    often.failed("x", errors.RateLimited("no", retry_after_s=1.0), 0.0)
    assert often.refusal("x", 1.0) is not None


@pytest.mark.parametrize("kind", [errors.RateLimited, errors.Overloaded])
def test_a_provider_that_asks_to_wait_is_left_alone_from_the_first_time(kind) -> None:
    """`Retry-After` is honoured: asking again before it has passed is what it forbids."""
    breakers = Breakers()
    breakers.failed("x", kind("no", retry_after_s=30.0), 0.0)

    assert breakers.refusal("x", 29.0) is not None


def test_a_straggler_that_gives_up_does_not_make_room_for_a_second_probe() -> None:
    """Two attempts run when the breaker opens; while the probe runs, one of them is cancelled."""
    breakers = Breakers()
    straggler = breakers.begin("x")
    for _ in range(THRESHOLD):
        breakers.begin("x")
        breakers.failed("x", errors.RemoteError("no"), 0.0)
    assert breakers.refusal("x", FIRST_PAUSE_S) is None
    breakers.begin("x")  # the probe
    breakers.abandoned("x", probe=straggler)  # its sender goes away

    assert breakers.refusal("x", FIRST_PAUSE_S) is not None


def test_three_in_a_row_mean_nothing_of_who_mostly_answers() -> None:
    """Failures come back sooner than answers, so they cluster; in an outage they do not stop."""
    breakers = Breakers()
    for _ in range(20):
        breakers.succeeded("x")
    for number in range(1, 6):
        breakers.failed("x", errors.RemoteError("no"), 0.0)

        assert (number == 5) == (breakers.refusal("x", 0.0) is not None)


def test_a_burst_that_fails_together_is_one_reason_to_pause() -> None:
    """Eight requests in flight at one place that goes down cost the first pause, not the longest."""
    assert broken(8).refusal("x", FIRST_PAUSE_S) is None


def test_breakers_are_bounded() -> None:
    """However many candidates fail, the oldest breaker is dropped for the newest."""
    breakers = Breakers()
    for number in range(MAX_BREAKERS + 1):
        breakers.failed(f"{number}", errors.Unauthorized("no"), 0.0)

    assert breakers.refusal("0", 0.0) is None
    assert MAX_BREAKERS == len(breakers.open(0.0))


class Life(RuleBasedStateMachine):
    """One candidate among many requests: what its breaker must do, whatever the order of events."""

    @initialize()
    def begin_life(self) -> None:
        self.breakers = Breakers()
        self.now = 0.0
        self.in_a_row = 0
        self.share, self.seen = 0.0, 0  # of attempts that failed, and how many there were
        self.opened_at: float | None = None
        self.least_s = FIRST_PAUSE_S
        self.running: list[bool] = []  # the attempts under way; True is the probe

    def is_open(self) -> bool:
        return self.opened_at is not None

    @rule()
    def start(self) -> None:
        if self.breakers.refusal("x", self.now) is None:
            self.running.append(self.breakers.begin("x"))

            assert self.is_open() == self.running[-1]

    def one(self, data: st.DataObject) -> bool:
        """Take one of the attempts under way."""
        return self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kind=st.sampled_from(ORDINARY), retry_after_s=st.none() | st.floats(0, 100))
    def fail(self, data: st.DataObject, kind: type[errors.BackendError], retry_after_s: float | None) -> None:
        probe = self.one(data)
        self.breakers.failed("x", kind("no", retry_after_s=retry_after_s), self.now, probe=probe)
        asked = kind in {errors.RateLimited, errors.Overloaded} and bool(retry_after_s)
        self.note_failure(probe=probe, at_once=asked, asked_s=retry_after_s if asked else None)

    def note_failure(self, *, probe: bool, at_once: bool, asked_s: float | None = None) -> None:
        if self.is_open() and not probe:  # begun before it opened
            return
        self.in_a_row += 1
        self.weigh(1.0)
        often = probe or (self.in_a_row >= THRESHOLD and self.share >= HALF)
        if often or at_once:
            self.opened_at = self.now
            self.least_s = FIRST_PAUSE_S if often or asked_s is None else asked_s

    def weigh(self, failed: float) -> None:
        self.seen += 1
        self.share += max(FORGETTING, 1 / self.seen) * (failed - self.share)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kind=st.sampled_from(OPENS_AT_ONCE))
    def lose_the_key(self, data: st.DataObject, kind: type[errors.BackendError]) -> None:
        probe = self.one(data)
        self.breakers.failed("x", kind("no"), self.now, probe=probe)
        self.note_failure(probe=probe, at_once=True)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kind=st.sampled_from(SENDERS_FAULT))
    def blame_the_sender(self, data: st.DataObject, kind: type[errors.BackendError]) -> None:
        self.breakers.failed("x", kind("no"), self.now, probe=self.one(data))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        self.breakers.abandoned("x", probe=self.one(data))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        self.one(data)
        self.breakers.succeeded("x")
        self.weigh(0.0)
        self.in_a_row, self.opened_at = 0, None
        self.running = [False] * len(self.running)  # closed again: who still runs decides for nobody

    @rule(seconds=st.floats(0, 2 * LONGEST_PAUSE_S))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def a_closed_breaker_refuses_nobody(self) -> None:
        if not self.is_open():
            assert self.breakers.refusal("x", self.now) is None

    @invariant()
    def an_open_breaker_refuses_for_the_first_pause_at_least_or_as_long_as_it_was_asked_to(self) -> None:
        if self.opened_at is not None and self.now < self.opened_at + self.least_s:
            assert self.breakers.refusal("x", self.now) is not None

    @invariant()
    def an_open_breaker_is_probed_again_in_the_end(self) -> None:
        if self.is_open() and not any(self.running):
            assert self.breakers.refusal("x", self.now + 100) is None

    @invariant()
    def there_is_one_probe_at_most(self) -> None:
        assert sum(self.running) <= 1
        if any(self.running):
            assert self.breakers.refusal("x", self.now + 1000) is not None

    @invariant()
    def looking_changes_nothing(self) -> None:
        assert self.breakers.open(self.now) == self.breakers.open(self.now)


TestLife = Life.TestCase
