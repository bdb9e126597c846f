"""What the far backend can say without asking anybody."""

import asyncio
import subprocess
import sys

import pytest

from backends.errors import Unauthorized, Unavailable
from backends.extras import FEATURES
from backends.remote.backend import Provider, RemoteBackend
from backends.types import ClassificationInput, InferenceRequest, Status, Target, Task

ROUTER = Provider(name="huggingface", protocol="openai", base_url="http://127.0.0.1:1/v1", needs_key=True, api_key="k")
PEER = Provider(name="peer", protocol="openai", base_url="http://127.0.0.1:1/v1")
HUB = Provider(name="hf-inference", protocol="huggingface", base_url="http://127.0.0.1:1/hf", needs_key=True)


def target(provider, task=Task.TEXT_GENERATION):
    return Target(backend="remote", provider=provider, model="m", task=task)


def unavailable(provider, task=Task.TEXT_GENERATION, providers=(ROUTER, PEER, HUB)):
    return RemoteBackend(providers).status(target(provider, task)).unavailable


def test_a_known_target_is_ready_at_once():
    """There is nothing to load, and no device of ours is used."""
    assert Status(loaded=True, device="remote", features=FEATURES) == RemoteBackend([PEER]).status(target("peer"))


def test_an_unknown_provider_is_refused_with_the_known_ones():
    """A typo names what there is."""
    sentence = "unknown provider 'pear' for text-generation; there are: hf-inference, huggingface, peer"

    assert sentence == unavailable("pear")
    assert "there are: none" in unavailable("pear", providers=())


def test_a_missing_key_says_what_to_do():
    """Only where asking without one is pointless."""
    assert "no token: set HF_TOKEN or log in with the hub's own command" == unavailable("hf-inference")
    assert unavailable("peer") is None


def test_a_task_beyond_the_protocol_is_refused_with_the_served_ones():
    """The OpenAI protocol has no classification."""
    served = "text-generation, feature-extraction, text-to-image, automatic-speech-recognition"
    sentence = f"provider peer does not serve text-classification; it serves: {served}"

    assert sentence == unavailable("peer", Task.TEXT_CLASSIFICATION)


def test_nothing_far_was_calibrated_here():
    """What a far side takes depends on more than this machine."""
    assert RemoteBackend([PEER]).calibration(target("peer")) is None


def test_sub_providers_are_reached_through_the_router():
    """For chat only, and only where the router is configured."""
    assert unavailable("together") is None
    assert "unknown provider 'together'" in unavailable("together", Task.FEATURE_EXTRACTION)
    assert "unknown provider 'together'" in unavailable("together", providers=(PEER,))


def test_asking_an_unavailable_target_raises_its_sentence():
    """The reason is the same whether looked up or run into; the class says what is wrong."""
    request = InferenceRequest(task=Task.TEXT_CLASSIFICATION, model="m", payload=ClassificationInput(texts=("a",)))
    backend = RemoteBackend([PEER, HUB])
    with pytest.raises(Unauthorized, match="no token"):
        asyncio.run(backend.infer(request, target("hf-inference", request.task)))
    with pytest.raises(Unavailable, match="unknown provider"):
        asyncio.run(backend.infer(request, target("pear", request.task)))


def test_a_payload_that_does_not_fit_the_target_is_refused():
    """A classification at a generation's target cannot be put into the protocol."""
    request = InferenceRequest(task=Task.TEXT_GENERATION, model="m", payload=ClassificationInput(texts=("a",)))
    with pytest.raises(Unavailable, match="cannot be asked for ClassificationInput"):
        asyncio.run(RemoteBackend([PEER]).infer(request, target("peer")))


def test_importing_it_is_cheap():
    """No hub client, no model library, no second HTTP stack."""
    script = (
        "import sys, backends.remote.backend, backends.remote.hub, backends.fake;"
        "heavy = {'huggingface_hub', 'httpx', 'httpx2', 'torch', 'transformers', 'numpy', 'router', 'policies'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
