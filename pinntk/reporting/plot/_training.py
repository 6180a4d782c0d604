"""Figures of a run: losses and weights, kernel spectra, drift; and all of them as files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pinntk._util.files import replacing
from pinntk.ntk import KernelBlocks
from pinntk.reporting.plot._animation import animation
from pinntk.reporting.plot._panel import (
    BLUE,
    FAINT,
    GRAY,
    ORANGE,
    OwnAxes,
    Panel,
    curve_style,
    dots,
    draw_panels,
    figure_grid,
    legend,
    value_axis,
    write,
)
from pinntk.reporting.plot._solution import solution
from pinntk.run import Run
from pinntk.run._folder import ANIMATION, FIGURES


def figures(run: Run) -> dict[str, Figure]:
    """Every figure that the run has data for, by file name."""
    drawn = {"solution": solution(run.problem, run.network), "losses": losses(run)}
    if len(run.snapshots) > 0:
        drawn["spectra"] = spectra(run)
    if len(run.snapshots) > 1:
        drawn["drift"] = drift(run)
    return drawn


def save(run: Run, folder: str | os.PathLike | None = None) -> list[Path]:
    """Writes `figures(run)` as PNG files into `folder`, by default the run's own; returns their paths.

    Of maps that change with time there is solution.gif, too.
    """
    if folder is None:
        if run.folder is None:
            raise ValueError("the run has no folder; name one: plot.save(run, folder)")
        folder = run.folder / FIGURES
    folder = Path(folder)
    paths = [write(figure, folder / f"{name}.png") for name, figure in figures(run).items()]
    moving = animation(run.problem, run.network)
    if moving is not None:
        paths.append(folder / ANIMATION)
        with replacing(paths[-1]) as temporary:
            temporary.write_bytes(moving)
    return paths


# Training.


def losses(run: Run, ax: OwnAxes = None) -> Figure:
    """`loss_panels` in a row, or on axes of your own, as `draw_panels` takes them."""
    return _in_a_row(loss_panels(run), ax)


def _in_a_row(panels: list[Panel], ax: OwnAxes, height: float = 3.0) -> Figure:
    return figure_grid([panels], height=height) if ax is None else draw_panels(panels, ax)


def loss_panels(run: Run, deviations: Mapping[str, float] | None = None) -> list[Panel]:
    """Losses, loss weights, relative L2 error and coefficients over steps.

    deviations: {coefficient: its standard deviation}, drawn as error bars at the end

    A loss is mean(e²) of a condition, without its weight. Weights that stay as they are have no panel; those of points have
    one of their own.
    """
    names = [name for name in run.problem.names if len(run.column(f"loss/{name}")[0])]
    panels = [_history(run, "loss of each condition", {name: f"loss/{name}" for name in names}, "mean(e²)")]
    weights = {name: f"weight/{name}" for name in names}
    if any(np.ptp(run.column(column)[1]) > 0 for column in weights.values()):
        panels.append(_history(run, "loss weight λ", weights, "λ", nested=True))
    if own := [name for name in names if len(run.column(f"max_point_weight/{name}")[0])]:
        columns = {f"{name}, {kind}": f"{kind}_point_weight/{name}" for name in own for kind in ("mean", "max")}
        schemes = (run.config["weighting"], *run.config["weighting"].get("beside", ()))
        ascended = any(scheme["name"] == "self-adaptive" for scheme in schemes)
        title, label = ("self-adaptive point weight m(λ)", "m(λ)") if ascended else ("residual-based attention l²", "l²")
        panels.append(_history(run, title, columns, label))
    if len(run.column("relative_error")[0]):
        panels.append(_history(run, "relative L2 error", {"": "relative_error"}, "relative L2 error"))
    if coefficients := list(run.problem.coefficients):
        panels.append(_coefficients(run, coefficients, deviations or {}))
    return panels


def _coefficients(run: Run, names: Sequence[str], deviations: Mapping[str, float]) -> Panel:
    curves = {name: run.column(f"coefficient/{name}") for name in names}

    def draw(ax: Axes) -> None:
        for i, (name, (steps, values)) in enumerate(curves.items()):
            style = curve_style(i)
            ax.plot(steps, values, lw=1.3, marker="o" if len(steps) == 1 else "", ms=4, label=name, **style)
            if len(steps) and np.isfinite(deviations.get(name, np.nan)):
                ax.errorbar(steps[-1], values[-1], deviations[name], color=style["color"], capsize=4, marker="o", ms=3)
        ax.set(xlabel="step", ylabel=names[0] if len(names) == 1 else "value")
        if len(names) > 1:
            legend(ax)

    bars = {name: f" ± {deviations[name]:.2g}" if name in deviations else "" for name in names}
    ends = [f"{name} from {v[0]:.4g} to {v[-1]:.4g}{bars[name]}" for name, (_, v) in curves.items() if len(v)]
    return Panel("unknown coefficient" + ("s" if len(names) > 1 else ""), f"coefficients over steps: {', '.join(ends)}", draw)


def _history(
    run: Run,
    title: str,
    columns: Mapping[str, str],
    what: str,
    *,
    linear: bool = False,
    zero: bool = False,
    nested: bool = False,
) -> Panel:
    """Columns of the history over steps, by label; nested, equal ones can be told apart."""
    curves = {label: run.column(column) for label, column in columns.items()}

    def draw(ax: Axes) -> None:
        for i, (label, (steps, values)) in enumerate(curves.items()):
            width = 1.3 if not nested else 1.3 + 0.4 * min(len(curves) - 1 - i, 5)
            style = curve_style(i) if label else {"color": BLUE}
            ax.plot(steps, values, lw=width, marker="o" if len(steps) == 1 else "", ms=4, label=label or None, **style)
        ax.set(xlabel="step", ylabel=what)
        value_axis(ax, np.concatenate([values for _, values in curves.values()]), zero=zero)
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
    """Eigenvalues of K, K_uu and K_rr of at most two kernels, by label, as far as they are above their rounding floor."""
    first = next(iter(kernels.values()))
    parts = {"K": KernelBlocks.matrix, "K_uu": lambda K: K.uu, "K_rr": lambda K: K.rr}
    return [_eigenvalues(name, part, kernels) for name, part in parts.items() if len(part(first))]


def _eigenvalues(name: str, part: Callable, kernels: Mapping[str, KernelBlocks]) -> Panel:
    curves = {}
    for label, blocks in kernels.items():
        matrix = part(blocks).double().cpu().numpy()
        values = np.linalg.eigvalsh(matrix)[::-1]
        curves[label] = values, len(matrix) * np.finfo(blocks.numpy().dtype).eps * values[0]

    def draw(ax: Axes) -> None:
        ax.set(xlabel="mode", ylabel=f"eigenvalue of {name}")
        if not any((values > 0).any() for values, _ in curves.values()):
            zeros = np.zeros(len(next(iter(curves.values()))[0]))
            ax.plot(zeros, color=GRAY, label="all are zero: no parameter changes these errors")
            ax.legend(frameon=False)
            return
        for (label, (values, floor)), color in zip(curves.items(), (GRAY, ORANGE), strict=False):
            kept = values[values > floor]
            ax.loglog(np.arange(1, len(kept) + 1), kept, color=color, lw=1.5, marker=dots(values), ms=4, label=label)
        left = [f"{len(values) - (values > floor).sum()} of {len(values)}" for values, floor in curves.values()]
        note = f"not drawn, below rounding: {', '.join(dict.fromkeys(left))}"
        if any((values <= floor).any() for values, floor in curves.values()):
            low, high = ax.get_ylim()
            ax.set_ylim(low * (low / high) ** 0.1)  # room below the curves
            ax.annotate(note, (0.03, 0.03), xycoords="axes fraction", fontsize=8, color=FAINT)
        legend(ax)

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
        ax.set(xlabel="step", ylabel="relative change of K")
        ax.set_ylim(bottom=0)

    text = f"relative change of the kernel over steps, in the end {moved[-1]:.3g}"
    return [
        Panel("kernel drift  ‖K(t) − K(0)‖ / ‖K(0)‖", text, draw),
        _history(run, "parameter drift  ‖θ(t) − θ(0)‖ / ‖θ(0)‖", {"": "drift"}, "relative change of θ", zero=True),
    ]
