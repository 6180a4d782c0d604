"""The errors of all conditions as numbers: what point weights, resampling and averages are made from."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk.problem import Points, Problem
from pinntk.residuals import errors
from pinntk.training._batch import Batch
from pinntk.training._compiled import Compiled, OnModel, Parts, detached, distinct, form_of, gathered
from pinntk.training._losses import passes


class ErrorValues:
    """The error vectors e_i of a network as it is at each call, without a gradient.

    compiled: as one compiled graph
    """

    def __init__(self, network: nn.Module, problem: Problem, compiled: bool = False):
        self._network, self._problem = network, problem
        coefficients: Any = problem.coefficients
        self._model = nn.ModuleDict({"network": network, "coefficients": coefficients})
        self._on_model = OnModel(self._model, partial(errors, network, problem))
        self._compiled = Compiled("the evaluation of errors", ("errors",), problem, compiled)

    def __call__(self, points: Points) -> dict[str, Tensor]:
        """At this process's points, {condition: (n,)}."""
        if not self._compiled.on:
            return self._eager(points)
        names, (tensors, places) = list(points), distinct(points)

        def function(parameters: dict[str, Tensor], others: dict[str, Tensor], tensors: list[Tensor]) -> Parts:
            found = self._on_model.at(parameters | others, gathered(names, tensors, places))
            return ([found[name].detach() for name in names],)

        def eager() -> Parts:
            return ([*self._eager(points).values()],)

        like = next(iter(points.values()))
        (found,) = self._compiled(form_of(points), function, (*detached(self._model), tensors), eager, like)
        return dict(zip(names, found, strict=True))

    def everywhere(self, points: Points) -> dict[str, Tensor]:
        """In float64, at all points in every process, each of which evaluates its share."""
        share = distributed.own_rows(points)
        found = self(share) if share else {}
        device = next((rows.device for rows in points.values()), torch.device("cpu"))
        return distributed.unshard(found, {name: len(rows) for name, rows in points.items()}, device)

    def _eager(self, points: Points) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {name: [] for name in points}
        with torch.no_grad():
            for part in passes(self._network, self._problem, Batch(points, {}, {})):
                for name, e in errors(self._network, self._problem, part.points).items():
                    parts[name].append(e.detach())
        return {name: torch.cat(values) for name, values in parts.items()}
