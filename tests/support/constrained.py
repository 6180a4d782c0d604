"""Networks with derived hard constraints, and their errors."""

import warnings

import torch

import pinntk
from pinntk.nn import MLP

F64 = {"dtype": torch.float64}
SMALL = {"width": 6, "depth": 2, "initialization": "normal", **F64}


def quietly(problem, **settings):
    """The network, without warnings of what is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return MLP(problem, **{**SMALL, "hard": "auto", **settings})


def largest(network, problem, names=None, n=50, seed=5):
    """The largest error of each condition at random points, by jets and by nested autograd."""
    points = problem.sample(dict.fromkeys(names or network.hard, n), seed=seed, **F64)
    points = {name: points[name] for name in names or network.hard}
    found = [pinntk.errors(network, problem, points, method) for method in ("taylor", "autograd")]
    return {name: max(float(e[name].detach().abs().max()) for e in found) for name in points}


def rise(s):
    """The factor of a start and a velocity: from 0, with slope 0, to 1."""
    return 1.04 * s**2 / (s**2 + 0.04)
