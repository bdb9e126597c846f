"""What a browser holds of the pages is not sent again, and what is otherwise is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from litestar.testing import TestClient

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.sections import Settings
from router.settings import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACES = ("/", "/sw.js", "/ui/app.js", "/ui/style.css", "/ui/vendor/htm/standalone.module.js")


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    """A server that asks nobody who they are."""
    with TestClient(
        create_app(Settings(), Secrets(), DecisionLog.open(Path(":memory:"))), "http://127.0.0.1"
    ) as client:
        yield client


@pytest.mark.parametrize("place", PLACES)
def test_what_is_held_is_not_sent_again(http: TestClient, place: str) -> None:
    """Its version is named again, and that it has to be asked for each time."""
    whole = http.get(place)
    told = {name: whole.headers[name] for name in ("etag", "cache-control", "x-content-type-options")}

    for held in (told["etag"], f'"other", {told["etag"]}', f"W/{told['etag']}"):
        again = http.get(place, headers={"if-none-match": held})
        assert (304, b"") == (again.status_code, again.content)
        assert told == {name: again.headers[name] for name in told}
        assert not {"content-length", "content-type"} & set(again.headers)


@pytest.mark.parametrize("held", ['"other"', "", "W/", '"'])
@pytest.mark.parametrize("place", PLACES)
def test_another_version_is_replaced(http: TestClient, place: str, held: str) -> None:
    """Whatever the browser has."""
    whole, again = http.get(place), http.get(place, headers={"if-none-match": held})

    assert (200, whole.content) == (again.status_code, again.content)


def test_what_is_not_there_is_an_error_all_the_same(http: TestClient) -> None:
    """Whatever is held of it."""
    assert 404 == http.get("/ui/no.js", headers={"if-none-match": http.get("/ui/app.js").headers["etag"]}).status_code
