"""A provider is checked when it is made, and never shows its key."""

import msgspec
import pytest

from backends.remote.provider import Provider
from backends.types import Task


def provider(base_url="http://127.0.0.1:1/v1", **given):
    return Provider(**({"name": "p", "protocol": "openai", "base_url": base_url} | given))


def test_the_key_is_not_shown():
    """Neither repr, str nor a format string has it."""
    shown = provider(api_key="hf_secret")

    assert "hf_secret" not in f"{shown!r} {shown!s} {shown} {[shown]}"
    assert "api_key=set" in repr(shown)
    assert "api_key=none" in repr(provider(api_key=""))


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "peer:8000",
        "ftp://peer",
        "http://",
        "http://u:p@peer",
        "http://peer/?key=1",
        "http://peer/#x",
        "http://peer:port",
    ],
)
def test_a_base_url_that_cannot_work_is_refused(base_url):
    """Also one that carries a secret of its own."""
    with pytest.raises(ValueError, match="provider p: base_url"):
        provider(base_url)


def test_an_unknown_protocol_is_refused_with_the_known_ones():
    """A typo names what there is."""
    with pytest.raises(ValueError, match="unknown protocol 'grpc'; there are: openai, huggingface"):
        provider(protocol="grpc")


@pytest.mark.parametrize("key", ["a\nb", "a\r\nx: y", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused(key):
    """A newline in a key would be a header of its own; the message does not repeat it."""
    with pytest.raises(ValueError, match="holds characters that no header can carry") as caught:
        provider(api_key=key)

    assert key not in str(caught.value)


@pytest.mark.parametrize("field", ["connect_timeout_s", "first_token_timeout_s", "idle_timeout_s", "max_connections"])
def test_a_limit_must_be_positive(field):
    """A limit of 0 would refuse everything."""
    with pytest.raises(ValueError, match=f"provider p: {field} must be more than 0"):
        provider(**{field: 0})


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost", True),
        ("a.localhost", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("router.huggingface.co", False),
    ],
)
def test_loopback_is_this_machine_only(host, loopback):
    """It decides whether a proxy may be used."""
    assert loopback is provider(f"http://{host}:80/v1").loopback


def test_tasks_narrow_what_the_protocol_carries():
    """The router's OpenAI route is chat only; no provider serves what its protocol cannot."""
    generated = (Task.TEXT_GENERATION, Task.TEXT_TO_IMAGE, Task.AUTOMATIC_SPEECH_RECOGNITION)
    assert {*generated, Task.FEATURE_EXTRACTION} == set(provider().serves)
    assert (Task.TEXT_GENERATION,) == provider(tasks=(Task.TEXT_GENERATION,)).serves
    assert () == provider(tasks=(Task.TEXT_CLASSIFICATION,)).serves
    assert tuple(Task) == provider(protocol="huggingface").serves


def test_a_provider_can_be_read_from_settings():
    """It is plain values, and the checks hold there too."""
    given = {"name": "p", "protocol": "openai", "base_url": "http://h/v1"}

    assert provider("http://h/v1") == msgspec.convert(given, Provider)
    with pytest.raises(msgspec.ValidationError, match="base_url"):
        msgspec.convert(given | {"base_url": "h"}, Provider)


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("http://engine:8000/v1", "http://engine:8000"),
        ("https://engine/openai/v1/", "https://engine"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_servers_say_how_they_are_at_their_origin(base_url, origin):
    """Whatever path they serve under."""
    assert origin == provider(base_url).origin


def test_only_engines_and_names_are_looked_after():
    """A list of places says all there is to know."""
    several = ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")

    assert [False, False, True, True] == [
        each.watched for each in (provider(), provider(base_urls=several), provider(dns=True), provider(engine="tgi"))
    ]


def test_every_place_must_be_usable():
    """Not the first alone."""
    with pytest.raises(ValueError, match="provider p: base_url"):
        provider(base_urls=("http://127.0.0.1:1/v1", "ftp://peer"))
