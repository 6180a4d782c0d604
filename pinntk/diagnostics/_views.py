"""The functions about which conditions are linearized, one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from math import inf

import numpy as np
import torch
from torch import Tensor

from pinntk.diagnostics._linearized import Field, Linearized, Linearizer, differentiable
from pinntk.diagnostics._solvability import Decomposed
from pinntk.diagnostics._trial_points import points_inside
from pinntk.geometry import _sampling as sampling
from pinntk.ntk.infinite._functional import Exact
from pinntk.residuals._conditions import OperatorError

_SHARES = (1.0, 0.5, 0.25, 0.1, 0.03)  # of the step from zero
_ROUNDING = 1e-6  # of the errors at zero, below which a step has met the conditions
_RANDOM = 2  # smooth random functions about which what is not linear is linearized
_RANDOM_DEGREE = 3  # of these: what conditions leave open about them is smooth as well
_SPREAD = 0.5  # of their distance from the first approximation, in sizes of the fields
_VALUES = 2000  # points on which the known solution is fitted
_FITTED = 1e-5  # relative error up to which derivatives of that fit are those of the solution
_ROUGHLY = 0.1  # the same, for a function to linearize about


class Views:
    """Conditions as they are about the known solution, a first approximation, random functions and zero, each made when first
    asked for; of linear ones, about zero alone.

    time: as `Linearizer` has it
    """

    def __init__(self, linearizer: Linearizer, time: tuple[int, float, float] | None = None):
        self.linearizer, self.problem, self.space, self.time = linearizer, linearizer.problem, linearizer.space, time
        self._made: list[Linearized] = []
        self._about_first: Linearized | None = None
        self._drawn: dict[int, Linearized | None] = {}
        self._maker = self._functions()

    @cached_property
    def zero(self) -> Linearized | None:
        if not self.linearizer.names:
            return None
        return self._at(self._field(torch.zeros(self.space.size, len(self.problem.fields), dtype=torch.float64)))

    @cached_property
    def first(self) -> Tensor | None:
        """Coefficients (N, fields) of the function that satisfies the conditions best, linearized at zero: as much of it as
        leaves the least errors.
        """
        if self.zero is None:
            return None
        step = Decomposed(self.zero).easy_step(self.zero.e)
        theta, enough = self.theta(self.zero, step), _ROUNDING * float(self.zero.e.norm())
        sizes, views = {}, {}
        for share in _SHARES:
            found = views[share] = self._at(self._field(share * theta))
            left = None if found is None else self.zero.factor * found.start
            sizes[share] = inf if left is None else float(left.norm())
            if left is not None:
                expected = self.zero.e + share * (self.zero.A @ step)
                if sizes[share] < enough or float((left - expected).norm()) < enough:
                    break  # it is the solution; or as in a linear problem, so that shorter steps leave more
        best = min(sizes, key=lambda share: sizes[share])
        self._about_first = views[best]
        return best * theta

    @property
    def errors_of_zero(self) -> Tensor | None:
        return None if self.zero is None else self.zero.start

    @cached_property
    def known(self) -> tuple[Tensor, float] | None:
        """Coefficients of the known solution, and their relative error in its values; None where there is none."""
        problem = self.problem
        if not problem.has_solution or problem.slab:
            return None
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            points, values = self._solution()
        lives = problem.lives(points)
        if not np.isfinite(values[lives]).all():
            return None
        if problem.where:
            return self._fitted_apart(points, values, lives)
        Phi, u = self.space.values(torch.as_tensor(points)), torch.as_tensor(values)
        theta = torch.linalg.lstsq(Phi, u, driver="gelsd").solution
        away = (Phi @ theta - u).square().mean(0).sqrt() / u.square().mean(0).sqrt().clamp_min(1e-300)
        return theta, float(away.max())

    def _fitted_apart(self, points: np.ndarray, values: np.ndarray, lives: np.ndarray) -> tuple[Tensor, float]:
        """The same, of each field by the points where it lives."""
        parts, away = [], []
        for space, here, column in zip(self.linearizer.spaces, lives.T, values.T, strict=True):
            Phi, u = space.values(torch.as_tensor(points[here])), torch.as_tensor(column[here])
            parts.append(torch.linalg.lstsq(Phi, u[:, None], driver="gelsd").solution[:, 0])
            away.append(float((Phi @ parts[-1] - u).norm() / u.norm().clamp_min(1e-300)))
        return torch.stack(parts, 1), max(away)

    def _solution(self) -> tuple[np.ndarray, np.ndarray]:
        """(m, d) points, and the known solution there, (m, fields), of this part of the time."""
        problem, rng = self.problem, sampling.generator(0, "trial", "known")
        low, high = self.space.low.numpy(), self.space.high.numpy()
        if problem.exact is not None:
            if problem.domain.is_box:
                cube = sampling.unit_cube(_VALUES, problem.domain.dimension, "sobol", rng)
                points = low + (high - low) * (1 - np.cos(np.pi * cube)) / 2
            else:
                points, _ = points_inside(problem.domain, self.space, rng)
                if self.time is not None:
                    axis, start, fraction = self.time
                    points[:, axis] = start + fraction * (points[:, axis] - start)
            return points, problem.exact_array(points)
        points, values = problem.solution_points, problem.solution.values.reshape(-1, len(problem.fields))
        inside = np.flatnonzero(((points >= low) & (points <= high)).all(1))
        kept = inside if len(inside) <= _VALUES else rng.choice(inside, _VALUES, replace=False)
        return points[kept], values[kept]

    @cached_property
    def linear(self) -> bool:
        """Whether the conditions respond to a change of the fields alike at zero and elsewhere."""
        if self.zero is None or len(self.problem.coefficients):
            return False
        other = self._about_random(0)
        if other is None:
            return False
        apart = [(other.raw[s] - self.zero.raw[s]).abs().max() <= 1e-9 * other.raw[s].abs().max() for s in other.spans.values()]
        return all(map(bool, apart))

    def _about_random(self, seed: int) -> Linearized | None:
        """About a smooth random function near the first approximation, of the size of the fields there."""
        if seed not in self._drawn:
            self._drawn[seed] = self._at(self._field(self._random(seed)))
        return self._drawn[seed]

    def _random(self, seed: int) -> Tensor:
        N, fields = self.space.size, len(self.problem.fields)
        first = torch.zeros(N, fields, dtype=torch.float64) if self.first is None else self.first
        weight = self.space.deviations[:, None]
        rms = (first * weight).square().sum(0).sqrt()
        unit = torch.ones(fields, dtype=torch.float64) if self.zero is None else self.zero.fields
        largest = (rms / unit).max()
        size = torch.where(rms > 1e-6 * largest * unit, rms, (largest if largest > 0 else 1.0) * unit)
        theta = torch.randn(N, fields, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        theta[~self.space.upto(_RANDOM_DEGREE)] = 0
        return first + _SPREAD * size * theta

    def __iter__(self) -> Iterator[Linearized]:
        """The conditions linearized about one function after the other, each made when first asked for; of linear ones, zero
        alone.
        """
        place = 0
        while place < len(self._made) or self._make():
            yield self._made[place]
            place += 1

    def _make(self) -> bool:
        """One more; False after the last."""
        found = next(self._maker, None)
        if found is not None:
            self._made.append(found)
        return found is not None

    def _functions(self) -> Iterator[Linearized]:
        if not self.linearizer.names:
            return
        if self.linear and self.zero is not None:
            yield self.zero
            return
        yield from self.solutions()
        yield from filter(None, map(self._about_random, range(_RANDOM)))
        if self.zero is not None and not len(self.problem.coefficients):  # a coefficient of u has no effect at zero
            yield self.zero

    def solutions(self) -> Iterator[Linearized]:
        """About the known solution, and about the first approximation."""
        known = self.known
        if known is not None and known[1] < _ROUGHLY and (found := self._at(self._field(known[0]))) is not None:
            yield found
        if self.first is not None and bool(self.first.any()) and self._about_first is not None:
            yield self._about_first

    def _field(self, theta: Tensor) -> Field:
        return self.linearizer.field(theta)

    def _at(self, field: Field) -> Linearized | None:
        return self.linearizer.at(field)

    def theta(self, view: Linearized, step: Tensor) -> Tensor:
        """Coefficients (N, fields) in the fields' own units."""
        fields = len(view.fields)
        return (step[: fields * self.space.size].view(fields, -1) * view.fields[:, None]).T

    def about_exact(self) -> Linearized | None:
        """About the known solution: by autograd where torch knows its derivatives, else by those of its fit if it is close."""
        if differentiable(self.problem, self.space):
            try:
                return self._at(Exact(self.problem))
            except (RuntimeError, ValueError, TypeError, OperatorError):
                return None
        assert self.known is not None
        return self._at(self._field(self.known[0])) if self.known[1] < _FITTED else None
