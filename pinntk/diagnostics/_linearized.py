"""A problem's conditions on trial functions: errors e + A theta, each row and each field in units of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pinntk.diagnostics._trial import TrialSpace
from pinntk.diagnostics._trial_points import early, points_of
from pinntk.geometry import _sampling as sampling
from pinntk.ntk.infinite._functional import Functional, functionals
from pinntk.problem import Problem
from pinntk.residuals._conditions import written
from pinntk.taylor import Basis

_BALANCE_FLOOR = 1e-14  # of a condition's largest response to a field: below it, a field does not enter

Field = nn.Module | Callable[[Tensor, Basis], Tensor]


@dataclass(frozen=True, eq=False)
class Linearized:
    """The errors of all conditions about one function, e + A theta, for fields u + sum_k theta_k phi_k.

    spaces: the trial functions of each field: those of `space`, or where the field lives on a part of the domain, of that
    spans: {condition: its rows}, in the conditions' order
    A: (n, fields N + coefficients), e: (n,); rows in units of the condition's rms response to a smooth random field, over
        sqrt(n_i), so that each condition has one vote; columns in units of their fields, and of their coefficients
    fields: (fields,) the unit of each field, by which theta is multiplied; they are known up to a common factor
    coefficients: (q,) the unit of each coefficient; 0 where no condition depends on it here
    rows: {condition: factor of its errors}; 0 where the errors do not depend on the fields. factor: (n,) that, over sqrt(n_i),
        and less where points crowd around a hole or a corner, as in the mean over the domain
    raw: (n, ...) A before units, and `start` its errors, to compare
    functionals: what each condition takes of the fields; field: the function
    """

    space: TrialSpace
    spaces: tuple[TrialSpace, ...]
    spans: Mapping[str, slice]
    points: Mapping[str, Tensor]
    A: Tensor
    e: Tensor
    fields: Tensor
    coefficients: Tensor
    rows: Mapping[str, float]
    factor: Tensor
    raw: Tensor
    start: Tensor
    functionals: Mapping[str, Functional]
    field: Field

    def of(self, functions: Callable[[Tensor, Basis], Tensor], field: int) -> Tensor:
        """(n, k): what k functions of one field, given by their Taylor coefficients [S, n, k], add to the errors."""
        blocks = []
        for functional in self.functionals.values():
            parts = [
                _applied(functional, weights[..., field], functions(points, functional.basis))
                for points, weights in functional.terms
            ]
            blocks.append(torch.stack(parts).sum(0))
        return self.factor[:, None] * torch.cat(blocks)


class Linearizer:
    """The conditions of a problem on one set of points, to be linearized at several functions.

    names: which conditions
    time: (axis, start, fraction): everything is shrunk to that fraction of the time from its start, as the space's box is
    draw: of the points
    """

    def __init__(
        self,
        problem: Problem,
        names: tuple[str, ...],
        space: TrialSpace,
        time: tuple[int, float, float] | None = None,
        draw: int = 0,
    ):
        self.problem, self.names, self.space = problem, names, space
        self.spaces = tuple(space.on(problem.where.get(field)) for field in problem.fields)  # of each field
        self.points: dict[str, Tensor] = {}
        weights = []
        for name in names:
            rows, weight = points_of(written(problem, name), space, draw)
            self.points[name] = rows if time is None else early(rows, *time)
            weights.append(weight)
        self.weights = torch.cat(weights) if weights else torch.zeros(0)  # of all rows
        self._known: list[tuple[Tensor, Basis, TrialSpace, Tensor]] = []  # points, and the trial functions there

    def field(self, theta: Tensor) -> Field:
        """The function with coefficients theta (N, fields), as its Taylor coefficients [S, n, fields]."""

        def coefficients(points: Tensor, basis: Basis) -> Tensor:
            if all(space is self.space for space in self.spaces):
                return self._functions(points, basis, 0) @ theta
            parts = [self._functions(points, basis, k) @ theta[:, k] for k in range(theta.shape[1])]
            return torch.stack(parts, -1)

        return coefficients

    def at(self, field: Field) -> Linearized | None:
        """About that function; None where an error or its derivative is not finite there."""
        with np.errstate(all="ignore"):
            found = functionals(self.problem, self.points, field)
        if not all(bool(f.start.isfinite().all()) for f in found.values()):
            return None
        blocks = [self._block(f) for f in found.values()]
        raw, start = torch.cat(blocks), torch.cat([f.start for f in found.values()])
        if not bool(raw.isfinite().all()):
            return None
        ends = np.cumsum([len(block) for block in blocks])
        spans = {n: slice(int(end) - len(b), int(end)) for n, end, b in zip(found, ends, blocks, strict=True)}
        return _scaled(self, spans, raw, start, found, field)

    def _block(self, functional: Functional) -> Tensor:
        """(n_i, fields N + coefficients), without units."""
        fields = range(len(self.problem.fields))
        block = torch.zeros(len(functional.start), len(fields) * self.space.size, dtype=torch.float64)
        for points, weights in functional.terms:
            parts = [_applied(functional, weights[..., f], self._functions(points, functional.basis, f)) for f in fields]
            block += torch.cat(parts, 1)
        return torch.cat([block, functional.coefficients], 1)

    def _functions(self, points: Tensor, basis: Basis, field: int) -> Tensor:
        """Taylor coefficients [S, n, N] of every trial function of a field, computed once for the points of a condition."""
        space = self.spaces[field]
        for rows, its, of, found in self._known:
            if of is space and its == basis and torch.equal(rows, points):
                return found
        found = space.coefficients(points, basis)
        self._known.append((points, basis, space, found))
        return found


def _applied(functional: Functional, weights: Tensor, functions: Tensor) -> Tensor:
    """(n_i, k), of weights [S, n] of one field and functions [S, n, k] at the places of the errors."""
    return torch.einsum("sn,snk->nk", weights, functions).unflatten(0, (len(functional.start), -1)).sum(1)


def _scaled(
    by: Linearizer, spans: Mapping[str, slice], raw: Tensor, start: Tensor, found: Mapping[str, Functional], field: Field
) -> Linearized:
    space, spaces = by.space, by.spaces
    N, fields = space.size, len(spaces)
    width = fields * N
    smooth = raw[:, :width].unflatten(1, (fields, N))[:, :, : len(space.powers)]  # others may be infinite at a corner
    gains = torch.stack([smooth[s].square().sum(2).mean(0).sqrt() for s in spans.values()])  # (conditions, fields)
    unit = _units(gains)
    response = (gains * unit).square().sum(1).sqrt()
    rows = {name: float(1 / r) if r > 0 else 0.0 for name, r in zip(spans, response, strict=True)}
    factor = torch.cat([raw.new_full((s.stop - s.start,), rows[name] / (s.stop - s.start) ** 0.5) for name, s in spans.items()])
    factor *= by.weights
    A, e = factor[:, None] * raw, factor * start
    A[:, :width] *= unit.repeat_interleave(N)
    largest = [A[s, width:].square().sum(0).sqrt() for s in spans.values()]
    most = torch.stack(largest).amax(0) if raw.shape[1] > width else raw.new_zeros(0)
    coefficients = torch.where(most > 0, 1 / most.clamp_min(1e-300), 0)
    A[:, width:] *= coefficients
    return Linearized(space, spaces, spans, by.points, A, e, unit, coefficients, rows, factor, raw, start, found, field)


def _units(gains: Tensor) -> Tensor:
    """Of each field, so that conditions respond about alike to all of their fields: log gain_if + row_i + unit_f is least.

    Least squares in logarithms do not depend on the units that the fields had (Curtis & Reid 1972, J. Inst. Maths
    Applics 10:118).
    """
    conditions, fields = gains.shape
    there = (gains > _BALANCE_FLOOR * gains.amax(1, keepdim=True)).nonzero()
    if not len(there):
        return gains.new_ones(fields)
    M = gains.new_zeros(len(there), conditions + fields)
    k = torch.arange(len(there))
    M[k, there[:, 0]] = 1
    M[k, conditions + there[:, 1]] = 1
    logarithms = gains[there[:, 0], there[:, 1]].log()
    return torch.linalg.lstsq(M, -logarithms, driver="gelsd").solution[conditions:].exp()


def differentiable(problem: Problem, space: TrialSpace) -> bool:
    """Whether the known solution's gradient by autograd is that of its values: not through numpy, nor past a detach."""
    domain = problem.domain
    rng = sampling.generator(0, "trial", "gradient")
    if domain.is_box:
        x = torch.as_tensor(domain.low + (domain.high - domain.low) * (0.1 + 0.8 * rng.random((20, domain.dimension))))
    else:
        x = torch.as_tensor(domain.sample(20, "uniform", rng))
    v = (space.high - space.low) * torch.as_tensor(rng.standard_normal(domain.dimension))
    h = 1e-6
    try:
        with torch.enable_grad():
            leaf = x.clone().requires_grad_()
            values = problem.exact_values(leaf)
            slopes = [
                torch.autograd.grad(column.sum(), leaf, retain_graph=True, materialize_grads=True, allow_unused=True)[0] @ v
                for column in values.unbind(1)
                if column.requires_grad
            ]
        constant = [k for k, column in enumerate(values.unbind(1)) if not column.requires_grad]
        values = values.detach()
        with torch.no_grad():
            secants = (problem.exact_values(x + h * v) - problem.exact_values(x - h * v)) / (2 * h)
    except (RuntimeError, ValueError, TypeError):
        return False
    if any(float(secants[:, k].abs().max()) > 1e-6 * float(values[:, k].abs().max()) for k in constant):
        return False
    moving = [k for k in range(values.shape[1]) if k not in constant]
    return all(
        float((slope - secants[:, k]).abs().median())
        <= 1e-3 * float(secants[:, k].abs().median()) + 1e-9 * float(values[:, k].abs().max())
        for k, slope in zip(moving, slopes, strict=True)
    )
