"""Numbers of points that a solver begins with."""

from __future__ import annotations

from collections.abc import Mapping

from pinntk.problem import Problem


def solver_counts(problem: Problem, counts: Mapping[str, int]) -> dict[str, int]:
    """Points of a solver's first steps, by condition, where the user names none: few, since they grow; both ends of an
    interval once.
    """
    line = problem.domain.dimension == 1
    default = {"residual": 200 if line else 600, "data": None}
    problem.counts(**counts)
    few = 2 if line else 60
    chosen = {
        c.name: counts.get(c.name, counts.get(c.kind, None if c.region.given is not None else default.get(c.kind, few)))
        for c in problem.conditions
    }
    return {name: n for name, n in chosen.items() if n is not None}
