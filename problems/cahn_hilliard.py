"""Cahn-Hilliard equation: u_t = (u^3 - u - d u_xx)_xx on [0, 1] x [-1, 1], u(0, x) = -cos(2 pi x), periodic in x.

From the profile of Mattey & Ghosh 2022, four interfaces of width sqrt(2 d) form within t = 0.1 and then stand still: a fast
start and a long rest, and a fourth derivative beside a second one, which alone would be heat running backwards. The reference
is a Fourier solution (exponential Runge-Kutta, below); its relative L2 error by doubling modes and steps is 1e-9 from d = 0.005
on, and 2e-8 for 0.001.
"""

from math import pi

import numpy as np
from scipy.fft import irfft, rfft
from torch import cos

from pinntk import Box, GridSolution, Problem, cached, initial, periodic_fields, residual
from pinntk.problem import etdrk4


def problem(d: float = 0.005) -> Problem:
    if not 1e-3 <= d <= 0.02:
        raise ValueError(f"d={d}: from 1e-3, or the reference does not resolve the interfaces, to 0.02, or there are none")
    domain = Box(t=(0, 1), x=(-1, 1))

    @residual(domain)
    def cahn_hilliard(u, u_t, u_x, u_xx, u_xxxx):
        return u_t - (3 * u**2 - 1) * u_xx - 6 * u * u_x**2 + d * u_xxxx

    @initial(domain.at(t=0))
    def start(u, x):
        return u + cos(2 * pi * x)

    def reference():
        arrays = cached(f"cahn_hilliard-v1-d{d:.17g}", lambda: fourier(d, 256, 80))
        return GridSolution((arrays["t"], arrays["x"]), arrays["u"])

    conditions = [cahn_hilliard, start, *periodic_fields(domain.ends("x"), order=3)]
    return Problem(domain, conditions, reference=reference, solution_accuracy=1e-9 * max(1, 0.005 / d) ** 2)


def fourier(d: float, points: int, steps: int) -> dict[str, np.ndarray]:
    """t (101,), x (257,) and u (101, 257) from a grid of `points`, a multiple of 256, and `steps` from one t to the next."""
    k = pi * np.arange(points // 2 + 1)
    t, x = np.linspace(0, 1, 101), np.linspace(-1, 1, points + 1)

    def cubic(c):
        return -(k**2) * rfft(irfft(c) ** 3)

    u = irfft(etdrk4(k**2 - d * k**4, cubic, rfft(-np.cos(2 * pi * x[:-1])), t, steps))
    every = points // 256
    return {"t": t, "x": x[::every], "u": np.concatenate([u[:, ::every], u[:, :1]], 1)}
