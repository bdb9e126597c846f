"""From facts to an explanation: each part in words and as data. Pure; it must not read the log nor the clock."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from policies.base import dollars, significant
from router.explanation.facts import facts_of
from router.explanation.happening import happened, prediction
from router.explanation.hindsight import hindsight
from router.explanation.values import CandidateWords, Explanation, Exploration, LimitWords
from router.explanation.words import against, counted, difference, expected, less, ms, place, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from router.explanation.facts import Facts, Seen


def explained(row: Mapping[str, Any]) -> Explanation:
    """Explain one decision, from what `LogReader.decision` returns. Whatever the row holds, it does not raise."""
    facts = facts_of(row)
    end, guess, later, chance = happened(facts), prediction(facts), hindsight(facts), _exploration(facts)
    said = [chance.words if facts.explore_rate else "", end.words, guess.words if guess else ""]
    said += [later.words if facts.status == "ok" or facts.tried else ""]
    return Explanation(
        decision_id=facts.decision_id,
        summary=" ".join([_decision(facts), *(_it(facts, words) for words in said if words)]),
        status=facts.status,
        policy=facts.policy,
        policy_version=facts.policy_version,
        route=facts.route,
        chosen=facts.chosen,
        candidates=[_candidate(facts, seen) for seen in facts.seen],
        happened=end,
        prediction=guess,
        hindsight=later,
        exploration=chance,
        limits=list(_limits(facts)),
    )


def _it(facts: Facts, words: str) -> str:
    """The chosen one was named just before."""
    return f"It {words.removeprefix(f'{facts.chosen} ')}" if words.startswith(f"{facts.chosen} ") else words


def _decision(facts: Facts) -> str:
    """Who was chosen, out of how many, and the policy's own reason."""
    if facts.mode == "refused":
        return f"Refused before a policy was asked: {sentence(facts.reason or 'no reason is logged')}"
    policy = facts.policy or "The policy"
    if facts.chosen is None:
        codes = Counter(seen.code or "not logged" for seen in facts.seen if not seen.eligible)
        kinds = ", ".join(f"{number} {code.replace('_', ' ')}" for code, number in sorted(codes.items()))
        found = f"{policy} had nobody to choose: {counted(len(facts.seen), 'candidate')}"
        return f"{found}, all rejected ({kinds})." if kinds else f"{found}."
    eligible, rejected = len(facts.eligible), len(facts.seen) - len(facts.eligible)
    first = facts.first
    where = "" if first is None or first.near is None else f" ({place(first.near)})"
    out_of = f"out of {counted(eligible, 'eligible candidate')}{f', {rejected} rejected' if rejected else ''}"
    route = f" Route {facts.route} applied." if facts.route else ""
    return f"{policy} chose {facts.chosen}{where} {out_of}.{route} {_it(facts, sentence(facts.reason))}".rstrip()


def _candidate(facts: Facts, seen: Seen) -> CandidateWords:
    first, is_first = facts.first, seen.id == facts.chosen
    verdict = "chosen" if is_first else "eligible" if seen.eligible else "rejected"
    answered = next((each for each in facts.of(seen.id) if each.status == "ok"), None)
    return CandidateWords(
        candidate=seen.id,
        verdict=verdict,  # type: ignore[arg-type]  # one of its three
        words=" ".join(filter(None, (_why(facts, seen, first), _tried(facts, seen)))),
        code=seen.code,
        near=seen.near,
        predicted_ms=seen.pred_ms,
        predicted_p95_ms=seen.p95_ms,
        predicted_cost_usd=seen.cost_usd,
        predicted_quality=seen.quality,
        slower_ms=None if first is None else less(seen.pred_ms, first.pred_ms),
        dearer_usd=None if first is None else less(seen.cost_usd, first.cost_usd),
        score=seen.score,
        score_behind=None if first is None else less(seen.score, first.score),
        propensity=seen.propensity,
        measured_ms=None if answered is None else answered.total_ms,
        measured_usd=None if answered is None else answered.cost_usd,
    )


