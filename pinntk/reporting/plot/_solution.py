"""The network beside the known solution, as curves and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import nn

from pinntk.geometry._bounded import TIME
from pinntk.problem import Problem
from pinntk.problem._known import counted
from pinntk.reporting.plot._maps import Plane, Section, planes, sections_of
from pinntk.reporting.plot._panel import BLUE, GRAY, ORANGE, OwnAxes, Panel, draw_panels, figure_grid, legend, span
from pinntk.reporting.plot._sheet import Sheet, beside

_CURVE = 500  # points of a curve
_SIGN = 0.02  # of the largest size: values of the other sign that are smaller are rounding, or do not matter
_NEAR_ZERO = 0.25  # of the largest size: values of one sign that come nearer to zero are drawn from zero on
_SENSORS = 400  # measured points that are drawn, at most
_BESIDE = 2  # sheets of fields beside each other in a figure file


def solution(problem: Problem, network: nn.Module, ax: OwnAxes = None) -> Figure:
    """`solution_panels` in one figure: a row a field for maps, a column a field for curves.

    Maps of several times or cuts are those of `solution_sheets`.

    ax: axes of your own in place of a new figure, as `draw_panels` takes them: those of a field after one another
    """
    if ax is not None:
        return draw_panels([panel for row in solution_panels(problem, network) for panel in row], ax)
    drawn = planes(problem.domain)
    if len(drawn) > 1:
        figure, _ = beside(solution_sheets(problem, network), _BESIDE)
    elif drawn:
        layout = "compressed" if drawn[0].to_scale else "constrained"
        figure = figure_grid(solution_panels(problem, network), 4.0, drawn[0].height(2.9) + 0.7, layout=layout)
    else:
        figure = figure_grid(list(zip(*solution_panels(problem, network), strict=True)), 4.6, 2.6, sharex=True)
    figure.suptitle(_title(problem, network))
    return figure


def solution_panels(problem: Problem, network: nn.Module) -> list[list[Panel]]:
    """The network beside the exact or reference solution, and the error, for each field.

    Curves in 1D, maps in 2D; of space and time maps of space at five times, of three coordinates of space three cuts, all of a
    field in one scale. In higher dimensions curves along the diagonal of the box around the domain. Measured points are marked.
    """
    if drawn := planes(problem.domain):
        return [row for maps in field_maps(problem, network, drawn) for row in maps.rows]
    if problem.domain.dimension == 1:
        if problem.has_solution:
            grid = problem.solution_points
            truth = problem.at_home(grid, problem.solution.values.reshape(-1, len(problem.fields)))
        else:
            grid, truth = problem.domain.grid((_CURVE,)), None
        predicted = _predicted(problem, network, grid, truth)
        x, label, seen = grid[:, 0], problem.label(problem.coordinates[0]), sensors(problem)[:, 0]
    else:
        s = np.linspace(0, 1, _CURVE)[:, None]
        grid = problem.domain.low + s * (problem.domain.high - problem.domain.low)
        inside = problem.domain.contains(grid) | problem.domain.is_box
        known_there = problem.at_home(grid, problem.exact_array(grid)) if problem.exact is not None else None
        truth = None if known_there is None else np.where(inside[:, None], known_there, np.nan)
        predicted = np.where(inside[:, None], problem.at_home(grid, problem.predict(network, grid)), np.nan)
        x, label = s[:, 0], f"position along the diagonal of the {'domain' if problem.domain.is_box else 'box around it'}"
        seen = np.empty(0)
    known = _reference_label(problem)
    return [
        _curves(problem.label(name), x, label, predicted[:, i], None if truth is None else truth[:, i], known, seen)
        for i, name in enumerate(problem.fields)
    ]


def solution_sheets(problem: Problem, network: nn.Module) -> list[Sheet]:
    """Of a problem of several planes, times or cuts, the maps of each field as a table; none of other problems."""
    drawn = planes(problem.domain)
    return [maps.sheet for maps in field_maps(problem, network, drawn)] if len(drawn) > 1 else []


def sensors(problem: Problem) -> np.ndarray:
    """Where something was measured: the points (m, d) of data conditions that are given, evenly chosen if there are many."""
    given = [c.region.given for c in problem.conditions if c.kind == "data" and c.region.given is not None]
    rows = np.concatenate(
        [np.asarray(one)[:, : problem.domain.dimension] for one in given] or [np.empty((0, len(problem.coordinates)))]
    )
    return rows[:: -(-len(rows) // _SENSORS) or 1]


def _predicted(problem: Problem, network: nn.Module, points: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """The network's values (n, fields), of fields that are free by a constant with the known solution's."""
    predicted = problem.at_home(points, problem.predict(network, points))
    if truth is None or not problem.gauge:
        return predicted
    lives = problem.lives(points) if problem.where else None
    return truth + counted(problem.gauge, problem.fields, predicted - truth, points, lives)


def _reference_label(problem: Problem) -> str:
    return "exact" if problem.exact is not None else "reference"


def _title(problem: Problem, network: nn.Module) -> str:
    title = problem.name + (f" ({problem.settings()})" if problem.parameters else "")
    if not problem.has_solution:
        return title
    return f"{title}\nrelative L2 error {problem.relative_error(network):.2e}{problem.up_to}"


# Curves.


def _curves(
    name: str, x: np.ndarray, label: str, predicted: np.ndarray, truth: np.ndarray | None, known: str, seen: np.ndarray
) -> list[Panel]:
    def field(ax: Axes) -> None:
        if truth is not None:
            ax.plot(x, truth, color=GRAY, lw=4, label=known)
        ax.plot(x, predicted, color=BLUE, lw=1.5, label="network")
        if len(seen):
            ax.plot(seen, np.zeros(len(seen)), "|", color="black", ms=8, transform=ax.get_xaxis_transform(), label="measured")
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


# Maps.


@dataclass(frozen=True, eq=False)
class Quantity:
    """What maps show: its name, values (n,) for each section, and one style for all."""

    what: str
    values: Sequence[np.ndarray]
    style: Mapping[str, Any]
    scale: int


@dataclass(frozen=True, eq=False)
class FieldMaps:
    """Of one field: the known solution, the network and the error, or the network alone, in sections of the domain."""

    name: str
    problem: Problem
    sections: Sequence[Section]
    quantities: Sequence[Quantity]

    @property
    def rows(self) -> list[list[Panel]]:
        """A row for each section; of the network alone, one row."""
        table = [[self._map(quantity, i) for quantity in self.quantities] for i in range(len(self.sections))]
        return table if len(self.quantities) > 1 else [[panel for row in table for panel in row]]

    @property
    def sheet(self) -> Sheet:
        plane = self.sections[0].plane
        what = self.name if len(self.quantities) > 1 else self.quantities[0].what
        places = "times" if TIME in (plane.domain.coordinates[axis] for axis in plane.fixed) else "places"
        table = [[self._map(quantity, i) for quantity in self.quantities] for i in range(len(self.sections))]
        scales = [quantity.scale for quantity in self.quantities]
        return Sheet(f"{what} at {len(table)} {places}", table, scales, plane.height(1.0))

    def _map(self, quantity: Quantity, i: int) -> Panel:
        section, values = self.sections[i], quantity.values[i]
        at = section.plane.label
        title = f"{quantity.what}, {at}" if at else quantity.what
        seen = sensors(self.problem)
        near = seen[section.plane.near(seen)]

        def paint(ax: Axes) -> ScalarMappable:
            image = section.draw(ax, values, self.problem.label, **quantity.style)
            if len(near):
                x, y = near[:, section.plane.axes].T
                ax.plot(x, y, "o", ms=3.5, mfc="white", mec="black", mew=0.6)
            return image

        text = f"map of {title}, {span(values)}" + (f", and {len(near)} measured points" if len(near) else "")
        return Panel(title, text, paint, quantity.what, at)


def field_maps(problem: Problem, network: nn.Module, drawn: Sequence[Plane]) -> list[FieldMaps]:
    """Of every field, in planes of the domain: those, or the next ones in which the known solution has numbers."""
    known, sections = _reference_label(problem), _sections(problem, drawn)
    predicted = [_predicted(problem, network, section.points, truth) for section, truth in sections]
    found = []
    for i, name in enumerate(map(problem.label, problem.fields)):
        values = [one[:, i] for one in predicted]
        truth = [one[:, i] for _, one in sections if one is not None]
        style = field_style(truth or values)
        quantities = [Quantity(f"network {name}", values, _extended(style, values), 0)]
        if truth:
            off = [np.abs(one - other) for one, other in zip(values, truth, strict=True)]
            quantities = [
                Quantity(f"{known} {name}", truth, style, 0),
                *quantities,
                Quantity(f"|network - {known}|, {name}", off, sizes_style(off), 1),
            ]
        found.append(FieldMaps(name, problem, [section for section, _ in sections], quantities))
    return found


def _sections(problem: Problem, drawn: Sequence[Plane]) -> list[tuple[Section, np.ndarray | None]]:
    """What is drawn, each with the known solution at its points, (n, fields): of all planes, or of none."""
    if problem.exact is not None and not _on_grid(problem):
        return [(one, problem.at_home(one.points, problem.exact_array(one.points))) for one in sections_of(drawn)]
    found: dict[str, tuple[Section, np.ndarray | None]] = {}
    if problem.has_solution:
        points = problem.solution_points
        values = problem.at_home(points, problem.solution.values.reshape(-1, len(problem.fields)))
        for known in filter(None, (plane.known(problem.solution) for plane in drawn)):
            axes = problem.solution.axes if _on_grid(problem) else ()
            found[known[0].label] = Section(known[0], points[known[1]], axes), values[known[1]]
    return list(found.values()) or [(section, None) for section in sections_of(drawn)]


def _on_grid(problem: Problem) -> bool:
    """Whether the known solution has numbers on all of a grid in the plane, which are drawn as they are."""
    plane = problem.domain.dimension == 2 and problem.domain.is_box
    return plane and problem.has_solution and len(problem.solution.axes) == 2


def sizes_style(shown: Sequence[np.ndarray]) -> dict[str, Any]:
    """Colors of what is not negative and should be zero: from zero to the largest."""
    largest = _ends(shown)[1]
    return {"cmap": "magma_r", "vmin": 0.0, "vmax": largest if largest > 0 else 1.0}


def field_style(shown: Sequence[np.ndarray]) -> dict[str, Any]:
    """Colors of a field: of both signs with white at zero, of one sign from zero where it comes near to it."""
    low, high = _ends(shown)
    largest = max(-low, high)
    if min(-low, high) > _SIGN * largest:
        return {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    if 0 <= low < _NEAR_ZERO * high:
        low = 0.0
    elif 0 <= -high < -_NEAR_ZERO * low:
        high = 0.0
    return {"cmap": "viridis", "vmin": low, "vmax": high}


def _extended(style: Mapping[str, Any], shown: Sequence[np.ndarray]) -> dict[str, Any]:
    """The style, whose color bar points to values beyond it."""
    low, high = _ends(shown)
    beyond = {(True, True): "both", (True, False): "min", (False, True): "max"}
    cmap = matplotlib.colormaps[style["cmap"]].copy()
    cmap.colorbar_extend = beyond.get((low < style["vmin"], high > style["vmax"]), "neither")  # type: ignore[assignment]
    return {**style, "cmap": cmap}


def _ends(shown: Sequence[np.ndarray]) -> tuple[float, float]:
    """The least and the largest that is finite; NaN where none is."""
    values = np.concatenate([np.ravel(one) for one in shown])
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)
