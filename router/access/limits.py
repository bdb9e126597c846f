"""How much each tenant may do: requests and tokens a minute, and requests at once. The clock is passed in.

A bucket holds a minute's worth and fills up evenly: whoever was silent may ask that much at once, and in the long run
nobody gets more than the rate. What a request will use is not known before it ends, so its estimate is set aside, given
back at its end, and what it did use is taken: a bucket may so fall below nothing, and its owner waits until it is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from router.access.keys import Limits
from router.errors import TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE_S = 60.0
MAX_TENANTS = 10_000
_ROUNDING = 1e-6  # of one request or token: whoever waited as long as was said is not sent away over a float's last bit
What = Literal["requests", "tokens", "concurrency"]


class Bucket:
    """A level that rises by `per_minute` a minute up to `per_minute`. Times are seconds of any one clock."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at = now

    def level(self, now: float) -> float:
        """What may be taken; below nothing where more was used than was left. A clock set back changes nothing."""
        if now > self._at:
            self._level = min(self.per_minute, self._level + (now - self._at) * self.per_minute / MINUTE_S)
            self._at = now
        return self._level

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until this much may be taken: none when it is there. More than fits in counts as all that does."""
        lacking = min(amount, self.per_minute) - self.level(now)
        return lacking * MINUTE_S / self.per_minute if lacking > _ROUNDING else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take this much, be it there or not; a negative amount gives it back."""
        self._level = min(self.per_minute, self.level(now) - amount)

    def resize(self, per_minute: float, now: float) -> None:
        """Rise at another rate from now on, and no higher. What is there is there, unless it does not fit in."""
        self._level = min(per_minute, self.level(now))
        self.per_minute = per_minute

    def full_in_s(self, now: float) -> float:
        """Seconds until it is full again."""
        return (self.per_minute - self.level(now)) * MINUTE_S / self.per_minute


class Standing(Struct, frozen=True):
    """One limit as it stands: what is left of it, and in how many seconds all of it will be."""

    limit: int
    remaining: int
    reset_s: float


class _Tenant:
    """What one tenant has used of its limits, or of the part of them that is given here."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.running = 0
        self.limit(limits, now)

    def limit(self, limits: Limits, now: float) -> None:
        """Begin anew under these limits; what is under way stays so."""
        self.limits = limits
        self.requests = None if limits.requests_per_minute is None else Bucket(limits.requests_per_minute, now)
        self.tokens = None if limits.tokens_per_minute is None else Bucket(limits.tokens_per_minute, now)
        self.at_once, self._part = limits.concurrency, 1.0

    def give(self, part: float, now: float) -> None:
        """Give this part of the limits from now on, and one request at once in any case."""
        if part == self._part:
            return
        self._part, limits = part, self.limits
        if limits.concurrency is not None:
            self.at_once = max(1, int(limits.concurrency * part))
        for bucket, whole in ((self.requests, limits.requests_per_minute), (self.tokens, limits.tokens_per_minute)):
            if bucket is not None and whole is not None:
                bucket.resize(whole * part, now)


class Place:
    """A request that was let in. Its place is taken until `end`, which may be called again and then does nothing."""

    def __init__(self, limiter: Limiter, tenant: _Tenant) -> None:
        self._limiter = limiter
        self._tenant = tenant
        self._reserved = 0
        self._ended = False

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how many tokens the request will use."""
        return self._tenant.tokens is not None

    def reserve(self, tokens: int) -> None:
        """Set aside what the request will use, as far as can be told before. Never more than a minute's worth.

        Raises:
            TooManyRequests: not as much is left. Nothing is set aside.
        """
        bucket, limit = self._tenant.tokens, self._tenant.limits.tokens_per_minute
        if bucket is None or limit is None or self._ended:
            return
        tokens = min(tokens, int(bucket.per_minute))
        now = self._limiter.now()
        wait_s = bucket.wait_s(tokens, now)
        if wait_s > 0:
            raise self._limiter.refusal("tokens", limit, wait_s)
        bucket.take(tokens, now)
        self._reserved += tokens

    def end(self) -> None:
        """Free the place, and give back what was set aside."""
        if self._ended:
            return
        self._ended = True
        self._tenant.running -= 1
        if self._reserved and self._tenant.tokens is not None:
            self._tenant.tokens.take(-self._reserved, self._limiter.now())


class Limiter:
    """Every tenant's use of its limits. Used from one thread; the longest silent are forgotten first, beyond 10,000.

    Attributes:
        part: Where other routers let the same tenants in: which part of a tenant's limits is given here, asked for each
            of its requests. None gives all.
    """

    def __init__(self, defaults: Limits, clock: Callable[[], float]) -> None:
        self._defaults = defaults
        self.now = clock
        self._tenants: dict[str, _Tenant] = {}
        self.part: Callable[[str], float] | None = None

    def become(self, defaults: Limits) -> None:
        """Go by these limits from now on, where a tenant has none of its own; what is under way stays so."""
        self._defaults = defaults

    def enter(self, tenant: str, own: Limits | None = None) -> Place | None:
        """Let one more request of this tenant in; None where nothing limits it, and nothing need be freed.

        Raises:
            TooManyRequests: it has as many under way as it may, or has asked too often within a minute.
        """
        limits = self._defaults if own is None else own.over(self._defaults)
        if limits == _UNLIMITED:
            return None
        state, now = self._state(tenant, limits), self.now()
        if self.part is not None:
            state.give(self.part(tenant), now)
        if state.at_once is not None and limits.concurrency is not None and state.running >= state.at_once:
            raise self.refusal("concurrency", limits.concurrency, 1.0)
        if state.requests is not None and limits.requests_per_minute is not None:
            wait_s = state.requests.wait_s(1, now)
            if wait_s > 0:
                raise self.refusal("requests", limits.requests_per_minute, wait_s)
            state.requests.take(1, now)
        state.running += 1
        return Place(self, state)

    def used(self, tenant: str, tokens: int) -> None:
        """Take what a request of this tenant did use."""
        state = self._tenants.get(tenant)
        if state is not None and state.tokens is not None:
            state.tokens.take(tokens, self.now())

    def standing(self, tenant: str) -> dict[str, Standing]:
        """A tenant's requests and tokens as they stand now, where they are limited."""
        state, now = self._tenants.get(tenant), self.now()
        if state is None:
            return {}
        limits = state.limits
        found = {
            "requests": (state.requests, limits.requests_per_minute),
            "tokens": (state.tokens, limits.tokens_per_minute),
        }
        return {
            name: Standing(limit, max(0, int(bucket.level(now))), bucket.full_in_s(now))
            for name, (bucket, limit) in found.items()
            if bucket is not None and limit is not None
        }

    def refusal(self, what: What, limit: int, wait_s: float) -> TooManyRequests:
        """The error of whoever is over this limit."""
        unit = {"requests": "requests a minute", "tokens": "tokens a minute", "concurrency": "requests at once"}[what]
        return TooManyRequests(f"Over the limit of {limit} {unit}; it is free again in {wait_s:.1f} s.", what, wait_s)

    def _state(self, name: str, limits: Limits) -> _Tenant:
        state = self._tenants.pop(name, None)  # and in again behind: the longest silent come first
        if state is None:
            state = _Tenant(limits, self.now())
        elif state.limits != limits:
            state.limit(limits, self.now())
        self._tenants[name] = state
        if len(self._tenants) > MAX_TENANTS:
            idle = next((other for other, its in self._tenants.items() if its.running == 0 and other != name), None)
            if idle is not None:
                del self._tenants[idle]
        return state


_UNLIMITED = Limits()
