"""Jacobians of errors with respect to parameters, J_i = d e_i / d theta, kept as factors instead of (n, p) arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from pinntk.checks import check_network
from pinntk.evaluate import groups, has_factors, taylor_group, to_network, warn_no_factors
from pinntk.ntk.jacobian import coefficient_key, jacobian_rows
from pinntk.ntk.tape import LinearUse, Tape
from pinntk.problem import Points, Problem
from pinntk.taylor import UnsupportedOperation


@dataclass(frozen=True)
class Outer:
    """Rows of J for one weight matrix: the gradient at a point is sum_s B[s] (x) A[s].

    A: [S, n, in] inputs of the weight, one a Taylor component and use
    B: [S, n, out] sensitivities of the error to its outputs
    transposed: the weight is stored (in, out), as in x @ W, not (out, in)
    """

    A: Tensor
    B: Tensor
    transposed: bool = False

    @property
    def size(self) -> int:
        return self.A.shape[2] * self.B.shape[2]

    def rows(self, start: int = 0, stop: int | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """Columns of J for outputs start to stop, (n, (stop - start) in): all of them in the weight's order by default.

        Summed in `dtype`: rounded to float32 first, K = J J^T of a float32 network would lose its zero eigenvalues."""
        A, B = self.A.to(dtype), self.B[:, :, start:stop].to(dtype)
        left, right = (A, B) if self.transposed else (B, A)
        return torch.einsum("sna,snb->nab", left, right).flatten(1)


@dataclass(frozen=True)
class Factors:
    """J of one condition, (n, p), by parameter: `Outer` for weight matrices, explicit (n, size) rows for the others.

    sizes: entries of each trained parameter, in the order of the columns of J; a parameter that e does not depend on
        has neither an Outer nor rows
    place: the device of the errors, where e depends on none
    """

    name: str
    n: int
    sizes: Mapping[str, int]
    outers: Mapping[str, Outer]
    rows: Mapping[str, Tensor]
    place: torch.device | None = None

    def has(self, name: str) -> bool:
        """Whether e depends on that parameter."""
        return name in self.rows or name in self.outers

    def explicit(self, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
        """The columns of J for one parameter, (n, size)."""
        return self.rows[name].to(dtype) if name in self.rows else self.outers[name].rows(dtype=dtype)

    @property
    def device(self) -> torch.device:
        tensors = (*self.rows.values(), *(outer.A for outer in self.outers.values()))
        return tensors[0].device if tensors else self.place or torch.device("cpu")

    @property
    def nbytes(self) -> int:
        """Memory of the factors."""
        tensors = [*self.rows.values(), *(t for outer in self.outers.values() for t in (outer.A, outer.B))]
        return sum(t.numel() * t.element_size() for t in tensors)

    def matrix(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """J, (n, p)."""
        zero = torch.zeros(self.n, 1, dtype=dtype, device=self.device)
        columns = (
            self.explicit(name, dtype) if self.has(name) else zero.expand(self.n, size) for name, size in self.sizes.items()
        )
        return torch.cat(list(columns), 1)

    @cached_property
    def diagonal(self) -> Tensor:
        """Squared norms of the rows of J, (n,), in float64: the diagonal of K without K.

        Exact: sum over layers and component pairs of (A^s . A^s') (B^s . B^s'), not the product of two sums.
        """
        total = None
        for outer in self.outers.values():
            part = (_component_gram(outer.A) * _component_gram(outer.B)).sum((1, 2))
            total = part if total is None else total + part
        for rows in self.rows.values():
            part = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64) ** 2
            total = part if total is None else total + part
        return torch.zeros(self.n, dtype=torch.float64, device=self.device) if total is None else total


def _component_gram(A: Tensor) -> Tensor:
    """[S, n, f] -> (n, S, S) inner products of a point's components, accumulated in float64."""
    by_point = A.transpose(0, 1).double()
    return by_point @ by_point.transpose(1, 2)


def trained_parameters(network: nn.Module, problem: Problem) -> dict[str, Tensor]:
    """What K differentiates with respect to: the network's parameters that require gradients, then the problem's
    coefficients. Raises ValueError if there are none."""
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    named |= {coefficient_key(name): p for name, p in problem.coefficients.items() if p.requires_grad}
    if not named:
        raise ValueError("the network has no parameter with requires_grad=True, so its kernel is zero")
    return named


def factors(network: nn.Module, problem: Problem, points: Points) -> dict[str, Factors]:
    """J of every condition in `points`, factored: {name: Factors}.

    One Taylor pass and one backward pass a condition. Where the network uses an operation without a Taylor rule, or a
    parameter in a way that does not factor, the rows come from explicit per-point Jacobians, with a warning.
    Raises as `pinntk.kernel` does.
    """
    points = problem.check(points)
    check_network(network, problem, points)
    return checked_factors(network, problem, points)


