"""Curves in the plane: ellipses and polygons' edges."""

from __future__ import annotations

from functools import cached_property
from math import pi

import numpy as np
import scipy
import shapely
import torch
from torch import Tensor

from pinntk.geometry._surface import Surface

_MANY = 100  # edges of a polygon, above which those next to points are found by a tree, where that is on the same device
_NEWTON = 6  # steps to the angle of an arc's length; two are enough for radii of 1 to 50


class EllipseCurve(Surface):
    """The curve of an ellipse, turned by an angle, by arc length."""

    parameters = 1

    def __init__(self, name: str, center: np.ndarray, radii: np.ndarray, turn: np.ndarray):
        self.name, self.center, self.radii, self.turn = name, center, radii, turn  # turn: a rotation (2, 2), columns its axes
        a, b = radii
        self._m = 1 - (b / a) ** 2  # scipy's parameter of elliptic integrals; negative where b > a
        self.measure = float(4 * a * scipy.special.ellipe(self._m))
        self.oval = (center, turn * radii)
        ends = _graded_quarter(float(min(a, b) / max(a, b)))  # narrower towards the tips, at 0 and pi where a < b
        quarter = ends if a < b else pi / 2 - ends[::-1]
        half = np.concatenate([quarter, pi - quarter[-2::-1]])
        self._angles = np.concatenate([half, pi + half[1:]])
        self.breaks = (0.0, *(self._length(self._angles[1:-1]) / self.measure).tolist(), 1.0)

    def _length(self, angle: np.ndarray) -> np.ndarray:
        """Arc length from the end of the second axis on: of (a sin, b cos)."""
        return self.radii[0] * scipy.special.ellipeinc(angle, self._m)

    def at(self, cube: np.ndarray) -> np.ndarray:
        target = cube[:, 0] * self.measure
        fine = np.linspace(0, len(self._angles) - 1, 128 * (len(self._angles) - 1) + 1)
        angles = np.interp(fine, np.arange(len(self._angles)), self._angles)
        angle = np.interp(target, self._length(angles), angles)
        for _ in range(_NEWTON):
            angle = angle - (self._length(angle) - target) / (self.radii[0] * np.sqrt(1 - self._m * np.sin(angle) ** 2))
        return self.center + (np.stack([np.sin(angle), np.cos(angle)], 1) * self.radii) @ self.turn.T

    def _level(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """|scaled point|, which is 1 on the curve, and its gradient."""
        turn, radii = torch.as_tensor(self.turn).to(points), torch.as_tensor(self.radii).to(points)
        scaled = (points - torch.as_tensor(self.center).to(points)) @ turn / radii
        level = torch.linalg.vector_norm(scaled, dim=1)
        return level, (scaled / level.clamp(min=1e-30)[:, None] / radii) @ turn.T

    def distance(self, points: Tensor) -> Tensor:
        level, slope = self._level(points)
        return (level - 1).abs() / torch.linalg.vector_norm(slope, dim=1).clamp(min=1e-30)

    def normals(self, points: Tensor) -> Tensor:
        return torch.nn.functional.normalize(self._level(points)[1], dim=1, eps=0.0)

    def _angle(self, points: np.ndarray) -> np.ndarray:
        across, along = ((points - self.center) @ self.turn / self.radii).T
        return np.arctan2(across, along) % (2 * pi)

    def place(self, points: np.ndarray) -> np.ndarray:
        return np.clip(self._length(self._angle(points)) / self.measure, 0, 1)

    def nearest(self, points: np.ndarray) -> np.ndarray:
        level, slope = (part.numpy() for part in self._level(torch.as_tensor(points)))
        stepped = points - ((level - 1) / np.maximum((slope**2).sum(1), 1e-300))[:, None] * slope
        return super().nearest(stepped)

    def swept(self, start: float, end: float, origin: np.ndarray) -> float:
        cube = np.array([[start], [end]])
        (x, y), (x_end, y_end) = places = self.at(cube)
        angles = self._angle(places)
        turned = (angles[1] - angles[0]) % (2 * pi)
        turned = 2 * pi if end - start > 0.999 and turned < pi else turned
        return float(self.radii.prod() * turned + (self.center - origin) @ [y - y_end, x_end - x])


class Polyline(Surface):
    """Straight edges one after the other, the shape to their left."""

    parameters = 1

    def __init__(self, name: str, vertices: np.ndarray):
        self.name, self.vertices = name, vertices  # (m + 1, 2)
        self._edges = np.diff(vertices, axis=0)
        lengths = np.linalg.norm(self._edges, axis=1)
        self._ends = np.concatenate([[0], np.cumsum(lengths)])
        self.measure = float(self._ends[-1])
        self.breaks = tuple((self._ends / self.measure).tolist())
        across = np.stack([self._edges[:, 1], -self._edges[:, 0]], 1)
        self._right = across / np.linalg.norm(across, axis=1, keepdims=True)
        self.segments = np.stack([vertices[:-1], vertices[1:]], 1)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(shapely.linestrings(self.segments))

    def _next(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The edges next to points, and how far along them, from 0 to 1."""
        edge = np.empty(len(points), int)
        found = self._tree.query_nearest(shapely.points(points), all_matches=False)
        edge[found[0]] = found[1]
        away, along = points - self.vertices[edge], self._edges[edge]
        return edge, np.clip((away * along).sum(1) / (along**2).sum(1), 0, 1)

    def distance_of(self, points: np.ndarray) -> np.ndarray:
        edge, share = self._next(points)
        return np.linalg.norm(points - self.vertices[edge] - share[:, None] * self._edges[edge], axis=1)

    def normals_of(self, points: np.ndarray) -> np.ndarray:
        return self._right[self._next(points)[0]]

    def place(self, points: np.ndarray) -> np.ndarray:
        edge, share = self._next(points)
        return (self._ends[edge] + share * (self._ends[edge + 1] - self._ends[edge])) / self.measure

    def swept(self, start: float, end: float, origin: np.ndarray) -> float:
        inner = [b for b in self.breaks if start < b < end]
        (x, y) = (self.at(np.array([[start], *([b] for b in inner), [end]])) - origin).T
        return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())

    def at(self, cube: np.ndarray) -> np.ndarray:
        place = cube[:, 0] * self.measure
        edge = np.clip(np.searchsorted(self._ends, place, side="right") - 1, 0, len(self._edges) - 1)
        share = (place - self._ends[edge]) / (self._ends[edge + 1] - self._ends[edge])
        start, end = self.vertices[edge], self.vertices[edge + 1]
        share = share[:, None]  # from the nearer end, so that corners are hit
        return np.where(share < 0.5, start + share * (end - start), end - (1 - share) * (end - start))

    def _gaps(self, points: Tensor) -> Tensor:
        """Distance (n, m) of points from every edge."""
        start, edge = (torch.as_tensor(part).to(points) for part in (self.vertices[:-1], self._edges))
        away = points[:, None] - start
        along = ((away * edge).sum(2) / (edge**2).sum(1)).clamp(0, 1)
        return torch.linalg.vector_norm(away - along[:, :, None] * edge, dim=2)

    def distance(self, points: Tensor) -> Tensor:
        if self._by_tree(points):
            return torch.as_tensor(self.distance_of(points.double().numpy())).to(points)
        return torch.cat([self._gaps(part).amin(1) for part in points.split(self._chunk)])

    def normals(self, points: Tensor) -> Tensor:
        if self._by_tree(points):
            return torch.as_tensor(self.normals_of(points.double().numpy())).to(points)
        right = torch.as_tensor(self._right).to(points)
        return torch.cat([right[self._gaps(part).argmin(1)] for part in points.split(self._chunk)])

    def _by_tree(self, points: Tensor) -> bool:
        return len(self._edges) > _MANY and points.device.type == "cpu" and not points.requires_grad

    @property
    def _chunk(self) -> int:
        return max(1, 2_000_000 // len(self._edges))


def _graded_quarter(narrow: float) -> np.ndarray:
    """Angles from 0 to pi / 2, each twice the one before, from the ratio of the radii on."""
    ends = [0.0, *(narrow * 2.0**k for k in range(64) if narrow * 2.0**k < pi / 3), pi / 2]
    return np.array(ends)
