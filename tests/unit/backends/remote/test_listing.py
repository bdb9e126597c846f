"""What a far side's list of models says, however odd it is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import RemoteError
from backends.remote.listing import MAX_MODELS, MAX_PROVIDERS, ListedModel, ListedProvider, parse

ROUTER = {
    "object": "list",
    "data": [
        {
            "id": "meta-llama/Llama-3.3-70B-Instruct",
            "object": "model",
            "created": 1733000000,
            "owned_by": "meta-llama",
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "providers": [
                {
                    "provider": "together",
                    "status": "live",
                    "context_length": 131072,
                    "pricing": {"input": 0.88, "output": 0.9},
                    "is_free": False,
                    "supports_tools": True,
                    "supports_structured_output": False,
                    "first_token_latency_ms": 310.5,
                    "throughput": 92,
                    "is_model_author": False,
                },
                {"provider": "groq", "status": "error"},
            ],
        }
    ],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "id", "providers", "provider", "status", "pricing", "input", "output", "is_free"]),
            inner,
        )
    ),
    max_leaves=30,
)


def listed(**provider):
    [model] = parse({"data": [{"id": "m", "providers": [{"provider": "p"} | provider]}]}, "far")
    [found] = model.providers
    return found


def test_the_routers_shape_is_read_whole() -> None:
    """Prices, context, speed and abilities by provider; what a provider does not say stays unknown."""
    expected = ListedModel(
        id="meta-llama/Llama-3.3-70B-Instruct",
        providers=(
            ListedProvider(
                provider="together",
                live=True,
                input_per_1m_usd=0.88,
                output_per_1m_usd=0.9,
                context_length=131072,
                tools=True,
                structured_output=False,
                first_token_ms=310.5,
                tokens_per_s=92.0,
            ),
            ListedProvider(provider="groq", live=False),
        ),
    )

    assert (expected,) == parse(ROUTER, "far")


def test_any_other_server_lists_ids_only() -> None:
    """As vLLM and most others do; sorted, each once."""
    payload = {"object": "list", "data": [{"id": "b", "object": "model"}, {"id": "a"}, {"id": "b", "owned_by": "x"}]}

    assert (ListedModel(id="a"), ListedModel(id="b")) == parse(payload, "far")


def test_free_is_a_price_and_absent_is_none() -> None:
    """A provider that says it is free costs 0; one that says nothing costs nobody knows what."""
    assert (0.0, 0.0) == (listed(is_free=True).input_per_1m_usd, listed(is_free=True).output_per_1m_usd)
    assert (None, None) == (listed().input_per_1m_usd, listed(is_free=False).output_per_1m_usd)


@pytest.mark.parametrize("pricing", [{"input": 1.0}, {"output": 1.0}, {}, "cheap", {"input": "1", "output": "2"}])
def test_half_a_price_is_no_price(pricing) -> None:
    """An absent side would count as free."""
    assert not listed(pricing=pricing).priced


@pytest.mark.parametrize("figure", [-1, math.inf, math.nan, pytest.param(10**400, id="huge"), "3", True, None, [1]])
def test_a_figure_that_cannot_be_is_unknown(figure) -> None:
    """Never 0, never negative, never a boolean."""
    found = listed(pricing={"input": figure, "output": 1.0}, context_length=figure, throughput=figure)

    assert (None, None, None) == (found.input_per_1m_usd, found.context_length, found.tokens_per_s)


@pytest.mark.parametrize("entry", [None, 3, {}, {"id": 4}, {"id": ""}, {"id": "a b"}, {"id": "x" * 301}])
def test_a_malformed_entry_leaves_the_others_alone(entry) -> None:
    """A listing is as good as what can be read of it."""
    assert (ListedModel(id="ok"),) == parse({"data": [entry, {"id": "ok"}]}, "far")


@pytest.mark.parametrize("name", [None, 3, "", "Together", "a/b", "x" * 65])
def test_a_malformed_provider_is_left_out(name) -> None:
    """Its name becomes part of a candidate's id and of what is sent."""
    payload = {"data": [{"id": "m", "providers": [{"provider": name}, {"provider": "groq"}, "groq", None]}]}

    assert (ListedProvider(provider="groq"),) == parse(payload, "far")[0].providers


@pytest.mark.parametrize("payload", [None, [], {}, {"data": {}}, {"models": []}, "data"])
def test_what_is_no_list_of_models_is_a_broken_answer(payload) -> None:
    """It says who answered so."""
    with pytest.raises(RemoteError, match="provider far: the answer is no list of models"):
        parse(payload, "far")


def test_a_listing_is_bounded() -> None:
    """Absurd lengths are refused, absurd numbers of providers cut."""
    with pytest.raises(RemoteError, match=f"more than {MAX_MODELS} models"):
        parse({"data": [{"id": "m"}] * (MAX_MODELS + 1)}, "far")
    many = [{"provider": f"p{n}"} for n in range(MAX_PROVIDERS + 5)]

    assert MAX_PROVIDERS == len(parse({"data": [{"id": "m", "providers": many}]}, "far")[0].providers)


@pytest.mark.parametrize(
    ("said", "known"), [(0.5, None), (0, None), (1, 1), (4096.9, 4096), (10**9, 10**9), (1e30, None)]
)
def test_a_context_is_a_number_of_tokens_that_can_be(said, known) -> None:
    """What is kept on disk must be readable again: one below a token would have made the whole file unusable."""
    assert known == listed(context_length=said).context_length


@pytest.mark.parametrize("model_id", ["a\x7fb", "a\x80b", "a\x9fb", "a\x00b", "a\u2028b"])
def test_a_name_holds_nothing_that_controls_a_terminal(model_id) -> None:
    """It is shown there, and stands in lines of output."""
    assert () == parse({"data": [{"id": model_id}]}, "far")


@given(JSON)
def test_no_answer_crashes_the_reading(payload) -> None:
    """Whatever JSON comes: models with usable figures, or one typed error."""
    try:
        models = parse(payload, "far")
    except RemoteError:
        return
    figures = [
        f for m in models for p in m.providers for f in (p.input_per_1m_usd, p.output_per_1m_usd) if f is not None
    ]
    assert all(figure >= 0 and math.isfinite(figure) for figure in figures)
