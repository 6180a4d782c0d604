"""A problem in one time slab, with what the network of the slab before leaves at its start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from hashlib import sha256

import torch
from torch import Tensor, nn

from pinntk.geometry._sampling import generator
from pinntk.problem import Problem
from pinntk.problem._slabs import restricted, slab_edges, slab_name, slab_start
from pinntk.residuals._conditions import condition_errors
from pinntk.residuals._evaluate import errors
from pinntk.residuals._fields import Fields

_POINTS, _DECADES = 64, (-1.0, 3.0)  # on which conditions are tried, with fields of so many sizes


def slab(problem: Problem, number: int, slabs: int | Sequence[float], previous: nn.Module | None = None) -> Problem:
    """The problem in one slab of its time, which begins as the slab before ends (Krishnapriyan et al. 2021, section 5).

    number: of the slab, from 0; slabs: how many, of equal length, or their edges, from the problem's start to its end
    previous: the network of the slab before, which is copied as it is now; for all slabs but the first

    Conditions hold on their part of the slab. From the second slab on, an initial condition e(u) = 0 becomes e(u) -
    e(previous) = 0 at the slab's start; where e is affine in the fields and their derivatives, as u - u0(x) and u_t - v0(x)
    are, this carries the values over. Of measured data each slab has the rows in it; a slab without any is without the
    condition. The known solution is that of the whole problem.

    Raises ValueError, naming it, for an initial condition that is not affine, for trained coefficients, which each slab would
    find another value of, and for conditions that reach back in time: periodic in time, or at a later time. Warns where an
    equation has more derivatives in time than the initial conditions give values of.

    >>> import pinntk
    >>> problem = pinntk.load("convection", beta=5.0)
    >>> network = pinntk.nn.MLP(slab(problem, 0, 4), width=8, depth=1)
    >>> second = slab(problem, 1, 4, network)
    >>> second.domain.bounds[0]
    (0.25, 0.5)
    >>> pinntk.errors(network, second, second.sample(initial=2))["start"].tolist()
    [0.0, 0.0]
    """
    if previous is not None and not isinstance(previous, nn.Module):
        raise TypeError(f"previous={type(previous).__name__}: the network of the slab before, a torch.nn.Module")
    edges = slab_edges(problem, slabs)
    if not isinstance(number, int) or not 0 <= number < len(edges) - 1:
        raise ValueError(f"slab {number!r}: of {len(edges) - 1} slabs, 0 to {len(edges) - 2}")
    check_affine(problem)
    if number == 0:
        if previous is not None:
            raise ValueError("previous: the first slab begins as the problem does; leave it out")
        return restricted(problem, number, edges)
    if previous is None:
        raise ValueError(f"slab {number} needs previous=, the network of {slab_name(number - 1)}, whose end it begins with")
    before = deepcopy(previous).requires_grad_(False)
    start = slab_start(problem, number, edges)
    precise = _in_higher_precision(before)

    def left_by(name: str) -> Callable[[Tensor], Tensor]:
        def values(points: Tensor) -> Tensor:
            with torch.no_grad():
                return errors(precise(points.dtype), start, {name: points})[name]

        return values

    found = restricted(problem, number, edges, {name: left_by(name) for name in start.names})
    return replace(found, slab={**found.slab, "sha256": digest(before)})


def _in_higher_precision(network: nn.Module) -> Callable[[torch.dtype], nn.Module]:
    """The network in its own dtype or the one asked for, whichever is more precise.

    A float32 network is rounded anew for each size of a batch, which in errors of float64, as a diagnosis takes them, would be
    no rounding.
    """
    own = next((p.dtype for p in network.parameters()), None)
    copies = {own: network}

    def at_least(dtype: torch.dtype) -> nn.Module:
        wider = None if own is None else torch.promote_types(own, dtype)
        if wider not in copies:
            copies[wider] = deepcopy(network).to(wider)
        return copies[wider]

    return at_least


class _Random:
    """Fields whose values and derivatives are numbers of many sizes, (n,) each, without any function behind them."""

    def __init__(self, n: int, seed: int):
        self.n, self.seed = n, seed

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        rng = generator(self.seed, str(field), str(index))
        return torch.as_tensor(rng.standard_normal(self.n) * 10 ** rng.uniform(*_DECADES, self.n))

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        return self.derivative(field, axes)


class _Mixture:
    """share * one + (1 - share) * other."""

    def __init__(self, one: Fields, other: Fields, share: float):
        self.one, self.other, self.share = one, other, share

    def derivative(self, field: int, index: tuple[int, ...]) -> Tensor:
        return self.share * self.one.derivative(field, index) + (1 - self.share) * self.other.derivative(field, index)

    def laplacian(self, field: int, axes: tuple[int, ...]) -> Tensor:
        return self.share * self.one.laplacian(field, axes) + (1 - self.share) * self.other.laplacian(field, axes)


def digest(network: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, by which a slab knows the network that it begins with."""
    found = sha256()
    for name, value in network.state_dict().items():
        if isinstance(value, Tensor):
            content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(content.numpy().tobytes())
    return found.hexdigest()


def check_affine(problem: Problem) -> None:
    """Raises ValueError, naming it, for an initial condition whose error is not affine in the fields and their derivatives:
    e(a u + (1 - a) v) = a e(u) + (1 - a) e(v), tried in float64 on fields of many sizes.
    """
    for condition in problem.conditions:
        if condition.kind != "initial":
            continue
        rows = torch.as_tensor(condition.region.sample(_POINTS, "uniform", generator(0, "affine")), dtype=torch.float64)

        def error(fields: Fields, name: str = condition.name, rows: Tensor = rows) -> Tensor:
            found = condition_errors(
                problem,
                [name],
                rows,
                lambda _: fields,
                lambda coefficient, points: problem.coefficients[coefficient].to(points),
            )
            return found[name].detach()

        u, v = _Random(len(rows), 1), _Random(len(rows), 2)
        a = 0.3
        apart = error(_Mixture(u, v, a)) - (a * error(u) + (1 - a) * error(v))
        scale = error(u).abs() + error(v).abs()
        if not bool((apart.abs() <= torch.finfo(apart.dtype).eps ** 0.5 * scale).all()):
            raise ValueError(
                f"initial condition {condition.name!r} is not affine in the fields, and so does not say what a time slab takes "
                "over from the one before; write it as the value itself, such as u - u0(x) or u_t - v0(x)"
            )
