"""What a problem's conditions say by themselves, whoever trains on them: measured on trial functions, without a network."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor

from pinntk.diagnostics._linearized import Linearized, Linearizer
from pinntk.diagnostics._outside import Potentials
from pinntk.diagnostics._solvability import Contradiction, Decomposed, Open, contradiction, openness, unfollowed, without
from pinntk.diagnostics._thresholds import THRESHOLDS, above, below
from pinntk.diagnostics._trial import MOST_FUNCTIONS, TrialSpace, trial_space
from pinntk.diagnostics._views import Views
from pinntk.problem import Faces, Integral, Measurements, PeriodicPair, Problem
from pinntk.problem._time import time_axis
from pinntk.residuals import errors
from pinntk.residuals._fields import Zero

_LINE, _PLANE = (0.1, 0.01, 0.001), (0.3, 0.1)  # shares of the time: of ordinary equations; of others, whose walls must be felt
_GENUINE = 0.1  # relative difference of an error in single and in double precision: above it, the error is rounding


@dataclass(frozen=True, eq=False)
class Freedom:
    """What is left open in every linearization, fields or coefficients by their numbers; `seen` is where that is least.

    early: whether it was seen on a short part of the time only, on which everything is nearly constant
    missed: whether something seemed open on the points of the conditions only
    """

    open: tuple[int, ...]
    seen: Open | None
    early: bool = False
    missed: bool = False


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
        self.views = Views(self.linearizer, time)

    @cached_property
    def independent(self) -> tuple[str, ...]:
        """Conditions whose errors no field and no coefficient changes."""
        left = set(self.names if self.defined else ())
        for view in chain([] if self.views.zero is None else [self.views.zero], self.views):
            left -= {name for name in left if bool(view.raw[view.spans[name]].any())}
            if not left:
                break
        return tuple(name for name in self.names if name in left)

    @property
    def defined(self) -> bool:
        """Whether the errors are finite of any function; where they are not, nothing is known of them."""
        return self.views.zero is not None or next(iter(self.views), None) is not None

    @cached_property
    def homogeneous(self) -> bool:
        """Whether zero meets every condition, to the rounding of its own size: what is smaller in double than in single
        precision is rounding, of whatever size; a charge of 1e-19 is not.
        """
        if self.views.zero is None or self.foreign:
            return False
        nothing = Zero(len(self.problem.fields))
        single = {name: rows.float() for name, rows in self.linearizer.points.items()}
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            coarse = errors(nothing, self.problem, single)
        for name, s in self.views.zero.spans.items():
            e = self.views.zero.start[s]
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
        for view in self.views:
            found = openness(view, self._spatial, coefficients=False)
            left &= self._open(found, found.fields)
            if seen is None or found.fall > seen.fall:
                seen, about = found, view
            if not left:
                break
        if seen is not None and left and not self._open_elsewhere(seen, about):
            return Freedom((), seen, missed=True)
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
        for view in chain(self.views.solutions(), self.views) if left else ():
            effective = {k for k in left if float(view.coefficients[k]) > 0}
            seen = openness(view, self._spatial, coefficients=True)
            if now := effective & self._open(seen, seen.coefficients):
                found, last = found | now, seen
            left -= effective
            if not left:
                break
        return Freedom(tuple(sorted(found | left)), last)

    def _open_elsewhere(self, seen: Open, about: Linearized) -> bool:
        """Whether the function that the conditions leave most open has small errors on other points as well: on a shape that
        trial functions do not follow, the points may miss what some of them do.
        """
        other = Linearizer(self.problem, self.names, self.space, self.time, draw=1).at(about.field)
        if other is None:
            return True
        theta = seen.functions[:, 0] / self.space.deviations.repeat(len(other.spaces))
        return below("open-elsewhere", float((other.A[:, : len(theta)] @ theta).norm()))

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

    @property
    def contradiction(self) -> tuple[Contradiction, Linearized] | None:
        """What no function removes of the errors, where that is so about every function; None where there may be a solution."""
        return None if self.untold else self._left

    @cached_property
    def untold(self) -> bool:
        """Whether trial functions leave errors, but leave enough for a contradiction of problems that have a solution as well:
        a potential of charges outside of the shape.
        """
        if self._left is None:
            return False
        _, view = self._left
        return any(above("contradiction", self._unfollowed(view, field)) for field in range(len(self.problem.fields)))

    def _unfollowed(self, view: Linearized, field: int) -> float:
        domain = self.problem.where.get(self.problem.fields[field], self.problem.domain)
        if domain.is_box:
            return 0.0
        potentials = Potentials(domain.shape, domain.shape_axes)
        return unfollowed(view, view.of(potentials.coefficients, field)) if potentials.size else 0.0

    @cached_property
    def _left(self) -> tuple[Contradiction, Linearized] | None:
        """What trial functions leave, likewise."""
        least: tuple[Contradiction, Linearized] | None = None
        if not self.space.complete:
            return None
        for view in self.views:
            found = contradiction(Decomposed(view), view, self.views.errors_of_zero, THRESHOLDS["contradiction"].value)
            if not _contradicts(found):
                return None
            if least is None or found.remaining < least[0].remaining:
                least = found, view
        if least is not None and any(part._left is None for part in self.early):
            return None
        return least

    def contradicting(self) -> tuple[str, ...]:
        """The conditions without any one of which the others could be met."""
        if self.contradiction is None:
            return ()
        found, view = self.contradiction
        return tuple(
            name
            for name in self.names
            if len(self.names) > 1 and without(view, self.views.errors_of_zero, name) < 0.5 * found.remaining
        )

    @cached_property
    def violation(self) -> dict[str, float] | None:
        """{condition: the step of the fields that mends the known solution's errors in it, over the solution}; None without
        a known solution whose derivatives are known.
        """
        if not self.names or self.problem.exact is None or len(self.problem.coefficients) or self.views.known is None:
            return None
        view = self.views.about_exact()
        if view is None:
            return None
        theta, weight = self.views.known[0], self.space.deviations[:, None]
        size = (theta * weight).square().sum(0).sqrt()
        size = torch.maximum(size, 1e-3 * (size / view.fields).max() * view.fields)
        found, steps = Decomposed(view), {}
        for name, s in view.spans.items():
            only = torch.zeros_like(view.e)
            only[s] = view.e[s]
            step = self.views.theta(view, found.easy_step(only)) * weight
            steps[name] = float((step.square().sum(0).sqrt() / size.clamp_min(1e-300)).max())
        return steps


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
