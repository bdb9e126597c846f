"""One HTML page that needs nothing else: no script, no font, no picture from elsewhere. All text is escaped here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from router.report.svg import written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_ROWS = 12
"""Of a table in the page; where there are more, it says so. The data of all are in `--json`."""

NEW_LINE = "\n"

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--quiet:#5b6470;--grid:#e3e6ea;--band:#e4f1e6;--card:#f6f7f9;
--near:#0072b2;--far:#c2540a;--third:#00795a;--fourth:#9a4a86;--fifth:#8a6d00;--sixth:#3f4a57}
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e8eaed;--quiet:#a2abb6;--grid:#2c333b;--band:#1d3326;
--card:#1c2228;--near:#56b4e9;--far:#f0953e;--third:#3fc29a;--fourth:#d79bc6;--fifth:#e6c84d;--sixth:#b9c2cc}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1220px;padding:28px 24px 60px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:44px 0 6px}h3{font-size:15px;margin:18px 0 4px}
p{margin:6px 0;max-width:76ch;overflow-wrap:anywhere}.quiet,.none{color:var(--quiet)}.none{font-style:italic}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:22px 0 0;padding:0}
.tiles div{background:var(--card);border-radius:8px;padding:12px 14px}.tiles dt{color:var(--quiet);font-size:13px}
.tiles dd{margin:2px 0 0;font-size:21px;font-weight:600}.tiles small{display:block;font-size:12px;font-weight:400;
color:var(--quiet)}
.pair{display:grid;grid-template-columns:minmax(0,600px) minmax(0,1fr);gap:10px 26px;align-items:start;margin-top:10px}
@media (max-width:980px){.pair{grid-template-columns:minmax(0,1fr)}}
figure{margin:0;overflow-x:auto}figcaption{font-weight:600;font-size:14px;margin:0 0 6px}
svg{display:block;width:100%;height:auto;max-width:640px}
@media (max-width:600px){svg{min-width:540px}body{padding:16px 12px 40px}}
.table{overflow-x:auto;margin:0 0 14px}
table{border-collapse:collapse;font-size:13px;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--quiet);font-size:12px;padding:0 0 4px}
th,td{text-align:right;padding:3px 8px 3px 0;border-bottom:1px solid var(--grid);vertical-align:top}
th{font-weight:600;color:var(--quiet)}td{white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:12ch}
article{border-top:1px solid var(--grid);padding:8px 0 6px}
ul{margin:4px 0;padding-left:20px}li{overflow-wrap:anywhere;max-width:84ch}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:var(--ink)}
svg .quiet,svg .label{fill:var(--quiet)}svg .name,svg .figure{fill:var(--ink)}
.grid{stroke:var(--grid);stroke-width:1}.axis{stroke:var(--quiet);stroke-width:1}
.limit{stroke:var(--ink);stroke-width:1.3;stroke-dasharray:2 4}.band{fill:var(--band)}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round}.range{stroke-width:2.2}.point{fill-opacity:.45}
.bar{fill-opacity:.88}
""" + "".join(
    f".line.{kind},.range.{kind}{{stroke:var(--{kind})}}.dot.{kind},.bar.{kind},.point.{kind}{{fill:var(--{kind})}}"
    f"svg .name.{kind}{{fill:var(--{kind});font-weight:600}}"
    for kind in ("near", "far", "third", "fourth", "fifth", "sixth")
)
STYLE += """
.line.far{stroke-dasharray:7 3}.line.third{stroke-dasharray:2 3}.line.fourth{stroke-dasharray:9 3 2 3}
.line.fifth{stroke-dasharray:4 2}.line.sixth{stroke-dasharray:12 4}
@media print{:root{--paper:#fff;--ink:#000;--quiet:#444;--grid:#ccc;--card:#fff;--near:#0072b2;--far:#c2540a}
body{max-width:none;padding:0;font-size:10.5px}h1{font-size:20px}h2{font-size:15px;margin:22px 0 2px}
h2,h2+p,h3{break-after:avoid}.pair{grid-template-columns:minmax(0,58%) minmax(0,1fr);gap:4px 14px}
figure,tr,.tiles div{break-inside:avoid}.table{overflow:visible}table{font-size:9px}
th,td{padding:2px 5px 2px 0;min-width:0}.tiles{grid-template-columns:repeat(4,1fr)}
.tiles div{border:1px solid #ccc;padding:6px 8px}.tiles dd{font-size:15px}}
"""


class Table(NamedTuple):
    """Figures as text: the first column names the row. In the page stand the last `most` rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    most: int = MOST_ROWS


class Tile(NamedTuple):
    """One figure that matters, and what it is."""

    name: str
    figure: str
    note: str = ""


class Story(NamedTuple):
    """A decision told: its heading, a paragraph and the details as a list."""

    title: str
    words: str
    details: Sequence[str]


class Plot(NamedTuple):
    """A chart as SVG text, as `router.report.charts` makes them, with its title and the same figures as a table."""

    title: str
    chart: str
    table: Table


class Part(NamedTuple):
    """One part of the report. Without a chart, `empty` says in words why there is none."""

    title: str
    says: str
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    stories: Sequence[Story] = ()
    empty: str = ""


class Page(NamedTuple):
    """A whole report."""

    title: str
    window: str
    tiles: Sequence[Tile]
    parts: Sequence[Part]
    made: str


def html(page: Page) -> str:
    """The page, complete. It allows its reader's browser to load nothing."""
    return "".join(_html(page))


def _html(page: Page) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{written(page.title)}</title><style>{STYLE}</style></head><body>\n"
    yield f'<header><h1>{written(page.title)}</h1><p class="quiet">{written(page.window)}</p></header><main>\n'
    yield from _tiles(page.tiles)
    for part in page.parts:
        yield from _part(part)
    yield f'</main><footer><p class="quiet">{written(page.made)}</p></footer></body></html>\n'


def _tiles(tiles: Sequence[Tile]) -> Iterator[str]:
    yield '<dl class="tiles">'
    for tile in tiles:
        note = f"<small>{written(tile.note)}</small>" if tile.note else ""
        yield f"<div><dt>{written(tile.name)}</dt><dd>{written(tile.figure)}{note}</dd></div>"
    yield "</dl>\n"


def _part(part: Part) -> Iterator[str]:
    yield f"<section><h2>{written(part.title)}</h2><p>{written(part.says)}</p>"
    if part.empty:
        yield f'<p class="none">{written(part.empty)}</p>'
    for plot in part.plots:
        yield f'<div class="pair"><figure><figcaption>{written(plot.title)}</figcaption>{plot.chart}</figure>'
        yield from _table(plot.table)
        yield "</div>"
    for table in part.tables:
        yield from _table(table)
    for story in part.stories:
        details = "".join(f"<li>{written(detail)}</li>" for detail in story.details)
        yield f"<article><h3>{written(story.title)}</h3><p>{written(story.words)}</p><ul>{details}</ul></article>"
    yield "</section>\n"


def _table(table: Table) -> Iterator[str]:
    left_out = len(table.rows) - table.most
    more = f" (the last {table.most} of {len(table.rows)} rows; --json has all)" if left_out > 0 else ""
    yield f'<div class="table"><table><caption>{written(table.caption + more)}</caption><thead><tr>'
    yield "".join(f'<th scope="col">{written(column)}</th>' for column in table.columns)
    yield "</tr></thead><tbody>"
    for row in table.rows[max(0, left_out) :]:
        cells = "".join(f"<td>{'<br>'.join(map(written, cell.split(NEW_LINE)))}</td>" for cell in row)
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table></div>"
