"""Which modules a script needs: all of those imported when it starts, none of those imported when wanted."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from router.http.modules import needed


def written(web: Path, **sources: str) -> Path:
    for name, source in sources.items():
        (web / f"{name}.js").write_text(source, encoding="utf-8")
    return web


def test_imports_of_imports_are_found_once_the_nearest_first(tmp_path: Path) -> None:
    """Also over several lines, for their effects alone, passed on, and in a ring."""
    web = written(
        tmp_path,
        a='// import "/ui/never.js"\nimport { one,\n  two } from "/ui/b.js";\nimport "/ui/c.js";\n',
        b='export { two } from "/ui/d.js";\nexport * from "/ui/c.js";\nexport const one = 1;\n',
        c='import { one } from "/ui/a.js";\nexport const say = () => import("/ui/later.js");\n',
        d="export const two = 2;\n",
    )

    assert [f"/ui/{name}.js" for name in "abcd"] == needed(web, "a.js")


def test_what_several_scripts_need_is_named_once(tmp_path: Path) -> None:
    web = written(tmp_path, a='import "/ui/c.js";\n', b='import "/ui/c.js";\n', c="")

    assert ["/ui/a.js", "/ui/b.js", "/ui/c.js"] == needed(web, "a.js", "b.js")


def test_an_import_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.js"):
        needed(written(tmp_path, a='import "/ui/gone.js";\n'), "a.js")


def test_all_modules_of_every_page_are_there() -> None:
    web = Path(str(resources.files("router").joinpath("web")))
    pages = [f"pages/{page.name}" for page in (web / "pages").glob("*.js")]

    assert {f"/ui/{page}" for page in pages} < set(needed(web, *pages))
