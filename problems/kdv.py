"""Korteweg-de Vries equation: u_t + u u_x + d u_xxx = 0 on [0, 1] x [-1, 1], u(0, x) = cos(pi x), periodic in x.

Zabusky & Kruskal 1965 with d = 0.022^2, as PirateNets, SOAP and jaxpi have it; Raissi, Perdikaris & Karniadakis 2019 with
d = 0.0025. The wave steepens until t = 1 / pi; then dispersion breaks it up, into about 8 solitons (4 for 0.0025). That and the
third derivative are hard, and nothing decays: errors of an early time stay. The reference is a Fourier solution (exponential
Runge-Kutta, below); its relative L2 error by doubling modes and steps is at most 7e-10.
"""

from math import ceil, log2, pi, sqrt

import numpy as np
from scipy.fft import irfft, rfft
from torch import cos

from pinntk import Box, GridSolution, Problem, cached, initial, periodic_fields, residual
from pinntk.problem import etdrk4


def problem(d: float = 4.84e-4) -> Problem:
    if not 1e-4 <= d <= 1:
        raise ValueError(f"d={d}: from 1e-4 to 1, where the reference is right to 1e-9")
    domain = Box(t=(0, 1), x=(-1, 1))

    @residual(domain)
    def kdv(u, u_t, u_x, u_xxx):
        return u_t + u * u_x + d * u_xxx

    @initial(domain.at(t=0))
    def start(u, x):
        return u - cos(pi * x)

    def reference():
        points, steps = max(256, 2 ** ceil(log2(5 / sqrt(d)))), max(20, ceil(2 / sqrt(d)))
        arrays = cached(f"kdv-v1-d{d:.17g}", lambda: fourier(d, points, steps))
        return GridSolution((arrays["t"], arrays["x"]), arrays["u"])

    conditions = [kdv, start, *periodic_fields(domain.ends("x"), order=2)]
    return Problem(domain, conditions, reference=reference, solution_accuracy=7e-10)


def fourier(d: float, points: int, steps: int) -> dict[str, np.ndarray]:
    """t (101,), x (257,) and u (101, 257) from a grid of `points`, a multiple of 256, and `steps` from one t to the next."""
    k = pi * np.arange(points // 2 + 1)
    t, x = np.linspace(0, 1, 101), np.linspace(-1, 1, points + 1)

    def steepening(c):
        return -0.5j * k * rfft(irfft(c) ** 2)

    u = irfft(etdrk4(1j * d * k**3, steepening, rfft(np.cos(pi * x[:-1])), t, steps))
    every = points // 256
    return {"t": t, "x": x[::every], "u": np.concatenate([u[:, ::every], u[:, :1]], 1)}
