"""Quick trainings to diagnose: a problem that may lack something, and one run that goes well."""

from functools import cache

import numpy as np
import torch
from torch import pi, sin

import pinntk
from pinntk import Box, Problem, boundary, data, residual

NTK, Causal = pinntk.weighting.NTK, pinntk.weighting.Causal


def poisson(k: int = 1, shift: float | None = None, sign: float = 1.0, ends: bool = True, exact: bool = True) -> Problem:
    """u_xx = -(k pi)^2 sin(k pi x) on [0, 1], u = 0 at the ends; perhaps with readings of u + shift."""
    domain = Box(x=(0, 1))

    @residual(domain)
    def equation(u_xx, x):
        return u_xx + sign * (k * pi) ** 2 * sin(k * pi * x)

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    conditions = [equation, walls] if ends else [equation]
    if shift is not None:
        places = np.linspace(0.1, 0.9, 9)

        @data(domain, places, seen=np.sin(k * np.pi * places) + shift)
        def readings(u, seen):
            return u - seen

        conditions.append(readings)
    return Problem(domain, conditions, exact=(lambda x: sin(k * pi * x)) if exact else None)


def trained(problem, network=None, *, steps=300, points=None, **options):
    """A quick training that goes well unless something is wrong: Gauss-Newton is not used, since it hides faults."""
    arguments = {"width": 24, "depth": 2, "dtype": torch.float64, **(network or {})}
    options = {"lr": 5e-3, "weighting": NTK(every=50, momentum=0.0), "eval_every": max(steps // 10, 1), **options}
    points = points or {"residual": 40, "boundary": 2}
    return pinntk.train(
        problem, pinntk.nn.MLP(problem, **arguments), steps=steps, points=points, progress=False, snapshot_every=0, **options
    )


def codes(subject, *rest):
    return [found.code for found in pinntk.diagnose(subject, *rest)]


@cache
def healthy_run():
    return trained(poisson(), {"width": 32}, steps=600)


@cache
def healthy():
    """What is measured of it, each once for all tests of a process."""
    return pinntk.examine(healthy_run())


@cache
def lost_front():
    """A reaction whose front is lost."""
    points = {"residual": 150, "initial": 40, "periodic": 40}
    return trained(pinntk.load("reaction"), points=points, weighting=None, steps=250)
