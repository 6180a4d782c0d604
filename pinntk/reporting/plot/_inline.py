"""Figures that notebooks show as the value of a cell, without pyplot and without a file."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

_SCALE = 2  # pixels of the picture per pixel of the page, as sharp screens have


class InlineFigure(Figure):
    """A figure that a notebook shows by itself."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        file = BytesIO()
        self.savefig(file, format="png", dpi=_SCALE * self.get_dpi())
        width, height = (round(side * self.get_dpi()) for side in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}
