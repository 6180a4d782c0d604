"""How wrong the solution is, as the kernel knows it: one linearized step from the errors to the fields, no solution needed."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import hypot, inf, isfinite

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk.diagnostics._healthy import healthy_gains
from pinntk.diagnostics._sampling import at_most, network_points
from pinntk.geometry._sampling import generator
from pinntk.ntk import kernel, trained_parameters
from pinntk.ntk._rounding import genuine, vanishing
from pinntk.problem import AnyCondition, Faces, PeriodicPair, Points, Problem, field_problem, with_field_values
from pinntk.problem._gauge import without
from pinntk.residuals import errors

_TOLERANCE = 1e-3  # of each condition's prior standard deviation: what is less is not explained
_LEAST_RANK = 1e-12  # of the largest eigenvalue: below it, rounding of K in float64


@dataclass(frozen=True, eq=False)
class Estimate:
    r"""The Gauss-Newton step of a network from its errors on fresh points, and what it does to the fields.

    With rows scaled so that each condition's kernel has trace 1, the least step of the parameters that removes the errors e
    changes the fields by

        delta u = -K_ue (K_ee + tolerance^2)^-1 e

    so that u + delta u is better than u by far if the errors are about linear in the parameters over that distance. Of fields
    that are free by a constant (`Problem.gauge`), sizes and changes are without it.

    points: {condition: (n_i, d)} fresh Sobol points (measurements, given points: their own), errors: {condition: (n_i,)} there
    relative: |delta u| / |u + delta u| over the domain, all fields together: an estimate of the relative L2 error
    where: (m, d) Sobol points of the domain, change: (m, fields) delta u there, values: (m, fields) u + delta u
    parts: {condition: its own share of delta u, over |u + delta u|}; they may cancel each other
    remaining: {condition: rms error that no small step removes, over rms error}
    unreachable: the share of the scaled squared errors that no small step removes, each condition with one vote; 0 to 1
    alone: {condition: the same where that condition is all that is asked for}
    rank, parameters: eigenvalues of K_ee above rounding, and the number of trained parameters, which it cannot exceed
    gain: {condition: sqrt(mean K_ii / mean K_uu)}, the error of the condition that a change of the fields by 1 makes, for
        the changes that the network makes easily
    size: {condition: rms e_i / (gain_i rms(u + delta u))}, errors without units, also where a condition has no data
    unmoved: conditions with errors that no parameter changes at all (dead or saturated units, an operator that depends on no
        field). No step mends these, so that delta u does not know of them. In its place, the change of the fields that would
        do so counts in `relative`, `parts`, `size` and `unreachable`: rms e_i over the gain of a fresh tanh network, infinite
        for a condition that depends on no field
    """

    points: Mapping[str, Tensor] = field(repr=False)
    errors: Mapping[str, Tensor] = field(repr=False)
    relative: float
    where: Tensor = field(repr=False)
    change: Tensor = field(repr=False)
    values: Tensor = field(repr=False)
    parts: Mapping[str, float]
    remaining: Mapping[str, float]
    unreachable: float
    alone: Mapping[str, float]
    rank: int
    parameters: int
    gain: Mapping[str, float]
    size: Mapping[str, float]
    unmoved: tuple[str, ...] = ()


@without_autocast
def estimate(
    network: nn.Module, problem: Problem, points: Points, *, samples: int = 300, residuals: int = 300, others: int = 100
) -> Estimate:
    """The error of a network that has no known solution to be compared with: `Estimate`.

    points: {condition: (n, d)}; which conditions are asked for, and the rows of measurements
    samples: of the domain, for the fields
    residuals, others: fresh points of each residual, and of each other condition; fewer where that would be more than about
        4,000 in all, and so are measurements

    Works on a float64 copy of the network. Where the solution is known (relative L2 errors from 7e-5 to 1, of trainings that
    went well and badly) it was right within 10 % in most; it is too small where the network cannot represent the solution
    (then `unreachable` is large), or where it is far from linear. Raises as `pinntk.kernel` does.
    The linearized residual as an error estimate: Gauss-Newton in function space (Mueller & Zeinhofer 2023, arXiv 2302.13163).
    """
    asked = network_points(network, problem, points)
    network = deepcopy(network).double()
    counts = {name: residuals if problem[name].kind == "residual" else others for name in asked}
    fresh = {name: _fresh(problem[name], rows, counts[name], len(asked)) for name, rows in asked.items()}
    where = torch.as_tensor(problem.domain.sample(samples, "sobol", generator(0, "estimate"))).to(
        next(iter(asked.values())).device
    )
    K = kernel(network, with_field_values(problem), fresh | dict.fromkeys(field_problem(problem).names, where))
    with torch.no_grad():
        found = {name: e.double() for name, e in errors(network, problem, fresh).items()}
        u = network(where.clone()).double()
    sizes = [len(rows) for rows in fresh.values()]
    trace = torch.cat([K.diagonal(name).sum().expand(n) for name, n in zip(fresh, sizes, strict=True)])
    none = vanishing(network, problem, fresh, {name: float(K.diagonal(name).sum()) for name in fresh})
    met = torch.cat([torch.full((n,), name in none, device=trace.device) for name, n in zip(fresh, sizes, strict=True)])
    root = torch.where(met, 0, trace.clamp_min(1e-300).rsqrt())
    n = len(root)
    K_ee = K.values[:n, :n] * root[:, None] * root
    K_ue = K.values[n:, :n] * root
    e = torch.cat(list(found.values())) * root
    ridge = _TOLERANCE**2 * float(K_ee.diagonal().mean())
    spans = _spans(fresh, sizes)
    # Columns: all errors, then those of each condition with the others zero.
    columns = torch.stack([e, *(_only(e, span) for span in spans.values())], 1)
    solved = _solve(K_ee, columns, ridge)
    lives = torch.as_tensor(problem.lives(where.cpu().numpy()).T, device=where.device)
    changes = _without_gauge(problem, -(K_ue @ solved).reshape(len(problem.fields), samples, -1), where, lives)
    size = float(_without_gauge(problem, u.T + changes[..., 0], where, lives).norm())
    prior = float(K.values.diagonal()[n:][lives.flatten()].mean().sqrt())
    gains = {name: _over(float(K.diagonal(name).mean().clamp_min(0).sqrt()), prior) for name in fresh}
    gain = {name: 0.0 if bool(met[spans[name]].all()) else value for name, value in gains.items()}
    rms = size / int(lives.sum()) ** 0.5
    remaining = e - K_ee @ solved[:, 0]
    eigenvalues = torch.linalg.eigvalsh(K_ee)
    known = Estimate(
        points=fresh,
        errors=found,
        relative=_over(float(changes[..., 0].norm()), size),
        where=where,
        change=changes[..., 0].T,
        values=u + changes[..., 0].T,
        parts={name: _over(float(changes[..., k].norm()), size) for k, name in enumerate(spans, 1)},
        remaining={name: _over(float(remaining[span].norm()), float(e[span].norm())) for name, span in spans.items()},
        unreachable=_over(float(remaining.square().sum()), float(e.square().sum())),
        alone={name: _unreachable_share(K_ee[span, span], e[span], ridge) for name, span in spans.items()},
        rank=int((eigenvalues > _LEAST_RANK * eigenvalues[-1]).sum()),
        parameters=sum(p.numel() for p in trained_parameters(network, problem).values()),
        gain=gain,
        size={
            name: 0.0 if name in none else _over(float(part.square().mean().sqrt()), gain[name] * rms)
            for name, part in found.items()
        },
    )
    real = genuine(network, problem, fresh, {name: found[name] for name in fresh if name in none})
    unmoved = tuple(name for name in fresh if name in real)
    scaled = (float(e.norm()), float(remaining.norm()))
    return _with_unmoved(known, network, problem, unmoved, rms, prior, scaled) if unmoved else known


def _with_unmoved(
    found: Estimate,
    network: nn.Module,
    problem: Problem,
    unmoved: tuple[str, ...],
    rms: float,
    prior: float,
    scaled: tuple[float, float],
) -> Estimate:
    """The same with the errors that no parameter changes, by the gains of a healthy network.

    rms: of u + delta u; prior: standard deviation of the fields by this network's kernel; scaled: norms of all other errors,
    and of what remains of them, in units of that
    """
    gains = healthy_gains(network, problem, found.points, unmoved, found.where)
    off = {name: _over(float(found.errors[name].square().mean().sqrt()), gains[name]) for name in unmoved}
    count = int(problem.lives(found.where.cpu().numpy()).sum())
    more, change = hypot(*off.values()), float(found.change.norm()) / count**0.5
    whole = hypot(rms, more)
    before, after = scaled

    def over_whole(numbers: Mapping[str, float]) -> dict[str, float]:
        if not isfinite(more):
            return dict(numbers) | dict.fromkeys(unmoved, inf)
        return {name: off[name] / whole if name in off else _times(number, rms / whole) for name, number in numbers.items()}

    beyond = more / prior if prior else inf
    return replace(
        found,
        relative=hypot(change, more) / whole if isfinite(more) else inf,
        parts=over_whole(found.parts),
        remaining=dict(found.remaining) | dict.fromkeys(unmoved, 1.0),
        unreachable=hypot(after, beyond) ** 2 / hypot(before, beyond) ** 2 if isfinite(beyond) else 1.0,
        alone=dict(found.alone) | dict.fromkeys(unmoved, 1.0),
        size=over_whole(found.size),
        unmoved=unmoved,
    )


def _without_gauge(problem: Problem, values: Tensor, where: Tensor, lives: Tensor) -> Tensor:
    """Values (fields, m) or (fields, m, k) at points where (m, d), those of free fields without their constants, and 0 where a
    field does not live (`lives`, (fields, m)); the same tensor where no field is free and all live everywhere.
    """
    if not problem.gauge and not problem.where:
        return values
    rows = [torch.where(here.view(-1, *[1] * (row.ndim - 1)), row, 0) for here, row in zip(lives, values, strict=True)]
    for name, gauge in problem.gauge.items():
        k = problem.fields.index(name)
        columns = [without(gauge, column[lives[k]], where[lives[k]]) for column in rows[k].reshape(len(where), -1).unbind(1)]
        rows[k][lives[k]] = torch.stack(columns, 1).reshape(rows[k][lives[k]].shape)
    return torch.stack(rows)


def _fresh(condition: AnyCondition, rows: Tensor, count: int, conditions: int) -> Tensor:
    if condition.region.given is not None:
        places = generator(0, "estimate", len(rows)).permutation(len(rows))[: at_most(len(rows), conditions)]
        return rows[torch.from_numpy(np.sort(places)).to(rows.device)].double()
    count = at_most(count, conditions)
    few = isinstance(condition.region, (Faces, PeriodicPair)) and len(condition.region.coordinates) == 1
    drawn = condition.region.sample(
        min(count, 2) if few else count, "sobol", generator(0, "estimate", condition.region.describe())
    )
    return torch.as_tensor(drawn, dtype=torch.float64, device=rows.device)


def _spans(points: Points, sizes: list[int]) -> dict[str, slice]:
    ends = np.cumsum(sizes)
    return {name: slice(int(end) - n, int(end)) for name, end, n in zip(points, ends, sizes, strict=True)}


def _only(e: Tensor, span: slice) -> Tensor:
    part = torch.zeros_like(e)
    part[span] = e[span]
    return part


def _solve(K: Tensor, right: Tensor, ridge: float) -> Tensor:
    return torch.linalg.solve(K + max(ridge, 1e-300) * torch.eye(len(K)).to(K), right)


def _unreachable_share(K: Tensor, e: Tensor, ridge: float) -> float:
    remaining = e - K @ _solve(K, e, ridge)
    return _over(float(remaining.square().sum()), float(e.square().sum()))


def _over(above: float, below: float) -> float:
    return above / below if below else (0.0 if above == 0 else float("inf"))


def _times(number: float, factor: float) -> float:
    return number * factor if isfinite(number) else number
