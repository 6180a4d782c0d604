"""Smooth pieces of the boundary of a shape, each the image of a cube under a map that keeps areas."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import gamma, pi

import numpy as np
import torch
from scipy.special import ellipe, ellipeinc, ndtri
from torch import Tensor

_NEWTON = 4  # steps to the angle of an arc's length; two are enough for radii of 1 to 50


class Surface(ABC):
    """A piece of a boundary.

    name: what it is asked for by
    measure: its length or area
    parameters: how many numbers in [0, 1] a point on it has
    breaks: on a curve, where in [0, 1] it is not smooth, with both ends
    """

    name: str
    measure: float
    parameters: int
    breaks: tuple[float, ...] = tuple(np.linspace(0, 1, 9))

    @abstractmethod
    def at(self, cube: np.ndarray) -> np.ndarray:
        """(n, parameters) numbers in [0, 1] as (n, d) points; uniform ones become uniform on the surface."""

    @abstractmethod
    def distance(self, points: Tensor) -> Tensor:
        """How far (n, d) points lie from the surface, (n,); near it to first order, farther away of the right size."""

    def distance_of(self, points: np.ndarray) -> np.ndarray:
        """`distance` of numpy arrays."""
        return self.distance(torch.as_tensor(points)).numpy()

    @abstractmethod
    def normals(self, points: Tensor) -> Tensor:
        """Unit normals (n, d) that point out of the shape, at the places of the surface next to (n, d) points."""


class Face(Surface):
    """A face of a box."""

    def __init__(self, name: str, low: np.ndarray, high: np.ndarray, axis: int, end: int):
        self.name, self._low, self._high, self._axis, self._end = name, low, high, axis, end
        self._free = [i for i in range(len(low)) if i != axis]
        self.parameters = len(self._free)
        self.measure = float(np.prod((high - low)[self._free]))
        self._value = (low, high)[end][axis]
        self.breaks = (0.0, 1.0)

    def at(self, cube: np.ndarray) -> np.ndarray:
        points = np.empty((len(cube), len(self._low)))
        points[:, self._free] = self._low[self._free] + (self._high - self._low)[self._free] * cube
        points[:, self._axis] = self._value
        return points

    def distance(self, points: Tensor) -> Tensor:
        low, high = torch.as_tensor(self._low).to(points), torch.as_tensor(self._high).to(points)
        gaps = (low - points).clamp(min=0) + (points - high).clamp(min=0)
        gaps[:, self._axis] = points[:, self._axis] - self._value
        return torch.linalg.vector_norm(gaps, dim=1)

    def normals(self, points: Tensor) -> Tensor:
        found = torch.zeros_like(points)
        found[:, self._axis] = 1.0 if self._end else -1.0
        return found


class Sphere(Surface):
    """A circle, a sphere, or one of more dimensions."""

    def __init__(self, name: str, center: np.ndarray, radius: float):
        self.name, self.center, self.radius = name, center, radius
        d = len(center)
        self.parameters = d - 1 if d <= 3 else d
        self.measure = 2 * pi ** (d / 2) / gamma(d / 2) * radius ** (d - 1)

    def directions(self, cube: np.ndarray) -> np.ndarray:
        """Uniform directions (n, d) of (n, parameters) numbers."""
        if len(self.center) == 2:
            angle = 2 * pi * cube[:, 0]
            return np.stack([np.cos(angle), np.sin(angle)], 1)
        if len(self.center) == 3:  # Archimedes: slices of equal height have equal areas
            height, angle = 1 - 2 * cube[:, 0], 2 * pi * cube[:, 1]
            ring = np.sqrt(np.maximum(1 - height**2, 0))
            return np.stack([ring * np.cos(angle), ring * np.sin(angle), height], 1)
        normal = ndtri(np.clip(cube, 1e-12, 1 - 1e-12))
        return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)

    def at(self, cube: np.ndarray) -> np.ndarray:
        return self.center + self.radius * self.directions(cube)

    def distance(self, points: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(points - torch.as_tensor(self.center).to(points), dim=1) - self.radius).abs()

    def normals(self, points: Tensor) -> Tensor:
        return torch.nn.functional.normalize(points - torch.as_tensor(self.center).to(points), dim=1, eps=0.0)


class EllipseCurve(Surface):
    """The curve of an ellipse, turned by an angle, by arc length."""

    parameters = 1

    def __init__(self, name: str, center: np.ndarray, radii: np.ndarray, turn: np.ndarray):
        self.name, self.center, self.radii, self.turn = name, center, radii, turn  # turn: a rotation (2, 2), columns its axes
        a, b = radii
        self._m = 1 - (b / a) ** 2  # scipy's parameter of elliptic integrals; negative where b > a
        self.measure = float(4 * a * ellipe(self._m))

    def _length(self, angle: np.ndarray) -> np.ndarray:
        """Arc length from the end of the second axis on: of (a sin, b cos)."""
        return self.radii[0] * ellipeinc(angle, self._m)

    def at(self, cube: np.ndarray) -> np.ndarray:
        target = cube[:, 0] * self.measure
        angles = np.linspace(0, 2 * pi, 1025)
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


class Polyline(Surface):
    """Straight edges one after the other, the shape to their left."""

    parameters = 1

    def __init__(self, name: str, vertices: np.ndarray):
        self.name, self.vertices = name, vertices  # (m + 1, 2)
        self._edges = np.diff(vertices, axis=0)
        lengths = np.linalg.norm(self._edges, axis=1)
        self._ends = np.concatenate([[0], np.cumsum(lengths)])
        self.measure = float(self._ends[-1])
        self.breaks = tuple(self._ends / self.measure)

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
        return torch.cat([self._gaps(part).amin(1) for part in points.split(self._chunk)])

    def normals(self, points: Tensor) -> Tensor:
        across = np.stack([self._edges[:, 1], -self._edges[:, 0]], 1)
        right = torch.as_tensor(across / np.linalg.norm(across, axis=1, keepdims=True)).to(points)
        return torch.cat([right[self._gaps(part).argmin(1)] for part in points.split(self._chunk)])

    @property
    def _chunk(self) -> int:
        return max(1, 2_000_000 // len(self._edges))


class Tube(Surface):
    """The side of a cylinder."""

    parameters = 2

    def __init__(self, name: str, center: np.ndarray, radius: float, axis: int, ends: tuple[float, float]):
        self.name, self._center, self._radius, self._axis, self._ends = name, center, radius, axis, ends
        self._across = [i for i in range(3) if i != axis]
        self.measure = 2 * pi * radius * (ends[1] - ends[0])

    def at(self, cube: np.ndarray) -> np.ndarray:
        points = np.empty((len(cube), 3))
        angle = 2 * pi * cube[:, 0]
        points[:, self._across] = self._center + self._radius * np.stack([np.cos(angle), np.sin(angle)], 1)
        points[:, self._axis] = self._ends[0] + (self._ends[1] - self._ends[0]) * cube[:, 1]
        return points

    def _ray(self, points: Tensor) -> Tensor:
        return points[:, self._across] - torch.as_tensor(self._center).to(points)

    def distance(self, points: Tensor) -> Tensor:
        out = torch.linalg.vector_norm(self._ray(points), dim=1) - self._radius
        low, high = self._ends
        along = (low - points[:, self._axis]).clamp(min=0) + (points[:, self._axis] - high).clamp(min=0)
        return torch.hypot(out, along)

    def normals(self, points: Tensor) -> Tensor:
        found = torch.zeros_like(points)
        found[:, self._across] = torch.nn.functional.normalize(self._ray(points), dim=1, eps=0.0)
        return found


class Cap(Surface):
    """An end of a cylinder."""

    parameters = 2

    def __init__(self, name: str, center: np.ndarray, radius: float, axis: int, value: float, outward: float):
        self.name, self._center, self._radius = name, center, radius
        self._axis, self._value, self._outward = axis, value, outward
        self._across = [i for i in range(3) if i != axis]
        self.measure = pi * radius**2

    def at(self, cube: np.ndarray) -> np.ndarray:
        points = np.empty((len(cube), 3))
        angle = 2 * pi * cube[:, 1]
        ring = self._radius * np.sqrt(cube[:, :1])
        points[:, self._across] = self._center + ring * np.stack([np.cos(angle), np.sin(angle)], 1)
        points[:, self._axis] = self._value
        return points

    def distance(self, points: Tensor) -> Tensor:
        ray = points[:, self._across] - torch.as_tensor(self._center).to(points)
        out = (torch.linalg.vector_norm(ray, dim=1) - self._radius).clamp(min=0)
        return torch.hypot(out, points[:, self._axis] - self._value)

    def normals(self, points: Tensor) -> Tensor:
        found = torch.zeros_like(points)
        found[:, self._axis] = self._outward
        return found
