"""The Jacobian of the scaled errors, from the factors of the kernel engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk._util.threads import of_kernel, threads_for
from pinntk.nn._constraint import met_by
from pinntk.ntk import Factors, gram, trained_parameters
from pinntk.ntk._assemble import device_of
from pinntk.ntk._blocks import Weights, check_point_weights, check_weights
from pinntk.ntk._factors import coefficient_key, compute_factors
from pinntk.ntk._finite import check_rows
from pinntk.ntk._gram import explicit_panels
from pinntk.ntk._rounding import without_vanishing
from pinntk.ntk._sharded import sharded_traces
from pinntk.ntk.graph import size_of
from pinntk.problem import Points, Problem
from pinntk.residuals import NonFiniteError, errors
from pinntk.residuals._values import SQUARE, check_finite
from pinntk.weighting import NTK


def scale(weight: float | Tensor, n: int, device: torch.device) -> Tensor:
    """sqrt(lambda_i g / n_i) (n_i,): scaled by it, the errors r have |r|^2 = sum_i lambda_i mean(g e_i^2), the loss."""
    return (torch.as_tensor(weight, dtype=torch.float64, device=device) / n).sqrt().expand(n)


def scaled_errors(network: nn.Module, problem: Problem, points: Points, weights: Weights) -> Tensor:
    """r, (n,), in float64, conditions one after the other.

    Of several processes each evaluates its share of the points, and all get r.

    weights: lambda_i by condition, or lambda_i g (n_i,) with point weights g
    """
    share = distributed.own_rows(points)
    with torch.no_grad():
        here = errors(network, problem, share) if share else {}
    sizes = {name: len(rows) for name, rows in points.items()}
    found = distributed.unshard(here, sizes, next(iter(points.values())).device)
    return torch.cat([scale(weights[name], len(e), e.device) * e for name, e in found.items()])


def check_start(network: nn.Module, problem: Problem, points: Points, r: Tensor) -> None:
    """Raises `NonFiniteError`, naming condition and points, where the errors that a step starts from are NaN or infinite."""
    pieces = r.split([len(rows) for rows in points.values()])
    check_finite(network, problem, points, dict(zip(points, pieces, strict=True)))
    check_finite(network, problem, points, {name: e.square() for name, e in zip(points, pieces, strict=True)}, SQUARE)


def losses_by_condition(
    network: nn.Module,
    problem: Problem,
    points: Points,
    r: Tensor,
    weights: Mapping[str, float],
    point_weights: Points | None = None,
) -> dict[str, float]:
    """mean(g e_i^2) of every condition, from r; from errors computed anew where lambda_i is 0, so that r does not know them."""
    pieces = dict(zip(points, r.split([len(rows) for rows in points.values()]), strict=True))
    left_out = {name: points[name] for name, weight in weights.items() if not weight}
    if left_out:
        ones = {name: (point_weights or {}).get(name, 1.0) for name in left_out}
        anew = scaled_errors(network, problem, left_out, ones).split([len(rows) for rows in left_out.values()])
        pieces |= zip(left_out, anew, strict=True)
    return {name: float(piece @ piece) / (weights[name] or 1.0) for name, piece in pieces.items()}


def ntk_weights(network: nn.Module, problem: Problem, points: Points, point_weights: Points | None = None) -> dict[str, float]:
    """NTK weights from exact traces on checked points, with sum 1; a condition that is met by construction has part in it."""
    counts = {name: len(rows) for name, rows in points.items()}
    trained = {name: rows for name, rows in points.items() if name not in met_by(network)}
    weighed = {name: g[distributed.span(len(g))] for name, g in (point_weights or {}).items() if name in trained}
    found = dict.fromkeys(points, 1.0)
    if trained:
        traces = sharded_traces(network, problem, trained, weighed)
        found |= NTK().rule(without_vanishing(network, problem, trained, traces), counts)
    total = sum(found.values())
    return {name: weight / total for name, weight in found.items()}


def loss_weights(
    weights: Mapping[str, float] | None, network: nn.Module, problem: Problem, points: Points, point_weights: Points | None
) -> tuple[dict[str, float], Weights]:
    """lambda_i, NTK weights if `weights` is None; and lambda_i, or lambda_i g (n_i,) where a condition has point weights g.
    Raises ValueError for weights that do not fit.
    """
    point_weights = point_weights or {}
    if unknown := set(point_weights) - set(points):
        raise ValueError(f"point weights for {sorted(unknown)}: there are no such conditions here, only {tuple(points)}")
    for name, g in point_weights.items():
        check_point_weights(name, g, len(points[name]))
    given = {name: g.to(points[name].device, torch.float64) for name, g in point_weights.items()}
    found = ntk_weights(network, problem, points, given) if weights is None else dict(weights)
    check_weights(found, tuple(points))
    return found, {name: weight * given[name] if name in given else weight for name, weight in found.items()}


def _in_units(part: Factors, scales: Mapping[str, float]) -> Factors:
    """J with the columns of some coefficients times their scales."""
    scaled = {key: size * part.explicit(key) for key, size in scales.items() if part.has(key)}
    outers = {key: outer for key, outer in part.outers.items() if key not in scaled}
    return replace(part, outers=outers, rows={**part.rows, **scaled})


class ScaledJacobian:
    """A = dr / dtheta, (n, p), factored; explicit only where `matrix` is asked for. Float64.

    weights: as for `scaled_errors`
    coefficient_scales: {coefficient: s}: the column of the derivative in c / s
    spread: of several processes (torchrun) each has the rows of its share of the points; else each has them all. Products
        take and give whole vectors in all of them

    Rows are ordered by condition, as in `points`; columns as in `pinntk.trained_parameters`. Raises NonFiniteError
    for rows that are NaN or infinite.
    """

    def __init__(
        self,
        network: nn.Module,
        problem: Problem,
        points: Points,
        weights: Weights,
        coefficient_scales: Mapping[str, float] = MappingProxyType({}),
        spread: bool = False,
    ):
        self.spread = spread and distributed.world() > 1
        share = distributed.own_rows(points) if self.spread else {name: rows for name, rows in points.items() if len(rows)}
        by_key = {coefficient_key(name): size for name, size in coefficient_scales.items()}
        self.places: list[slice] = []  # of the rows that this process has
        self._parts: list[tuple[Tensor, Factors]] = []
        with distributed.together(NonFiniteError):
            found = compute_factors(network, problem, share) if share else {}
            first = 0
            for name, rows in points.items():
                if name in found:
                    own = distributed.span(len(rows)) if self.spread else slice(0, len(rows))
                    part = found[name]
                    check_rows(network, problem, {name: share[name]}, {name: part}, own.start)
                    part = _in_units(part, by_key) if by_key else part
                    self.places.append(slice(first + own.start, first + own.stop))
                    self._parts.append((scale(weights[name], len(rows), part.device)[own].unsqueeze(1), part))
                first += len(rows)
        self._work = of_kernel(network, problem, points)
        self._zero = torch.zeros(0, dtype=torch.float64, device=device_of(network))
        self.n = first
        self.p = sum(size_of(parameter) for parameter in trained_parameters(network, problem).values())

    def own(self, v: Tensor) -> Tensor:
        """The entries of v, (n,), in the rows that this process has."""
        return torch.cat([self._zero, *(v[place] for place in self.places)]) if self.spread else v

    def _whole(self, own: Tensor) -> Tensor:
        """The reverse: (n,), of all processes."""
        if not self.spread:
            return own
        v = self._zero.new_zeros(self.n)
        for place, part in zip(self.places, own.split([place.stop - place.start for place in self.places]), strict=True):
            v[place] = part
        return distributed.all_sum(v)

    @cached_property
    def matrix(self) -> Tensor:
        """(n, p), or the rows of it that this process has."""
        return torch.cat([self._zero.new_zeros(0, self.p), *(scale * part.matrix() for scale, part in self._parts)])

    def kernel(self) -> Tensor:
        """A A^T, (n, n), from the factors; not with `spread`. Each process computes a part of the lower triangle."""
        assert not self.spread
        K = self._zero.new_zeros(self.n, self.n)
        with threads_for(self._work):
            for i, (scale, left) in enumerate(self._parts):
                for j, (other, right) in enumerate(self._parts[:i]):
                    rows = distributed.span(left.n)
                    place = slice(self.places[i].start + rows.start, self.places[i].start + rows.stop)
                    K[place, self.places[j]] = scale[rows] * gram(left.of_points(rows), right) * other.T
                self._add_diagonal_block(K[self.places[i], self.places[i]], scale, left)
        return distributed.all_sum(K).tril_().add_(K.tril(-1).T)

    def _add_diagonal_block(self, K: Tensor, scale: Tensor, part: Factors) -> None:
        """This process's part of the lower triangle of a condition's block: rows of about the same area."""
        first, last = (round(part.n * ((distributed.rank() + k) / distributed.world()) ** 0.5) for k in (0, 1))
        if first == 0:
            first_rows = part if last == part.n else part.of_points(slice(0, last))
            K[:last, :last] = scale[:last] * gram(first_rows, first_rows) * scale[:last].T
        elif first < last:
            rows = slice(first, last)
            K[rows, :last] = scale[rows] * gram(part.of_points(rows), part.of_points(slice(0, last))) * scale[:last].T

    def kernel_diagonal(self) -> Tensor:
        """The diagonal of A A^T, (n,), from the factors; not with `spread`."""
        return torch.cat([scale.squeeze(1).square() * part.diagonal for scale, part in self._parts])

    def kernel_columns(self, index: Tensor) -> Tensor:
        """Columns of A A^T, (n, k), by their numbers (k,), from the factors; not with `spread`."""
        columns = torch.empty(self.n, len(index), dtype=torch.float64, device=index.device)
        start = 0
        with threads_for(self._work):
            for scale, part in self._parts:
                chosen = ((index >= start) & (index < start + part.n)).nonzero().squeeze(1)
                here = index[chosen] - start
                start += part.n
                if len(here):
                    few = part.of_points(here)
                    blocks = [other * gram(left, few) * scale[here].T for other, left in self._parts]
                    columns[:, chosen] = torch.cat(blocks)
        return columns

    def row_blocks(self, most: int) -> Iterator[Tensor]:
        """A, or the rows of it that this process has, at most so many at a time."""
        for scale, part in self._parts:
            for start in range(0, part.n, most):
                rows = slice(start, start + most)
                yield scale[rows] * part.of_points(rows).matrix()

    def column_blocks(self, most: int) -> Iterator[Tensor]:
        """A, about so many columns at a time, in an order of their own; not with `spread`."""
        parts = [part for _, part in self._parts]
        for panels in explicit_panels(parts, list(parts[0].sizes), most):
            yield torch.cat([scale * panel for (scale, _), panel in zip(self._parts, panels, strict=True)])

    def matvec(self, d: Tensor) -> Tensor:
        """A d, (p,) -> (n,)."""
        if "matrix" in self.__dict__:
            return self._whole(self.matrix @ d)
        return self._whole(
            torch.cat([self._zero, *(scale.squeeze(1) * part.matmat(d.unsqueeze(1)).squeeze(1) for scale, part in self._parts)])
        )

    def rmatvec(self, v: Tensor) -> Tensor:
        """A^T v, (n,) -> (p,)."""
        if "matrix" in self.__dict__:
            total = self.matrix.T @ self.own(v)
        else:
            total = self._zero.new_zeros(self.p)
            for place, (scale, part) in zip(self.places, self._parts, strict=True):
                total += part.rmatmat(scale * v[place].unsqueeze(1)).squeeze(1)
        return distributed.all_sum(total) if self.spread else total
