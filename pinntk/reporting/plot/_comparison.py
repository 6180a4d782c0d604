"""Two runs in one figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from pinntk.reporting.plot._panel import BLUE, GRAY, Panel, legend, value_axis
from pinntk.run import Run


def comparison_panels(runs: Mapping[str, Run]) -> list[Panel]:
    """Error, losses of the conditions that both have, and the last kernels' spectra, of two runs by label."""
    first, second = runs.values()
    titles = {"relative L2 error": "relative_error"}
    titles |= {f"loss of {name}": f"loss/{name}" for name in first.problem.names if name in second.problem.names}
    panels = []
    for title, column in titles.items():
        curves = {label: run.column(column) for label, run in runs.items()}
        if all(len(steps) for steps, _ in curves.values()):
            panels.append(_both(title, curves, "step", "linear", "mean(e²)" if column.startswith("loss/") else title))
    if all(run.snapshots for run in runs.values()):
        spectra = {}
        for label, run in runs.items():
            last = run.snapshots[max(run.snapshots)]
            values = last.eigvalsh().cpu().numpy()[::-1]
            spectra[label] = np.arange(1, len(values) + 1), np.where(values > last.floor(), values, np.nan)
        panels.append(_both("eigenvalues of K at the end", spectra, "mode", "log", "eigenvalue"))
    return panels


def _both(title: str, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str, scale: str, what: str) -> Panel:
    def draw(ax: Axes) -> None:
        for (name, (x, y)), color in zip(curves.items(), (GRAY, BLUE), strict=True):
            ax.plot(x, y, color=color, lw=1.6, label=name)
        ax.set(xlabel=label, xscale=scale, ylabel=what)
        value_axis(ax, np.concatenate([values for _, values in curves.values()]))
        legend(ax)

    ends = "; ".join(
        f"{name} from {y[0]:.3g} to {y[np.isfinite(y)][-1]:.3g}" for name, (_, y) in curves.items() if np.isfinite(y).any()
    )
    return Panel(title, f"{title}: {ends}", draw)
