"""Kuramoto-Sivashinsky equation: u_t + a u u_x + b u_xx + c u_xxxx = 0 on [0, 1] x [-1, 1] or [0, 2 pi], periodic in x.

Wang, Sankaran & Perdikaris 2022 and jaxpi. regime="regular": a = 5, b = 1/2, c = 1/200 from -sin(pi x) on [-1, 1].
regime="chaotic": a = 100/16, b = 100/16^2, c = 100/16^4 from cos(x) (1 + sin(x)) on [0, 2 pi]; PINNacle has it too. Long waves
grow, u u_x hands them to short ones, which die by a fourth derivative; in chaos, an error at t = 0 has grown 600 times at
t = 1, so that networks lose the solution on the way unless they go in time slabs. The reference is a Fourier solution
(exponential Runge-Kutta, below); its relative L2 error by doubling modes and steps is 2e-9 (regular) or 4e-9 (chaotic, where
more steps bring more rounding).
"""

from math import pi

import numpy as np
import torch
from scipy.fft import irfft, rfft

from pinntk import Box, GridSolution, Problem, cached, initial, periodic_fields, residual
from pinntk.problem import etdrk4

REGIMES = {  # (a, b, c), interval of x, u(0, x), steps of the reference from one t to the next, its error
    "regular": ((5, 1 / 2, 1 / 200), (-1, 1), lambda x, xp: -xp.sin(pi * x), 80, 2e-9),
    "chaotic": ((100 / 16, 100 / 16**2, 100 / 16**4), (0, 2 * pi), lambda x, xp: xp.cos(x) * (1 + xp.sin(x)), 240, 4e-9),
}


def problem(regime: str = "regular") -> Problem:
    if regime not in REGIMES:
        raise ValueError(f"regime={regime!r}: {' or '.join(map(repr, REGIMES))}")
    (a, b, c), interval, profile, steps, accuracy = REGIMES[regime]
    domain = Box(t=(0, 1), x=interval)

    @residual(domain)
    def kuramoto_sivashinsky(u, u_t, u_x, u_xx, u_xxxx):
        return u_t + a * u * u_x + b * u_xx + c * u_xxxx

    @initial(domain.at(t=0))
    def start(u, x):
        return u - profile(x, torch)

    def reference():
        arrays = cached(f"kuramoto_sivashinsky-v1-{regime}", lambda: fourier(regime, 256, steps))
        return GridSolution((arrays["t"], arrays["x"]), arrays["u"])

    conditions = [kuramoto_sivashinsky, start, *periodic_fields(domain.ends("x"), order=3)]
    return Problem(domain, conditions, reference=reference, solution_accuracy=accuracy)


def fourier(regime: str, points: int, steps: int) -> dict[str, np.ndarray]:
    """t (101,), x (257,) and u (101, 257) from a grid of `points`, a multiple of 256, and `steps` from one t to the next."""
    (a, b, c), (low, high), profile, *_ = REGIMES[regime]
    k = 2 * pi / (high - low) * np.arange(points // 2 + 1)
    t, x = np.linspace(0, 1, 101), np.linspace(low, high, points + 1)

    def steepening(modes):
        return -0.5j * a * k * rfft(irfft(modes) ** 2)

    u = irfft(etdrk4(b * k**2 - c * k**4, steepening, rfft(profile(x[:-1], np)), t, steps))
    every = points // 256
    return {"t": t, "x": x[::every], "u": np.concatenate([u[:, ::every], u[:, :1]], 1)}
