"""Whether autograd's gradient is the derivative, of a network's values and of errors by the fields: against finite
differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from itertools import count
from operator import add

import torch
from torch import Tensor, nn

from pinntk._util.registry import WeakRegistry
from pinntk._util.stand_in import call_with
from pinntk._util.warn import warn_user
from pinntk.geometry import Domain
from pinntk.problem import Problem
from pinntk.residuals._conditions import condition_errors
from pinntk.residuals._linear import linearize

_CLOSE = 1e-4  # relative difference of a gradient and a finite difference
_STEPS = (1e-7, 1e-3)  # of finite differences: below rounding of the inside, and above it
_ROUNDED = 10.0  # times the difference of two steps, within which a finite difference is as good as none

_warned, _asked = WeakRegistry(), WeakRegistry()


def compare_gradients(network: nn.Module, call: Callable, domain: Domain, x: Tensor) -> None:
    """Autograd's gradient along one direction of the coordinates, and along one of the parameters, with finite differences."""
    random = torch.Generator().manual_seed(0)
    extent = torch.as_tensor(domain.high - domain.low).to(x)
    v = extent * torch.randn(len(extent), generator=random, dtype=torch.float64).to(x)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        output = call(leaf.clone())
        by_autograd = [_slope(column.sum(), [leaf])[0] @ v for column in output.unbind(1)]
    if (found := _differ(torch.stack(by_autograd, 1), lambda h: call(x + h * v), output)) is not None:
        _warn_of_network(network, "coordinates", *found)

    state = {name: t.detach() for name, t in (*network.named_parameters(), *network.named_buffers())}
    trained = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    if not trained or any(t.is_complex() for t in state.values()):
        return
    trained = {name: p.double() for name, p in trained.items()}
    state = {name: t.double() if t.is_floating_point() else t for name, t in state.items()}
    direction = {
        name: _size(p) * torch.randn(p.shape, generator=random, dtype=torch.float64).to(p) for name, p in trained.items()
    }
    signs = torch.randn(output.shape, generator=random, dtype=torch.float64).to(x)

    def value(h: float, leaves: Mapping[str, Tensor] = trained) -> Tensor:
        moved = {name: p + h * direction[name] if h else p for name, p in leaves.items()}
        return (signs * call_with(network, {**state, **moved}, x.clone())).sum()

    with torch.enable_grad():
        leaves = {name: nn.Parameter(p.clone()) for name, p in trained.items()}  # a slice of a ParameterList detaches others
        slopes = _slope(value(0.0, leaves), list(leaves.values()))
    along = reduce(add, [(g * direction[name]).sum() for name, g in zip(trained, slopes, strict=True)])
    if (found := _differ(along, value, (signs * output).abs().sum())) is not None:
        _warn_of_network(network, "parameters", *found)


def _warn_of_network(network: nn.Module, what: str, found: float, expected: float) -> None:
    if _warned.first(network, what):
        warn_user(
            f"{type(network).__name__}: the gradient that autograd gives is not the derivative of the network's values: "
            f"{found:.3g} against {expected:.3g} by finite differences, along one direction of the {what} (a straight-through "
            "estimator, a detach() or a no_grad() inside?). Errors and kernels are made from autograd's gradient"
        )


class _Drawn:
    """Fields whose values and derivatives are random numbers, the same at every call, and a step along a random direction."""

    def __init__(self, known: dict[tuple, tuple[Tensor, Tensor]], place: int, points: Tensor, step: float):
        self.known, self.place, self.points, self.step = known, place, points, step

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        return self._value((self.place, field, index, ()))

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        return self._value((self.place, field, (), axes))

    def _value(self, key: tuple) -> Tensor:
        if key not in self.known:
            random = torch.Generator().manual_seed(len(self.known))
            drawn = torch.randn(2, len(self.points), generator=random, dtype=torch.float64).to(self.points.device)
            self.known[key] = drawn[0], drawn[1]
        value, direction = self.known[key]
        return value + self.step * direction


def compare_operator(problem: Problem, name: str, rows: Tensor) -> None:
    """Warns where an operator's gradient in what it takes of the fields, along one direction, is not that of finite
    differences. Asked once of a condition.

    rows: some points of the condition, (n, columns)

    An operator that was not made for float64, or for fields of any values, is not judged.
    """
    if not _asked.first(problem[name], "operator"):
        return
    try:
        found = _operator_differs(problem, name, rows.double())
    except Exception:  # which no network may ever bring about
        return
    if found is not None:
        warn_user(
            f"condition {name!r}: the gradient that autograd gives is not the derivative of its error by the fields: "
            f"{found[0]:.3g} against {found[1]:.3g} by finite differences, along one direction (a detach(), no_grad() or numpy "
            "in the operator?). Trainings and kernels go by autograd's gradient"
        )


def _operator_differs(problem: Problem, name: str, rows: Tensor) -> tuple[float, float] | None:
    known: dict[tuple, tuple[Tensor, Tensor]] = {}
    coefficients = {key: float(value.detach()) for key, value in problem.coefficients.items()}

    def drawn(step: float) -> Callable[[Tensor], _Drawn]:
        places = count()
        return lambda points: _Drawn(known, next(places), points, step)

    def value(step: float) -> Tensor:
        return condition_errors(
            problem, [name], rows, drawn(step), lambda key, points: points.new_full((len(points),), coefficients[key])
        )[name].sum()

    found = linearize(problem, name, rows, drawn(0.0), coefficients)
    total = found.errors.sum()
    along = sum(((term.slope * known[(term.place, *term.key)][1]).sum() for term in found.terms), 0 * total)
    return _differ(along, value, total)


def _slope(value: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    if not value.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)


def _size(parameter: Tensor) -> float:
    """Of a change: that of the parameter, or 0.1 where it is zero."""
    return float(parameter.square().mean().sqrt()) or 0.1


def _differ(slope: Tensor, value: Callable[[float], Tensor], size: Tensor) -> tuple[float, float] | None:
    """A slope that is not that of `value` at 0, by short steps nor by long ones, and what that is; a jump or kink between them
    is not held against it. None where all agree.
    """
    with torch.no_grad():
        off = torch.ones_like(slope, dtype=torch.bool)
        for step in _STEPS:
            far, near = ((value(h) - value(-h)) / (2 * h) for h in (step, step / 2))
            least = _CLOSE * (slope.abs() + near.abs()) + 1e-2 * _CLOSE * size.detach().abs().max()
            off &= (slope - near).abs() > least + _ROUNDED * (far - near).abs()
            if not bool(off.any()):
                return None
    place = off.nonzero()[0].unbind() if off.ndim else ()
    return float(slope[place]), float(near[place])
