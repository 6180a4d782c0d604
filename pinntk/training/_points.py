"""The points of a training: the user's own, or drawn by counts, afresh every so many steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk.problem import Points, Problem
from pinntk.problem._coordinates import check_coordinates
from pinntk.residuals._points import to_network
from pinntk.residuals._values import check_finite
from pinntk.training._config import TrainConfig
from pinntk.training._error_values import ErrorValues
from pinntk.training._losses import over_all
from pinntk.training._resampling import adapted_points
from pinntk.training._retaining import retained_points
from pinntk.weighting._point_scheme import PlaceScheme

_DRAW = 1_000_003  # between the seeds of one draw and the next
_UNSEEN = 500_009  # between the seeds of points to train on and of those to test on


class TrainingPoints:
    """Where the losses are measured now; of several processes each evaluates its share.

    all: {condition: (n, d)} in the network's dtype; share: this process's part of them, conditions without rows left out
    counts: {condition: n}
    fresh: whether the next step is the first one on them
    all_weights, weights: g (n,) of some conditions, of all points and of this process's: `all_importance`, of points drawn with
        unequal probabilities by a solver's training, times what a scheme gives their places; 1 for conditions left out
    placed: the conditions whose points have a weight by their place

    begun: the step that is the first one on them, from which steps to the next draw are counted

    Raises ValueError for points that do not fit the problem.
    """

    def __init__(self, config: TrainConfig, network: nn.Module, problem: Problem, begun: int = 0):
        self.config, self.network, self.problem = config, network, problem
        self._begun, self.fresh = begun, True
        compiled = config.compile and config.weighting.measures == "losses"  # which needs them in every step
        self._errors = ErrorValues(network, problem, compiled)
        self._counts = {} if config.fixed_points else config.counts(problem)
        self._drawn_for = 1.0, False  # growth and adapting
        drawn = problem.check(config.points) if config.fixed_points else self._draw(0, 1.0)
        self._set(drawn)
        for name, rows in drawn.items():
            check_coordinates(problem.domain, name, rows, self.all[name].dtype)

    def _set(self, points: Points, importance: Points | None = None) -> None:
        self.all = to_network(self.network, points)
        self.counts = {name: len(rows) for name, rows in self.all.items()}
        self.share = distributed.own_rows(self.all)
        like = next(iter(self.all.values()))
        self.all_importance = {} if importance is None else {name: g.to(like) for name, g in importance.items()}
        places = self.weights_at(self.all)
        self.placed = tuple(places)
        self.all_weights = product(self.all_importance, {name: g.to(like) for name, g in places.items()})
        self.weights, self._own_importance = map(distributed.own_rows, (self.all_weights, self.all_importance))

    def weights_at(self, points: Points) -> dict[str, Tensor]:
        """g of these places, (n,) in float64, for the conditions whose points are weighed by theirs."""
        scheme = self.config.point_scheme
        return scheme.at(self.problem, points) if isinstance(scheme, PlaceScheme) else {}

    @property
    def largest_share(self) -> Points:
        """Of the process that has the most."""
        return {name: rows[: distributed.largest_span(len(rows))] for name, rows in self.all.items()}

    def redraw(self, step: int, growth: float = 1.0, adapting: bool = False, hold: bool = False) -> bool:
        """Draws fresh points where they are due before this step; returns whether they were.

        growth: of their number since the first draw
        adapting: whether points of residuals fall where the errors are large
        hold: keep the points, unless `growth` or `adapting` has changed since they were drawn
        """
        if step == self._begun:
            return False
        every = self.config.resample
        self.fresh = every > 0 and ((growth, adapting) != self._drawn_for if hold else (step - self._begun) % every == 0)
        if not self.fresh:
            return False
        self._drawn_for = growth, adapting
        draw, rad, r3 = step // every, self.config.rad, self.config.r3
        if r3 is not None:
            counts = {name: n for name, n in self.problem.counts(**self._counts).items() if n is not None}
            self._set(retained_points(r3, self.network, self.problem, self.all, counts, **self._settings(draw)))
            return True
        if not adapting or rad is None:
            self._set(self._draw(draw, growth))
            return True
        wanted = {name: n for name, n in self.problem.counts(**self._grown(growth)).items() if n is not None}
        points, importance = adapted_points(rad, self.network, self.problem, wanted, **self._settings(draw))
        self._set(points, importance if self.config.solver else None)
        return True

    def others(self, step: int) -> dict[str, Tensor]:
        """As many points again, drawn evenly, that no step has seen."""
        settings = {**self._settings(step), "seed": self.config.seed + _DRAW * step + _UNSEEN}
        return to_network(self.network, self.problem.sample(self._grown(self._drawn_for[0]), **settings))

    def losses(self, points: Points) -> dict[str, float]:
        """mean(g e_i^2) of each condition on these points, with the g of their places. Raises NonFiniteError where an error is
        NaN or infinite.
        """
        found = ErrorValues(self.network, self.problem).everywhere(points)
        check_finite(self.network, self.problem, points, found)
        squares = product({name: e.square() for name, e in found.items()}, self.weights_at(points))
        return {name: float(square.mean()) for name, square in squares.items()}

    def without_places(self, names: Collection[str]) -> dict[str, Tensor]:
        """The losses of these conditions over all processes as if their places had no weights: mean(e_i^2), or, of points drawn
        with unequal probabilities, what estimates it.
        """
        if not names:
            return {}
        share = {name: rows for name, rows in self.share.items() if name in names}
        squares = {name: e.square() for name, e in self._errors(share).items()} if share else {}
        weighed = product(squares, {name: g for name, g in self._own_importance.items() if name in squares})
        sums = {name: square.sum() / self.counts[name] for name, square in weighed.items()}
        return over_all(sums, {name: self.counts[name] for name in names}, next(iter(self.all.values())))

    def _draw(self, draw: int, growth: float) -> dict[str, Tensor]:
        return self.problem.sample(self._grown(growth), **self._settings(draw))

    def _settings(self, draw: int) -> dict[str, Any]:
        return {"seed": self.config.seed + _DRAW * draw, "method": self.config.sampling, "dtype": torch.float64}

    def _grown(self, growth: float) -> dict[str, int]:
        """More points for every condition that has more than the two ends of an interval, as far as there are any."""
        if growth == 1:
            return dict(self._counts)
        grown = {}
        for c in self.problem.conditions:
            if (n := self._counts.get(c.name)) is not None:
                more = int(growth * n) if c.kind == "residual" or self.problem.domain.dimension > 1 else n
                grown[c.name] = more if c.region.given is None else min(more, len(c.region.given))
        return grown

    def state_dict(self) -> dict[str, Any]:
        """What conditions share stays shared: `torch.save` keeps that."""
        own = {"drawn_for": self._drawn_for, "begun": self._begun}
        return {"points": dict(self.all), "importance": self.all_importance, **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError if the user's own points are others than those saved."""
        if self.config.fixed_points and not _same(state["points"], self.all):
            raise ValueError("it was trained on other points; give the same")
        self._set(state["points"], state["importance"])
        self._drawn_for, self._begun = tuple(state["drawn_for"]), state["begun"]


def product(a: Points, b: Points) -> dict[str, Tensor]:
    """Of values (n,) by condition, 1 where there are none."""
    return {**a, **b, **{name: values * b[name].to(values) for name, values in a.items() if name in b}}


def _same(a: Points, b: Points) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name].to(a[name])) for name in a)
