"""What engines say of their load, each in its own words: pages of metrics as they write them."""

import math
from typing import get_args

import pytest

from backends.errors import RemoteError
from backends.remote.engines.dialects import DIALECTS, Load, read
from backends.remote.provider import Engine

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="org/llm"} 5.0
vllm:num_requests_running{engine="1",model_name="org/llm"} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="org/llm"} 2.0
vllm:num_requests_waiting{engine="1",model_name="org/llm"} 4.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="org/llm",reason="capacity"} 2.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="org/llm"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="org/llm"} 0.75
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3",model_name="org/llm"} 0.0
"""
OLD_VLLM = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="org/llm"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{model_name="org/llm"} 0.0
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc{model_name="org/llm"} 0.5
"""
PRODUCTION_STACK = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{server="http://10.0.0.7:8000"} 4.0
vllm:num_requests_running{server="http://10.0.0.8:8000"} 6.0
# TYPE vllm:healthy_pods_total gauge
vllm:healthy_pods_total{server="http://10.0.0.7:8000"} 1.0
"""
TGI = """\
# TYPE tgi_batch_current_max_tokens gauge
tgi_batch_current_max_tokens 2048
# TYPE tgi_queue_size gauge
tgi_queue_size 7

# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 4
"""
TEI = """\
# TYPE te_queue_size gauge
te_queue_size 12
# TYPE te_batch_next_size histogram
te_batch_next_size_bucket{le="1"} 2
te_batch_next_size_bucket{le="+Inf"} 10
te_batch_next_size_sum 80
te_batch_next_size_count 10
"""
SGLANG = """\
# HELP sglang:num_running_reqs The number of running requests
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 162.0
# HELP sglang:num_queue_reqs The number of requests in the waiting queue
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 2826.0
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.28
"""
LLAMA_CPP = """\
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
# HELP llamacpp:requests_deferred Number of requests deferred.
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 3
"""
DYNAMO = """\
# HELP dynamo_frontend_inflight_requests Number of inflight requests
# TYPE dynamo_frontend_inflight_requests gauge
dynamo_frontend_inflight_requests{model="org/llm"} 12
# TYPE dynamo_frontend_queued_requests gauge
dynamo_frontend_queued_requests{model="org/llm"} 5
"""
NEARFAR = """\
# TYPE nearfar_attempts_under_way gauge
nearfar_attempts_under_way 4.0
# TYPE nearfar_in_flight gauge
nearfar_in_flight{candidate="local:a"} 3.0
# TYPE nearfar_model_wait_seconds gauge
nearfar_model_wait_seconds{model="a"} 0.5
# TYPE nearfar_batch_requests histogram
nearfar_batch_requests_count 4.0
nearfar_batch_requests_sum 6.0
"""
PAGES = {
    "vllm": (VLLM, Load(waiting=6.0, running=8.0, cache=0.75)),
    "tgi": (TGI, Load(waiting=7.0, running=4.0)),
    "tei": (TEI, Load(waiting=12.0, batch=8.0)),
    "sglang": (SGLANG, Load(waiting=2826.0, running=162.0, cache=0.28)),
    "llama.cpp": (LLAMA_CPP, Load(waiting=3.0, running=2.0)),
    "dynamo": (DYNAMO, Load(running=12.0)),
    "kserve": (VLLM, Load(waiting=6.0, running=8.0, cache=0.75)),
    "ollama": ("", Load()),
    "nearfar": (NEARFAR, Load(running=4.0, batch=1.5, wait_s={"a": 0.5})),
}


@pytest.mark.parametrize("engine", get_args(Engine))
def test_each_engine_is_read_by_its_own_names(engine) -> None:
    """Everything its page says is found, and nothing that only begins alike."""
    page, load = PAGES[engine]

    assert load == read(DIALECTS[engine], page)


def test_older_names_and_routers_are_read_too() -> None:
    """An older vLLM called its cache otherwise; the router of its stack tells no queue, which is not an empty one."""
    assert Load(waiting=0.0, running=1.0, cache=0.5) == read(DIALECTS["vllm"], OLD_VLLM)
    assert Load(running=10.0) == read(DIALECTS["vllm"], PRODUCTION_STACK)


@pytest.mark.parametrize("page", ["", "# nothing yet\n", TGI, "<html>hello</html>"])
def test_what_is_not_told_is_unknown(page) -> None:
    """Whether the page is empty, another engine's, or none at all."""
    load = read(DIALECTS["vllm"], page)

    assert (None, None, False) == (load.waiting, load.running, load.known)


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf"])
def test_a_figure_that_cannot_be_one_is_unknown(value) -> None:
    """A gauge that was never set, or went below nothing."""
    load = read(DIALECTS["tgi"], f"tgi_queue_size {value}\ntgi_batch_current_size 4\n")

    assert Load(running=4.0) == load
    assert not math.isinf(load.outstanding)


def test_lines_of_others_may_be_anything() -> None:
    """Only its own lines are parsed."""
    assert Load(waiting=7.0, running=4.0) == read(DIALECTS["tgi"], 'odd{{"" x y z\n' + TGI)


@pytest.mark.parametrize("line", ['tgi_queue_size{a="b 7', "tgi_queue_size seven", "tgi_queue_size"])
def test_its_own_lines_must_be_readable(line) -> None:
    """A page that is broken there says nothing, which is told."""
    with pytest.raises(RemoteError, match="not in the exposition format"):
        read(DIALECTS["tgi"], line + "\n")


def test_who_counts_batches_tells_by_them_how_many_share_its_time() -> None:
    """Where running requests are counted, those; where nobody counts anything, nothing is known."""
    assert (8.0, 4.0, None) == (Load(waiting=1.0, batch=8.0).together, Load(running=4.0).together, Load().together)
