"""A panel is one pair of axes: drawn alone for the report, or beside others for a figure file. No global state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pinntk._util.files import replacing
from pinntk.reporting.plot._inline import InlineFigure

GRAY, BLUE, ORANGE = "#9aa0a6", "#1a56c4", "#c2410c"
FAINT = "#5f6368"  # of small print
FORMATS = (".png", ".svg", ".pdf")
_DPI = 130  # of files
_RASTER = 110  # dots per inch of maps within an SVG
_FEW = 60  # points of a curve up to which each has a dot


@dataclass(frozen=True)
class Panel:
    """What one pair of axes shows.

    title: a few words
    text: what is to be seen, with its numbers, for those who cannot see it
    draw: puts it on empty axes
    """

    title: str
    text: str
    draw: Callable[[Axes], None]


def single_figure(panel: Panel, width: float = 4.6, height: float = 3.1) -> Figure:
    """The panel without its title, sized so that its letters can be read on a phone."""
    figure = Figure(figsize=(width, height), layout="constrained")
    _put(panel, figure.subplots())
    return figure


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
        _put(panel, ax)
        ax.set_title(panel.title)
    return figure


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
        _put(panel, one)
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


def _put(panel: Panel, ax: Axes) -> None:
    panel.draw(ax)
    if not ax.collections and not ax.images:  # curves, no map
        ax.grid(alpha=0.25, lw=0.6)
        ax.spines[["top", "right"]].set_visible(False)


def legend(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=9)


def dots(values: np.ndarray) -> str:
    """A marker for curves of few points."""
    return "." if len(values) <= _FEW else ""


def span(values: np.ndarray) -> str:
    """From where to where finite values go, in words."""
    known = values[np.isfinite(values)]
    return f"from {known.min():.3g} to {known.max():.3g}" if known.size else "nowhere finite"
