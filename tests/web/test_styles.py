"""The one sheet of all pages: each page's looks are under a class of its own, and reach no other page by accident."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

WEB = Path(__file__).parents[2] / "router/web"
SHEET = (WEB / "style.css").read_text(encoding="utf-8")
PAGES = re.findall(r'name: "([a-z-]+)"', (WEB / "pages.js").read_text(encoding="utf-8"))


class Rule(NamedTuple):
    """One selector of the sheet, and the page in whose block it stands; None: any page may use it."""

    page: str | None
    selector: str

    @property
    def compounds(self) -> list[list[str]]:
        """The classes of each element that the selector speaks of."""
        found = [re.findall(r"\.([a-z][\w-]*)", part) for part in re.split(r"[\s>+~]+", self.selector)]
        return [classes for classes in found if classes]

    @property
    def classes(self) -> set[str]:
        return {name for compound in self.compounds for name in compound}


def rules(sheet: str) -> list[Rule]:
    """Every selector that declares something."""
    found: list[Rule] = []
    around: list[str] = []
    start = 0
    text = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    for mark in re.finditer(r"[{};]", text):
        said = text[start : mark.start()].strip()
        start = mark.end()
        if mark.group() == "{":
            around.append(said)
        elif said and not around[0].startswith("@keyframes"):
            found += selected([one for one in around if not one.startswith("@")])
        if mark.group() == "}":
            around.pop()
    return list(dict.fromkeys(found))


def selected(around: list[str]) -> list[Rule]:
    """The selectors of the innermost of these blocks."""
    page = re.fullmatch(r"\.page-([a-z-]+)", around[0])
    return [Rule(page and page.group(1), one.strip()) for one in around[-1].split(",")]


def shared(found: list[Rule]) -> set[str]:
    """The classes that any page may use."""
    return {name for rule in found if rule.page is None for name in rule.classes}


def collisions(found: list[Rule]) -> list[Rule]:
    """Rules of a page's block that name nothing of the page's own: they would change what others share."""
    return [rule for rule in found if rule.page and rule.classes and rule.classes <= shared(found)]


def modules(page: str) -> str:
    """What a page is made of."""
    files = [WEB / f"pages/{page}.js", *sorted((WEB / f"pages/{page}").glob("*.js"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def written(page: str) -> set[str]:
    """The classes that a page gives, as far as they are not put together while it runs."""
    said = re.findall(r'class="([^"]*)"|class=\$\{`([^`]*)`', modules(page))
    plain = " ".join(re.sub(r"\$\{[^}]*\}", "", first or second) for first, second in said)
    return set(plain.split())


FOUND = rules(SHEET)
PARTS = "\n".join(file.read_text(encoding="utf-8") for file in [WEB / "app.js", *sorted((WEB / "parts").glob("*.js"))])


def test_what_a_sheet_says_is_found() -> None:
    """Blocks within blocks, lists, media; and two blocks with one class are seen."""
    found = rules(
        ".card, a { top: 0 } @media (x) { .page-chat { .card { top: 1px; } .card .own { top: 2px } } }"
        "/* .no { } */ @keyframes turn { to { top: 0; } } .page-chat { @media (y) { .own:hover { top: 0 } } }"
    )

    assert [(None, ".card"), (None, "a"), ("chat", ".card"), ("chat", ".card .own"), ("chat", ".own:hover")] == found
    assert [("chat", ".card")] == collisions(found)


def test_no_page_changes_what_is_shared() -> None:
    """A class is everybody's or a page's own."""
    assert [] == collisions(FOUND)
    assert {rule.page for rule in FOUND} <= {None, *PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_uses_no_other_pages_looks_and_has_none_for_nothing(page: str) -> None:
    """Its classes are its own or everybody's; and each of its rules is of something that it shows."""
    own = {name for rule in FOUND if rule.page == page for name in rule.classes}
    others = {name for rule in FOUND if rule.page not in {None, page} for name in rule.classes}
    leading = {compound[0] for rule in FOUND if rule.page == page for compound in rule.compounds}

    assert set() == written(page) & (others - own - shared(FOUND))
    assert [] == [name for name in sorted(leading) if not re.search(rf"\b{name}\b", modules(page) + PARTS)]
