"""An exponential moving average of the parameters of a training in progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pinntk.problem import Points, Problem
from pinntk.training._error_values import ErrorValues


class Averages:
    """a <- d a + (1 - d) theta after each step, of the network and of the problem's coefficients; a = theta after the first.

    decay: d
    network: a copy with the averages, in the dtype of the parameters
    """

    def __init__(self, decay: float, network: nn.Module, problem: Problem):
        self._source, self._problem = network, problem
        self._own = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self._coefficients = {name: value.detach().clone() for name, value in problem.coefficients.items()}
        self._decay = decay
        self.network: nn.Module = self._own.module

    def update(self) -> None:
        """Once after each step."""
        first = not int(self._own.n_averaged)
        self._own.update_parameters(self._source)
        for name, value in self._problem.coefficients.items():
            self._coefficients[name].lerp_(value.detach(), 1.0 if first else 1.0 - self._decay)

    def columns(self, points: Points, weights: Mapping[str, float], places: Points) -> dict[str, float]:
        """For the log: the weighted loss on these points, the relative error and the coefficients.

        places: g (n,) of some conditions, which follow from where points are; others do not count here
        """
        with self._averaged_coefficients():
            found = ErrorValues(self.network, self._problem).everywhere(points)
            squares = {name: places.get(name, 1) * e.square() for name, e in found.items()}
            row = {"averaged/loss": sum(weights[name] * float(square.mean()) for name, square in squares.items())}
            if self._problem.has_solution:
                row["averaged/relative_error"] = self._problem.relative_error(self.network)
        return row | {f"averaged/coefficient/{name}": float(value) for name, value in self._coefficients.items()}

    @contextmanager
    def _averaged_coefficients(self) -> Iterator[None]:
        """The averages in the problem."""
        own = {name: value.detach().clone() for name, value in self._problem.coefficients.items()}
        try:
            self._put(self._coefficients)
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._problem.coefficients[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        coefficients = dict(self._coefficients)
        return {"network": self.network.state_dict(), "coefficients": coefficients, "steps": int(self._own.n_averaged)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self._coefficients = {name: value.to(self._coefficients[name]) for name, value in state["coefficients"].items()}
        self._own.n_averaged.fill_(state["steps"])