def _why(facts: Facts, seen: Seen, first: Seen | None) -> str:
    """Why this one, or why not."""
    figures = expected(seen.pred_ms, seen.p95_ms, seen.cost_usd)
    if seen.id == facts.chosen:
        how = "chance put it first" if facts.explored else "the policy put it first"
        return f"Chosen: {how}; {figures}{_of_it(seen)}."
    if not seen.eligible:
        return f"Rejected: {sentence(seen.reason or 'no reason is logged')}"
    if first is None:
        return f"Eligible; {figures}{_of_it(seen)}."
    apart_by = [
        difference(less(seen.pred_ms, first.pred_ms), ms, "slower", "faster", "no slower"),
        difference(less(seen.cost_usd, first.cost_usd), dollars, "dearer", "cheaper", "no dearer"),
    ]
    than = " and ".join(filter(None, apart_by))
    compared = f", {than} than {first.id}" if than else ""
    return f"Eligible, but not first: {figures}{_of_it(seen)}{compared}.{_scores(facts, seen, first)}"


def _of_it(seen: Seen) -> str:
    """The parts of the expected latency that are not work."""
    parts = [(seen.load_ms, "loading the model"), (seen.queue_ms, "waiting in its queue")]
    waits = [f"{ms(value)} {doing}" for value, doing in parts if value]
    return f", {' and '.join(waits)} included" if waits else ""


def _scores(facts: Facts, seen: Seen, first: Seen) -> str:
    if seen.score is None or first.score is None:
        return ""
    if seen.score == first.score:
        return f" Both score {significant(seen.score)}."
    figures = f" Score {against(seen.score, first.score, significant)}; lower is better."
    if seen.score < first.score:
        who = "chance" if facts.explored else "what outranks scores (an order, a fallback, a choice that is kept)"
        return f"{figures} Its score is the better one: {who} put {first.id} first."
    return figures


def _tried(facts: Facts, seen: Seen) -> str:
    """What became of it, where it was not the first to be asked."""
    later = [each for each in facts.of(seen.id) if each.role not in {"primary", "retry"}]
    ends = {"ok": "answered", "error": "failed", "cancelled": "was stopped"}
    return " ".join(
        f"Asked as {each.role}, it {ends.get(each.status, each.status)}"
        f"{'' if each.total_ms is None else f' after {ms(each.total_ms)}'}."
        for each in later
    )


def _exploration(facts: Facts) -> Exploration:
    likely = "" if facts.propensity is None else f" This choice had a probability of {_share(facts.propensity)}."
    certain = facts.propensity in {None, 1.0}
    if facts.chosen is None:
        words = "Nothing was chosen, so chance had no say."
    elif not facts.explore_rate:
        words = "Nothing was left to chance: this choice was certain." if certain else f"Nothing was explored.{likely}"
    else:
        rate, drew = _share(facts.explore_rate), f", which drew {significant(facts.draw)}" if facts.draw else ""
        who = f"Chance chose{drew}: it" if facts.explored else f"Chance{drew}, left the policy its choice: it"
        words = f"{who} decides {rate} of requests, among eligible candidates only.{likely}"
    return Exploration(
        words=words,
        rate=facts.explore_rate,
        draw=facts.draw,
        explored=facts.explored,
        propensity=facts.propensity,
    )


def _share(value: float) -> str:
    return f"{significant(value * 100)} %" if value else "0 %"


def _limits(facts: Facts) -> Iterator[LimitWords]:
    if facts.deadline_ms is not None:
        kept = None if facts.status != "ok" or facts.latency_ms is None else facts.latency_ms <= facts.deadline_ms
        yield _limit("deadline_ms", f"the whole answer within {ms(facts.deadline_ms)}", kept)
    if facts.max_latency_ms is not None:
        kept = None if facts.status != "ok" or facts.latency_ms is None else facts.latency_ms <= facts.max_latency_ms
        yield _limit("max_latency_ms", f"no more than {ms(facts.max_latency_ms)} expected", kept)
    if facts.max_cost_usd is not None:
        kept = None if facts.cost_usd is None else facts.cost_usd <= facts.max_cost_usd
        yield _limit("max_cost_usd", f"no more than {dollars(facts.max_cost_usd)} expected", kept)
    if facts.min_quality is not None:
        yield LimitWords(limit="min_quality", words=f"Quality of {significant(facts.min_quality)} at least.")
    if facts.private:
        yield LimitWords(limit="private", words="The request may not leave this machine.")
    for reason in dict.fromkeys(seen.reason for seen in facts.seen if seen.code == "budget" and seen.reason):
        yield LimitWords(limit="budget", words=sentence(f"{reason[:1].upper()}{reason[1:]}"), kept=True)


def _limit(name: str, words: str, kept: bool | None) -> LimitWords:  # noqa: FBT001 - three-valued, not a switch
    end = "it cannot be told whether it was kept" if kept is None else "kept" if kept else "not kept"
    return LimitWords(limit=name, words=f"{words[:1].upper()}{words[1:]}: {end}.", kept=kept)
