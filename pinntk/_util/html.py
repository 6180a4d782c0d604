"""Small pieces of HTML, as notebooks show values. What is not `Markup` is escaped; colors are the page's, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from pinntk._util.numbers import number

_GRAY = "rgba(128, 128, 128, .45)"
_STYLE = Markup(  # twice, so as to count more than what a notebook has for tables
    "<style>"
    ".pinntk { font-size: 13px; line-height: 1.45; max-width: 60rem; overflow-x: auto; }"
    ".pinntk table { border-collapse: collapse; margin: .4em 0; font-size: inherit; font-variant-numeric: tabular-nums; }"
    ".pinntk.pinntk th, .pinntk.pinntk td { padding: .15em 1em .15em 0; text-align: left; vertical-align: top; border: 0; }"
    ".pinntk.pinntk td { max-width: 40rem; }"
    f".pinntk.pinntk thead th {{ border-bottom: 1px solid {_GRAY}; font-weight: 600; white-space: nowrap; }}"
    ".pinntk.pinntk tbody tr, .pinntk.pinntk tbody tr:nth-child(even), .pinntk.pinntk tbody tr:hover { background: none; }"
    ".pinntk.pinntk .n { text-align: right; white-space: nowrap; }"
    ".pinntk p { margin: .3em 0; } .pinntk .faint { opacity: .7; } .pinntk summary { cursor: pointer; }"
    ".pinntk pre { margin: .3em 0; white-space: pre-wrap; background: none; font-size: 12px; }"
    ".pinntk .badge { padding: .05em .6em; border-radius: 1em; color: #fff; font-weight: 600; font-size: 11px; }"
    "</style>"
)
_COLORS = ("#3b82f6", "#ea7317", "#1f9d61", "#a855f7", "#e0393e", "#0e9aa7", "#b8860b", "#8a8f98")  # seen on black and on white
_MOST = 240  # points of a curve that are drawn


def page(title: Any, *parts: Any, remark: Any = "") -> str:
    """What a notebook shows: a title, a remark behind it, and parts below.

    >>> page("a < b", "c").partition("</style>")[2]
    '<p><strong>a &lt; b</strong></p>c</div>'
    """
    behind = Markup(' <span class="faint">{}</span>').format(remark) if remark else ""
    head = Markup("<p><strong>{}</strong>{}</p>").format(title, behind)
    return str(Markup('<div class="pinntk">') + _STYLE + head + Markup("").join(map(escape, parts)) + Markup("</div>"))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Markup:
    """Rows below their heads. Numbers are at the right, with three digits; None is a dash.

    >>> print(str(table(["name", "n"], [["<u>", 1200]])).partition("<tbody>")[2])
    <tr><td>&lt;u&gt;</td><td class="n">1,200</td></tr></tbody></table>
    """
    rows = [list(row) for row in rows]
    right = [any(_is_number(row[i]) for row in rows) for i in range(len(head))]
    first, *others = (
        Markup("").join(_cell(kind, value, at_right) for value, at_right in zip(row, right, strict=True))
        for kind, row in [("th", list(head)), *(("td", row) for row in rows)]
    )
    body = Markup("").join(Markup("<tr>{}</tr>").format(row) for row in others)
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(first, body)


def facts(lines: Iterable[tuple[str, Any]]) -> Markup:
    """A line for each (what, value), without those whose value is empty or None."""
    row = Markup('<tr><td class="faint">{}</td><td>{}</td></tr>')
    shown = [row.format(what, _words(value)) for what, value in lines if value not in ("", None)]
    return Markup("<table><tbody>{}</tbody></table>").format(Markup("").join(shown)) if shown else Markup("")


def _cell(kind: str, value: Any, right: bool) -> Markup:
    return Markup("<{0}{1}>{2}</{0}>").format(kind, Markup(' class="n"') if right else "", _words(value))


def _words(value: Any) -> str:
    return value if isinstance(value, str) else number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def folded(summary: Any, inside: Any) -> Markup:
    """What is seen after a click on the summary."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, inside)


def beside(*parts: Any) -> Markup:
    """Side by side, as far as there is room."""
    each = Markup("<div>{}</div>")
    inside = Markup("").join(each.format(part) for part in parts if part)
    return Markup('<div style="display: flex; flex-wrap: wrap; gap: 0 2rem">{}</div>').format(inside)


# Curves.

_WIDTH, _HEIGHT = 400, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 392, 8, 140  # of the axes


