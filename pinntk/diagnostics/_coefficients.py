"""What a run says of the unknown coefficients of its problem: values, error bars, and whether anything determines them."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import torch
from torch import nn

from pinntk.gaussian import UnidentifiedError, posterior
from pinntk.problem import Points, Problem
from pinntk.residuals import errors
from pinntk.run import Run

_LEAST = 1e-10  # of the largest root mean square error: less is taken for rounding


@dataclass(frozen=True)
class Coefficient:
    """One unknown coefficient.

    value: where it stands
    deviation: standard deviation by `pinntk.posterior`, with each condition's root mean square error as its noise; infinite
        where the conditions do not determine it
    start: its first logged value, NaN without a run
    """

    value: float
    deviation: float
    start: float


def coefficients(network: nn.Module, problem: Problem, points: Points, run: Run | None = None) -> dict[str, Coefficient]:
    """Of every coefficient of the problem, by name. Raises as `pinntk.posterior` does, but for `UnidentifiedError`.

    >>> import pinntk
    >>> problem = pinntk.load("heat_inverse")
    >>> points = problem.sample(residual=20, boundary=4, initial=4, seed=0)
    >>> found = coefficients(pinntk.nn.MLP(problem, width=4, depth=1), problem, points)
    >>> found["kappa"].value, found["kappa"].deviation > 0
    (1.0, True)
    """
    if not problem.coefficients:
        return {}
    with torch.no_grad():
        size = {name: float(e.double().square().mean().sqrt()) for name, e in errors(network, problem, points).items()}
    least = _LEAST * max(size.values()) or 1.0
    try:
        fitted = posterior(network, problem, points, {name: max(value, least) for name, value in size.items()}).coefficients
    except UnidentifiedError:
        fitted = {}
    found = {}
    for name, value in problem.coefficients.items():
        _, deviation = fitted.get(name, (nan, float("inf")))
        started = run.history[0].get(f"coefficient/{name}", nan) if run is not None and run.history else nan
        found[name] = Coefficient(float(value.detach()), deviation, started)
    return found
