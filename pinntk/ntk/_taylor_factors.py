"""Factors by the Taylor engine: one forward pass of jets with a tape, one backward pass for each condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from pinntk.ntk._factored import Collector, Factors, Outer
from pinntk.ntk._tape import LinearUse, PointwiseUse, Tape
from pinntk.ntk.graph import pull_back, size_of
from pinntk.problem import Problem
from pinntk.residuals._conditions import taylor_errors
from pinntk.taylor import UnsupportedOperationError


def taylor_factors(
    network: nn.Module, problem: Problem, names: list[str], rows: Tensor, parameters: Mapping[str, Tensor]
) -> Iterator[Factors]:
    """J of conditions that share their points. Raises UnsupportedOperationError where the network uses an operation without a
    Taylor rule, or a parameter in a way that does not factor.
    """
    if any(p.is_complex() for p in parameters.values()):
        raise UnsupportedOperationError("a complex parameter")
    sizes = {name: size_of(p) for name, p in parameters.items()}
    tape = Tape()
    with torch.enable_grad():
        errors = taylor_errors(network, problem, names, rows, tape)
    basis = problem.basis(names)
    for name, error in errors.items():
        # e depends on the components of its own basis only; those that other conditions brought in are zero.
        own = basis.components_of(problem.basis([name]))
        sensitivities = tape.sensitivities(error, list(parameters.values()))
        collected = _TapeUses(parameters, len(error))
        for use, B in zip(tape.uses, sensitivities, strict=True):
            if B is not None:
                collected.add(use, B, own)
        yield Factors(name, len(error), sizes, *collected.result(), error.device)


class _TapeUses:
    """Gathers recorded uses of every parameter by one condition of n errors. Of an integral each error has many points."""

    def __init__(self, parameters: Mapping[str, Tensor], n: int):
        self._parameters, self._n = parameters, n
        self._names = {id(p): name for name, p in parameters.items()}
        self._collector = Collector()
        self.result = self._collector.result

    def add(self, use: LinearUse | PointwiseUse, B: Tensor, own: list[int]) -> None:
        if not isinstance(use, LinearUse):
            self._add_rows(use.tensor, B.reshape(self._n, len(B) // self._n, -1).sum(1))
            return
        summed = B.shape[1] > self._n
        A, B = (_by_component(self._by_error(t if len(own) == len(t) else t[own])) for t in (use.inputs, B))
        if use.weight is not None:
            outer = Outer(A, B, use.transposed)
            if id(use.weight) in self._names and not (summed and _is_longer(outer)):
                self._collector.add_outer(self._names[id(use.weight)], outer)
            else:
                self._add_rows(use.weight, outer.rows(dtype=torch.float64 if summed else outer.A.dtype))
        if use.bias is not None:  # the value component only: one use a point, or several along extra dimensions
            values = B[: len(B) // len(own)]
            self._add_rows(use.bias, values.sum(0))

    def _by_error(self, data: Tensor) -> Tensor:
        """[S, n q, ..., f] -> [S, n, q, ..., f]: the points of an error count like places of one point."""
        return data if data.shape[1] == self._n else data.unflatten(1, (self._n, -1))

    def _add_rows(self, tensor: Tensor, rows: Tensor) -> None:
        """rows: (n, size) gradient with respect to `tensor`, a parameter or something computed from parameters."""
        if id(tensor) in self._names:
            self._collector.add_rows(self._names[id(tensor)], rows)
            return
        seeds = rows.reshape(len(rows), *tensor.shape).to(tensor.device, tensor.dtype)
        for name, part in pull_back(tensor, self._parameters, seeds).items():
            self._collector.add_rows(name, part)


def _by_component(data: Tensor) -> Tensor:
    """[S, n, h, ..., f] -> [S h ..., n, f]: a weight used at several places of one point counts like a component."""
    if data.ndim == 3:
        return data
    return data.movedim(1, -2).flatten(0, -3)


def _is_longer(outer: Outer) -> bool:
    """Whether factors have more entries than the rows that they stand for."""
    return len(outer.A) * (outer.A.shape[2] + outer.B.shape[2]) > outer.size
