"""The far side while the router runs: a listing fetched, prices by it, keys rotated; a whole house, real sockets."""

import asyncio
import json
import logging
import time
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from backends.types import GenerationInput, InferenceRequest, Message, Task
from router.decision_log.log import DecisionLog
from router.errors import RouterError, UnknownModel
from router.house import open_house, serving_house
from router.request import Call, Routing, split_suffix
from router.section_of_routing import RoutingSettings
from router.sections import CandidateEntry, ModelEntry, Price, ProviderSettings, Settings
from router.settings import Secrets, read_secrets
from tests.integration.far_side import FarSide, reply_json

MODEL, UNLISTED = "org/m", "org/found"
SOON_S = 20
SEED = Price(input_per_1m_usd=9.0, output_per_1m_usd=9.0, source="static seed")
CHAT = ModelEntry(
    id=MODEL, task="text-generation", candidates=(CandidateEntry(backend="remote", provider="huggingface", price=SEED),)
)


def listed(**prices):
    """The router's answer to a question about its models: who serves `org/m`, at what price both ways."""
    providers = [
        {"provider": name, "status": "live", "context_length": 4096, "pricing": {"input": price, "output": price}}
        for name, price in prices.items()
    ]
    return reply_json({"data": [{"id": MODEL, "providers": providers}, {"id": UNLISTED, "providers": providers}]})


def settings_for(far, folder: Path, *providers: ProviderSettings, models=(CHAT,), **routing) -> Settings:
    router = ProviderSettings(name="huggingface", protocol="openai", base_url=f"{far.url}/v1", api_key_env="HF_TOKEN")
    routing = {"policy": "cheapest", "listings_dir": str(folder / "listings")} | routing
    return Settings(providers=(router, *providers), models=models, routing=RoutingSettings(**routing))


@asynccontextmanager
async def house_at(far, folder: Path, *, token: str | None = "hf_first", opening=serving_house, **given):
    """A house whose router is this far side."""
    settings, log = settings_for(far, folder, **given), DecisionLog.open(Path(":memory:"))
    async with opening(settings, Secrets(hf_token=token), log) as house:
        yield house


async def asked(house, model: str = MODEL, **routing):
    """The outcome of one chat; the model may carry a suffix."""
    name, wanted = split_suffix(model, Routing(**routing), house.catalog.provider_names)
    payload = GenerationInput(messages=(Message("user", "hello you"),))
    request = InferenceRequest(task=Task.TEXT_GENERATION, model=name, payload=payload)
    return await house.dispatcher.infer(Call(request=request, routing=wanted, surface="t", received=time.monotonic()))


def prices(house, model: str = MODEL):
    candidates = house.finder.of_model(house.catalog.find(model))
    return {c.target.provider: c.price and (c.price.source, c.price.output_per_1m_usd) for c in candidates}


async def rows(house, query: str):
    await asyncio.to_thread(house.log.flush)
    return [tuple(row) for row in house.log.reader().sql(query).rows]


@pytest.fixture
def side(tmp_path):
    """Run a coroutine function with a far side and this test's folder."""

    def run(go):
        async def main():
            async with FarSide() as far:
                return await go(far, tmp_path)

        return asyncio.run(asyncio.wait_for(main(), SOON_S * 3))

    return run


# --- listings ---------------------------------------------------------------------------------------


def test_a_refreshed_listing_is_in_force_at_once(side) -> None:
    """Its providers are candidates, the cheapest serves, by its own name upstream, at its own price and context."""

    async def go(far, folder):
        async with house_at(far, folder) as house:
            before = prices(house)
            far.enqueue(listed(groq=3.0, together=1.0))
            [result] = [r for r in await house.refresher.refresh() if r.provider == "huggingface"]
            contexts = {c.target.provider: c.context_length for c in house.finder.of_model(CHAT)}
            outcome = await asked(house)
            return before, result, prices(house), contexts, outcome, far.requests

    before, result, after, contexts, outcome, requests = side(go)

    assert {"huggingface": ("static seed", 9.0)} == before
    assert ({"huggingface": ("router maximum", 3.0)}, {"groq": 3.0, "together": 1.0}) == (
        {"huggingface": after["huggingface"]}, {name: after[name][1] for name in ("groq", "together")},
    )  # fmt: skip
    assert {"huggingface": None, "groq": 4096, "together": 4096} == contexts
    assert ("/v1/models", 2, None) == (requests[0].path, result.models, result.error)
    assert f"together:{MODEL}" == outcome.attempts[0].candidate_id
    assert f"{MODEL}:together" == requests[-1].body["model"]
    assert pytest.approx(7e-6) == outcome.cost.usd  # 2 tokens in and 5 out, at a dollar the million


