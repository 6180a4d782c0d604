"""The gradient of a training step: eagerly, or as one compiled graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pinntk.problem import Problem
from pinntk.training._batch import Batch
from pinntk.training._compiled import Compiled, OnModel, Parts, detached, distinct, form_of, gathered
from pinntk.training._losses import losses, only, passes, weighted_sum


class Step:
    """The losses of every condition, and their gradient.

    Called with a `Batch`, it returns the losses L_i = mean(g_i e_i^2) and leaves the gradient of sum_i lambda_i L_i in
    `p.grad`.

    compiled: jets and backward pass as one compiled graph
    """

    def __init__(self, network: nn.Module, problem: Problem, compiled: bool = False):
        self.problem = problem
        coefficients: Any = problem.coefficients
        self.model = nn.ModuleDict({"network": network, "coefficients": coefficients})
        self.losses = OnModel(self.model, partial(losses, network, problem))
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.compiled = Compiled("the training step", ("losses", "gradient"), problem, compiled)
        self.prepared: tuple[dict[str, Tensor], list[Tensor]] | None = None  # losses and gradient that the next call hands out

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        if self.prepared is not None:
            (found, ready), self.prepared = self.prepared, None
            self._leave(ready)
            return found
        found, (gradient,) = self._compute(batch, apart=False)
        self._leave(gradient)
        return found

    def apart(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Each condition and its loss, one after the other, with the gradient of its lambda_i L_i alone in `p.grad`."""
        found, gradients = self._compute(batch, apart=True)
        for (name, loss), gradient in zip(found.items(), gradients, strict=True):
            self._leave(gradient)
            yield name, loss

    def _leave(self, gradient: Sequence[Tensor | None]) -> None:
        for p, slope in zip(self.parameters.values(), gradient, strict=True):
            p.grad = slope

    def _compute(self, batch: Batch, apart: bool) -> tuple[dict[str, Tensor], list[list[Tensor | None]]]:
        """Losses, and the gradient of their weighted sum; apart: those of every condition."""
        if not self.compiled.on:
            return self._eager(batch, apart)
        tensors, places = distinct(batch.points)
        names = list(batch.points)
        number = len(self.parameters)

        def function(
            parameters: dict[str, Tensor],
            others: dict[str, Tensor],
            weights: list[Tensor],
            tensors: list[Tensor],
            point_weights: dict[str, Tensor],
        ) -> Parts:
            found = self.losses.at(parameters | others, gathered(names, tensors, places), batch.counts, point_weights)
            terms = [weight * loss for weight, loss in zip(weights, found.values(), strict=True)]
            gradients: list[Tensor] = []
            for term in terms if apart else [sum(terms[1:], terms[0])]:
                gradients += _gradient(term, list(parameters.values()))
            return list(found.values()), gradients

        def eager() -> Parts:
            found, gradients = self._eager(batch, apart)
            parameters = list(self.parameters.values())
            return list(found.values()), [
                torch.zeros_like(p) if slope is None else slope
                for gradient in gradients
                for p, slope in zip(parameters, gradient, strict=True)
            ]

        key = (apart, *form_of(batch.points), *batch.counts.values(), *(batch.point_weights or ()))
        weights = [batch.like.new_tensor(batch.weights[name]) for name in names]
        arguments = (*detached(self.model), weights, tensors, dict(batch.point_weights or {}))
        found, flat = self.compiled(key, function, arguments, eager, batch.like)
        gradients: list[list[Tensor | None]] = [[*flat[i : i + number]] for i in range(0, len(flat), number)]
        return dict(zip(names, found, strict=True)), gradients

    def _eager(self, batch: Batch, apart: bool) -> tuple[dict[str, Tensor], list[list[Tensor | None]]]:
        found: dict[str, Tensor] = {}
        gradients: list[list[Tensor | None]] = []
        for one in [only(batch, name) for name in batch.points] if apart else [batch]:
            self._leave([None] * len(self.parameters))
            for part in passes(self.model["network"], self.problem, one):
                own = losses(self.model["network"], self.problem, part.points, batch.counts, part.point_weights)
                weighted_sum(own, batch.weights).backward()
                for name, loss in own.items():
                    found[name] = found[name] + loss.detach() if name in found else loss.detach()
            gradients.append([p.grad for p in self.parameters.values()])
        return {name: found[name] for name in batch.points}, gradients


def _gradient(term: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True, materialize_grads=True))
