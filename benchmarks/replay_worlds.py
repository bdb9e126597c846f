"""Worlds whose truth is known: traffic, what each candidate would do with each request, and logs of who was asked."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from router.replay.logged import Logged, Shown, Tried

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START_MS = 1_760_011_200_000.0
DEADLINE_MS = 3_000.0
BROWN_OUT_S, EVERY_S = 90.0, 900.0


class Prompt(NamedTuple):
    """A request of a world without queues: what is predicted of each candidate, and what each would really do."""

    predicted_usd: tuple[float, ...]
    usd: tuple[float, ...]
    right: tuple[float, ...]  # 0 or 1
    session: str | None


@dataclass(frozen=True)
class Logger:
    """An epsilon-greedy logging policy; `wrong` scales what it says was left to chance."""

    greedy: Callable[[Prompt], int]
    epsilon: float
    wrong: float = 1.0

    def log(self, prompts: Sequence[Prompt], rng: random.Random) -> list[Logged]:
        """The prompts as they are logged: one candidate is asked, and only its answer is known."""
        return [self._one(n, prompt, rng) for n, prompt in enumerate(prompts)]

    def _one(self, n: int, prompt: Prompt, rng: random.Random) -> Logged:
        arms, best = range(len(prompt.usd)), self.greedy(prompt)
        asked = rng.randrange(len(arms)) if rng.random() < self.epsilon else best
        said = self.epsilon * self.wrong
        shares = [said / len(arms) + (1 - said) * (arm == best) for arm in arms]
        slate = [_shown(str(arm), 100.0, prompt.predicted_usd[arm], shares[arm]) for arm in arms]
        return Logged(
            at_ms=START_MS + n,
            slate=slate,
            attempts=[],
            shadows=[],
            policy="greedy",
            version="1",
            chosen=str(asked),
            propensity=shares[asked],
            session=prompt.session,
            status="ok",
            latency_ms=100.0,
            cost_usd=prompt.usd[asked],
            score=prompt.right[asked],
        )


def _shown(name: str, pred_ms: float, usd: float, propensity: float, **other: object) -> Shown:
    fields = {"backend": "remote", "provider": name, "device": "cpu", "near": False, "eligible": True, "warm": True}
    fields |= {"load_ms": 0.0, "queue_ms": 0.0, **other}
    return Shown(candidate_id=name, pred_ms=pred_ms, cost_usd=usd, propensity=propensity, **fields)  # type: ignore[arg-type]


def made_up(count: int, rng: random.Random, per_session: int = 1) -> list[Prompt]:
    """Prompts with three candidates; those of a session are alike, so that they do not count as independent."""
    found = []
    for n in range(count):
        if n % per_session == 0:
            mood = rng.gauss(0, 0.2 if per_session > 1 else 0.0)
        hard = rng.random()
        chances = [min(1.0, max(0.0, p + mood)) for p in (0.9 - 0.6 * hard, 0.85 - 0.2 * hard, 0.6)]
        predicted = (0.001 * (1 + hard), 0.003, 0.002)
        found.append(
            Prompt(
                predicted_usd=predicted,
                usd=tuple(
                    usd * rng.lognormvariate(0, spread) for usd, spread in zip(predicted, (0.6, 0.3, 0.4), strict=True)
                ),
                right=tuple(float(rng.random() < chance) for chance in chances),
                session=f"s{n // per_session}" if per_session > 1 else None,
            )
        )
    return found


def table(weak: Sequence[bool], strong: Sequence[bool], lengths: Sequence[int]) -> list[Prompt]:
    """Real prompts that both a weak and a strong model answered; the prices go by the prompts' length."""
    return [
        Prompt(predicted_usd=usd, usd=usd, right=(float(w), float(s)), session=None)
        for w, s, n in zip(weak, strong, lengths, strict=True)
        for usd in [(0.6e-6 * (n / 4 + 100), 10e-6 * (n / 4 + 100))]
    ]


# --- a world with queues ----------------------------------------------------------------------------------------


class Arrival(NamedTuple):
    """A request of the world with queues: what each side takes, brown-outs included. Milliseconds since the start."""

    at_ms: float
    near_ms: float
    far_ms: float
    tokens: int


def from_trace(rows: Sequence[tuple[float, int, int]], rng: random.Random, per_token_ms: float) -> list[Arrival]:
    """Arrivals (seconds, tokens read, tokens written) of a real trace; the far side has brown-outs, and noise."""
    found = []
    for at_s, read, written in rows:
        near = (0.05 * read + per_token_ms * written) * rng.lognormvariate(0, 0.15)
        slow = 4.0 if at_s % EVERY_S < BROWN_OUT_S else 1.0
        far = (300 + 6.0 * written) * slow * rng.lognormvariate(0, 0.35)
        found.append(Arrival(at_s * 1000, near, far, written))
    return found


def made_up_arrivals(count: int, load: float, rng: random.Random) -> list[Arrival]:
    """Arrivals at random; `load` is what they would ask of the near side, were all sent there."""
    at_s, rows = 0.0, []
    for _ in range(count):
        at_s += rng.expovariate(load / 1.05)
        rows.append((at_s, 0, max(1, round(rng.lognormvariate(4.4, 0.6)))))
    mean = sum(written for _, _, written in rows) / count
    return from_trace(rows, rng, 1050.0 / mean)


def live(arrivals: Sequence[Arrival], near: Callable[[int], bool], share: float | None = None) -> list[Logged]:
    """What really happens when `near` says who goes near: one server, first come first served. With `share` a log."""
    free, requests = 0.0, []
    pace = sum(a.near_ms for a in arrivals) / max(sum(a.tokens for a in arrivals), 1)
    for n, arrival in enumerate(arrivals):
        here, wait = near(n), max(0.0, free - arrival.at_ms)
        took = wait + arrival.near_ms if here else arrival.far_ms
        free = arrival.at_ms + took if here else free
        chances = (0.5, 0.5) if share is None else (share, 1 - share)
        slate = [
            _shown("near", wait + pace * arrival.tokens, 1e-5, chances[0], near=True, backend="local", queue_ms=wait),
            _shown("far", 300 + 6.0 * arrival.tokens, 1e-3, chances[1]),
        ]
        attempt = Tried(
            candidate_id="near" if here else "far",
            role="primary",
            status="ok",
            begun_ms=START_MS + arrival.at_ms,
            total_ms=took,
            queue_ms=wait if here else None,
            load_ms=0.0 if here else None,
            service_ms=arrival.near_ms if here else None,
            cost_usd=1e-5 if here else 1e-3,
        )
        requests.append(
            Logged(
                at_ms=START_MS + arrival.at_ms,
                slate=slate,
                attempts=[attempt],
                shadows=[],
                policy="coin",
                version="1",
                chosen=attempt.candidate_id,
                propensity=chances[0] if here else chances[1],
                status="ok",
                latency_ms=took,
                overhead_ms=0.0,
                cost_usd=attempt.cost_usd,
            )
        )
    return requests


def split(share: float, seed: int) -> Callable[[int], bool]:
    """Send this share near, by chance."""
    rng = random.Random(seed)
    drawn: dict[int, bool] = {}
    return lambda n: drawn.setdefault(n, rng.random() < share)