def curves(lines: Mapping[str, tuple[Any, Any]], *, title: str, across: str, log: bool = False, floor: float = 0.0) -> Markup:
    """Positive values over positions, {name: (positions, values)}, on a logarithmic scale; nothing where none is positive.

    title: what the values are
    across: what positions are, which are on a logarithmic scale too if `log`
    floor: where a dashed line is drawn; 0 for none
    """
    kept = {name: _drawn(*line, log=log) for name, line in lines.items()}
    kept = {name: line for name, line in kept.items() if len(line[0])}
    if not kept:
        return Markup("")
    x = _Axis([line[0] for line in kept.values()], _LEFT, _RIGHT, log)
    y = _Axis([line[1] for line in kept.values()], _BOTTOM, _TOP, True)
    drawn = [_ticks(x, y)]
    if y.low <= floor:
        drawn.append(_line(_LEFT, y(floor), _RIGHT, y(floor), ' stroke-dasharray="4 3"'))
    for i, (positions, values) in enumerate(kept.values()):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(positions, values, strict=True))
        color = _COLORS[i % len(_COLORS)]
        drawn.append(Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="1.6"/>').format(path, color))
        if len(positions) < 20:
            dot = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.2" fill="{}"/>')
            drawn += [dot.format(x(a), y(b), color) for a, b in zip(positions, values, strict=True)]
    drawn.append(_text((_LEFT + _RIGHT) / 2, _HEIGHT - 3, across, "middle"))
    shape = Markup(
        '<svg width="{0}" height="{1}" viewBox="0 0 {0} {1}" style="max-width: 100%" role="img" aria-label="{2}">{3}</svg>'
    )
    key = Markup('<span style="color: {}">&#9644;</span> {}&ensp;')
    legend = Markup("").join(key.format(_COLORS[i % len(_COLORS)], name) for i, name in enumerate(kept) if name)
    head = Markup('<p>{} &ensp;<span class="faint">{}</span></p>').format(title, legend)
    return head + shape.format(_WIDTH, _HEIGHT, f"{title} over {across}", Markup("").join(drawn))


class _Axis:
    """From values to pixels; `ticks` are (pixel, label)."""

    def __init__(self, values: Sequence[np.ndarray], start: float, end: float, log: bool):
        low, high = min(map(np.min, values)), max(map(np.max, values))
        self.start, self.end, self.log = start, end, log
        if log:
            first, last = _floor(low), max(_ceil(high), _floor(low) + 1)
            whole = start > end  # upwards, between powers of ten
            self.low, self.high = (10.0**first, 10.0**last) if whole else (float(low), float(max(high, 10 * low)))
            marks = [10.0**k for k in range(first, last + 1, max(1, math.ceil((last - first) / 4)))]
            marks = [mark for mark in marks if self.low <= mark <= self.high]
        else:
            self.low, self.high = float(low), float(high if high > low else low + 1)
            marks = [self.low, (self.low + self.high) / 2, self.high]
        self.ticks = [(self(mark), f"1e{_floor(mark)}" if log else number(mark)) for mark in marks]

    def __call__(self, value: float) -> float:
        a, b, v = (math.log10(n) if self.log else n for n in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (v - a) / (b - a)


def _floor(value: float) -> int:
    return math.floor(math.log10(value) + 1e-9)


def _ceil(value: float) -> int:
    return math.ceil(math.log10(value) - 1e-9)


def _drawn(positions: Any, values: Any, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Those that a logarithm has, and of many some."""
    positions, values = np.asarray(positions, float), np.asarray(values, float)
    seen = np.isfinite(values) & (values > 0) & np.isfinite(positions) & ((positions > 0) | (not log))
    positions, values = positions[seen], values[seen]
    if len(positions) <= _MOST:
        return positions, values
    some = np.linspace(0, len(positions) - 1, _MOST) if not log else np.geomspace(1, len(positions), _MOST) - 1
    chosen = np.unique(some.round().astype(int))
    return positions[chosen], values[chosen]


def _ticks(x: _Axis, y: _Axis) -> Markup:
    lines = [_line(_LEFT, at, _RIGHT, at) + _text(_LEFT - 5, at + 4, label, "end") for at, label in y.ticks]
    lines += [_text(at, _BOTTOM + 14, label, "middle" if at < _RIGHT - 9 else "end") for at, label in x.ticks]
    return Markup("").join(lines)


def _line(x1: float, y1: float, x2: float, y2: float, more: str = ' stroke-opacity=".2"') -> Markup:
    shape = '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="currentColor"' + more + "/>"
    return Markup(shape).format(x1, y1, x2, y2)


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    shape = '<text x="{:.1f}" y="{:.1f}" text-anchor="{}" font-size="11" fill="currentColor">{}</text>'
    return Markup(shape).format(x, y, anchor, words)
