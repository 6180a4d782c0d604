"""What one training step is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pinntk.problem import Points


@dataclass(frozen=True, eq=False)
class Batch:
    """Points, and how much they count: the loss is sum_i lambda_i / n_i sum_p g_ip e_ip^2.

    points: {condition: (n, d)} in the network's dtype, of this process; conditions with one region share one tensor
    counts: {condition: n_i} over all processes, by which sums of squares are divided
    weights: {condition: lambda_i}
    point_weights: {condition: g (n,)} beside `points`; 1 for conditions left out, None for 1 everywhere
    """

    points: Points
    counts: Mapping[str, int]
    weights: Mapping[str, float]
    point_weights: Points | None = None

    @property
    def like(self) -> Tensor:
        """A tensor of the points' dtype and device."""
        return next(iter(self.points.values()))