def checked_factors(network: nn.Module, problem: Problem, points: Points) -> dict[str, Factors]:
    """`factors` for points and a network that were checked before."""
    points = to_network(network, points)
    parameters = trained_parameters(network, problem)
    if has_factors(network):
        try:
            return {f.name: f for f in _ordered(points, _taylor_factors(network, problem, points, parameters))}
        except UnsupportedOperation as error:
            warn_no_factors(network, error)
    sizes = {name: p.numel() for name, p in parameters.items()}
    rows = jacobian_rows(network, problem, points, parameters)
    return {name: Factors(name, len(points[name]), sizes, {}, rows[name]) for name in points}


def _ordered(points: Points, found: Iterator[Factors]) -> list[Factors]:
    by_name = {f.name: f for f in found}
    return [by_name[name] for name in points]


def _taylor_factors(
    network: nn.Module, problem: Problem, points: Points, parameters: Mapping[str, Tensor]
) -> Iterator[Factors]:
    sizes = {name: p.numel() for name, p in parameters.items()}
    for names in groups(problem, points):
        tape = Tape()
        with torch.enable_grad():
            errors = taylor_group(network, problem, names, points[names[0]], tape)
        basis = problem.basis(names)
        for name, error in errors.items():
            # e depends on the components of its own basis only; those that other conditions brought in are zero.
            own = basis.components_of(problem.basis([name]))
            sensitivities = tape.sensitivities(error, list(parameters.values()))
            collected = _Collector(len(error), parameters)
            for use, B in zip(tape.uses, sensitivities, strict=True):
                if B is not None:
                    collected.add(use, B, own)
            yield Factors(name, len(error), sizes, *collected.result(), error.device)


class _Collector:
    """Gathers the uses of every parameter of one condition into an Outer or into explicit rows."""

    def __init__(self, n: int, parameters: Mapping[str, Tensor]):
        self.n = n
        self.parameters = parameters
        self.names = {id(p): name for name, p in parameters.items()}
        self.outers: dict[str, list[Outer]] = {}
        self.rows: dict[str, list[Tensor]] = {}

    def add(self, use: object, B: Tensor, own: list[int]) -> None:
        if not isinstance(use, LinearUse):
            self._add_rows(use.tensor, B.reshape(len(B), -1))
            return
        A, B = (_by_component(t if len(own) == len(t) else t[own]) for t in (use.inputs, B))
        if use.weight is not None:
            outer = Outer(A, B, use.transposed)
            if id(use.weight) in self.names:
                self.outers.setdefault(self.names[id(use.weight)], []).append(outer)
            else:
                self._add_rows(use.weight, outer.rows(dtype=outer.A.dtype))
        if use.bias is not None:  # the value component only: one use a point, or several along extra dimensions
            values = B[: len(B) // len(own)]
            self._add_rows(use.bias, values.sum(0))

    def _add_rows(self, tensor: Tensor, rows: Tensor) -> None:
        """rows: (n, size) gradient with respect to `tensor`, a parameter or something computed from parameters."""
        if id(tensor) in self.names:
            self.rows.setdefault(self.names[id(tensor)], []).append(rows)
            return
        seeds = rows.reshape(len(rows), *tensor.shape).to(tensor.device, tensor.dtype)
        grads = torch.autograd.grad(
            tensor, list(self.parameters.values()), seeds, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        for name, grad in zip(self.parameters, grads, strict=True):
            if grad is not None:
                self.rows.setdefault(name, []).append(grad.flatten(1))

    def result(self) -> tuple[dict[str, Outer], dict[str, Tensor]]:
        rows = {name: sum(parts[1:], parts[0]) for name, parts in self.rows.items()}
        outers = {}
        for name, uses in self.outers.items():
            if name in rows or len({use.transposed for use in uses}) > 1:
                for use in uses:
                    explicit = use.rows(dtype=use.A.dtype)
                    rows[name] = rows[name] + explicit if name in rows else explicit
            elif len(uses) == 1:
                outers[name] = uses[0]
            else:
                A, B = torch.cat([use.A for use in uses]), torch.cat([use.B for use in uses])
                outers[name] = Outer(A, B, uses[0].transposed)
        return outers, rows


def _by_component(data: Tensor) -> Tensor:
    """[S, n, h, ..., f] -> [S h ..., n, f]: a weight used at several places of one point counts like a component."""
    if data.ndim == 3:
        return data
    return data.movedim(1, -2).flatten(0, -3)