def test_a_suffix_goes_upstream_and_costs_what_that_provider_charges(side) -> None:
    """`org/m:groq`, though another is cheaper; one that is not listed is asked all the same, at an unknown price."""

    async def go(far, folder):
        async with house_at(far, folder, policy="fastest") as house:
            far.enqueue(listed(groq=3.0, together=1.0))
            await house.refresher.refresh(["huggingface"])
            groq, novita = await asked(house, f"{MODEL}:groq"), await asked(house, f"{MODEL}:novita")
            return [(o.status, o.attempts[0].provider, o.cost.usd) for o in (groq, novita)], far.requests

    outcomes, requests = side(go)

    assert [("ok", "groq", pytest.approx(2.1e-5)), ("ok", "novita", None)] == outcomes
    assert [f"{MODEL}:groq", f"{MODEL}:novita"] == [request.body["model"] for request in requests[1:]]


def test_what_the_router_chose_is_charged_and_not_what_it_might_have(side) -> None:
    """The header says who served; where nobody does the upper bound stands."""
    answer = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
              "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0}}  # fmt: skip

    async def go(far, folder):
        async with house_at(far, folder) as house:
            far.enqueue(listed(groq=3.0, together=1.0))
            await house.refresher.refresh(["huggingface"])
            far.enqueue(reply_json(answer, x_inference_provider="together"), reply_json(answer))
            return [await asked(house, only=("huggingface",)) for _ in range(2)]

    named, silent = side(go)

    assert [("together", 1.0), ("huggingface", 3.0)] == [(o.attempts[0].provider, o.cost.usd) for o in (named, silent)]


def test_other_prices_are_another_book_and_rows_keep_theirs(side) -> None:
    """Each decision names the prices it was made by; fetching the same again makes no new book."""

    async def go(far, folder):
        async with house_at(far, folder, policy="fastest") as house:
            for price in (1.0, 1.0, 2.0):
                far.enqueue(listed(together=price))
                await house.refresher.refresh(["huggingface"])
                await asked(house, f"{MODEL}:together")
            decided = [book for (book,) in await rows(house, "SELECT price_book FROM decisions ORDER BY seq")]
            books = dict(await rows(house, "SELECT price_book, body::VARCHAR FROM price_books"))
            return decided, books

    (one, same, other), books = side(go)

    assert one == same != other
    assert 3 == len(books)  # the first is of the start, when nothing was listed
    assert f'"together:{MODEL}":{{"input_per_1m_usd":1.0' in books[one].replace(" ", "")
    assert f'"together:{MODEL}":{{"input_per_1m_usd":2.0' in books[other].replace(" ", "")


def test_a_listed_model_can_be_asked_for_though_nobody_configured_it(side) -> None:
    """Without asking the hub; and not without a token, nor offline."""

    async def go(far, folder):
        async with house_at(far, folder) as house:
            far.enqueue(listed(groq=3.0, together=1.0))
            await house.refresher.refresh(["huggingface"])
            outcome = await asked(house, UNLISTED)
        for closed in ({"token": None}, {"offline": True}):
            async with house_at(far, folder, **closed) as house:
                with pytest.raises(UnknownModel):
                    await house.finder.model(UNLISTED)
        return outcome, [request.path for request in far.requests]

    outcome, paths = side(go)

    assert ("ok", "together", pytest.approx(7e-6)) == (outcome.status, outcome.attempts[0].provider, outcome.cost.usd)
    assert ["/v1/models", "/v1/chat/completions"] == paths


def test_without_a_token_nobody_clutters_the_slate(side) -> None:
    """The listing may be known; the router still cannot be asked."""

    async def go(far, folder):
        async with house_at(far, folder) as house:
            far.enqueue(listed(together=1.0))
            await house.refresher.refresh(["huggingface"])
        async with house_at(far, folder, token=None) as house:
            return prices(house), house.far.listings.of("huggingface") is not None

    assert ({"huggingface": ("static seed", 9.0)}, True) == side(go)


def test_nothing_is_fetched_unless_asked(side) -> None:
    """Not at the start, not for a request, and offline not even then."""

    async def go(far, folder):
        async with house_at(far, folder, policy="fastest") as house:
            await asked(house)
        async with house_at(far, folder, offline=True) as house:
            with pytest.raises(RouterError, match="offline"):
                await house.refresher.refresh()
        return [request.path for request in far.requests]

    assert ["/v1/chat/completions"] == side(go)


