"""What a problem's conditions say by themselves, whoever trains on them: measured on trial functions, without a network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from math import inf

import numpy as np
import torch
from torch import Tensor

from pinntk.diagnostics._linearized import Field, Linearized, Linearizer, differentiable
from pinntk.diagnostics._solvability import Contradiction, Decomposed, Open, contradiction, openness, without
from pinntk.diagnostics._thresholds import THRESHOLDS, above, below
from pinntk.diagnostics._trial import MOST_FUNCTIONS, TrialSpace, trial_space
from pinntk.diagnostics._trial_points import points_inside
from pinntk.geometry import _sampling as sampling
from pinntk.ntk.infinite._functional import Exact
from pinntk.problem import Faces, Integral, Measurements, PeriodicPair, Problem
from pinntk.problem._time import time_axis
from pinntk.residuals import errors
from pinntk.residuals._conditions import OperatorError
from pinntk.residuals._fields import Zero

_LINE, _PLANE = (0.1, 0.01, 0.001), (0.3, 0.1)  # shares of the time: of ordinary equations; of others, whose walls must be felt
_SHARES = (1.0, 0.5, 0.25, 0.1, 0.03)  # of the step from zero
_ROUNDING = 1e-6  # of the errors at zero, below which a step has met the conditions
_RANDOM = 2  # smooth random functions about which what is not linear is linearized
_RANDOM_DEGREE = 3  # of these: what conditions leave open about them is smooth as well
_SPREAD = 0.5  # of their distance from the first approximation, in sizes of the fields
_VALUES = 2000  # points on which the known solution is fitted
_FITTED = 1e-5  # relative error up to which derivatives of that fit are those of the solution
_ROUGHLY = 0.1  # the same, for a function to linearize about
_GENUINE = 0.1  # relative difference of an error in single and in double precision: above it, the error is rounding


@dataclass(frozen=True, eq=False)
class Freedom:
    """What is left open in every linearization, fields or coefficients by their numbers; `seen` is where that is least.

    early: whether it was seen on a short part of the time only, on which everything is nearly constant
    """

    open: tuple[int, ...]
    seen: Open | None
    early: bool = False


class Statement:
    """A problem's conditions, of those `names`, on the trial functions of its domain.

    Of foreign conditions nothing is known, so that where there are any (`foreign`), nothing is said of what the others leave
    open, nor of zero; what these contradict is contradicted all the same.

    Conditions that are not linear in the fields are linearized about the known solution, zero, a first approximation and random
    functions, and something is wrong only if it is so about each of them. time: as `Linearizer` has it;
    space: the trial functions of the whole domain, where they are known, or else at most so many `functions` are made
    """

    def __init__(
        self,
        problem: Problem,
        names: Sequence[str] | None = None,
        time: tuple[int, float, float] | None = None,
        functions: int = MOST_FUNCTIONS,
        space: TrialSpace | None = None,
    ) -> None:
        self.problem, self.time = problem, time
        asked = tuple(problem.names if names is None else names)
        self.foreign = tuple(name for name in asked if name in problem.foreign)
        self.names = tuple(name for name in asked if name not in self.foreign)
        self.space = _shrunk(space or trial_space(problem.domain, len(problem.fields), functions), time)
        self.linearizer = Linearizer(problem, self.names, self.space, time)
        self._made: list[Linearized] = []
        self._about_first: Linearized | None = None
        self._drawn: dict[int, Linearized | None] = {}
        self._maker = self._functions()

    # Functions to linearize about.

    @cached_property
    def zero(self) -> Linearized | None:
        if not self.names:
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
        theta, enough = self._theta(self.zero, step), _ROUNDING * float(self.zero.e.norm())
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
    def _at_zero(self) -> Tensor | None:
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

    def views(self) -> Iterator[Linearized]:
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
        if not self.names:
            return
        if self.linear and self.zero is not None:
            yield self.zero
            return
        yield from self._solutions()
        yield from filter(None, map(self._about_random, range(_RANDOM)))
        if self.zero is not None and not len(self.problem.coefficients):  # a coefficient of u has no effect at zero
            yield self.zero

    def _solutions(self) -> Iterator[Linearized]:
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

    def _theta(self, view: Linearized, step: Tensor) -> Tensor:
        """Coefficients (N, fields) in the fields' own units."""
        fields = len(view.fields)
        return (step[: fields * self.space.size].view(fields, -1) * view.fields[:, None]).T

    # What is measured.

    @cached_property
    def independent(self) -> tuple[str, ...]:
        """Conditions whose errors no field and no coefficient changes."""
        left = set(self.names if self.defined else ())
        for view in chain([] if self.zero is None else [self.zero], self.views()):
            left -= {name for name in left if bool(view.raw[view.spans[name]].any())}
            if not left:
                break
        return tuple(name for name in self.names if name in left)

    @property
    def defined(self) -> bool:
        """Whether the errors are finite of any function; where they are not, nothing is known of them."""
        return self.zero is not None or next(self.views(), None) is not None

    @cached_property
    def homogeneous(self) -> bool:
        """Whether zero meets every condition, to the rounding of its own size: what is smaller in double than in single
        precision is rounding, of whatever size; a charge of 1e-19 is not.
        """
        if self.zero is None or self.foreign:
            return False
        nothing = Zero(len(self.problem.fields))
        single = {name: rows.float() for name, rows in self.linearizer.points.items()}
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            coarse = errors(nothing, self.problem, single)
        for name, s in self.zero.spans.items():
            e = self.zero.start[s]
            if bool(e.any()) and float((coarse[name].double() - e).norm()) < _GENUINE * float(e.norm()):
                return False
        return True

    @cached_property
    def freedom(self) -> Freedom:
        """Which fields the conditions leave open, about every function, with coefficients as they are."""
        if self.foreign:
            return Freedom((), None)
        left = set(range(len(self.problem.fields)))
        seen: Open | None = None
        for view in self.views():
            found = openness(view, self._spatial, coefficients=False)
            left &= self._open(found, found.fields)
            seen = found if seen is None or found.fall > seen.fall else seen
            if not left:
                break
        for part in reversed(self.early if seen is not None else ()):  # the shortest first
            early = part.freedom
            if early.open:  # late, the functions that are open may not be smooth
                return replace(early, early=True) if not left else Freedom(tuple(sorted(left)), seen)
            if early.seen is not None and above("determined-fall", early.seen.fall):
                return Freedom((), seen)  # what is open late has grown from rounding
        return Freedom(tuple(sorted(left)), seen)

    @cached_property
    def coefficient_freedom(self) -> Freedom:
        """Which coefficients are open about a solution on which they have an effect, the known one if there is one. Functions
        that satisfy no condition do not tell, since what would make up for a change is not smooth in corners.
        """
        if self.foreign:
            return Freedom((), None)
        left, found, last = set(range(len(self.problem.coefficients))), set[int](), None
        for view in chain(self._solutions(), self.views()) if left else ():
            effective = {k for k in left if float(view.coefficients[k]) > 0}
            seen = openness(view, self._spatial, coefficients=True)
            if now := effective & self._open(seen, seen.coefficients):
                found, last = found | now, seen
            left -= effective
            if not left:
                break
        return Freedom(tuple(sorted(found | left)), last)

    def _open(self, found: Open, squares: Tensor) -> set[int]:
        """Numbers of the fields, or coefficients, that are open if anything is."""
        measured = any(isinstance(self.problem[name].region, Measurements) for name in self.names)
        if not below("open-fall", found.fall) or (measured and not below("open-between", found.coarser)):
            return set()
        return {k for k, square in enumerate(squares.tolist()) if above("open-share", square)}

    @property
    def _spatial(self) -> list[int]:
        return list(self.problem.domain.space) or list(range(self.problem.domain.dimension))

    @cached_property
    def early(self) -> tuple[Statement, ...]:
        """The same on short parts of the time from its start, where what grows fast has not grown yet; none where conditions
        hold at other times than the start.
        """
        axis, backward = time_axis(self.problem)
        if axis is None or self.time is not None:
            return ()
        start = self.problem.domain.bounds[axis][backward]
        for name in self.names:
            region = self.problem[name].region
            if isinstance(region, (Measurements, Integral)) or (isinstance(region, PeriodicPair) and region.axis == axis):
                return ()
            if isinstance(region, Faces) and any(dict(piece).get(axis, start) != start for piece in region.pieces):
                return ()
        shares = _LINE if self.problem.domain.dimension == 1 else _PLANE
        return tuple(Statement(self.problem, self.names, (axis, start, share), space=self.space) for share in shares)

    @cached_property
    def contradiction(self) -> tuple[Contradiction, Linearized] | None:
        """What no function removes of the errors, where that is so about every function; None where there may be a solution."""
        least: tuple[Contradiction, Linearized] | None = None
        if not self.space.complete:
            return None
        for view in self.views():
            found = contradiction(Decomposed(view), view, self._at_zero, THRESHOLDS["contradiction"].value)
            if not _contradicts(found):
                return None
            if least is None or found.remaining < least[0].remaining:
                least = found, view
        if least is not None and any(part.contradiction is None for part in self.early):
            return None
        return least

    def contradicting(self) -> tuple[str, ...]:
        """The conditions without any one of which the others could be met."""
        if self.contradiction is None:
            return ()
        found, view = self.contradiction
        return tuple(
            name for name in self.names if len(self.names) > 1 and without(view, self._at_zero, name) < 0.5 * found.remaining
        )

    @cached_property
    def violation(self) -> dict[str, float] | None:
        """{condition: the step of the fields that mends the known solution's errors in it, over the solution}; None without
        a known solution whose derivatives are known.
        """
        if not self.names or self.problem.exact is None or len(self.problem.coefficients) or self.known is None:
            return None
        view = self._about_exact()
        if view is None:
            return None
        theta, weight = self.known[0], self.space.deviations[:, None]
        size = (theta * weight).square().sum(0).sqrt()
        size = torch.maximum(size, 1e-3 * (size / view.fields).max() * view.fields)
        found, steps = Decomposed(view), {}
        for name, s in view.spans.items():
            only = torch.zeros_like(view.e)
            only[s] = view.e[s]
            step = self._theta(view, found.easy_step(only)) * weight
            steps[name] = float((step.square().sum(0).sqrt() / size.clamp_min(1e-300)).max())
        return steps

    def _about_exact(self) -> Linearized | None:
        """About the known solution: by autograd where torch knows its derivatives, else by those of its fit if it is close."""
        if differentiable(self.problem, self.space):
            try:
                return self._at(Exact(self.problem))
            except (RuntimeError, ValueError, TypeError, OperatorError):
                return None
        assert self.known is not None
        return self._at(self._field(self.known[0])) if self.known[1] < _FITTED else None


def _shrunk(space: TrialSpace, time: tuple[int, float, float] | None) -> TrialSpace:
    if time is None:
        return space
    axis, start, fraction = time
    ends = [start + fraction * (float(bound[axis]) - start) for bound in (space.low, space.high)]
    low, high = space.low.clone(), space.high.clone()
    low[axis], high[axis] = ends
    return replace(space, low=low, high=high)


def _contradicts(found: Contradiction) -> bool:
    return (
        above("contradiction", found.remaining)
        and above("contradiction-stays", found.remaining / max(found.coarser, 1e-300))
        and below("contradiction-alone", found.alone)
        and above("contradiction-smooth", found.smooth)
    )
