"""Figures of a run: solution, losses and weights, kernel spectra, drift."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import nn

from pinntk.ntk import KernelBlocks
from pinntk.problem import Problem
from pinntk.problem._known import counted
from pinntk.reporting.plot._maps import Section, planes
from pinntk.reporting.plot._panel import BLUE, FAINT, GRAY, ORANGE, Panel, dots, draw_panels, figure_grid, legend, span, write
from pinntk.run import Run
from pinntk.run._folder import FIGURES

_CURVE = 500  # points of a curve
_SIGN = 0.02  # of the largest size: values of the other sign that are smaller are rounding, or do not matter

OwnAxes = Axes | Iterable[Any] | None


def figures(run: Run) -> dict[str, Figure]:
    """Every figure that the run has data for, by file name."""
    drawn = {"solution": solution(run.problem, run.network), "losses": losses(run)}
    if len(run.snapshots) > 0:
        drawn["spectra"] = spectra(run)
    if len(run.snapshots) > 1:
        drawn["drift"] = drift(run)
    return drawn


def save(run: Run, folder: str | os.PathLike | None = None) -> list[Path]:
    """Writes `figures(run)` as PNG files into `folder`, by default the run's own; returns their paths."""
    if folder is None:
        if run.folder is None:
            raise ValueError("the run has no folder; name one: plot.save(run, folder)")
        folder = run.folder / FIGURES
    folder = Path(folder)
    paths = []
    for name, figure in figures(run).items():
        paths.append(write(figure, folder / f"{name}.png"))
    return paths


# The solution.


def solution(problem: Problem, network: nn.Module, ax: OwnAxes = None) -> Figure:
    """`solution_panels` in one figure, a row a field for maps and a column a field for curves.

    ax: axes of your own in place of a new figure, as `draw_panels` takes them: those of a field after one another
    """
    panels = solution_panels(problem, network)
    if ax is not None:
        return draw_panels([panel for row in panels for panel in row], ax)
    if drawn := planes(problem.domain):
        figure = figure_grid(
            panels, 4.0, drawn[0].height(2.9) + 0.7, layout="compressed" if drawn[0].to_scale else "constrained"
        )
    else:
        figure = figure_grid(list(zip(*panels, strict=True)), 4.6, 2.6, sharex=True)
    figure.suptitle(_title(problem, network))
    return figure


def solution_panels(problem: Problem, network: nn.Module) -> list[list[Panel]]:
    """The network beside the exact or reference solution, and the error, for each field.

    Curves in 1D, maps in 2D; of space and time maps of space at three times, of three coordinates of space three cuts. In
    higher dimensions curves along the diagonal of the box around the domain.
    """
    if planes(problem.domain):
        return _maps(problem, network)
    if problem.domain.dimension == 1:
        if problem.has_solution:
            grid = problem.solution_points
            truth = problem.at_home(grid, problem.solution.values.reshape(-1, len(problem.fields)))
        else:
            grid, truth = problem.domain.grid((_CURVE,)), None
        predicted = _predicted(problem, network, grid, truth)
        x, label = grid[:, 0], problem.coordinates[0]
    else:
        s = np.linspace(0, 1, _CURVE)[:, None]
        grid = problem.domain.low + s * (problem.domain.high - problem.domain.low)
        inside = problem.domain.contains(grid) | problem.domain.is_box
        truth = problem.at_home(grid, problem.exact_array(grid)) if problem.exact is not None else None
        predicted = np.where(inside[:, None], problem.at_home(grid, problem.predict(network, grid)), np.nan)
        x, label = s[:, 0], f"position along the diagonal of the {'domain' if problem.domain.is_box else 'box around it'}"
    return [
        _curves(name, x, label, predicted[:, i], None if truth is None else truth[:, i], _reference_label(problem))
        for i, name in enumerate(problem.fields)
    ]


