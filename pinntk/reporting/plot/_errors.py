"""Where errors are: values at points over the domain, residuals, and the estimated error of the solution."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from pinntk.diagnostics import Examination
from pinntk.geometry import Domain
from pinntk.geometry._sampling import generator
from pinntk.problem import Problem, Region
from pinntk.reporting.plot._maps import Plane, Section, planes, sections_of
from pinntk.reporting.plot._panel import ORANGE, Panel, span
from pinntk.reporting.plot._sheet import Sheet
from pinntk.reporting.plot._solution import FieldMaps, Quantity, field_style, sizes_style
from pinntk.residuals import errors
from pinntk.residuals._points import to_network

_DENSE = 3000  # points of a map of errors, in 2D
_SMALL = 41  # places of a map of errors along each coordinate, of one of several
_SPARSE = 600  # points where it cannot be a map
_MAP = 1000  # points from which values are drawn between them, too


def drawn_plane(domain: Domain) -> Plane | None:
    """The two coordinates that points are drawn over, whatever the others are: those of space; None on a line."""
    if domain.dimension == 1:
        return None
    axes = domain.space[:2] if len(domain.space) > 1 else (0, 1)
    return Plane(domain, (axes[0], axes[1]))


def values_panel(title: str, rows: np.ndarray, values: np.ndarray, problem: Problem) -> Panel:
    """Values at scattered points: a curve in 1D, a map in 2D where there are many, else colors over two coordinates."""
    plane = drawn_plane(problem.domain)
    style = field_style([values]) if (values < 0).any() else sizes_style([values])

    def draw(ax: Axes) -> ScalarMappable | None:
        if plane is None:
            order = rows[:, 0].argsort()
            ax.plot(rows[order, 0], values[order], color=ORANGE, lw=1.2, marker="o" if len(rows) < 5 else "")
            ax.set(xlabel=problem.label(problem.coordinates[0]), ylabel="value")
            return None
        if problem.domain.dimension == 2 and len(rows) >= _MAP:
            return Section(plane, rows).draw(ax, values, problem.label, **style)
        order = np.abs(values).argsort()  # the largest above the others
        x, y = rows[order][:, plane.axes].T
        image = ax.scatter(x, y, c=values[order], s=14, linewidths=0, **style)
        plane.frame(ax, problem.label)
        return image

    return Panel(title, f"{title}, {span(values)}", draw)


def estimate_panels(x: Examination) -> list[Panel]:
    """Where a solution that nobody knows is wrong: the estimated error of each field over the domain.

    Raises as `pinntk.diagnostics.estimate` does.
    """
    rows, change = x.estimate.where.cpu().numpy(), x.estimate.change.cpu().numpy()
    return [
        values_panel(f"|estimated error| of {name}", rows, np.abs(change[:, i]), x.problem)
        for i, name in enumerate(x.problem.fields)
    ]


def _sections(region: Region) -> list[Section] | np.ndarray:
    """Sections of a domain to draw it by; of others points: middles of equal cells on a line; else at random."""
    if isinstance(region, Domain) and region.dimension == 1:
        (low, high), steps = region.bounds[0], (np.arange(_DENSE) + 0.5) / _DENSE
        return (low + (high - low) * steps)[:, None]
    if isinstance(region, Domain) and (drawn := planes(region)):
        return sections_of(drawn, ends=False, count=round(_DENSE**0.5) if len(drawn) == 1 else _SMALL)
    return region.sample(_SPARSE, "sobol", generator(0, "report", region.describe()))


def residual_panels(x: Examination) -> list[Panel | Sheet]:
    """|e| of every residual over the domain, on fresh points: of space and time at five times, of space in three cuts."""
    sections = {
        condition.name: _sections(condition.region)
        for condition in x.problem.conditions
        if condition.kind == "residual" and condition.name in x.points and condition.region.given is None
    }
    if not sections:
        return []
    rows = {
        name: torch.as_tensor(own if isinstance(own, np.ndarray) else np.concatenate([section.points for section in own]))
        for name, own in sections.items()
    }
    with torch.no_grad():
        found = errors(x.network, x.problem, to_network(x.network, rows))
    panels: list[Panel | Sheet] = []
    for name, e in found.items():
        own, sizes, title = sections[name], e.double().abs().cpu().numpy(), f"|residual| of {name}"
        if isinstance(own, np.ndarray):
            panels.append(values_panel(title, own, sizes, x.problem))
            continue
        ends = np.cumsum([len(section.points) for section in own])
        values = np.split(sizes, ends[:-1])
        maps = FieldMaps(name, x.problem, own, [Quantity(title, values, sizes_style(values), 0)])
        panels.append(maps.sheet if len(own) > 1 else maps.rows[0][0])
    return panels