def test_a_far_side_that_fails_leaves_the_others_alone_and_keeps_its_listing(side) -> None:
    """An error, and an empty list where there was one; every far side is asked once, and a wrong name is refused."""

    async def go(far, folder):
        dead = ProviderSettings(name="box", protocol="openai", base_url="http://127.0.0.1:1/v1")
        settings = settings_for(far, folder, dead)
        async with open_house(settings, Secrets(hf_token="hf_x"), DecisionLog.open(Path(":memory:"))) as house:
            far.enqueue(listed(together=1.0), reply_json({"data": []}), reply_json({"error": "tired"}, status=500))
            ends = [{r.provider: r.error for r in await house.refresher.refresh()} for _ in range(3)]
            with pytest.raises(
                RouterError, match="hf-inference: no far side with a listing; there are: huggingface, box"
            ):
                await house.refresher.refresh(["hf-inference"])
            return ends, prices(house), len(far.requests)

    (first, empty, failed), after, asked_times = side(go)

    assert first["huggingface"] is None
    assert "cannot be reached" in first["box"]
    assert "lists no model" in empty["huggingface"]
    assert "status 500: tired" in failed["huggingface"]
    assert ("together" in after, 3) == (True, asked_times)


def test_drift_is_told_once(side, caplog) -> None:
    """In System Health as long as it lasts, in the log output when it begins."""

    async def go(far, folder):
        async with house_at(far, folder) as house:
            for price in (9.0, 4.5, 4.5, 9.0):
                far.enqueue(listed(together=price))
                await house.refresher.refresh(["huggingface"])
                drift = [(d.expected_usd, d.live_usd, d.percent) for d in house.refresher.drift]
                seen.append((drift, sum("prices have drifted" in r.getMessage() for r in caplog.records)))

    seen: list = []
    with caplog.at_level(logging.WARNING, "nearfar"):
        side(go)
    moved = [(9.0, 4.5, -50.0)] * 2

    assert [([], 0), (moved, 1), (moved, 1), ([], 1)] == seen


def test_a_configured_interval_refreshes_by_itself(side) -> None:
    """At once where nothing was fetched before, and not again before its time."""

    async def go(far, folder):
        far.enqueue(listed(groq=3.0, together=1.0))
        async with house_at(far, folder, refresh_hours=1.0) as house:
            async with asyncio.timeout(SOON_S):
                while "together" not in prices(house):  # noqa: ASYNC110 -- seen as a user would see it
                    await asyncio.sleep(0.01)
        async with house_at(far, folder, refresh_hours=1.0) as house:
            outcome = await asked(house)
        return outcome.attempts[0].provider, [request.path for request in far.requests]

    assert ("together", ["/v1/models", "/v1/chat/completions"]) == side(go)


def test_an_interval_does_not_trust_a_date_that_somebody_wrote(side) -> None:
    """Whatever stands in the kept file: it is asked again at once, and nothing breaks."""

    async def go(far, folder):
        async with house_at(far, folder) as house:
            far.enqueue(listed(together=1.0))
            await house.refresher.refresh(["huggingface"])
        [kept] = (folder / "listings").iterdir()
        written = json.loads(kept.read_text()) | {"as_of": "some day"}
        kept.write_text(json.dumps(written))
        far.enqueue(listed(groq=1.0))
        async with house_at(far, folder, refresh_hours=1.0) as house:
            async with asyncio.timeout(SOON_S):
                while "groq" not in prices(house):  # noqa: ASYNC110 -- seen as a user would see it
                    await asyncio.sleep(0.01)
        return len(far.requests)

    assert 2 == side(go)


def test_a_router_of_ones_own_may_need_no_token(side) -> None:
    """Then its providers are candidates without one."""

    async def go(far, folder):
        keyless = ProviderSettings(name="huggingface", protocol="openai", base_url=f"{far.url}/v1")
        settings = settings_for(far, folder)
        settings = msgspec.structs.replace(settings, providers=(keyless,))
        async with open_house(settings, Secrets(), DecisionLog.open(Path(":memory:"))) as house:
            far.enqueue(listed(groq=3.0, together=1.0))
            await house.refresher.refresh(["huggingface"])
            outcome = await asked(house)
        return outcome.attempts[0].provider, [request.headers.get("authorization") for request in far.requests]

    assert ("together", [None, None]) == side(go)