def _predicted(problem: Problem, network: nn.Module, points: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """The network's values (n, fields), of fields that are free by a constant with the known solution's."""
    predicted = problem.at_home(points, problem.predict(network, points))
    if truth is None or not problem.gauge:
        return predicted
    lives = problem.lives(points) if problem.where else None
    return truth + counted(problem.gauge, problem.fields, predicted - truth, points, lives)


def _reference_label(problem: Problem) -> str:
    return "exact" if problem.exact is not None else "reference"


def _curves(name: str, x: np.ndarray, label: str, predicted: np.ndarray, truth: np.ndarray | None, known: str) -> list[Panel]:
    def field(ax: Axes) -> None:
        if truth is not None:
            ax.plot(x, truth, color=GRAY, lw=4, label=known)
        ax.plot(x, predicted, color=BLUE, lw=1.5, label="network")
        ax.set(xlabel=label, ylabel=name)
        legend(ax)

    def error(ax: Axes) -> None:
        ax.plot(x, predicted - truth, color=ORANGE, lw=1.2)
        ax.set(xlabel=label, ylabel=f"network - {known}, {name}")

    if truth is None:
        return [Panel(f"network {name}", f"{name} of the network {span(predicted)}", field)]
    return [
        Panel(
            f"network and {known} {name}", f"{name}: the network {span(predicted)}, the {known} solution {span(truth)}", field
        ),
        Panel(f"error of {name}", f"network minus {known} solution, {span(predicted - truth)}", error),
    ]


def _maps(problem: Problem, network: nn.Module) -> list[list[Panel]]:
    """A row for each field and plane; of a problem without solution, for each field."""
    known, sections = _reference_label(problem), _sections(problem)
    predicted = [_predicted(problem, network, section.points, truth) for section, truth in sections]
    rows: list[list[Panel]] = []
    for i, name in enumerate(problem.fields):
        alone: list[Panel] = []
        for (section, truth), values in zip(sections, predicted, strict=True):
            at, one = f", {section.plane.label}" if section.plane.label else "", values[:, i]
            scale = _colors(one if truth is None else truth[:, i])
            panel = _map(f"network {name}{at}", problem, section, one, scale)
            if truth is None:
                alone.append(panel)
                continue
            exact = _map(f"{known} {name}{at}", problem, section, truth[:, i], scale)
            off = np.abs(one - truth[:, i])
            rows.append([exact, panel, _map(f"|network - {known}|, {name}{at}", problem, section, off, {"cmap": "magma_r"})])
        rows += [alone] if alone else []
    return rows


def _sections(problem: Problem) -> list[tuple[Section, np.ndarray | None]]:
    """What is drawn, each with the known solution at its points, (n, fields): of all planes, or of none."""
    drawn = planes(problem.domain)
    if problem.exact is not None and not _on_grid(problem):
        sections = [Section(plane, plane.points()) for plane in drawn]
        return [(section, problem.at_home(section.points, problem.exact_array(section.points))) for section in sections]
    found: list[tuple[Section, np.ndarray | None]] = []
    if problem.has_solution:
        points = problem.solution_points
        values = problem.at_home(points, problem.solution.values.reshape(-1, len(problem.fields)))
        for known in filter(None, (plane.known(problem.solution) for plane in drawn)):
            found.append((Section(known[0], points[known[1]]), values[known[1]]))
    return found or [(Section(plane, plane.points()), None) for plane in drawn]


def _on_grid(problem: Problem) -> bool:
    """Whether the known solution has numbers on all of a grid in the plane, which are drawn as they are."""
    plane = problem.domain.dimension == 2 and problem.domain.is_box
    return plane and problem.has_solution and len(problem.solution.axes) == 2


def _colors(shown: np.ndarray) -> dict[str, Any]:
    low, high = _ends(shown)
    if min(-low, high) > _SIGN * max(-low, high):  # white is zero
        return {"cmap": "RdBu_r", "vmin": -max(-low, high), "vmax": max(-low, high)}
    return {"cmap": "viridis", "vmin": low, "vmax": high}


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The least and the largest that is finite; NaN where none is."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)


def _map(title: str, problem: Problem, section: Section, values: np.ndarray, style: Mapping[str, Any]) -> Panel:
    def draw(ax: Axes) -> None:
        image: ScalarMappable
        if _on_grid(problem):
            axes = problem.solution.axes
            image = ax.pcolormesh(*axes, values.reshape([*map(len, axes)]).T, shading="auto", rasterized=True, **style)
            section.plane.frame(ax)
        else:
            image = section.draw(ax, values, **style)
        low, high = image.get_clim()
        beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}
        least, most = _ends(values)
        extend = beyond.get((least < low, most > high), "neither")
        ax.figure.colorbar(image, ax=ax, extend=extend)

    return Panel(title, f"map of {title}, {span(values)}", draw)


def _title(problem: Problem, network: nn.Module) -> str:
    title = problem.name + (f" ({problem.settings()})" if problem.parameters else "")
    if not problem.has_solution:
        return title
    return f"{title}: relative L2 error {problem.relative_error(network):.2e}{problem.up_to}"


# Training.


def losses(run: Run, ax: OwnAxes = None) -> Figure:
    """`loss_panels` in a row, or on axes of your own, as `draw_panels` takes them."""
    return _in_a_row(loss_panels(run), ax)


def _in_a_row(panels: list[Panel], ax: OwnAxes, height: float = 3.0) -> Figure:
    return figure_grid([panels], height=height) if ax is None else draw_panels(panels, ax)


def loss_panels(run: Run) -> list[Panel]:
    """Losses, loss weights, relative L2 error and coefficients over steps.

    Losses are unweighted; self-adaptive weights of points have a panel of their own.
    """
    names = [name for name in run.problem.names if len(run.column(f"loss/{name}")[0])]
    panels = [
        _history(run, "unweighted loss, mean(e²)", {name: f"loss/{name}" for name in names}, "log"),
        _history(run, "loss weight λ", {name: f"weight/{name}" for name in names}, "log", nested=True),
    ]
    if own := [name for name in names if len(run.column(f"max_point_weight/{name}")[0])]:
        columns = {f"{name}, {kind}": f"{kind}_point_weight/{name}" for name in own for kind in ("mean", "max")}
        panels.append(_history(run, "self-adaptive point weight m(λ)", columns, "log"))
    if len(run.column("relative_error")[0]):
        panels.append(_history(run, "relative L2 error", {"": "relative_error"}, "log"))
    if coefficients := list(run.problem.coefficients):
        panels.append(_history(run, "unknown coefficient", {name: f"coefficient/{name}" for name in coefficients}, "linear"))
    return panels


