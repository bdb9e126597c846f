"""A call that is pinned: its candidate and nobody else is asked, whatever else there is to say about it."""

import time

import pytest
from msgspec.structs import replace

from backends.errors import RemoteError
from router.catalog import Catalog
from router.errors import CatalogError, InvalidRequest
from router.sections import CandidateEntry, ModelEntry
from tests.unit.router.compare.suites import on_a_loop
from tests.unit.router.house import CHAT, chat, chat_model, fake, opened


def pinned(house, name: str, **routing):
    """A call for the candidate of this provider."""
    target = next(one.target for one in house.services.finder.every() if one.id == f"{name}:{CHAT}")
    return replace(chat(**routing), pinned=target)


@on_a_loop
async def test_the_pinned_one_is_asked_and_the_row_says_so() -> None:
    """Not the one that the policy prefers; the slate is that one alone."""
    async with opened(chat_model(fake("a"), fake("b", latency_ms=20))) as house:
        outcome = await house.dispatcher.infer(pinned(house, "b"))
        row = await house.row(outcome.decision_id)

    assert [f"b:{CHAT}"] == [one["candidate_id"] for one in row["candidates"]] == [row["chosen"]]
    assert ("pinned", "ok", 1) == (row["mode"], row["status"], row["attempts"] and len(row["attempts"]))
    assert row["reason"].startswith(f"b:{CHAT} was asked for by name, to be measured. ")


@on_a_loop
async def test_whom_everybody_leaves_alone_is_asked_all_the_same() -> None:
    """That it fails is what is measured; and that it answered closes nothing for others."""
    async with opened(chat_model(fake("a"), fake("b"))) as house:
        for _ in range(20):
            house.breakers.failed(f"b:{CHAT}", RemoteError("gone", http_status=500), time.monotonic())
        refused = house.services.lessons.refusal
        one = next(each for each in house.services.finder.every() if each.id == f"b:{CHAT}")
        assert refused(one) is not None

        outcome = await house.dispatcher.infer(pinned(house, "b"))

        assert "ok" == outcome.status
        assert refused(one) is not None


@on_a_loop
async def test_hard_limits_hold_for_it() -> None:
    """Nothing leaves this machine in offline mode, pinned or not."""
    async with opened(chat_model(fake("a"), fake("b")), offline=True) as house:
        outcome = await house.dispatcher.infer(pinned(house, "b"))

    assert "refused" == outcome.status
    assert () == outcome.attempts


@on_a_loop
async def test_a_session_and_whom_requests_went_to_last_are_not_moved() -> None:
    """After it, requests are decided as before it."""
    async with opened(chat_model(fake("a"), fake("b")), hysteresis=0.5) as house:
        before = (await house.dispatcher.plan(chat(session="s"))).decision
        for _ in range(3):
            await house.dispatcher.infer(pinned(house, "b", session="s"))
        after = (await house.dispatcher.plan(chat(session="s"))).decision

    assert (before.ranked, before.reason) == (after.ranked, after.reason)


@on_a_loop
async def test_it_is_not_run_again_near() -> None:
    """A shadow beside it would be measured with it."""
    async with opened(chat_model(fake("a"), fake("n", near=True)), shadow=1.0) as house:
        await house.dispatcher.infer(pinned(house, "a"))
        pinned_ones = house.dispatcher.shadows.state()
        await house.dispatcher.infer(chat())
        all_of_them = house.dispatcher.shadows.state()

    assert (0, 0) == (pinned_ones.waiting, pinned_ones.run)
    assert 1 == all_of_them.waiting + all_of_them.run


@on_a_loop
async def test_a_target_that_the_model_does_not_have_is_refused() -> None:
    async with opened(chat_model(fake("a"), fake("b"))) as house:
        call = pinned(house, "a")
        with pytest.raises(InvalidRequest, match="has no candidate z:"):
            await house.dispatcher.infer(replace(call, pinned=replace(call.pinned, provider="z")))


def near(runtime: str | None) -> CandidateEntry:
    return CandidateEntry(backend="local", source="package:x", runtime=runtime)


def test_a_model_may_be_near_in_several_runtimes_and_in_each_once() -> None:
    """They are candidates of their own: what is learnt of one is not believed of another."""
    entry = ModelEntry(id="m", task="feature-extraction", candidates=(near(None), near("torch"), near("onnx")))

    assert entry is Catalog([entry]).find("m")
    with pytest.raises(CatalogError, match="same provider, model and runtime"):
        Catalog([replace(entry, candidates=(near("onnx"), near("onnx")))])


@on_a_loop
async def test_a_runtime_is_in_its_candidates_name() -> None:
    """`local:MODEL` is whatever is fastest; `local:MODEL#onnx` is that one."""
    entry = ModelEntry(id="m", task="feature-extraction", candidates=(near(None), near("torch")))
    async with opened(entry) as house:
        finder = house.services.finder
        named = [one.id for one in finder.of_model(entry)]
        target = replace(finder.of_model(entry)[0].target, runtime="packed")

        assert ["local:m", "local:m#torch"] == named
        assert "local:m#packed" == finder.pinned(entry, target).id
