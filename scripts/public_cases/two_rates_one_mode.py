"""Diffusion, drift and growth from one decaying mode: u_t = a u_xx + b u_x + c u on [0, 1]^2.

True a = 0.1, b = 0, c = 0.5; u = sin(pi x) at t = 0, u = 0 at both ends, and 100 readings of the exact u = exp((c - a
pi^2) t) sin(pi x).
Reported: a, b and c are recovered if b = c = 0 was true, and not otherwise, while the losses are fine. (Written u_tt
there, with a solution of the heat equation for data; network, points, steps and the true values are not stated and
chosen here.)
True cause: what was measured does not determine the unknowns. u_xx is -pi^2 u wherever one looks, so that only c - a
pi^2 counts: a = 0.1 + s and c = 0.5 + pi^2 s fit as well for every s.
Known by: substitution; the report is open and unanswered.
Public report: https://github.com/lululxvi/deepxde/issues/1829
"""

from math import pi

import numpy as np
from torch import exp, sin

from pinntk import Box, Problem, boundary, data, initial, residual


def problem() -> Problem:
    domain = Box(t=(0, 1), x=(0, 1))
    rate = 0.5 - 0.1 * pi**2
    places = np.random.default_rng(0).random((100, 2))
    t, x = places.T

    def exact(t, x):
        return exp(rate * t) * sin(pi * x)

    @residual(domain)
    def transport(u, u_t, u_x, u_xx, a, b, c):
        return u_t - a * u_xx - b * u_x - c * u

    @initial(domain.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    @boundary(domain.ends("x"))
    def walls(u):
        return u

    @data(domain, places, seen=np.exp(rate * t) * np.sin(pi * x))
    def readings(u, seen):
        return u - seen

    unknown = {"a": 1.0, "b": 1.0, "c": 1.0}
    return Problem(domain, [transport, start, walls, readings], exact=exact, coefficients=unknown)
