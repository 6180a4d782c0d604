"""Figures of measurements: what a finding shows, which modes hold the errors, how conditions meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from pinntk.diagnostics import Examination, Finding
from pinntk.problem import Problem
from pinntk.reporting.plot._errors import drawn_plane, values_panel
from pinntk.reporting.plot._panel import BLUE, GRAY, ORANGE, Panel, curve_style, dots, legend, span, value_axis

_NUMBERED = 6  # conditions up to which a matrix has its numbers in it
_LIT = 0.6  # above which a cell of a matrix is dark

Arrays = Mapping[str, np.ndarray]


# What a finding shows.


def finding_panels(finding: Finding, problem: Problem) -> list[Panel]:
    """The arrays of a finding: those with known names as what they are, all others as curves and matrices."""
    left = {name: np.asarray(values, dtype=float) for name, values in finding.arrays.items()}
    left = {name: values for name, values in left.items() if values.size and np.isfinite(values).any()}
    panels: list[Panel] = []
    for names, draw in _KNOWN.items():
        if set(names) <= set(left):
            panels += draw(left, problem)
            left = {name: values for name, values in left.items() if name not in names}
    spectra = {name.partition("/")[2]: left.pop(name) for name in list(left) if name.startswith("eigenvalues/")}
    if spectra:
        panels.append(_spectrum_panel("rates of each condition's modes", spectra))
    return panels + [panel for name, values in left.items() for panel in _default(name, values, problem)]


def _history(a: Arrays, problem: Problem) -> list[Panel]:
    def draw(ax: Axes) -> None:
        ax.plot(a["step"], a["loss"], color=BLUE, lw=1.3)
        ax.set(xlabel="step", ylabel="weighted loss")
        value_axis(ax, a["loss"])

    title = "weighted loss, by the weights at the end"
    return [Panel(title, f"{title}, over steps, from {a['loss'][0]:.3g} to {a['loss'][-1]:.3g}", draw)]


def _modes(a: Arrays, problem: Problem) -> list[Panel]:
    return [_spectrum_panel("rates of the modes", {"": a["eigenvalues"]}), _share(a["eigenvalues"], a["share"])]


def _rates(a: Arrays, problem: Problem) -> list[Panel]:
    return [_spectrum_panel("rates of the modes", {"": a["eigenvalues"]})]


def _slices(a: Arrays, problem: Problem) -> list[Panel]:
    errors = {"estimated": a["error"]} | ({"true": a["true_error"]} if "true_error" in a else {})
    title = f"relative error by time, {' and '.join(errors)}{' by one linearized step' if len(errors) == 1 else ''}"
    return [
        _by_time(a["time"], errors, title, "rms error / rms solution"),
        _by_time(a["time"], {"": a["residual"]}, "mean squared residual by time", "mean of squares"),
    ]


def _by_time(time: np.ndarray, curves: Arrays, title: str, what: str) -> Panel:
    def draw(ax: Axes) -> None:
        for (name, values), color in zip(curves.items(), (ORANGE, BLUE), strict=False):
            ax.plot(time, values, color=color, marker="o", ms=4, label=name or None)
        ax.set(xlabel="time", ylabel=what)
        value_axis(ax, np.concatenate(list(curves.values())), zero=True)
        legend(ax)

    ends = {name: values[np.isfinite(values)][[0, -1]] for name, values in curves.items() if np.isfinite(values).any()}
    said = "; ".join(f"{name} first {early:.3g}, last {late:.3g}".strip() for name, (early, late) in ends.items())
    return Panel(title, f"{title}: {said}", draw)


def _inputs(a: Arrays, problem: Problem) -> list[Panel]:
    def draw(ax: Axes) -> None:
        place = np.arange(len(a["mean"]))
        ax.vlines(place, a["low"], a["high"], color=GRAY, lw=4, label="from lowest to highest")
        ax.errorbar(place, a["mean"], a["std"], fmt="o", color=BLUE, capsize=4, label="mean and standard deviation")
        ax.axhspan(-1, 1, color=ORANGE, alpha=0.25, label="what is expected")
        ax.set_xticks(place, problem.coordinates if len(place) == len(problem.coordinates) else [str(k) for k in place])
        ax.set(xlabel="input of the first layer")
        legend(ax)

    return [
        Panel("inputs of the first layer", f"from {a['low'].min():.3g} to {a['high'].max():.3g}, expected about -1 to 1", draw)
    ]


def _layer_units(a: Arrays, problem: Problem) -> list[Panel]:
    def draw(ax: Axes) -> None:
        place = np.arange(len(a["dead"]))
        ax.bar(place - 0.2, np.nan_to_num(a["saturated"]), 0.4, color=ORANGE, label="saturated")
        if len(a["saturated_at_start"]):
            start = np.nan_to_num(a["saturated_at_start"])
            ax.bar(place - 0.2, start, 0.4, fill=False, edgecolor=ORANGE, ls="--", label="saturated at the start")
        ax.bar(place + 0.2, a["dead"], 0.4, color=GRAY, label="dead")
        ax.set_xticks(place, [str(k + 1) for k in place])
        ax.set(xlabel="layer", ylabel="share of units", ylim=(0, 1.02))
        legend(ax)

    return [Panel("saturated and dead units", f"saturated units by layer: {_number_list(a['saturated'])}", draw)]


def _rounding(a: Arrays, problem: Problem) -> list[Panel]:
    def draw(ax: Axes) -> None:
        place = np.arange(len(a["noise"]))
        ax.bar(place - 0.2, a["error"], 0.4, color=BLUE, label="error")
        ax.bar(place + 0.2, a["noise"], 0.4, color=ORANGE, label="its rounding")
        ax.set_xticks(place, _conditions(problem, len(place)), rotation=30 if len(place) > 3 else 0)
        ax.set(yscale="log", ylabel="root mean square")
        legend(ax)

    return [Panel("errors and their rounding", f"rounding over error: {_number_list(a['noise'] / a['error'])}", draw)]


def _hole(a: Arrays, problem: Problem) -> list[Panel]:
    return [_scatter_panel("training points and the hole", a["x"], a["hole"][None], "center of the hole", problem)]


def _candidates(a: Arrays, problem: Problem) -> list[Panel]:
    return [_scatter_panel("training points and what they miss", a["x"], a["candidates"], "largest missed gradients", problem)]


def _wrong(a: Arrays, problem: Problem) -> list[Panel]:
    return [values_panel("error of the known solution", a["x"], np.abs(a["error"]), problem)]


def _free(a: Arrays, problem: Problem) -> list[Panel]:
    return [
        values_panel("how much the conditions leave undetermined, over its maximum", a["x"], a["deviation"], problem),
        values_panel("what can be added and changes no error", a["x"], a["free"], problem),
    ]


def _cosines(a: Arrays, problem: Problem) -> list[Panel]:
    names = _conditions(problem, len(a["cosines"]))
    return [matrix_panel("cosines between the gradients of conditions", a["cosines"], names)]


_KNOWN = {  # names of arrays that belong together, the more telling ones first
    ("step", "loss"): _history,
    ("eigenvalues", "share"): _modes,
    ("eigenvalues",): _rates,
    ("time", "error", "true_error", "residual", "diagonal"): _slices,
    ("time", "error", "residual", "diagonal"): _slices,
    ("mean", "std", "low", "high"): _inputs,
    ("saturated", "saturated_at_start", "dead"): _layer_units,
    ("noise", "error"): _rounding,
    ("x", "hole"): _hole,
    ("x", "candidates"): _candidates,
    ("x", "deviation", "free"): _free,
    ("x", "error"): _wrong,
    ("cosines",): _cosines,
}


def _default(name: str, values: np.ndarray, problem: Problem) -> list[Panel]:
    title = name.replace("_", " ").replace("/", " of ")
    if values.ndim == 2 and values.shape[0] == values.shape[1] > 1:
        return [matrix_panel(title, values, _conditions(problem, len(values)))]

    def draw(ax: Axes) -> None:
        ax.plot(np.arange(1, values.size + 1), values.ravel(), color=BLUE, lw=1.2, marker="." if values.size < 50 else "")
        ax.set(xlabel="index", ylabel=title)
        value_axis(ax, values, zero=True)

    return [Panel(title, f"{title}, {span(values)}", draw)]


def _conditions(problem: Problem, count: int) -> Sequence[str]:
    return problem.names if len(problem.names) == count else [str(k + 1) for k in range(count)]


# Pieces of these.


def _spectrum_panel(title: str, curves: Arrays, floor: float = 0.0) -> Panel:
    """Eigenvalues by label, descending, without those that are rounding in float64, or below a floor."""

    def draw(ax: Axes) -> None:
        for i, (label, values) in enumerate(curves.items()):
            index = np.arange(1, len(values) + 1)
            shown = np.where(values > max(floor, len(values) * np.finfo(float).eps * np.max(values)), values, np.nan)
            style = curve_style(i) if label else {"color": BLUE}
            ax.loglog(index, shown, marker=dots(values), ms=4, lw=1.3, label=label or None, **style)
        ax.set(xlabel="mode", ylabel="rate")
        legend(ax)

    largest = ", ".join(f"{label} {np.max(values):.3g}".strip() for label, values in curves.items())
    return Panel(title, f"{title}, in descending order; the largest: {largest}", draw)


def _share(rates: np.ndarray, share: np.ndarray) -> Panel:
    slower = np.cumsum(share[::-1])[::-1]  # rates descend: in modes at most that fast

    def draw(ax: Axes) -> None:
        known = rates > len(rates) * np.finfo(float).eps * rates.max()
        ax.semilogx(rates[known], slower[known], color=ORANGE, lw=1.5, drawstyle="steps-post")
        ax.set(xlabel="rate of a mode", ylabel="share of the loss", ylim=(0, 1.02))

    half = rates[max(int((slower >= 0.5).sum()) - 1, 0)]
    return Panel(
        "share of the loss in modes at most that fast",
        f"half of the loss is in modes with rates below {half:.3g}; the largest is {rates[0]:.3g}",
        draw,
    )


def _scatter_panel(title: str, rows: np.ndarray, marked: np.ndarray, meaning: str, problem: Problem) -> Panel:
    plane = drawn_plane(problem.domain)

    def draw(ax: Axes) -> None:
        for part, color, size, marker, label in ((rows, GRAY, 8, "o", "training points"), (marked, ORANGE, 50, "x", meaning)):
            x, y = (part[:, 0], np.zeros(len(part))) if plane is None else part[:, plane.axes].T
            ax.scatter(x, y, c=color, s=size, marker=marker, label=label)
        if plane is None:
            ax.set(xlabel=problem.label(problem.coordinates[0]), yticks=[])
        else:
            plane.frame(ax, problem.label)
        ax.legend(fontsize=8, loc="upper right")

    where = ", ".join(f"{value:.3g}" for value in marked[0])
    return Panel(title, f"{len(rows)} training points; {meaning}: ({where})", draw)


def matrix_panel(title: str, values: np.ndarray, names: Sequence[str]) -> Panel:
    """A matrix between conditions, entries from -1 to 1 in colors, of few conditions also in numbers."""

    def draw(ax: Axes) -> ScalarMappable | None:
        largest = max(1.0, float(np.nanmax(np.abs(values))))
        image = ax.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest)
        ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
        ax.set_yticks(range(len(names)), names)
        if len(names) > _NUMBERED:
            ax.tick_params(labelsize=8)
            return image
        for (i, j), value in np.ndenumerate(values):
            dark = abs(value) > _LIT * largest
            ax.text(j, i, f"{value:.2g}", ha="center", va="center", color="white" if dark else "black", fontsize=8)
        return None

    off = [f"{names[i]} and {names[j]} {values[i, j]:.2g}" for i in range(len(names)) for j in range(i)]
    return Panel(title, f"{title}: {', '.join(off)}", draw)


def _number_list(values: np.ndarray) -> str:
    return ", ".join(f"{value:.2g}" for value in values if np.isfinite(value))


# What any run shows.


def mode_panels(x: Examination) -> list[Panel]:
    """The rates of all modes above rounding under today's weights, and where among them the loss is."""
    values = x.spectrum.values.cpu().numpy()
    return [
        _spectrum_panel("rates of the modes", {"": values}, x.spectrum.floor),
        _share(values, x.spectrum.share(x.balance.errors).cpu().numpy()),
    ]


def condition_panels(x: Examination) -> list[Panel]:
    """How the conditions meet: cosines between their gradients, and how far training one moves the errors of others."""
    names, found = x.balance.names, x.balance
    if len(names) < 2:
        return []
    return [
        matrix_panel("cosines between gradients", found.conflict.numpy(), names),
        matrix_panel("coupling by the kernel", found.coupling.numpy(), names),
    ]
