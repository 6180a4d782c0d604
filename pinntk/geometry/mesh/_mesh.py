"""The solid within a triangulated surface, and its boundary."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import numpy as np
import shapely
import torch
import trimesh
from torch import Tensor

from pinntk.geometry._domain import Domain, Member
from pinntk.geometry._surface import Surface

# Turned, so that no edge of a surface that has axes lies over another, or over points of a grid.
_FRAME = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]


class Mesh(Domain):
    """The solid within a closed surface of triangles.

    surface: the path of an STL, PLY or OBJ file, or a `trimesh.Trimesh`
    coordinates: names of the three
    name: of its boundary

    Whether points lie in it takes some microseconds each, for 10^5 triangles too. Normals and distances take trimesh about 30
    of them, on the CPU, which a condition on the boundary of a mesh costs at every evaluation.

    Raises FileNotFoundError for a file that is not there, and ValueError for a surface that is open or crosses itself so that
    it has no inside.

    >>> import trimesh
    >>> from pinntk.geometry.mesh import Mesh
    >>> block = Mesh(trimesh.creation.box((2, 1, 1)), name="skin")
    >>> block.measure, block.boundary("skin").measure, block.bounds[0]
    (2.0, 10.0, (-1.0, 1.0))
    """

    def __init__(self, surface: Any, *, coordinates: tuple[str, str, str] = ("x", "y", "z"), name: str = "surface"):
        self.mesh = _closed(surface)
        if len(coordinates) != 3 or len(set(coordinates)) != 3:
            raise ValueError(f"Mesh(coordinates={coordinates!r}): names of three coordinates, such as ('x', 'y', 'z')")
        self.coordinates, self.name = tuple(coordinates), name
        low, high = self.mesh.bounds
        self.bounds = tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))

    @property
    def members(self) -> tuple[Domain, ...]:
        return (self,)

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        return (Triangles(self.name, self.mesh),)

    def holds(self, inside: Member) -> np.ndarray:
        return inside(self)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """By how often the surface winds around them: the triangles above, in a turned frame, with the sign of their sides."""
        turned, rows = self._turned, points @ _FRAME
        point, triangle = self._tree.query(shapely.points(rows[:, :2]), predicate="intersects")
        a, b, c = (turned[triangle, i] - rows[point] for i in range(3))  # the heights of the corners over the point in column 2
        sides = np.stack([_twice(b, c), _twice(c, a), _twice(a, b)])
        total = sides.sum(0)
        heights = (sides * np.stack([a[:, 2], b[:, 2], c[:, 2]])).sum(0) * np.sign(total)
        return np.bincount(point, np.sign(total) * (heights > 0), minlength=len(points)) > 0.5

    @cached_property
    def _turned(self) -> np.ndarray:
        return np.asarray(self.mesh.triangles) @ _FRAME

    @cached_property
    def _tree(self) -> shapely.STRtree:
        """The triangles as seen from above."""
        return shapely.STRtree(shapely.polygons(self._turned[:, :, :2]))

    @cached_property
    def measure(self) -> float:
        return float(self.mesh.volume)

    def describe(self) -> str:
        return f"the solid of {len(self.mesh.faces)} triangles in {super().describe()}"


class Triangles(Surface):
    """A surface of triangles."""

    parameters = 2

    def __init__(self, name: str, mesh: Any):
        self.name, self._mesh = name, mesh
        self._corners = np.asarray(mesh.triangles)
        self._ends = np.cumsum(mesh.area_faces)
        self.measure = float(self._ends[-1])

    def at(self, cube: np.ndarray) -> np.ndarray:
        """The first number chooses the triangle, and what is left of it the place along an edge."""
        place = cube[:, 0] * self.measure
        chosen = np.minimum(np.searchsorted(self._ends, place, side="right"), len(self._ends) - 1)
        along = np.clip(1 - (self._ends[chosen] - place) / self._mesh.area_faces[chosen], 0, 1)
        a, b, c = self._corners[chosen].transpose(1, 0, 2)
        root, across = np.sqrt(along)[:, None], cube[:, 1:]
        return a + root * (b - a) + root * across * (c - b)

    def _nearest(self, points: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Distances from the surface, and the triangles that are nearest."""
        rows = points.detach().double().cpu().numpy()
        _, distances, triangles = trimesh.proximity.closest_point(self._mesh, rows)
        return distances, triangles

    def nearest(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(trimesh.proximity.closest_point(self._mesh, points)[0]) if len(points) else points

    def distance(self, points: Tensor) -> Tensor:
        return torch.as_tensor(self._nearest(points)[0]).to(points)

    def normals(self, points: Tensor) -> Tensor:
        return torch.as_tensor(np.asarray(self._mesh.face_normals)[self._nearest(points)[1]]).to(points)


def _closed(surface: Any) -> Any:
    if not isinstance(surface, trimesh.Trimesh):
        if not os.path.isfile(surface):
            raise FileNotFoundError(f"{surface}: no such file; give the path of an STL, PLY or OBJ file")
        surface = trimesh.load_mesh(surface)
    edges, counts = np.unique(surface.edges_sorted, axis=0, return_counts=True)
    open_edges = int((counts == 1).sum())
    if open_edges or not surface.is_watertight:
        raise ValueError(
            f"Mesh: the surface is open: {open_edges} of {len(edges)} edges belong to one triangle only; close it, for "
            "example with trimesh.repair.fill_holes, or merge_vertices() where corners are there twice"
        )
    if not surface.is_winding_consistent or surface.volume == 0:
        raise ValueError("Mesh: its triangles face both ways, so that it has no inside; try trimesh.repair.fix_normals")
    if surface.volume < 0:
        surface = surface.copy()
        surface.invert()
    return surface


def _twice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Twice the area of the triangles (0, a, b), seen from above."""
    found: np.ndarray = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return found
