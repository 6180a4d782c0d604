"""Maps of one scale of colors in one figure, as of one field at several times: a color bar for all, and no axis twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, FigureBase

from pinntk.reporting.plot._inline import InlineFigure
from pinntk.reporting.plot._panel import Panel

Drawn = tuple[Panel, Axes, ScalarMappable | None]

_WIDTH = 2.0  # inches of a map
_ACROSS = 3  # maps in a row, of one quantity
_TITLES, _BAR = 0.6, 0.8  # inches above all maps with the axis below them, and of the color bar


@dataclass(frozen=True)
class Sheet:
    """Maps of one field, drawn as a table.

    title: of all
    rows: a row for each place or time, a column for each quantity: panels with `what` and `at`
    scales: for each quantity the number of its scale of colors; neighbors of one scale share a color bar
    ratio: height over width of a map
    """

    title: str
    rows: Sequence[Sequence[Panel]]
    scales: Sequence[int]
    ratio: float

    @property
    def text(self) -> str:
        return "; ".join(panel.text for row in self.rows for panel in row)

    @property
    def table(self) -> Sequence[Sequence[Panel]]:
        """The rows; of one quantity as many maps in a row as fit."""
        if len(self.scales) > 1:
            return self.rows
        panels = [panel for row in self.rows for panel in row]
        return [panels[start : start + _ACROSS] for start in range(0, len(panels), _ACROSS)]

    @property
    def size(self) -> tuple[float, float]:
        """Inches."""
        across = max(map(len, self.table))
        one = len(self.scales) == 1
        each = self.ratio * _WIDTH + (0.35 if one else 0.2)
        return (_WIDTH + 0.15) * across + 0.7, each * len(self.table) + _TITLES + _BAR

    def figure(self) -> Figure:
        figure = InlineFigure(figsize=self.size, layout="constrained")
        self.put(figure)
        return figure

    def put(self, figure: FigureBase) -> list[Drawn]:
        """Draws on an empty figure, or a part of one; returns what was drawn where."""
        table = self.table
        axes = figure.subplots(len(table), max(map(len, table)), squeeze=False, sharex=True, sharey=True)
        drawn = []
        for i, row in enumerate(table):
            for k, panel in enumerate(row):
                drawn.append((panel, axes[i, k], panel.draw(axes[i, k], bar=False)))
                self._name(panel, axes[i, k], i, k)
            for empty in axes[i, len(row) :]:
                empty.set_axis_off()
                axes[i - 1, len(row)].tick_params(labelbottom=True)
        for _, group in groupby(range(len(self.scales)), self.scales.__getitem__):
            columns = list(group) if len(self.scales) > 1 else list(range(axes.shape[1]))
            images = [image for _, ax, image in drawn if ax in axes[:, columns] and image is not None]
            if images:
                where = list(axes[:, columns].flat)
                figure.colorbar(images[-1], ax=where, location="bottom", fraction=0.06, aspect=14 * len(columns), pad=0.02)
        return drawn

    def _name(self, panel: Panel, ax: Axes, i: int, k: int) -> None:
        last = i == len(self.table) - 1 or k >= len(self.table[i + 1])
        if len(self.scales) == 1:
            ax.set_title(panel.at, fontsize=10)
        elif i == 0:
            ax.set_title(panel.what, fontsize=10)
        ax.tick_params(labelsize=8)
        ax.locator_params("x", nbins=2)
        ax.locator_params("y", nbins=4)
        left = f"{panel.at}\n{ax.get_ylabel()}" if panel.at and len(self.scales) > 1 else ax.get_ylabel()
        ax.set_ylabel(left if k == 0 else "")
        if not last:
            ax.set_xlabel("")


def beside(sheets: Sequence[Sheet], across: int, title: float = 0.6) -> tuple[Figure, list[list[Drawn]]]:
    """Sheets in one figure, so many in a row, with so many inches for a title; and what was drawn of each, where."""
    width, height = sheets[0].size
    across = min(len(sheets), across)
    down = -(-len(sheets) // across)
    figure = InlineFigure(figsize=(width * across, height * down + title), layout="constrained")
    parts = figure.subfigures(down, across, squeeze=False).flat
    return figure, [sheet.put(part) for sheet, part in zip(sheets, parts, strict=False)]
