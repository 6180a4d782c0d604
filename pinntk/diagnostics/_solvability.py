"""Whether linear conditions determine a function, and whether they contradict each other: measured on trial functions."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from pinntk.diagnostics._linearized import Linearized

TOLERANCE, FINER = 1e-6, 1e-8  # of the conditions, relative: between them the rate is taken
_EASY = 1e-3  # the same, of a step that mends a condition: what needs a larger one, per error, does not mend it
_RANK = 1e-9  # of the largest singular value: below it, a direction is not used to fit


@dataclass(frozen=True, eq=False)
class Open:
    """What conditions leave open of fields and coefficients.

    share: (fields,) rms posterior over prior standard deviation of each field, given errors below FINER; 0 to 1
    rate: (fields,) by which power of the tolerance it falls: 1 where errors in u are in proportion, 0 where u is open
    flat: (fields,) the share of that variance in functions that are constant in all coordinates but time
    coefficients: (q,) posterior over prior standard deviation, and coefficient_rate: (q,)
    covariance: (M, M) of theta, given FINER
    """

    share: Tensor
    rate: Tensor
    flat: Tensor
    coefficients: Tensor
    coefficient_rate: Tensor
    covariance: Tensor


class Decomposed:
    """The singular values of A, from which everything is read."""

    def __init__(self, linearized: Linearized, columns: Tensor | None = None, rows: Tensor | None = None):
        A, e = linearized.A, linearized.e
        A, e = (A, e) if rows is None else (A[rows], e[rows])
        self.A, self.e = (A if columns is None else A[:, columns]), e
        Q, R = torch.linalg.qr(self.A)
        U, self.s, self.Vh = torch.linalg.svd(R, full_matrices=True)
        k = len(self.s)
        self._left = Q @ U[:, :k]
        self._projected = self._left.T @ e

    def step(self) -> Tensor:
        """The theta of least norm that leaves the least squared errors."""
        k = len(self.s)
        kept = self.s > _RANK * self.s.max()
        return -self.Vh[:k].T @ torch.where(kept, self._projected / torch.where(kept, self.s, 1), 0)

    def easy_step(self, e: Tensor) -> Tensor:
        """The theta that takes most of the errors e away without going far."""
        k = len(self.s)
        return -self.Vh[:k].T @ (self.s / (self.s.square() + _EASY**2) * (self._left.T @ e))

    def remaining(self) -> Tensor:
        """The errors after that step, (n,)."""
        return self.e + self.A @ self.step()

    def variance(self, tolerance: float) -> Tensor:
        """Of theta along each right singular vector, given errors below `tolerance`."""
        s = torch.cat([self.s, self.s.new_zeros(len(self.Vh) - len(self.s))])
        return tolerance**2 / (s.square() + tolerance**2)


def openness(found: Decomposed, linearized: Linearized, spatial: list[int]) -> Open:
    """What the conditions leave open."""
    space, fields = linearized.space, len(linearized.fields)
    N = space.size
    squares = found.Vh.square().T
    coarse, fine = (squares @ found.variance(tolerance) for tolerance in (TOLERANCE, FINER))
    weight = space.deviations.square()
    flat = (space.powers[:, spatial] == 0).all(1)

    def share(diagonal: Tensor) -> Tensor:
        return ((diagonal[: fields * N].view(fields, N) * weight).sum(1) / weight.sum()).sqrt()

    by_field = fine[: fields * N].view(fields, N) * weight
    C = (found.Vh.T * found.variance(FINER)) @ found.Vh
    return Open(
        share=share(fine),
        rate=_rate(share(coarse), share(fine)),
        flat=by_field[:, flat].sum(1) / by_field.sum(1),
        coefficients=fine[fields * N :].sqrt(),
        coefficient_rate=_rate(coarse[fields * N :].sqrt(), fine[fields * N :].sqrt()),
        covariance=C,
    )


def _rate(coarse: Tensor, fine: Tensor) -> Tensor:
    return (coarse / fine).log() / log(TOLERANCE / FINER)


@dataclass(frozen=True, eq=False)
class Contradiction:
    """Errors that no trial function removes.

    remaining: their rms over that of the errors of the best constants, all conditions with one vote; 0 where there is a solution
    coarser: the same for half of the degree; about as large where more functions do not help
    alone: the largest share of a single condition where it is all that is asked for, over `remaining`
    smooth: the share of the remaining squared errors in functions of half the degree: near 1 where they are seen well
    parts: {condition: its share of the remaining squared errors}
    errors: (n,) what remains
    """

    remaining: float
    coarser: float
    alone: float
    smooth: float
    parts: dict[str, float]
    errors: Tensor


def contradiction(found: Decomposed, linearized: Linearized, least: float) -> Contradiction:
    """What remains; `coarser`, `alone` and `smooth` are 0, 0 and 1 where that is below `least` anyway."""
    y = found.remaining()
    base = _base(linearized)
    remaining = _over(float(y.norm()), base)
    square = float(y.square().sum())
    parts = {name: _over(float(y[s].square().sum()), square) for name, s in linearized.spans.items()}
    if not remaining > least:
        return Contradiction(remaining, 0.0, 0.0, 1.0, parts, y)
    coarse = Decomposed(linearized, _columns(linearized, linearized.space.degree // 2)).remaining()
    alone = 0.0
    for s in linearized.spans.values():
        alone = max(alone, float(Decomposed(linearized, rows=_rows_of(linearized, s)).remaining().norm()))
    smooth = sum(float(_smooth_part(linearized, name, y).square().sum()) for name in linearized.spans)
    return Contradiction(
        remaining, _over(float(coarse.norm()), base), _over(alone, float(y.norm())), _over(smooth, square), parts, y
    )


def without(linearized: Linearized, name: str) -> float:
    """What remains of the errors where one condition is left out, as `Contradiction.remaining`."""
    kept = torch.ones(len(linearized.e), dtype=torch.bool)
    kept[linearized.spans[name]] = False
    return _over(float(Decomposed(linearized, rows=kept).remaining().norm()), _base(linearized))


def _base(linearized: Linearized) -> float:
    return float(Decomposed(linearized, _columns(linearized, 0)).remaining().norm())


def _columns(linearized: Linearized, degree: int) -> Tensor:
    """Of trial functions up to that degree, and of the coefficients."""
    q = len(linearized.coefficients)
    return torch.cat([linearized.space.upto(degree).repeat(len(linearized.fields)), torch.ones(q, dtype=torch.bool)])


def _rows_of(linearized: Linearized, span: slice) -> Tensor:
    kept = torch.zeros(len(linearized.e), dtype=torch.bool)
    kept[span] = True
    return kept


def _smooth_part(linearized: Linearized, name: str, y: Tensor) -> Tensor:
    """The part of one condition's remaining errors in few smooth functions of its points: a third as many as these at most."""
    space, span = linearized.space, linearized.spans[name]
    points = linearized.points[name][:, : space.powers.shape[1]]
    order = space.powers.sum(1).argsort(stable=True)
    order = order[space.upto(space.degree // 2)[order]]
    values = space.values(points)[:, order]
    values = values[:, : max(len(points) // 3, 1)] if len(points) < 3 * values.shape[1] else values
    U, s, _ = torch.linalg.svd(values / space.deviations[order][: values.shape[1]], full_matrices=False)
    U = U[:, s > 1e-8 * s[0]]
    return U @ (U.T @ y[span])


def _over(above: float, below: float) -> float:
    return above / below if below else 0.0
