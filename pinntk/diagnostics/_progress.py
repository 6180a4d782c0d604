"""How a training went, from its history: loss in today's weights, noise, what the step was and what it could have been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import nn

from pinntk._util.precision import without_autocast
from pinntk.ntk import KernelOperator
from pinntk.problem import Points, Problem
from pinntk.residuals import errors
from pinntk.run import Run
from pinntk.solvers import SOLVERS
from pinntk.solvers._chain import names_of

DESCENT = ("gradient-descent", "sgd")
_LEAST_ROWS = 5  # of which a spread is taken
SEARCHING = (*SOLVERS, "lbfgs", "ssbroyden")  # they find the length of a step themselves


@dataclass(frozen=True, eq=False)
class Progress:
    """The history of a run.

    steps, time: (T,) of the rows, and the sum of the learning rates before each
    loss: (T,) sum_i lambda_i L_i with the weights that hold at the end, so that a change of weights does not change the loss;
        of point weights with those that follow from places, where no causal weights are beside them
    lr: the first learning rate; NaN with a kernel solver
    rise: last over least loss
    fall: last over first loss
    noise: standard deviation of the change of log10 loss from row to row in the last half; 0 for fewer than 9 rows, of
        which the half has fewer than 5
    shaking: the same in the worst quarter of the rows but the first; 0 for fewer than 18 rows
    slope: d log loss / d log time over the last half of `time`: 0 where it stagnates, -1 and less where it still falls
    late_fall: last loss over that at half of the steps. Where a schedule squeezes the end of `time`, as cosine does, `slope`
        also counts what fell long before, and magnifies what is left
    late_share: that fall over the fall of the whole training, both of log loss; NaN where it did not fall
    moved: norm(theta - theta_0) / norm(theta_0) at the end, NaN where it was not measured
    solving, descending: whether the optimizer finds the length of a step itself (a solver, a line search); whether it is
        plain gradient descent
    """

    steps: np.ndarray
    time: np.ndarray
    loss: np.ndarray
    lr: float
    rise: float
    fall: float
    noise: float
    shaking: float
    slope: float
    late_fall: float
    late_share: float
    moved: float
    solving: bool
    descending: bool


def progress(run: Run) -> Progress | None:
    """None for a run with fewer than two logged steps."""
    names = list(run.weights)
    rows = [row for row in run.history if all(f"loss/{name}" in row for name in names)]
    if len(rows) < 2 or not names:
        return None
    steps = np.array([row["step"] for row in rows])
    by_name = {name: [row.get(f"weighed_loss/{name}", row[f"loss/{name}"]) for row in rows] for name in names}
    loss = sum(run.weights[name] * np.array(losses) for name, losses in by_name.items())
    loss = np.maximum(loss, np.finfo(float).tiny)
    rates = np.array([row.get("learning_rate", np.nan) for row in rows])
    time = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(steps))])
    optimizers = names_of(run.config["training"]["optimizer"])
    quarters = np.array_split(loss, 4)
    late = float(loss[-1] / loss[np.searchsorted(steps, steps[-1] / 2)])
    moved = run.column("drift")[1]
    return Progress(
        steps=steps,
        time=time,
        loss=loss,
        lr=float(rates[0]),
        rise=float(loss[-1] / loss.min()),
        fall=float(loss[-1] / loss[0]),
        noise=_noise(loss[len(loss) // 2 :]),
        shaking=max(map(_noise, quarters[1:])),
        slope=_slope(time, loss),
        late_fall=late,
        late_share=float(np.log(late) / np.log(loss[-1] / loss[0])) if loss[-1] < loss[0] else float("nan"),
        moved=float(moved[-1]) if len(moved) else float("nan"),
        solving=any(name in SEARCHING for name in optimizers),
        descending=all(name in DESCENT for name in optimizers),
    )


def _noise(loss: np.ndarray) -> float:
    return float(np.diff(np.log10(loss)).std()) if len(loss) >= _LEAST_ROWS else 0.0


def _slope(time: np.ndarray, loss: np.ndarray) -> float:
    if not (np.isfinite(time).all() and time[-1] > 0):
        return float("nan")
    half = int(np.searchsorted(time, time[-1] / 2))
    if not 0 < time[half] < time[-1]:
        return float("nan")
    return float(np.log(loss[-1] / loss[half]) / np.log(time[-1] / time[half]))


@without_autocast
def natural_step(network: nn.Module, problem: Problem, points: Points, weights: Mapping[str, float]) -> float:
    r"""The learning rate at which a step along the signs of the gradient lowers the loss most, in the linearized network:

        norm_1(g) / (s^T H s),    s = sign(g),    g = J^T D e,    H = J^T D J,    D = blockdiag(2 lambda_i / n_i)

    Adam's first steps are steps of that kind (Balles & Hennig 2018, arXiv 1705.07774); twice as much raises the loss. Asked
    of the initial network. Infinite where there is no curvature along s. Raises as `pinntk.kernel` does.
    """
    K = KernelOperator(network, problem, points)
    with torch.no_grad():
        e = torch.cat([part.double() for part in errors(network, problem, points).values()])
    D = torch.cat([e.new_full((len(rows),), 2 * weights[name] / len(rows)) for name, rows in points.items()])
    g = K.jacobian.rmatvec(D * e)
    curvature = float((D * K.jacobian.matvec(g.sign()).square()).sum())
    return float(g.abs().sum()) / curvature if curvature else inf
