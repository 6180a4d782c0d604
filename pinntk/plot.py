"""Figures of a run: solution, losses and weights, kernel spectra, drift. The only module that imports matplotlib."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from pinntk.files import replacing
from pinntk.ntk import KernelBlocks
from pinntk.problem import Problem
from pinntk.run import FIGURES, Run

_EXACT, _NETWORK, _START, _END = "#9aa0a6", "#1a56c4", "#9aa0a6", "#c2410c"
_DPI = 130


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
    if folder is None and run.folder is None:
        raise ValueError("the run has no folder; name one: plot.save(run, folder)")
    folder = run.folder / FIGURES if folder is None else Path(folder)
    paths = []
    for name, figure in figures(run).items():
        path = folder / f"{name}.png"
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=_DPI)
        paths.append(path)
    return paths


# The solution.


def solution(problem: Problem, network: nn.Module) -> Figure:
    """The network beside the exact or reference solution, and the error: curves in 1D, maps in 2D, and in higher
    dimensions along the diagonal of the domain."""
    dimension = problem.domain.dimension
    if dimension == 2:
        return _maps(problem, network)
    counts = 500
    if dimension == 1:
        if problem.has_solution:
            grid = problem.solution_points
            truth = problem.solution.values.reshape(-1, len(problem.fields))
        else:
            grid, truth = problem.domain.grid((counts,)), None
        across, label = grid[:, 0], problem.coordinates[0]
    else:
        s = np.linspace(0, 1, counts)[:, None]
        grid = problem.domain.low + s * (problem.domain.high - problem.domain.low)
        truth = problem.exact_array(grid) if problem.exact is not None else None
        across, label = s[:, 0], "position along the diagonal of the domain"
    return _curves(problem, network, across, label, grid, truth)


def _curves(
    problem: Problem, network: nn.Module, x: np.ndarray, label: str, grid: np.ndarray, truth: np.ndarray | None
) -> Figure:
    predicted = problem.predict(network, grid)
    rows = 1 if truth is None else 2
    figure = Figure(figsize=(4.6 * len(problem.fields) + 0.8, 2.4 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, len(problem.fields), squeeze=False, sharex=True)
    for i, name in enumerate(problem.fields):
        if truth is not None:
            axes[0, i].plot(x, truth[:, i], color=_EXACT, lw=4, label="exact")
            axes[1, i].plot(x, predicted[:, i] - truth[:, i], color=_END, lw=1.2)
            axes[1, i].set_ylabel(f"network - exact, {name}")
        axes[0, i].plot(x, predicted[:, i], color=_NETWORK, lw=1.5, label="network")
        axes[0, i].set_ylabel(name)
        axes[-1, i].set_xlabel(label)
        axes[0, i].legend(frameon=False)
    _tidy(axes)
    figure.suptitle(_title(problem, network))
    return figure


def _maps(problem: Problem, network: nn.Module) -> Figure:
    if problem.has_solution:
        axes_values, points = problem.solution.axes, problem.solution_points
        truth = problem.solution.values.reshape(-1, len(problem.fields))
    else:
        axes_values = tuple(np.linspace(low, high, 100) for low, high in problem.domain.bounds)
        points, truth = problem.domain.grid((100, 100)), None
    predicted = problem.predict(network, points)
    shape = tuple(map(len, axes_values))
    columns = 1 if truth is None else 3
    figure = Figure(figsize=(4.0 * columns + 0.4, 2.9 * len(problem.fields) + 0.5), layout="constrained")
    axes = figure.subplots(len(problem.fields), columns, squeeze=False)
    for i, name in enumerate(problem.fields):
        known = predicted[:, i] if truth is None else truth[:, i]
        low, high = float(known.min()), float(known.max())
        scale = {"cmap": "viridis", "vmin": low, "vmax": high}
        if low < 0 < high:  # white is zero
            scale = {"cmap": "RdBu_r", "vmin": -max(-low, high), "vmax": max(-low, high)}
        panels = [(f"network {name}", predicted[:, i], scale)]
        if truth is not None:
            kind = "exact" if problem.exact is not None else "reference"
            panels.insert(0, (f"{kind} {name}", truth[:, i], scale))
            panels.append((f"|network - {kind}|, {name}", np.abs(predicted[:, i] - truth[:, i]), {"cmap": "magma_r"}))
        for ax, (title, values, style) in zip(axes[i], panels, strict=True):
            image = ax.pcolormesh(*axes_values, values.reshape(shape).T, shading="auto", rasterized=True, **style)
            figure.colorbar(image, ax=ax)
            ax.set(title=title, xlabel=problem.coordinates[0], ylabel=problem.coordinates[1])
    figure.suptitle(_title(problem, network))
    return figure


def _title(problem: Problem, network: nn.Module) -> str:
    title = problem.name + (f" ({problem.settings()})" if problem.parameters else "")
    return f"{title}: relative L2 error {problem.error(network):.2e}" if problem.has_solution else title


# Training.


def losses(run: Run) -> Figure:
    """Unweighted losses, loss weights, relative L2 error, and the coefficients of an inverse problem over steps."""
    names = [name for name in run.problem.names if len(run.column(f"loss/{name}")[0])]
    coefficients = list(run.problem.coefficients)
    has_error = len(run.column("error")[0]) > 0
    panels = 2 + has_error + bool(coefficients)
    figure = Figure(figsize=(3.9 * panels + 0.6, 3.4), layout="constrained")
    axes = list(figure.subplots(1, panels))
    for i, name in enumerate(names):
        axes[0].plot(*run.column(f"loss/{name}"), lw=1.2, color=f"C{i}", label=name)
        axes[1].plot(*run.column(f"weight/{name}"), lw=1.5, color=f"C{i}", label=name)
    axes[0].set(title="unweighted loss, mean(e²)", yscale="log")
    axes[1].set(title="loss weight λ", yscale="log")
    if has_error:
        axes[2].plot(*run.column("error"), color=_NETWORK, lw=1.5)
        axes[2].set(title="relative L2 error", yscale="log")
    for i, name in enumerate(coefficients):
        axes[-1].plot(*run.column(f"coefficient/{name}"), color=f"C{i}", lw=1.5, label=name)
        axes[-1].set(title="unknown coefficient")
    for ax in axes:
        ax.set_xlabel("step")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=8)
    _tidy(np.array(axes))
    return figure


def spectra(run: Run) -> Figure:
    """Eigenvalues of K, K_uu and K_rr at the first and the last snapshot. Below the dashed floor they are rounding."""
    steps = sorted(run.snapshots)
    first, last = run.snapshots[steps[0]], run.snapshots[steps[-1]]
    parts = {"K": KernelBlocks.matrix, "K_uu": lambda K: K.uu, "K_rr": lambda K: K.rr}
    parts = {name: part for name, part in parts.items() if len(part(first))}
    figure = Figure(figsize=(3.9 * len(parts) + 0.6, 3.6), layout="constrained")
    axes = figure.subplots(1, len(parts), squeeze=False)[0]
    for ax, (name, part) in zip(axes, parts.items(), strict=True):
        for blocks, step, color in ((first, steps[0], _START), (last, steps[-1], _END))[: len(steps)]:
            matrix = part(blocks).double().cpu().numpy()
            values = np.linalg.eigvalsh(matrix)[::-1]
            floor = len(matrix) * np.finfo(blocks.numpy().dtype).eps * values[0]
            index = np.arange(1, len(values) + 1)
            ax.loglog(index, np.where(values > 0, values, np.nan), color=color, lw=1.5, marker=".", ms=4, label=f"step {step}")
            ax.axhline(floor, color=color, lw=0.8, ls="--")
        ax.set(title=f"eigenvalues of {name}", xlabel="index")
        ax.legend(frameon=False)
    axes[0].annotate("dashed: rounding floor", (0.03, 0.03), xycoords="axes fraction", fontsize=8, color="#5f6368")
    _tidy(axes)
    return figure


def drift(run: Run) -> Figure:
    """How far the kernel and the parameters have moved from their initial values, relative to them."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    axes[0].plot(*run.kernel_drift(), color=_END, marker="o", ms=4)
    axes[0].set(title="kernel drift  ‖K(t) − K(0)‖ / ‖K(0)‖", xlabel="step")
    axes[1].plot(*run.column("drift"), color=_NETWORK)
    axes[1].set(title="parameter drift  ‖θ(t) − θ(0)‖ / ‖θ(0)‖", xlabel="step")
    for ax in axes:
        ax.set_ylim(bottom=0)
    _tidy(axes)
    return figure


def _tidy(axes: np.ndarray) -> None:
    for ax in axes.flat:
        ax.grid(alpha=0.25, lw=0.6)
        ax.spines[["top", "right"]].set_visible(False)
