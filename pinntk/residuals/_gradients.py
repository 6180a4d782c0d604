"""Whether autograd's gradient is the derivative of the network's values: against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from pinntk._util.registry import WeakRegistry
from pinntk._util.stand_in import call_with
from pinntk._util.warn import warn_user
from pinntk.geometry import Domain

_CLOSE = 1e-4  # relative difference of a gradient and a finite difference
_STEPS = (1e-7, 1e-3)  # of finite differences: below rounding of the inside, and above it
_ROUNDED = 10.0  # times the difference of two steps, within which a finite difference is as good as none

_warned = WeakRegistry()


def compare_gradients(network: nn.Module, call: Callable, domain: Domain, x: Tensor) -> None:
    """Autograd's gradient along one direction of the coordinates, and along one of the parameters, with finite differences."""
    random = torch.Generator().manual_seed(0)
    extent = torch.as_tensor(domain.high - domain.low).to(x)
    v = extent * torch.randn(len(extent), generator=random, dtype=torch.float64).to(x)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        output = call(leaf.clone())
        by_autograd = [_slope(column.sum(), [leaf])[0] @ v for column in output.unbind(1)]
    _compare(network, "coordinates", torch.stack(by_autograd, 1), lambda h: call(x + h * v), output)

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
    _compare(network, "parameters", along, value, (signs * output).abs().sum())


def _slope(value: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    if not value.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)


def _size(parameter: Tensor) -> float:
    """Of a change: that of the parameter, or 0.1 where it is zero."""
    return float(parameter.square().mean().sqrt()) or 0.1


def _compare(network: nn.Module, what: str, slope: Tensor, value: Callable[[float], Tensor], size: Tensor) -> None:
    """Warns where a slope is not that of `value` at 0, by short steps nor by long ones; a jump or kink between them is not
    held against it.
    """
    with torch.no_grad():
        off = torch.ones_like(slope, dtype=torch.bool)
        for step in _STEPS:
            far, near = ((value(h) - value(-h)) / (2 * h) for h in (step, step / 2))
            least = _CLOSE * (slope.abs() + near.abs()) + 1e-2 * _CLOSE * size.detach().abs().max()
            off &= (slope - near).abs() > least + _ROUNDED * (far - near).abs()
    if bool(off.any()) and _warned.first(network, what):
        place = off.nonzero()[0].unbind() if off.ndim else ()
        found, expected = float(slope[place]), float(near[place])
        warn_user(
            f"{type(network).__name__}: the gradient that autograd gives is not the derivative of the network's values: "
            f"{found:.3g} against {expected:.3g} by finite differences, along one direction of the {what} (a straight-through "
            "estimator, a detach() or a no_grad() inside?). Errors and kernels are made from autograd's gradient"
        )
