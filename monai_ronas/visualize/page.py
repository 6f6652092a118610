# SPDX-License-Identifier: Apache-2.0
"""Parts of an HTML page that needs no other file, for wide and narrow, light and dark screens."""

from __future__ import annotations

import html
from collections.abc import Sequence

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --ground: #ffffff; --line: #d0d7de; --soft: #f3f5f7;
  --mark: #0072b2 }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e6e6; --ground: #14171a; --line: #3a4048; --soft: #20252b; --mark: #56b4e9 }
  img.chart { filter: invert(.92) hue-rotate(180deg) }
}
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground);
  max-width: 70rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; margin: .3rem 0 }
h2 { font-size: 1.3rem; margin: 2rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1rem }
h3 { font-size: 1.05rem; margin: 1.2rem 0 .2rem } h4 { font-weight: 500; margin: .6rem 0 .2rem }
.status { padding: .6rem .9rem; border-left: .3rem solid var(--mark); background: var(--soft) }
.status.running { border-color: #d55e00 }
.scroll { overflow-x: auto; max-width: 100%; max-height: 30rem }
table { border-collapse: collapse } td, th { padding: .25rem .9rem .25rem 0; text-align: left; white-space: nowrap;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums }
td.bar { width: 40%; min-width: 8rem } td.bar div { height: .8rem; background: var(--mark); border-radius: .2rem }
pre { overflow-x: auto; padding: .6rem .9rem; background: var(--soft); font-size: .85rem }
img.chart { display: block; max-width: 100%; height: auto } img.wide { max-width: max(100%, 44rem) }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0 1rem }
.planes { display: flex; flex-wrap: wrap; gap: 0 2rem } .panels { display: flex; flex-wrap: wrap; gap: .5rem }
.panels figure { max-width: calc(25% - .375rem) }
@media (max-width: 40rem) { .panels figure { max-width: calc(50% - .25rem) } }
figure { margin: 0 } figcaption { font-size: .85rem }
img.plane { display: block; width: 100%; object-fit: fill; image-rendering: pixelated; background: #000 }
ul.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: .3rem 0 }
ul.legend i { display: inline-block; width: 1em; height: 1em; border: 1px solid #777; vertical-align: -.12em;
  margin-right: .4em }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """The page.

    Args:
        title: its title, plain text.
        parts: HTML of its body.
    """
    name = html.escape(title)
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style>"
    )
    body = f"<main><h1>{name}</h1>{''.join(parts)}</main>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls inside itself where it is too large.

    Args:
        head: titles of the columns, plain text.
        rows: cells, plain text.

    Example:
        >>> "<td>a&amp;b</td>" in table(["case"], [["a&b"]])
        True
    """
    titles = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    lines = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return _scrolling(f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>", "table")


def time_line(spent: Sequence[tuple[str, float]]) -> str:
    """A table of what the time was spent on, with bars.

    Args:
        spent: parts and their seconds.
    """
    total = sum(seconds for _, seconds in spent)
    rows = "".join(
        f"<tr><td>{html.escape(part)}</td><td>{duration(seconds)}</td>"
        f'<td>{100 * seconds / max(total, 1e-9):.1f} %</td><td class="bar">'
        f'<div style="width:{100 * seconds / max(total, 1e-9):.1f}%"></div></td></tr>'
        for part, seconds in spent
    )
    last = f"<tr><th>in all</th><th>{duration(total)}</th><th></th><th></th></tr>"
    return _scrolling(f"<table><tbody>{rows}{last}</tbody></table>", "time line")


def duration(seconds: float) -> str:
    """Seconds for people.

    Example:
        >>> duration(3.21), duration(75.6), duration(7384)
        ('3.2 s', '1 min 16 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def chart(alt: str, encoded: str, *, wide: bool = False) -> str:
    """A picture; a wide one keeps a width that can be read, and scrolls inside itself.

    Args:
        alt: what it shows, plain text.
        encoded: content of its PNG file in base64.
        wide: it has many panels beside each other.
    """
    picture = (
        f'<img class="chart{" wide" if wide else ""}" alt="{html.escape(alt)}" src="data:image/png;base64,{encoded}">'
    )
    return f'<div class="scroll" style="max-height:none">{picture}</div>' if wide else picture


def _scrolling(content: str, label: str) -> str:
    return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{content}</div>'
