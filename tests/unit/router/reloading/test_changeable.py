"""What of another configuration a server takes over while it runs, and what it names as waiting for a start."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from router.reloading.changeable import FIELDS, WHOLE, taken, told
from router.section import AuthSettings, ClusterSettings, ServerSettings
from router.sections import BudgetEntry, LocalSettings, LogSettings, ProviderSettings, RoutingSettings, Settings
from router.settings import load

RUNNING = Settings(server=ServerSettings(port=8080))


def test_nothing_changes_where_nothing_is_otherwise() -> None:
    """Equal settings are equal, wherever they were read from."""
    assert (RUNNING, (), ()) == taken(RUNNING, replace(RUNNING))


def test_every_name_in_the_tables_is_a_setting() -> None:
    """A field that was renamed does not quietly begin to wait."""
    settings = Settings()

    assert set(settings.__struct_fields__) > WHOLE
    for section, fields in FIELDS.items():
        assert set(getattr(settings, section).__struct_fields__) > fields, section


@pytest.mark.parametrize(
    ("read", "changed"),
    [
        (Settings(budgets=(BudgetEntry(limit_usd=1.0),)), ("budgets",)),
        (
            Settings(providers=(ProviderSettings(name="box", protocol="openai", base_url="http://127.0.0.1:9"),)),
            ("providers",),
        ),
        (Settings(routing=RoutingSettings(policy="cheapest")), ("routing.policy",)),
        (Settings(auth=AuthSettings(requests_per_minute=5)), ("auth.requests_per_minute",)),
        (Settings(local=LocalSettings(rate_usd_per_hour=0.5)), ("local.rate_usd_per_hour",)),
    ],
)
def test_what_can_change_is_taken_as_it_was_read(read, changed) -> None:
    """Whole arrays of tables, and the fields that nothing holds on to."""
    found = taken(Settings(), read)

    assert (read, changed, ()) == found


@pytest.mark.parametrize(
    ("read", "waiting"),
    [
        (Settings(server=ServerSettings(host="127.0.0.2", port=9000)), ("server.host", "server.port")),
        (Settings(log=LogSettings(path="elsewhere.duckdb")), ("log.path",)),
        (Settings(routing=RoutingSettings(offline=True)), ("routing.offline",)),
        (Settings(auth=AuthSettings(mode="keys")), ("auth.mode",)),
    ],
)
def test_what_waits_is_named_and_stays_as_it_runs(read, waiting) -> None:
    """Also where another field of the same section can change."""
    found = taken(Settings(), read)

    assert (Settings(), (), waiting) == found


def test_budgets_that_an_owner_shares_out_wait() -> None:
    """Its routers hold parts of the present ones."""
    running = Settings(cluster=ClusterSettings(state="http://127.0.0.1:8090"))
    read = replace(running, budgets=(BudgetEntry(limit_usd=1.0),), routing=RoutingSettings(policy="cheapest"))

    assert (replace(read, budgets=()), ("routing.policy",), ("budgets",)) == taken(running, read)


def test_a_section_may_be_taken_in_part() -> None:
    """What can change does not wait for what cannot."""
    read = Settings(routing=RoutingSettings(policy="cheapest", listings_dir="lists"))

    assert (Settings(routing=RoutingSettings(policy="cheapest")), ("routing.policy",), ("routing.listings_dir",)) == (
        taken(Settings(), read)
    )


def test_refusals_name_lines_of_the_file_that_was_read_last(tmp_path: Path) -> None:
    """What is taken remembers its own file, not the one that the start had read."""
    file = tmp_path / "nearfar.toml"
    file.write_text("[routing]\npolicy = 'fastest'\n", encoding="utf-8")
    running = load(file, {})
    file.write_text("# longer\n[routing]\npolicy = 'cheapest'\n", encoding="utf-8")
    read = load(file, {})

    found = taken(running, read)

    assert ("nearfar.toml", read.source.text) == (told(found.settings), found.settings.source.text)
    assert "the environment" == told(Settings())
