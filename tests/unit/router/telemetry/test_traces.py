"""When traces are kept, and when not."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from msgspec.structs import replace

from router.errors import InvalidRequest, SettingsError
from router.rows import Refused
from router.section import TelemetrySettings
from router.section_of_routing import RoutingSettings
from router.sections import Settings
from router.telemetry.traces import Traces, Watchers, opened
from tests.unit.router.house import chat, chat_model, fake
from tests.unit.router.house import opened as opened_house

ABROAD = TelemetrySettings(otlp_endpoint="http://collector.example.org:4318")
UNUSED = """
import asyncio, sys
from pathlib import Path
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.sections import Settings
from router.settings import Secrets

async def go():
    async with open_house(Settings(), Secrets(), DecisionLog.open(Path(":memory:"))) as house:
        assert house.traces is None

asyncio.run(go())
print(any(name.startswith("opentelemetry.sdk") for name in sys.modules))
"""


class Kept:
    """A collector that keeps what it is given."""

    delivered = failed = 0

    def __init__(self) -> None:
        self.spans = []

    def take(self, span) -> None:
        self.spans.append(span)

    def close(self) -> None:
        pass


def outcome_of(call):
    async def go():
        async with opened_house(chat_model(fake("a"))) as house:
            return await house.dispatcher.infer(call)

    return asyncio.run(go())


def test_nothing_is_kept_where_no_collector_is_named() -> None:
    """The default: no traces, and nothing of OpenTelemetry's is imported."""
    done = subprocess.run([sys.executable, "-c", UNUSED], capture_output=True, text=True, check=False)

    assert opened(Settings(), {}) is None
    assert "False" == done.stdout.strip(), done.stderr


def test_offline_no_collector_elsewhere_is_asked(caplog) -> None:
    """It is told once, and the requests are served all the same."""
    settings = Settings(telemetry=ABROAD, routing=RoutingSettings(offline=True))

    assert opened(settings, {}) is None
    assert "not on this machine" in caplog.text


def test_without_its_packages_the_start_is_refused(monkeypatch) -> None:
    """With the command that installs them."""
    monkeypatch.setitem(sys.modules, "router.telemetry.sdk", None)
    with pytest.raises(SettingsError, match=r"nearfar\[otel\]"):
        opened(Settings(telemetry=ABROAD), {})


@pytest.mark.parametrize(("traceparent", "count"), [(None, 0), ("", 3), ("00-" + "1" * 32 + "-" + "2" * 16 + "-00", 0)])
def test_a_request_is_kept_where_it_came_in_with_traces(traceparent, count) -> None:
    """And where its sender keeps the trace as well."""
    kept = Kept()
    traces = Traces(kept, {})
    traces.observe("test", outcome_of(replace(chat(), traceparent=traceparent)))

    assert count == len(kept.spans) == traces.state().made


def test_both_watchers_hear_the_same() -> None:
    """The metrics and the traces, of answers and of refusals."""
    first, second = Kept(), Kept()
    both = Watchers((Traces(first, {}), Traces(second, {})))
    both.observe("test", outcome_of(replace(chat(), traceparent="")))
    both.refused(Refused(error=InvalidRequest("no"), surface="cli"), "0190163d-8694-739b-aea5-966c26f8ad90")

    assert [span.span_id for span in first.spans] == [span.span_id for span in second.spans]
    assert 4 == len(first.spans) == len(second.spans)
    assert {"nearfar.surface": "cli"} == {k: v for k, v in first.spans[3].attributes.items() if k == "nearfar.surface"}


def test_an_endpoint_must_be_an_origin() -> None:
    """What it is joined with is `/v1/traces`; no credentials stand in it."""
    import msgspec

    for wrong in ("collector:4318", "http://", "http://user:pass@host"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"otlp_endpoint": wrong}, TelemetrySettings)
