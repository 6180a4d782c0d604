"""What a problem is posed on: points of every condition, and the parts of the boundary by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import cos, pi, sin

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pinntk.geometry import Domain
from pinntk.geometry._pieces import Piece
from pinntk.problem import Integral, Problem
from pinntk.reporting.plot._maps import Plane
from pinntk.reporting.plot._panel import GRAY, Panel, draw_panels, single_figure

_POINTS = {"residual": 400, "data": 400}  # of a condition; of the others:
_FACE_POINTS = 100
_BESIDE = 0.025  # of the extent: how far from a curve its name stands
_ROOM = 0.12  # of the extent: what a name takes
_ROUND = 16  # names of parts that are shown, at most
_TURN = pi / 6  # of the axes of three coordinates of space, drawn as seen from a corner


def picture(problem: Problem, ax: Axes | None = None) -> Figure:
    """Sobol points of every condition, and the boundary with the names of its parts: `picture_panel` as a figure.

    ax: axes of your own in place of a new figure
    """
    panel = picture_panel(problem)
    if ax is not None:
        return draw_panels([panel], ax)
    plane = _plane(problem.domain)
    flat = problem.domain.dimension == 1
    figure = single_figure(panel, 6.4, 1.6 if flat else 4.4 if plane is None else plane.height(3.4) + 1.0)
    figure.suptitle(problem.name + (f" ({problem.settings()})" if problem.parameters else ""))
    return figure


def picture_panel(problem: Problem) -> Panel:
    """The points of every condition over the coordinates of space, whenever they hold, and the names of parts of the boundary.

    In the plane as they are, also over time and one coordinate; three coordinates as seen from a corner; on a line one
    condition below the other; of more coordinates the first two.
    """
    points = {name: np.asarray(rows[:, : problem.domain.dimension]) for name, rows in _points(problem).items()}
    points = {name: rows for name, rows in points.items() if not isinstance(problem[name].region, Integral)}  # of no place
    plane = _plane(problem.domain)

    def draw(ax: Axes) -> None:
        for number, (name, rows) in enumerate(points.items()):
            kind = problem[name].kind
            color, size = (GRAY, 4) if kind == "residual" else (f"C{number % 10}", 10)
            x, y = _seen(problem.domain, plane, rows, number)
            ax.scatter(x, y, s=size, color=color, linewidths=0, zorder=2 if kind == "residual" else 4, label=f"{name} ({kind})")
        if plane is not None:
            plane.frame(ax, problem.label)
            _name_parts(ax, plane)
        elif len(problem.domain.space) == 3:
            _axes_from_a_corner(ax, problem.domain)
        else:
            ax.set(xlabel=problem.label(problem.coordinates[0]), yticks=[], ylim=(0.6 - len(points), 0.4))
            ax.spines[["left", "right", "top"]].set_visible(False)
        ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=9, markerscale=2)

    counted = ", ".join(f"{len(rows)} of {name}" for name, rows in points.items())
    return Panel("points and boundary", f"{problem.domain.describe()}; points: {counted}", draw)


def _points(problem: Problem) -> Mapping[str, torch.Tensor]:
    counts = {
        c.name: _POINTS.get(c.kind, _FACE_POINTS) if c.region.given is None else min(len(c.region.given), _POINTS["data"])
        for c in problem.conditions
    }
    return problem.sample(counts, method="sobol", dtype=torch.float64)


def _plane(domain: Domain) -> Plane | None:
    """The coordinates over which it is drawn; None on a line, and in three coordinates of space."""
    if domain.dimension == 1 or len(domain.space) == 3:
        return None
    first, second = domain.space[:2] if len(domain.space) > 1 else (0, 1)
    return Plane(domain, (first, second))


def _seen(domain: Domain, plane: Plane | None, rows: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Where points are drawn."""
    if plane is not None:
        return rows[:, plane.axes[0]], rows[:, plane.axes[1]]
    if len(domain.space) == 3:
        return _from_a_corner(rows[:, domain.space])
    return rows[:, 0], np.full(len(rows), -float(number))


def _from_a_corner(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) places in the plane, all three axes foreshortened alike."""
    x, y, z = places.T
    return (y - x) * cos(_TURN), z - (x + y) * sin(_TURN)


def _axes_from_a_corner(ax: Axes, domain: Domain) -> None:
    low, size = domain.low[[*domain.space]], (domain.high - domain.low)[[*domain.space]]
    for axis, name in enumerate(domain.coordinates[i] for i in domain.space):
        end = low.copy()
        end[axis] += size[axis]
        x, y = _from_a_corner(np.stack([low, end, low + 1.08 * (end - low)]))
        ax.plot(x[:2], y[:2], color=GRAY, lw=1.0, zorder=1)
        ax.text(x[2], y[2], name, ha="center", va="center", fontsize=9)
    ax.set_aspect("equal")
    ax.set_axis_off()


# Names of parts.


def part_names(domain: Domain) -> list[str]:
    """The names by which parts of the boundary can be asked for, those given by `named` first.

    >>> from pinntk.geometry import Box, Disk
    >>> part_names((Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole")).named(inlet="x=0"))
    ['inlet', 'x=0', 'x=1', 'y=0', 'y=1', 'hole']
    """
    shape = domain.shape
    if domain.is_box:
        space = {f"{domain.coordinates[axis]}=" for axis in domain.space}
        return [surface.name for surface in shape.surfaces if any(surface.name.startswith(start) for start in space)]
    names = list(dict.fromkeys([*shape.labels, *(surface.name for surface in shape.surfaces)]))
    return [name for name in names if domain.boundary(name).pieces]


def _name_parts(ax: Axes, plane: Plane) -> None:
    """Writes the name of each part of the boundary beside it, where that is in the drawn plane."""
    domain = plane.domain
    if not plane.outline():  # a box, whose faces the numbers of the frame say
        return
    renamed = {surface.name for chosen in domain.shape.labels.values() for surface, where in chosen if where is None}
    for name in [name for name in part_names(domain) if name not in renamed or name in domain.shape.labels][:_ROUND]:
        place, normal = _middle(domain.shape.boundary(name).pieces)
        normal = normal if _in_a_hole(plane, place + _ROOM * max(plane.size) * normal) else -normal
        x, y = place + _BESIDE * max(plane.size) * normal
        ha = "left" if normal[0] > 0.5 else "right" if normal[0] < -0.5 else "center"
        va = "bottom" if normal[1] > 0.5 else "top" if normal[1] < -0.5 else "center"
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        ax.text(x, y, name, ha=ha, va=va, fontsize=9, zorder=5, bbox=box)


def _in_a_hole(plane: Plane, place: np.ndarray) -> bool:
    """Whether a place lies outside of the domain, and in the box around it, where a name hides no points."""
    shape = plane.domain.shape
    return bool(((shape.low < place) & (place < shape.high)).all()) and not shape.contains(place[None])[0]


def _middle(pieces: Sequence[Piece]) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the longest smooth stretch of a part, and its outward normal, (2,) each."""
    longest = max(
        (
            ((end - start) * piece.surface.measure, (start + end) / 2, piece)
            for piece in pieces
            for stretch in (piece.stretches() if piece.arcs is not None else ())
            for start, end in pairwise(stretch)
        ),
        key=lambda stretch: stretch[0],
    )
    place = longest[2].surface.at(np.array([[longest[1]]]))
    return place[0], longest[2].outward * longest[2].surface.normals(torch.as_tensor(place)).numpy()[0]
