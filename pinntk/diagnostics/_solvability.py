"""Whether linear conditions determine a function, and whether they contradict each other: measured on trial functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pinntk.diagnostics._linearized import Linearized
from pinntk.diagnostics._trial import TrialSpace

_EASY = 1e-3  # response of a step that mends a condition: what needs a larger one, per error, does not mend it
_NOTHING = 1e-8  # of an error: a response below it is rounding, of derivatives of a high degree
_ROUNDING = 1e-9  # of the errors at zero, or wherever: what constants leave of them is nothing
_RANK = 1e-9  # of the largest singular value: below it, a direction is not used to fit


@dataclass(frozen=True, eq=False)
class Open:
    """What conditions leave open of fields and coefficients: functions of unit size to which they hardly respond.

    response: the least error, all conditions with one vote, of a function of rms 1 (in the fields' units)
    coarser: the same for functions of half the degree: about as large where the conditions determine the fields; where they do
        not, functions of higher degree meet them exponentially better
    nothing: below it, a response is rounding
    functions: (M, k) coefficients, over those of rms 1, of the functions to which they respond that little
    fields: (fields,) the mean square of each field in these functions, (q,) of each coefficient
    flat: (fields,) the share of it in functions that are constant in all coordinates but time
    """

    response: float
    coarser: float
    nothing: float
    functions: Tensor
    fields: Tensor
    flat: Tensor
    coefficients: Tensor

    @property
    def fall(self) -> float:
        """response over coarser; 0 where rounding is all there is."""
        return self.response / self.coarser if self.response > self.nothing else 0.0


class Decomposed:
    """The singular values of A, in coefficients of smooth random functions: steps are smooth."""

    def __init__(self, linearized: Linearized, columns: Tensor | None = None, rows: Tensor | None = None):
        A, e = linearized.A, linearized.e
        A, e = (A, e) if rows is None else (A[rows], e[rows])
        self.A, self.e = (A if columns is None else A[:, columns]), e
        Q, R = torch.linalg.qr(self.A)
        U, self.s, self.Vh = torch.linalg.svd(R, full_matrices=True)
        k = len(self.s)
        self._left = Q @ U[:, :k]

    def step(self, e: Tensor) -> Tensor:
        """The theta of least norm that leaves the least of the squared errors e."""
        k = len(self.s)
        kept = self.s > _RANK * self.s.max()
        return -self.Vh[:k].T @ torch.where(kept, self._left.T @ e / torch.where(kept, self.s, 1), 0)

    def easy_step(self, e: Tensor) -> Tensor:
        """The theta that takes most of the errors e away without going far."""
        k = len(self.s)
        return -self.Vh[:k].T @ (self.s / (self.s.square() + _EASY**2) * (self._left.T @ e))

    def remaining(self) -> Tensor:
        """The errors after that step, (n,)."""
        return self.e + self.A @ self.step(self.e)


def openness(linearized: Linearized, spatial: list[int], coefficients: bool) -> Open:
    """What the conditions leave open; spatial: the axes other than time; coefficients: whether these are unknown as well."""
    space, spaces = linearized.space, linearized.spaces
    N, width = space.size, len(spaces) * space.size
    q = len(linearized.coefficients) if coefficients else 0
    A = linearized.A[:, : width + q] / torch.cat([space.deviations.repeat(len(spaces)), space.deviations.new_ones(q)])

    def over_domain(degree: int) -> tuple[Tensor, list[Tensor]]:
        """A for functions that are orthonormal over the domain, and these (N, k), of each field."""
        known = {id(one): one.orthonormal(degree) for one in spaces}
        Ts = [known[id(one)] for one in spaces]
        blocks = A[:, :width].split(N, 1)
        parts = [
            block[:, one.upto(degree)] if one.inside is None else block @ T  # on a box they are functions themselves
            for one, block, T in zip(spaces, blocks, Ts, strict=True)
        ]
        return torch.cat([*parts, A[:, width:]], 1), Ts

    all_of_them, Ts = over_domain(space.degree)
    _, s, Vh = torch.linalg.svd(torch.linalg.qr(all_of_them, mode="r")[1], full_matrices=True)
    s = torch.cat([s, s.new_zeros(len(Vh) - len(s))])
    coarse, _ = over_domain(space.degree // 2)
    few = torch.linalg.svdvals(torch.linalg.qr(coarse, mode="r")[1])
    coarser = float(few[-1]) if len(few) == coarse.shape[1] else 0.0
    response = min(float(s[-1]), coarser) if coarser else float(s[-1])  # what fewer functions do, all do
    nothing = max(_NOTHING, torch.finfo(s.dtype).eps * float(s[0]))
    least = s <= max((response * coarser) ** 0.5, nothing, float(s[-1]))
    found = Vh[least].T.flip(1)  # the least first
    *by_field, by_coefficient = found.split([*(T.shape[1] for T in Ts), len(found) - sum(T.shape[1] for T in Ts)])
    flat = space.constant_along(spatial)
    parts = zip(spaces, Ts, by_field, strict=True)
    constant = torch.stack([(_flat_part(one, T, flat).T @ part).square().mean(1).sum() for one, T, part in parts])
    squares = torch.stack([part.square().mean(1).sum() for part in by_field])
    return Open(
        response=response,
        coarser=coarser,
        nothing=nothing,
        functions=torch.cat([*(T @ part for T, part in zip(Ts, by_field, strict=True)), by_coefficient]),
        fields=squares,
        flat=constant / squares.clamp_min(1e-300),
        coefficients=by_coefficient.square().mean(1),
    )


def _flat_part(space: TrialSpace, T: Tensor, flat: Tensor) -> Tensor:
    """(k, j): of functions T (N, k) that are orthonormal over the domain, an orthonormal basis of those among `flat` (N,)."""
    if space.inside is None:
        return T[flat].T
    Q, _ = torch.linalg.qr(space.inside[:, flat])
    return (space.inside @ T).T @ Q


@dataclass(frozen=True, eq=False)
class Contradiction:
    """Errors that no trial function removes.

    remaining: their rms over that of the errors of the best constants, all conditions with one vote; 0 for a solution
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


def contradiction(found: Decomposed, linearized: Linearized, at_zero: Tensor | None, least: float) -> Contradiction:
    """What remains; `coarser`, `alone` and `smooth` are 0, 0 and 1 where that is below `least` anyway.

    at_zero: the errors (n,) of zero, in their own units, which are smaller than those of a function far from any solution
    """
    y = found.remaining()
    base = base_of(linearized, at_zero)
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


def unfollowed(linearized: Linearized, errors: Tensor) -> float:
    """Of errors (n, k) that known functions of one size remove: the most that trial functions leave of any, over the most that
    constants leave of any.
    """
    found, constants = Decomposed(linearized), Decomposed(linearized, _columns(linearized, 0))
    left, base = ([float((e + one.A @ one.step(e)).norm()) for e in errors.T] for one in (found, constants))
    return _over(max(left), max(base))


def without(linearized: Linearized, at_zero: Tensor | None, name: str) -> float:
    """What remains of the errors where one condition is left out, as `Contradiction.remaining`."""
    kept = torch.ones(len(linearized.e), dtype=torch.bool)
    kept[linearized.spans[name]] = False
    return _over(float(Decomposed(linearized, rows=kept).remaining().norm()), base_of(linearized, at_zero))


def base_of(linearized: Linearized, at_zero: Tensor | None) -> float:
    """The errors of the best constants, here or added to zero, whichever are smaller; 0 where they have none."""
    constants = Decomposed(linearized, _columns(linearized, 0))
    found = []
    for e in (linearized.e, None if at_zero is None else linearized.factor * at_zero):
        if e is not None and (size := float(e.norm())) > 0:
            base = float((e + constants.A @ constants.step(e)).norm())
            found.append(base if base > _ROUNDING * size else 0.0)
    return min(found, default=0.0)


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
    points = linearized.points[name][:, : len(space.low)]
    order = space.degrees.argsort(stable=True)
    order = order[space.upto(space.degree // 2)[order]]
    values = space.values(points)[:, order]
    values = values[:, : max(len(points) // 3, 1)] if len(points) < 3 * values.shape[1] else values
    U, s, _ = torch.linalg.svd(values / space.deviations[order][: values.shape[1]], full_matrices=False)
    U = U[:, s > 1e-8 * s[0]]
    return U @ (U.T @ y[span])


def _over(above: float, below: float) -> float:
    return above / below if below else 0.0