# --- keys -------------------------------------------------------------------------------------------


def test_a_rotated_token_is_sent_with_the_next_request(side, monkeypatch) -> None:
    """The file of the hub's own login changes: no restart, and nothing is known of the new token yet."""

    async def go(far, folder):
        token = folder / "token"
        token.write_text("hf_first")
        monkeypatch.setenv("HF_TOKEN_PATH", str(token))
        settings = settings_for(far, folder, policy="fastest")
        async with open_house(settings, read_secrets(settings), DecisionLog.open(Path(":memory:"))) as house:
            await asked(house)
            house.far.health.observe(None)
            token.write_text("hf_second\n")
            await house.refresher.renew_keys()
            await asked(house)
            token.unlink()
            await house.refresher.renew_keys()
            refused = await asked(house)
            sent = [request.headers["authorization"] for request in far.requests]
            return sent, refused.status, house.far.health.state().state

    assert (["Bearer hf_first", "Bearer hf_second"], "refused", "not_configured") == side(go)


def test_a_running_router_looks_for_new_keys_by_itself(side, monkeypatch) -> None:
    """Each far side has its own; a token that is saved later makes the router available."""

    async def go(far, folder):
        token, key = folder / "token", folder / "box.key"
        key.write_text("box-one")
        monkeypatch.setenv("HF_TOKEN_PATH", str(token))
        box = ProviderSettings(name="box", protocol="openai", base_url=f"{far.url}/v1", api_key_file=str(key))
        own = CandidateEntry(backend="remote", provider="box", price=SEED)
        models = (CHAT, ModelEntry(id="box/m", task="text-generation", candidates=(own,)))
        settings = settings_for(far, folder, box, models=models, policy="fastest")
        async with open_house(settings, read_secrets(settings), DecisionLog.open(Path(":memory:"))) as house:
            first = [(await asked(house)).status, (await asked(house, "box/m")).status]
            token.write_text("hf_late")
            key.write_text("box-two")
            async with asyncio.timeout(SOON_S):
                while house.far.keys.hub_token is None or house.far.keys.secrets.provider_keys["box"] != "box-two":  # noqa: ASYNC110 -- the look every second is what is tested
                    await asyncio.sleep(0.01)
            second = [(await asked(house)).status, (await asked(house, "box/m")).status]
        return first, second, [request.headers["authorization"] for request in far.requests]

    first, second, sent = side(go)

    assert (["refused", "ok"], ["ok", "ok"]) == (first, second)
    assert ["Bearer box-one", "Bearer hf_late", "Bearer box-two"] == sent


def test_a_token_that_was_refused_may_be_replaced_at_once(side, monkeypatch) -> None:
    """The refusal turns System Health red and opens the account's breaker; another token is tried without a pause."""

    async def go(far, folder):
        token = folder / "token"
        token.write_text("hf_first")
        monkeypatch.setenv("HF_TOKEN_PATH", str(token))
        settings = settings_for(far, folder, policy="fastest")
        async with open_house(settings, read_secrets(settings), DecisionLog.open(Path(":memory:"))) as house:
            far.enqueue(reply_json({"error": "Invalid username or password."}, status=401))
            seen = [((await asked(house)).status, house.far.health.state().state) for _ in range(2)]
            token.write_text("hf_second")
            await house.refresher.renew_keys()
            seen.append(((await asked(house)).status, house.far.health.state().state))
        return seen, [request.headers["authorization"] for request in far.requests]

    seen, sent = side(go)

    assert [("error", "invalid"), ("refused", "invalid"), ("ok", "valid")] == seen
    assert ["Bearer hf_first", "Bearer hf_second"] == sent


def test_a_broken_new_key_is_refused_without_being_shown(side, monkeypatch, caplog) -> None:
    """The old one goes on; the log output says whose it was."""

    async def go(far, folder):
        token = folder / "token"
        token.write_text("hf_first")
        monkeypatch.setenv("HF_TOKEN_PATH", str(token))
        settings = settings_for(far, folder, policy="fastest")
        async with open_house(settings, read_secrets(settings), DecisionLog.open(Path(":memory:"))) as house:
            token.write_text("hf_sec\nond")
            await house.refresher.renew_keys()
            await asked(house)
        return far.requests[0].headers["authorization"]

    assert "Bearer hf_first" == side(go)
    assert "no header can carry" in caplog.text
    assert "hf_sec" not in caplog.text
