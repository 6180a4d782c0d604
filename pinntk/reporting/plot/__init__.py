"""Figures of runs, measurements and findings. The only package that imports matplotlib."""

from pinntk.reporting.plot._animation import animation
from pinntk.reporting.plot._comparison import comparison_panels
from pinntk.reporting.plot._errors import estimate_panels, residual_panels
from pinntk.reporting.plot._evidence import condition_panels, finding_panels, mode_panels
from pinntk.reporting.plot._panel import Panel, draw_panels, figure_grid, single_figure, svg, write
from pinntk.reporting.plot._picture import part_names, picture, picture_panel
from pinntk.reporting.plot._sheet import Sheet
from pinntk.reporting.plot._solution import solution, solution_panels, solution_sheets
from pinntk.reporting.plot._summary import summary, summary_panels
from pinntk.reporting.plot._training import (
    drift,
    drift_panels,
    figures,
    first_and_last,
    loss_panels,
    losses,
    save,
    spectra,
    spectrum_panels,
)

__all__ = [
    "Panel",
    "Sheet",
    "animation",
    "comparison_panels",
    "condition_panels",
    "draw_panels",
    "drift",
    "drift_panels",
    "estimate_panels",
    "figure_grid",
    "figures",
    "finding_panels",
    "first_and_last",
    "loss_panels",
    "losses",
    "mode_panels",
    "part_names",
    "picture",
    "picture_panel",
    "residual_panels",
    "save",
    "single_figure",
    "solution",
    "solution_panels",
    "solution_sheets",
    "spectra",
    "spectrum_panels",
    "summary",
    "summary_panels",
    "svg",
    "write",
]


def __dir__() -> list[str]:
    return __all__
