"""Losses as the log has them: of conditions that are met by construction, and of points that have weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from pinntk.problem import Problem
from pinntk.training._losses import losses, over_all
from pinntk.training._point_weights import PointWeights
from pinntk.training._points import TrainingPoints


class LoggedLosses:
    """What a row of the log has beside the losses that are minimized, at the parameters as they are.

    met: conditions that the network meets by construction
    """

    def __init__(self, network: nn.Module, problem: Problem, met: Collection[str], point_weights: PointWeights | None):
        self._network, self._problem, self._met, self._point_weights = network, problem, met, point_weights

    def met(self, points: TrainingPoints) -> dict[str, Tensor]:
        """Of conditions that are met by construction: rounding."""
        counts = {name: n for name, n in points.counts.items() if name in self._met}
        if not counts:
            return {}
        share = {name: rows for name, rows in points.share.items() if name in self._met}
        with torch.no_grad():
            found = losses(self._network, self._problem, share, counts) if share else {}
        return over_all(found, counts, next(iter(points.all.values())))

    def plain(self, points: TrainingPoints) -> dict[str, Tensor]:
        """mean(e_i^2) of the conditions whose points have weights, without these."""
        computed = {} if self._point_weights is None else self._point_weights.plain_losses
        return {**computed, **points.without_places([name for name in points.placed if name not in computed])}

    def weighed(self, points: TrainingPoints, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """Columns of losses with weights that only follow from places, by which rows compare with each other."""
        placed = points.placed if self._point_weights is None else ()
        return {f"weighed_loss/{name}": float(losses[name]) for name in placed if name in losses}
