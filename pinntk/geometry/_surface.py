"""Smooth pieces of the boundary of a shape, each the image of a cube under a map that keeps areas."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import gamma, pi

import numpy as np
import scipy
import torch
from torch import Tensor


class Surface(ABC):
    """A piece of a boundary.

    name: what it is asked for by
    measure: its length or area
    parameters: how many numbers in [0, 1] a point on it has
    breaks: on a curve, where in [0, 1] it is not smooth, with both ends
    flat: of the face of a box and the end of a cylinder, the axis and the value of the coordinate that does not vary
    segments: of a curve in the plane that is made of straight edges, (k, 2, 2): both ends of each
    oval: of a circle or an ellipse, its center (2,) and the (2, 2) matrix M of its points center + M (cos, sin)
    """

    name: str
    measure: float
    parameters: int
    breaks: tuple[float, ...] = tuple(np.linspace(0, 1, 9))
    flat: tuple[int, float] | None = None
    segments: np.ndarray | None = None
    oval: tuple[np.ndarray, np.ndarray] | None = None

    @abstractmethod
    def at(self, cube: np.ndarray) -> np.ndarray:
        """(n, parameters) numbers in [0, 1] as (n, d) points; uniform ones become uniform on the surface."""

    @abstractmethod
    def distance(self, points: Tensor) -> Tensor:
        """How far (n, d) points lie from the surface, (n,); near it to first order, farther away of the right size."""

    def distance_of(self, points: np.ndarray) -> np.ndarray:
        """`distance` of numpy arrays."""
        return self.distance(torch.as_tensor(points)).numpy()

    def normals_of(self, points: np.ndarray) -> np.ndarray:
        """`normals` of numpy arrays."""
        return self.normals(torch.as_tensor(points)).numpy()

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """The places (n, d) of the surface next to (n, d) points, to first order."""
        return self.at(self.place(points)[:, None])

    def place(self, points: np.ndarray) -> np.ndarray:
        """Of a curve in the plane: the numbers (n,) in [0, 1] of the places next to (n, 2) points, to first order."""
        raise NotImplementedError(f"{type(self).__name__} is no curve in the plane")

    def swept(self, start: float, end: float, origin: np.ndarray) -> float:
        """Of a curve in the plane: the integral of (x - origin) . n over it, from one of its numbers to another."""
        raise NotImplementedError(f"{type(self).__name__} is no curve in the plane")

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
        self.flat = (axis, float(self._value))
        self.breaks = (0.0, 1.0)
        if self.parameters == 1:
            self.segments = self.at(np.array([[0.0], [1.0]]))[None]

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

    def nearest(self, points: np.ndarray) -> np.ndarray:
        found = np.clip(points, self._low, self._high)
        found[:, self._axis] = self._value
        return found

    def place(self, points: np.ndarray) -> np.ndarray:
        (along,) = self._free
        return np.clip((points[:, along] - self._low[along]) / self.measure, 0, 1)

    def swept(self, start: float, end: float, origin: np.ndarray) -> float:
        height = float(self._value - origin[self._axis])
        return (height if self._end else -height) * self.measure * (end - start)


class Sphere(Surface):
    """A circle, a sphere, or one of more dimensions."""

    def __init__(self, name: str, center: np.ndarray, radius: float):
        self.name, self.center, self.radius = name, center, radius
        d = len(center)
        self.parameters = d - 1 if d <= 3 else d
        self.measure = 2 * pi ** (d / 2) / gamma(d / 2) * radius ** (d - 1)
        if d == 2:
            self.oval = (center, radius * np.eye(2))

    def directions(self, cube: np.ndarray) -> np.ndarray:
        """Uniform directions (n, d) of (n, parameters) numbers."""
        if len(self.center) == 2:
            angle = 2 * pi * cube[:, 0]
            return np.stack([np.cos(angle), np.sin(angle)], 1)
        if len(self.center) == 3:  # Archimedes: slices of equal height have equal areas
            height, angle = 1 - 2 * cube[:, 0], 2 * pi * cube[:, 1]
            ring = np.sqrt(np.maximum(1 - height**2, 0))
            return np.stack([ring * np.cos(angle), ring * np.sin(angle), height], 1)
        normal = scipy.special.ndtri(np.clip(cube, 1e-12, 1 - 1e-12))
        return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)

    def at(self, cube: np.ndarray) -> np.ndarray:
        return self.center + self.radius * self.directions(cube)

    def distance(self, points: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(points - torch.as_tensor(self.center).to(points), dim=1) - self.radius).abs()

    def normals(self, points: Tensor) -> Tensor:
        return torch.nn.functional.normalize(points - torch.as_tensor(self.center).to(points), dim=1, eps=0.0)

    def nearest(self, points: np.ndarray) -> np.ndarray:
        return self.center + self.radius * toward(points - self.center)

    def place(self, points: np.ndarray) -> np.ndarray:
        away = points - self.center
        return np.arctan2(away[:, 1], away[:, 0]) / (2 * pi) % 1

    def swept(self, start: float, end: float, origin: np.ndarray) -> float:
        (x, y), (x_end, y_end) = self.at(np.array([[start], [end]]))
        from_center = 2 * pi * self.radius**2 * (end - start)
        return float(from_center + (self.center - origin) @ [y_end - y, x - x_end])


class Tube(Surface):
    """The side of a cylinder."""

    parameters = 2

    def __init__(self, name: str, center: np.ndarray, radius: float, axis: int, ends: tuple[float, float]):
        self.name, self.center, self.radius, self._axis, self._ends = name, center, radius, axis, ends
        self.across = [i for i in range(3) if i != axis]
        self.measure = 2 * pi * radius * (ends[1] - ends[0])

    def at(self, cube: np.ndarray) -> np.ndarray:
        points = np.empty((len(cube), 3))
        angle = 2 * pi * cube[:, 0]
        points[:, self.across] = self.center + self.radius * np.stack([np.cos(angle), np.sin(angle)], 1)
        points[:, self._axis] = self._ends[0] + (self._ends[1] - self._ends[0]) * cube[:, 1]
        return points

    def _ray(self, points: Tensor) -> Tensor:
        return points[:, self.across] - torch.as_tensor(self.center).to(points)

    def distance(self, points: Tensor) -> Tensor:
        out = torch.linalg.vector_norm(self._ray(points), dim=1) - self.radius
        low, high = self._ends
        along = (low - points[:, self._axis]).clamp(min=0) + (points[:, self._axis] - high).clamp(min=0)
        return torch.hypot(out, along)

    def normals(self, points: Tensor) -> Tensor:
        found = torch.zeros_like(points)
        found[:, self.across] = torch.nn.functional.normalize(self._ray(points), dim=1, eps=0.0)
        return found

    def nearest(self, points: np.ndarray) -> np.ndarray:
        found = np.clip(points, *self._ends)
        found[:, self.across] = self.center + self.radius * toward(points[:, self.across] - self.center)
        return found


class Cap(Surface):
    """An end of a cylinder."""

    parameters = 2

    def __init__(self, name: str, center: np.ndarray, radius: float, axis: int, value: float, outward: float):
        self.name, self._center, self._radius = name, center, radius
        self._axis, self._value, self._outward = axis, value, outward
        self.flat = (axis, value)
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

    def nearest(self, points: np.ndarray) -> np.ndarray:
        found = points.copy()
        ray = points[:, self._across] - self._center
        inside = (ray**2).sum(1, keepdims=True) <= self._radius**2
        found[:, self._across] = self._center + np.where(inside, ray, self._radius * toward(ray))
        found[:, self._axis] = self._value
        return found


def toward(rays: np.ndarray) -> np.ndarray:
    """Unit vectors (n, d) along rays; of a ray without length, the first axis."""
    lengths = np.linalg.norm(rays, axis=1, keepdims=True)
    return np.where(lengths > 0, rays / np.where(lengths > 0, lengths, 1), np.eye(1, rays.shape[1]))
