"""A panel is one pair of axes: drawn alone for the report, or beside others for a figure file. No global state."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from pinntk._util.files import replacing
from pinntk.reporting.plot._inline import InlineFigure

GRAY, BLUE, ORANGE = "#9aa0a6", "#1a56c4", "#c2410c"
FAINT = "#5f6368"  # of small print
FORMATS = (".png", ".svg", ".pdf")
_DPI = 130  # of files
_RASTER = 110  # dots per inch of maps within an SVG
_FEW = 60  # points of a curve up to which each has a dot
_INSIDE = 2  # names that a legend has within the axes; of more it stands below them, and hides no curve
_SHORT = 15  # letters of names that stand three in a line
_LONG = 26  # and most of those that stand two in a line; longer ones are folded
_WIDE = 10.0  # largest over smallest value, from which on an axis is logarithmic
_LINE = 0.2  # inches of a line of a legend
OwnAxes = Axes | Iterable[Any] | None
_DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Panel:
    """What one pair of axes shows.

    title: a few words
    text: what is to be seen, with its numbers, for those who cannot see it
    paint: puts it on empty axes; where it returns a map (a ScalarMappable), that has a color bar
    what, at: the title in two parts where one quantity is shown at several places: "network u" and "t = 0.5"
    """

    title: str
    text: str
    paint: Callable[[Axes], Any]
    what: str = ""
    at: str = ""

    def draw(self, ax: Axes, *, bar: bool = True) -> ScalarMappable | None:
        """Draws it on axes of yours, without its title. bar: whether a map has a color bar; returns what that would explain."""
        image = self.paint(ax)
        image = image if isinstance(image, ScalarMappable) else None
        if image is not None and bar:
            ax.figure.colorbar(image, ax=ax)
        if not ax.collections and not ax.images:  # curves, no map
            ax.grid(alpha=0.25, lw=0.6)
            ax.spines[["top", "right"]].set_visible(False)
        return image


def single_figure(panel: Panel, width: float = 4.6, height: float = 3.1) -> Figure:
    """The panel without its title, sized so that its letters can be read on a phone."""
    figure = Figure(figsize=(width, height), layout="constrained")
    panel.draw(figure.subplots())
    return _with_room(figure, 1)


def _with_room(figure: Figure, rows: int) -> Figure:
    """Higher by what legends below axes take."""
    names = [[text.get_text() for text in own.get_texts()] for ax in figure.axes if (own := ax.get_legend()) is not None]
    lines = max((-(-len(own) // _columns(own)) * max(map(lines_of, own)) for own in names if len(own) > _INSIDE), default=0)
    figure.set_figheight(figure.get_figheight() + rows * lines * _LINE)
    return figure


def _columns(names: Sequence[str]) -> int:
    """Of a legend below the axes."""
    longest = max(len(line) for name in names for line in name.split("\n"))
    return 3 if longest < _SHORT else 2 if longest <= _LONG else 1


def folded(name: str) -> str:
    r"""A long name in lines, broken behind commas, colons, plus signs and blanks.

    >>> folded("soap:100000:lr=0.003:weight_decay=0.01:betas=(0.9,0.99)")
    'soap:100000:lr=0.003:\nweight_decay=0.01:\nbetas=(0.9,0.99)'
    """
    lines = [""]
    for piece in re.split(r"(?<=[,:+ ])(?=\D)", name):
        if lines[-1] and len(lines[-1] + piece) > _LONG:
            lines.append("")
        lines[-1] += piece
    return "\n".join(map(str.strip, lines))


def lines_of(name: str) -> int:
    return name.count("\n") + 1


def figure_grid(
    grid: Sequence[Sequence[Panel]],
    width: float = 3.9,
    height: float = 3.0,
    *,
    sharex: bool = False,
    layout: Any = "constrained",
) -> Figure:
    """Rows of panels with their titles; all rows have as many."""
    figure = InlineFigure(figsize=(width * len(grid[0]) + 0.6, height * len(grid) + 0.4), layout=layout)
    axes = figure.subplots(len(grid), len(grid[0]), squeeze=False, sharex=sharex)
    for ax, panel in zip(axes.flat, (panel for row in grid for panel in row), strict=True):
        panel.draw(ax)
        ax.set_title(panel.title)
    return _with_room(figure, len(grid))


def draw_panels(panels: Sequence[Panel], ax: Axes | Iterable[Any], *, titles: bool = True) -> Figure:
    """Draws panels on axes of yours, and returns the figure that these are in.

    ax: one pair of axes for one panel; as many as there are panels for several, in any arrangement, as `plt.subplots` has them

    Raises ValueError for another number of axes, TypeError for what are none. Nothing else of the figure changes.

    >>> from matplotlib.figure import Figure
    >>> figure = Figure()
    >>> line = Panel("a line", "from 0 to 1", lambda ax: ax.plot([0, 1]))
    >>> draw_panels([line, line], figure.subplots(1, 2)) is figure
    True
    """
    axes = [ax] if isinstance(ax, Axes) else list(np.ravel(np.array(ax, dtype=object)))
    for one in axes:
        if not isinstance(one, Axes):
            raise TypeError(f"ax has a {type(one).__name__}; give matplotlib axes, such as plt.subplots(1, {len(panels)})[1]")
    if len(axes) != len(panels):
        listed = "; ".join(panel.title for panel in panels)
        many = f"ax has {len(axes)} axes for {len(panels)} panels ({listed})"
        raise ValueError(f"{many}; give plt.subplots(1, {len(panels)})[1], or draw one of them by its draw(ax)")
    for panel, one in zip(panels, axes, strict=True):
        panel.draw(one)
        if titles:
            one.set_title(panel.title)
    figure: Figure = axes[0].figure.figure  # that of a subfigure, too
    return figure


def svg(figure: Figure) -> bytes:
    """The figure as SVG, maps within it as pixels."""
    file = BytesIO()
    figure.savefig(file, format="svg", dpi=_RASTER, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def write(figure: Figure, path: str | os.PathLike) -> Path:
    """Writes a figure as PNG, SVG or PDF, by the name's end, whole or not at all. Raises ValueError for another end."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: a figure's name ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=_DPI)
    return path


def legend(ax: Axes) -> None:
    """Names of what is drawn: within the axes if they are few, else below, so that they hide no curve."""
    names = ax.get_legend_handles_labels()[1]
    if len(names) > _INSIDE:
        where: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "ncols": _columns(names)}
        ax.legend(frameon=False, fontsize=8, columnspacing=1.2, borderaxespad=0.0, **where)
    elif names:
        ax.legend(frameon=False, fontsize=9)


def curve_style(place: int) -> dict[str, Any]:
    """Color and dashes of a curve among many; forty differ."""
    return {"color": f"C{place % 10}", "ls": _DASHES[place // 10 % len(_DASHES)]}


def value_axis(ax: Axes, values: np.ndarray, *, zero: bool = False) -> None:
    """The vertical axis: logarithmic for positive values over more than a decade, else linear; from 0 if asked to."""
    known = values[np.isfinite(values)]
    if known.size and (known > 0).all() and known.max() > _WIDE * known.min():
        ax.set_yscale("log")
    elif zero and (known >= 0).all():
        ax.set_ylim(bottom=0)


def dots(values: np.ndarray) -> str:
    """A marker for curves of few points."""
    return "." if len(values) <= _FEW else ""


def span(values: np.ndarray) -> str:
    """From where to where finite values go, in words."""
    known = values[np.isfinite(values)]
    return f"from {known.min():.3g} to {known.max():.3g}" if known.size else "nowhere finite"