def _history(
    run: Run, title: str, columns: Mapping[str, str], scale: str, *, zero: bool = False, nested: bool = False
) -> Panel:
    """Columns of the history over steps, by label; nested, equal ones can be told apart."""
    curves = {label: run.column(column) for label, column in columns.items()}

    def draw(ax: Axes) -> None:
        for i, (label, (steps, values)) in enumerate(curves.items()):
            width = 1.3 if not nested else 1.3 + 0.6 * (len(curves) - 1 - i)
            ax.plot(steps, values, lw=width, color=f"C{i}" if label else BLUE, label=label or None)
        positive = any((values > 0).any() for _, values in curves.values())
        ax.set(xlabel="step", yscale=scale if positive else "linear")
        if zero:
            ax.set_ylim(bottom=0)
        legend(ax)

    ends = [f"{label} from {v[0]:.3g} to {v[-1]:.3g}".strip() for label, (_, v) in curves.items() if len(v)]
    return Panel(title, f"{title} over steps: {', '.join(ends)}", draw)


def spectra(run: Run, ax: OwnAxes = None) -> Figure:
    """`spectrum_panels` of the first and the last snapshot, in a row, or on axes of your own, as `draw_panels` takes them."""
    return _in_a_row(spectrum_panels(first_and_last(run)), ax, height=3.2)


def first_and_last(run: Run) -> dict[str, KernelBlocks]:
    """The first and the last snapshot, or the only one, by "step N"."""
    steps = sorted(run.snapshots)
    return {f"step {step}": run.snapshots[step] for step in dict.fromkeys((steps[0], steps[-1]))}


def spectrum_panels(kernels: Mapping[str, KernelBlocks]) -> list[Panel]:
    """Eigenvalues of K, K_uu and K_rr of at most two kernels, by label. Below the dashed floor they are rounding."""
    first = next(iter(kernels.values()))
    parts = {"K": KernelBlocks.matrix, "K_uu": lambda K: K.uu, "K_rr": lambda K: K.rr}
    return [_eigenvalues(name, part, kernels, i == 0) for i, (name, part) in enumerate(parts.items()) if len(part(first))]


def _eigenvalues(name: str, part: Callable, kernels: Mapping[str, KernelBlocks], explained: bool) -> Panel:
    curves = {}
    for label, blocks in kernels.items():
        matrix = part(blocks).double().cpu().numpy()
        values = np.linalg.eigvalsh(matrix)[::-1]
        curves[label] = values, len(matrix) * np.finfo(blocks.numpy().dtype).eps * values[0]

    def draw(ax: Axes) -> None:
        if not any((values > 0).any() for values, _ in curves.values()):
            ax.plot(
                np.zeros(len(next(iter(curves.values()))[0])),
                color=GRAY,
                label="all are zero: no parameter changes these errors",
            )
            ax.set_xlabel("index")
            ax.legend(frameon=False)
            return
        for (label, (values, floor)), color in zip(curves.items(), (GRAY, ORANGE), strict=False):
            index = np.arange(1, len(values) + 1)
            ax.loglog(index, np.where(values > 0, values, np.nan), color=color, lw=1.5, marker=dots(values), ms=4, label=label)
            ax.axhline(floor, color=color, lw=0.8, ls="--")
        ax.set_xlabel("index")
        ax.legend(frameon=False)
        if explained:
            ax.annotate("dashed: rounding floor", (0.03, 0.03), xycoords="axes fraction", fontsize=8, color=FAINT)

    text = "; ".join(
        f"{label}: {int((values > floor).sum())} of {len(values)} above the floor, the largest {values[0]:.3g}"
        for label, (values, floor) in curves.items()
    )
    return Panel(f"eigenvalues of {name}", f"eigenvalues of {name} in descending order. {text}", draw)


def drift(run: Run, ax: OwnAxes = None) -> Figure:
    """`drift_panels` in a row, or on axes of your own, as `draw_panels` takes them."""
    return _in_a_row(drift_panels(run), ax)


def drift_panels(run: Run) -> list[Panel]:
    """How far the kernel and the parameters have moved from their initial values, relative to them."""
    steps, moved = run.kernel_drift()

    def draw(ax: Axes) -> None:
        ax.plot(steps, moved, color=ORANGE, marker="o", ms=4)
        ax.set(xlabel="step")
        ax.set_ylim(bottom=0)

    text = f"relative change of the kernel over steps, in the end {moved[-1]:.3g}"
    return [
        Panel("kernel drift  ‖K(t) − K(0)‖ / ‖K(0)‖", text, draw),
        _history(run, "parameter drift  ‖θ(t) − θ(0)‖ / ‖θ(0)‖", {"": "drift"}, "linear", zero=True),
    ]
