"""Explicit per-point Jacobians by torch.func: the fallback for networks that the Taylor engine cannot follow, and the
yardstick that the engine is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

from pinntk.evaluate import OperatorError, autograd_group, group_errors
from pinntk.normalizations import ExactLayerNorm
from pinntk.problem import Points, Problem, check_output


def coefficient_key(name: str) -> str:
    """The name of a problem's coefficient among the trained parameters; no module of a network can have it."""
    return f"coefficients[{name}]"


class _FunctionalFields:
    """Fields of one point by nested forward-mode derivatives; values of shape (1,), as on a batch of one."""

    def __init__(self, call: Any, point: Tensor, problem: Problem):
        self._call, self._point, self._problem = call, point, problem

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        def value(x: Tensor) -> Tensor:
            output = self._call(x.unsqueeze(0))
            check_output(output, self._problem, 1)
            return output[0, field]

        for axis, times in enumerate(index):
            for _ in range(times):
                value = _slope(value, axis)
        return value(self._point).reshape(1)

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        d = len(self._point)
        return sum(self.derivative(field, tuple(2 * (i == axis) for i in range(d))) for axis in axes)


def _slope(function: Any, axis: int) -> Any:
    def slope(x: Tensor) -> Tensor:
        direction = torch.zeros_like(x)
        direction[axis] = 1
        return jvp(function, (x,), (direction,))[1]

    return slope


def jacobian_rows(
    network: nn.Module, problem: Problem, points: Points, parameters: Mapping[str, Tensor], chunk: int = 64
) -> dict[str, dict[str, Tensor]]:
    """{condition: {parameter: (n, size)}}: rows of J by `vmap(grad)` over single points, `chunk` at a time; point by
    point where the network cannot be vmapped."""
    return {name: _rows(network, problem, name, rows, parameters, chunk) for name, rows in points.items()}


def _rows(
    network: nn.Module, problem: Problem, name: str, rows: Tensor, parameters: Mapping[str, Tensor], chunk: int
) -> dict[str, Tensor]:
    try:
        return vmap_rows(network, problem, name, rows, parameters, chunk)
    except (RuntimeError, NotImplementedError, OperatorError):  # an operation that torch.func cannot transform
        return _rows_one_by_one(network, problem, name, rows, parameters)


def vmap_rows(
    network: nn.Module, problem: Problem, name: str, rows: Tensor, parameters: Mapping[str, Tensor], chunk: int = 64
) -> dict[str, Tensor]:
    """{parameter: (n, size)} for one condition by torch.func.vmap(grad)."""
    own = dict(network.named_parameters())
    frozen = {key: p for key, p in own.items() if key not in parameters}
    state = {**frozen, **dict(network.named_buffers())}
    trained = {key: p.detach() for key, p in parameters.items()}

    def error(trained: dict[str, Tensor], row: Tensor) -> Tensor:
        weights = {key: p for key, p in trained.items() if key in own}

        def coefficient(name: str, points: Tensor) -> Tensor:
            return trained.get(coefficient_key(name), problem.coefficients[name]).to(points)

        def call(x: Tensor) -> Tensor:
            with ExactLayerNorm():
                return functional_call(network, {**state, **weights}, (x,))

        found = group_errors(
            problem,
            [name],
            row.unsqueeze(0),
            lambda points: _FunctionalFields(call, points[0], problem),
            coefficient,
        )
        return found[name].squeeze(0)

    gradients = vmap(grad(error), (None, 0), chunk_size=chunk)(trained, rows)
    return {key: value.reshape(len(rows), -1) for key, value in gradients.items()}


def _rows_one_by_one(
    network: nn.Module, problem: Problem, name: str, rows: Tensor, parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {key: [] for key in parameters}
    for row in rows:
        error = autograd_group(network, problem, [name], row.unsqueeze(0))[name]
        gradients = [None] * len(parameters)
        if error.requires_grad:
            gradients = torch.autograd.grad(error.sum(), list(parameters.values()), allow_unused=True)
        for (key, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            found[key].append((torch.zeros_like(parameter) if gradient is None else gradient).flatten())
    return {key: torch.stack(parts) for key, parts in found.items()}
