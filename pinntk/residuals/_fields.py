"""A network's outputs and their derivatives at points: by one pass of jets, or by nested reverse-mode autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pinntk.problem import Problem
from pinntk.problem._output import check_output
from pinntk.taylor import Basis, Jet, UnsupportedOperationError, through
from pinntk.taylor._normalizations import ExactNormalizations

Function = Callable[[Tensor], Tensor]  # a network, or one with other parameters in the place of its own


class Fields(Protocol):
    """A network's outputs and their derivatives on a batch of points, each of shape (n,)."""

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor: ...

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor: ...


class TaylorFields:
    """One forward pass of the network on a jet."""

    def __init__(self, network: Function, problem: Problem, points: Tensor, basis: Basis, tape: Any = None):
        with without_compile(network):
            output = through(network, Jet.seed(basis, points, tape))
        if not isinstance(output, Jet):
            check_output(output, problem.fields, len(points))
            raise UnsupportedOperationError("a network whose output is independent of its input")
        check_output(output, problem.fields, len(points))
        self._output = output

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        return self._output.derivative(index)[:, field]

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        return self._output.laplacian(axes)[:, field]


class Zero(nn.Module):
    """u = 0, as a network without parameters."""

    def __init__(self, fields: int):
        super().__init__()
        self.fields = fields

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x[:, [0] * self.fields]


class AutogradFields:
    """Nested reverse-mode differentiation, one backward pass of the whole graph a derivative."""

    def __init__(self, network: Function, problem: Problem, points: Tensor):
        self._columns = [column.detach().clone().requires_grad_() for column in points.unbind(1)]
        # What can be differentiated again and again.
        with ExactNormalizations(), sdpa_kernel(SDPBackend.MATH), without_compile(network):
            output = network(torch.stack(self._columns, 1))
        check_output(output, problem.fields, len(points))
        self._known = {(field, (0,) * points.shape[1]): column for field, column in enumerate(output.unbind(1))}

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        if (field, index) not in self._known:
            axis = max(axis for axis, times in enumerate(index) if times)
            lower = tuple(times - (i == axis) for i, times in enumerate(index))
            self._known[field, index] = self._along(self.derivative(field, lower), axis)
        return self._known[field, index]

    def _along(self, value: Tensor, axis: int) -> Tensor:
        column = self._columns[axis]
        if not value.requires_grad:
            return torch.zeros_like(column)
        (slope,) = torch.autograd.grad(value.sum(), column, create_graph=True, allow_unused=True)
        return torch.zeros_like(column) if slope is None else slope

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        d = len(self._columns)
        return reduce(add, [self.derivative(field, tuple(2 * (i == axis) for i in range(d))) for axis in axes])


@contextmanager
def without_compile(network: Function) -> Iterator[None]:
    """Networks and modules from torch.compile run as they were written: compiled ones are differentiated once only."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    if any(hasattr(module, "_orig_mod") or module._compiled_call_impl is not None for module in modules):
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield
