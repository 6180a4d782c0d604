"""Inverse elliptic problem: find the field q(x) in u_xx = q on [-1, 1], u = 0 at both ends, from measurements of u.

DeepXDE's elliptic_inverse_field: the source is the second output of the network. `sensors` equidistant measurements, with
Gaussian noise of standard deviation `noise`, of the exact solution u = sin(pi x), q = -pi^2 sin(pi x). q is no better known
than the second derivative of what is measured: without noise up to interpolation, with noise far less well.
"""

from math import pi

import numpy as np
from torch import sin

from pinntk import Box, Problem, boundary, data, residual


def problem(sensors: int = 100, noise: float = 0.0, seed: int = 0) -> Problem:
    domain = Box(x=(-1, 1))
    x = np.linspace(-1, 1, sensors)
    measured = np.sin(pi * x) + noise * np.random.default_rng(seed).standard_normal(sensors)

    @residual(domain)
    def elliptic(u_xx, q):
        return q - u_xx

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    @data(domain, x, seen=measured)
    def readings(u, seen):
        return u - seen

    def exact(x):
        return sin(pi * x), -(pi**2) * sin(pi * x)

    return Problem(domain, [elliptic, ends, readings], fields=("u", "q"), exact=exact)
