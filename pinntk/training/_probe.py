"""What is measured while a training goes on: kernel traces, gradient norms, the error, the drift of the parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk.diagnostics._sampling import at_most
from pinntk.ntk import KernelBlocks, kernel
from pinntk.ntk._rounding import without_vanishing
from pinntk.ntk._sharded import sharded_traces
from pinntk.problem import Points, Problem
from pinntk.residuals._points import to_network
from pinntk.run._network import drift
from pinntk.training._batch import Batch
from pinntk.training._config import TrainConfig
from pinntk.training._losses import gradient_norms
from pinntk.training._point_weights import PointWeights
from pinntk.training._points import TrainingPoints, product

_SNAPSHOT_POINTS = 100  # per condition in the kernel snapshots, at most


class Probe:
    """Measures a network in training, and changes neither it, nor its points, nor its weights.

    initial: the network's parameters before the first step, from which it drifts
    """

    def __init__(
        self,
        config: TrainConfig,
        network: nn.Module,
        problem: Problem,
        parameters: list[Tensor],
        points: TrainingPoints,
        point_weights: PointWeights | None,
    ):
        self.network, self.problem, self.parameters = network, problem, parameters
        self.points, self.point_weights = points, point_weights
        self.initial = [p.detach().clone() for p in network.parameters()]
        self._snapshot_points = _few_points(config, problem)
        own = config.weighting.points
        self._kernel_points = None if own is None else _draw(config, problem, own)

    @property
    def kernel_points(self) -> Points:
        """On which traces are taken: a scheme's own, or the training points."""
        return self.points.all if self._kernel_points is None else self._kernel_points

    def for_weights(self, measures: str, batch: Batch) -> dict[str, float]:
        """What loss weights are made from, of the loss that is minimized: "traces" or "gradient norms"."""
        if measures == "traces":
            found = self.traces(batch)
            return without_vanishing(self.network, self.problem, to_network(self.network, self.kernel_points), found)
        return gradient_norms(self.network, self.problem, self.parameters, batch)

    def traces(self, batch: Batch | None = None) -> dict[str, float]:
        """Tr K_ii; with a batch sum_p g_p K_pp, of the loss that is minimized."""
        points = to_network(self.network, self.kernel_points)
        return sharded_traces(self.network, self.problem, points, None if batch is None else self._weights_at(points, batch))

    def _weights_at(self, points: Points, batch: Batch) -> Points | None:
        if self._kernel_points is None and self.point_weights is None:
            return batch.point_weights
        share = distributed.own_rows(points)
        found = {} if self.point_weights is None else self.point_weights.at(points, share)
        return product(found, self.points.weights_at(share))

    def columns(self) -> dict[str, float]:
        """For the log: relative error, traces, coefficients and the drift norm(theta - theta_0) / norm(theta_0)."""
        row = {f"trace/{name}": value for name, value in self.traces().items()}
        row |= {f"coefficient/{name}": value.item() for name, value in self.problem.coefficients.items()}
        if self.problem.has_solution:
            row["relative_error"] = self.problem.relative_error(self.network)
        row["drift"] = drift(self.network, self.initial)
        return row

    def snapshot(self) -> KernelBlocks:
        """The kernel on a few points."""
        return kernel(self.network, self.problem, self._snapshot_points)


def _few_points(config: TrainConfig, problem: Problem) -> dict[str, Tensor]:
    counts = problem.default_counts() if config.fixed_points else problem.counts(**config.counts(problem))
    given = {c.name: len(c.region.given) for c in problem.conditions if c.region.given is not None}
    most = at_most(_SNAPSHOT_POINTS, len(counts))
    few = {name: min(given[name] if n is None else n, most) for name, n in counts.items()}
    return _draw(config, problem, few)


def _draw(config: TrainConfig, problem: Problem, counts: Mapping[str, int]) -> dict[str, Tensor]:
    return problem.sample(counts, seed=config.seed, method=config.sampling, dtype=torch.float64)
