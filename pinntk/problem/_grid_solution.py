"""A solution as numbers on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pinntk.geometry import Domain


@dataclass(frozen=True, repr=False)
class GridSolution:
    """A numerical solution on a product grid: one increasing array a coordinate, and values [*counts] or [*counts, fields].

    Or at scattered points, such as the nodes of a mesh: one (n, d) array, and values [n] or [n, fields]. On a domain that is no
    box, points of a grid that lie outside are left out.
    """

    axes: tuple[np.ndarray, ...]
    values: np.ndarray

    def __repr__(self) -> str:
        return f"GridSolution(axes {[axis.shape for axis in self.axes]}, values {self.values.shape})"

    @property
    def points(self) -> np.ndarray:
        """All points (n, d), last coordinate fastest."""
        if self.axes[0].ndim == 2:
            return self.axes[0]
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), -1).reshape(-1, len(self.axes))

    def inside(self, domain: Domain) -> GridSolution:
        """Its points in the domain, scattered; those given so are all kept."""
        if self.axes[0].ndim == 2:
            return self
        points, fields = self.points, self.values.shape[len(self.axes) :]
        kept = domain.contains(points)
        return GridSolution((points[kept],), self.values.reshape(len(points), *fields)[kept])
