"""The page Keys: a key is made, used, rotated and revoked as a person would, and what was done stands in the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Server
from tests.e2e.test_access import bearer, created
from tests.web.run import give_key, visiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.web.conftest import Visit


class Keyed(NamedTuple):
    """A server that asks for keys, and two who have one."""

    server: Server
    admin: str
    reader: str


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "nearfar.toml").write_text('[auth]\nmode = "keys"\n', encoding="utf-8")
    admin, reader = created(folder, "root", "--scope", "admin"), created(folder, "reader", "--scope", "read")
    server = Server(folder, '[auth]\nmode = "keys"\n')
    yield Keyed(server, admin, reader)
    server.stop()


@pytest.fixture
def admin(browser: Browser, keyed: Keyed) -> Iterator[Visit]:
    """An admin, who was asked for the key and gave it."""
    with visiting(browser, keyed.server, "401") as visit:
        give_key(visit.open("keys"), keyed.admin)
        mine = visit.page.get_by_role("region", name="API keys")
        expect(mine.get_by_role("cell", name="root", exact=True)).to_be_visible()
        yield visit


def create(page: Page, name: str) -> str:
    """Make a key; its secret, which is shown once."""
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create the key").click()
    shown = page.get_by_role("group", name=f"The secret of {name}")
    expect(shown.get_by_role("alert")).to_contain_text("shown this once")
    secret = shown.get_by_label("Secret").input_value()
    mine = page.get_by_role("region", name="API keys")
    expect(mine.get_by_role("cell", name=name, exact=True)).to_be_visible()
    return secret


def status(keyed: Keyed, secret: str) -> int:
    return keyed.server.ask("GET", "/v1/models", headers=bearer(secret)).status


def test_a_key_is_made_shown_once_and_opens(admin: Visit, keyed: Keyed) -> None:
    """It can be copied; once closed, nothing on the page has it."""
    page = admin.page
    admin.context.grant_permissions(["clipboard-read", "clipboard-write"])
    secret = create(page, "app")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert secret == page.evaluate("navigator.clipboard.readText()")
    admin.picture("keys")
    assert [] == admin.unfit()
    page.get_by_role("button", name="I have stored it").click()

    expect(page.get_by_role("group", name="The secret of app")).to_have_count(0)
    assert secret not in page.content()
    assert 200 == status(keyed, secret)


@pytest.mark.slow
def test_a_key_is_rotated_with_an_overlap_and_revoked(admin: Visit, keyed: Keyed) -> None:
    """Each is asked about first; afterwards the old secret still works, or none does."""
    page = admin.page
    old = create(page, "worker")
    page.get_by_role("button", name="I have stored it").click()
    page.get_by_role("button", name="Rotate worker").click()
    page.get_by_role("dialog").get_by_role("button", name="Make a new secret").click()
    shown = page.get_by_role("group", name="The secret of worker")
    new = shown.get_by_label("Secret").input_value()
    expect(page.get_by_text("works until")).to_be_visible()
    assert (200, 200) == (status(keyed, old), status(keyed, new))

    page.get_by_role("button", name="Revoke worker").click()
    page.get_by_role("dialog").get_by_role("button", name="Leave it as it is").click()
    assert 200 == status(keyed, new)
    page.get_by_role("button", name="Revoke worker").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke it").click()

    expect(page.get_by_text("worker is revoked")).to_be_visible()
    assert 401 == status(keyed, new)


@pytest.mark.slow
def test_a_name_that_was_given_is_refused_at_the_form(admin: Visit) -> None:
    """In the server's words, with what was typed still there."""
    page = admin.page
    admin.expected.append("400")
    page.get_by_label("Name").fill("root")
    page.get_by_role("button", name="Create the key").click()

    expect(page.get_by_role("alert")).to_contain_text("root")
    assert "root" == page.get_by_label("Name").input_value()


@pytest.mark.slow
def test_what_was_done_stands_in_the_audit(admin: Visit) -> None:
    """Without a reload."""
    create(admin.page, "audited")

    log = admin.page.get_by_role("region", name="The audit log, newest first")
    expect(log.get_by_role("row").filter(has_text="keys.create").filter(has_text="audited")).to_be_visible()


@pytest.mark.slow
def test_who_is_no_admin_is_told_what_is_needed(browser: Browser, keyed: Keyed) -> None:
    """By its scope."""
    with visiting(browser, keyed.server, "401", "403") as visit:
        page = visit.open("keys")
        give_key(page, keyed.reader)

        expect(page.get_by_role("alert")).to_contain_text("the scope admin")
        assert [] == visit.unfit()


@pytest.mark.slow
def test_where_nobody_is_asked_the_page_says_so(visit: Visit) -> None:
    """`auth.mode` is none."""
    page = visit.open("keys")

    expect(page.get_by_text("Nobody is asked for a key here")).to_be_visible()
    assert [] == visit.unfit()
