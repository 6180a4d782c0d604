"""Whether prescribed values continue into the domain: no jumps, and derivatives that autograd knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Domain

Derivatives = Callable[[Tensor, int, int], list[Tensor]]  # of g at (n, d) points along an axis: up to an order, (n,) each

_PROBES = 64  # random points
_LINES, _INTERVALS, _CLOSELY = 32, 256, 64  # lines in two dimensions, intervals on each, those that are looked at closely
_CANDIDATES = 1024  # random points of which the largest and the smallest value have lines of their own: small spots
_HALVINGS = 30
_SMALLEST_JUMP = 1e-7  # of the largest value: rounding is below
_PERSISTS = 0.5  # of its height halfway: at a jump it stays the same, at a root it falls by 2^-7.5, elsewhere to nothing
_STEP, _SAME_SLOPE = 1e-6, 1e-4  # of finite differences, relative to the domain; their relative deviation
_AT_KINKS = 0.05  # of the probes: where a slope may be another, by chance
_NODES = (0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5)  # of Gauss's rule on (0, 1), exact to degree 5
_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)


def smoothness_fault(
    g: Derivatives, domain: Domain, orders: Mapping[int, int], device: torch.device | str | None
) -> str | None:
    """Why the values of g(x) do not continue into the domain; None where they do.

    orders: {axis: k} of what g depends on, with the highest derivative k along it that a problem takes. The derivatives of
        order 0 to k - 1 must not jump, or the one of order k, which is computed point by point, would be without what is at
        the jump: u = g would solve u_t = u_xx for any g that is made of straight lines
    """
    for axis, order in orders.items():
        lines = _lines(g, domain, axis, len(orders) - 1, device)
        fault = _jump(g, domain, axis, max(order, 1), lines) or _wrong_slope(g, domain, axis, device)
        if fault is not None:
            return fault
    return None


def _random(domain: Domain, n: int, device: torch.device | str | None) -> Tensor:
    return torch.as_tensor(domain.sample(n, "uniform", np.random.default_rng(0)), dtype=torch.float64, device=device)


def _lines(g: Derivatives, domain: Domain, axis: int, others: int, device: torch.device | str | None) -> Tensor:
    """Points, (lines, d), through which lines along an axis go: one where g varies along no other axes."""
    if others == 0:
        return _random(domain, 1, device)
    candidates = _random(domain, _CANDIDATES, device)
    values = g(candidates, axis, 0)[0]
    extremes = torch.stack([values.argmax(), values.argmin()])
    return torch.cat([candidates[: _LINES // others + 1], candidates[extremes]])


def _jump(g: Derivatives, domain: Domain, axis: int, order: int, lines: Tensor) -> str | None:
    """Where a derivative f below `order` jumps, by f(b) - f(a) against the integral of f': on every interval of the lines, and
    on halves of halves of those where they differ, for what remains there.
    """
    low, high = domain.bounds[axis]
    edges = torch.linspace(low, high, _INTERVALS + 1, dtype=lines.dtype, device=lines.device)
    places = lines.repeat_interleave(_INTERVALS, 0)
    first, last = edges[:-1].repeat(len(lines)), edges[1:].repeat(len(lines))
    gap, f, along = _gaps(g, axis, order, places, first, last)
    for m, values in enumerate(f[:-1]):
        if not values.isfinite().all():
            infinite = along[~values.isfinite()][0]
            return f"{_derivative(m)} is not finite at {domain.coordinates[axis]} = {float(infinite):.6g}"
    least = _SMALLEST_JUMP * f[:-1].abs().amax((1, 2))
    values, rows = gap.topk(min(_CLOSELY, len(places)))  # [order, closely]
    suspect = ~(values <= least[:, None])
    which, rows = suspect.nonzero()[:, 0], rows[suspect]  # (suspects,): of a derivative, of an interval
    if not len(rows):
        return None
    places, first, last = places[rows], first[rows], last[rows]
    halfway = height = torch.zeros_like(first)
    for step in range(_HALVINGS):
        middle = 0.5 * (first + last)
        halves, *_ = _gaps(g, axis, order, places.repeat(2, 1), torch.cat([first, middle]), torch.cat([middle, last]))
        left, right = halves.unflatten(1, (2, -1)).gather(0, which.expand(1, 2, -1))[0]  # of [order, 2, suspects]
        first, last = torch.where(left >= right, first, middle), torch.where(left >= right, middle, last)
        height = torch.maximum(left, right)
        halfway = height if step == _HALVINGS // 2 else halfway
    jumps = ~((height <= least[which]) | (height <= _PERSISTS * halfway))
    if not jumps.any():
        return None
    lowest = int(which[jumps].min())
    highest = height.where(jumps & (which == lowest), -1.0).argmax()
    name, place = domain.coordinates[axis], f"{float(first[highest]):.6g}"
    if lowest == 0:
        return f"its values jump at {name} = {place}, and would jump in the domain"
    return (
        f"{_derivative(lowest)} jumps at {name} = {place}, which derivatives of order {order} in {name}, as the problem takes "
        "them, do not see"
    )


def _derivative(order: int) -> str:
    return "its value" if order == 0 else "the slope of its values" if order == 1 else f"derivative {order} of its values"


def _gaps(g: Derivatives, axis: int, order: int, places: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """|f(b) - f(a) - integral of f'| for f = g, g', ... below `order`: [order, rows]; and the derivatives up to `order` at a, b
    and the nodes between, [order + 1, 5, rows].
    """
    width = last - first
    along = torch.stack([first, last, *(first + node * width for node in _NODES)])  # [5, rows]
    points = places.repeat(len(along), 1)
    points[:, axis] = along.flatten()
    f = torch.stack(g(points, axis, order)).unflatten(1, along.shape)
    integral = width * torch.einsum("nmr,m->nr", f[1:, 2:], f.new_tensor(_WEIGHTS))
    return (f[:-1, 1] - f[:-1, 0] - integral).abs(), f, along


def _wrong_slope(g: Derivatives, domain: Domain, axis: int, device: torch.device | str | None) -> str | None:
    """After a detach(), or in numpy, autograd knows less than there is."""
    points = _random(domain, _PROBES, device)
    low, high = domain.bounds[axis]
    step = _STEP * (high - low)
    ahead, behind = points.clone(), points.clone()
    ahead[:, axis] += step
    behind[:, axis] -= step
    expected = (g(ahead, axis, 0)[0] - g(behind, axis, 0)[0]) / (2 * step)
    values, slope = g(points, axis, 1)
    size = float(expected.abs().max()) + 1e-3 * float(values.abs().max()) / (high - low)
    if float(((slope - expected).abs() > _SAME_SLOPE * size).double().mean()) <= _AT_KINKS:
        return None
    return (
        f"autograd does not know how its values change with {domain.coordinates[axis]}: a detach(), or numpy, comes in between"
    )
