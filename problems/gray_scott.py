"""Gray-Scott model: u_t = 0.2 lap u + 40 (1 - u) - 1000 u v^2 and v likewise on [0, 2] x [-1, 1]^2, periodic in x and y.

v_t = 0.1 lap v - 100 v + 1000 u v^2. The setting of jaxpi (PirateNets: Wang, Li, Chen & Perdikaris 2024), after an example of
Chebfun. A bump of v eats u and becomes a ring, which widens, meets itself across the ends and folds into stripes: rates of
1000 over times of 2, and u = 1, v = 0 beside it, a stable state that networks fall into. The start is not quite periodic: it
jumps by 1e-4. The reference is a Fourier solution (128^2 modes, exponential Runge-Kutta, below) on 21 times and 65^2 points,
made once in 6 s; its relative L2 error by more modes and steps is 4e-7.
"""

from math import pi

import numpy as np
from scipy.fft import fft, fftfreq, irfft2, rfft2
from torch import exp

from pinntk import Box, GridSolution, Problem, cached, initial, periodic_fields, residual
from pinntk.problem import etdrk4


def problem() -> Problem:
    domain = Box(t=(0, 2), x=(-1, 1), y=(-1, 1))

    @residual(domain)
    def substrate(u, v, u_t, lap_u):
        return u_t - 0.2 * lap_u - 40 * (1 - u) + 1000 * u * v**2

    @residual(domain)
    def activator(u, v, v_t, lap_v):
        return v_t - 0.1 * lap_v + 100 * v - 1000 * u * v**2

    @initial(domain.at(t=0))
    def start_u(u, x, y):
        return u - 1 + exp(-10 * ((x + 0.05) ** 2 + (y + 0.02) ** 2))

    @initial(domain.at(t=0))
    def start_v(v, x, y):
        return v - exp(-10 * ((x - 0.05) ** 2 + (y - 0.02) ** 2))

    def reference():
        arrays = cached("gray_scott-v1", lambda: fourier(128, 200))
        return GridSolution((arrays["t"], arrays["x"], arrays["x"]), np.stack([arrays["u"], arrays["v"]], -1))

    fields = ("u", "v")
    wraps = [wrap for x in ("x", "y") for wrap in periodic_fields(domain.ends(x), 1, fields)]
    conditions = [substrate, activator, start_u, start_v, *wraps]
    return Problem(domain, conditions, fields, reference=reference, solution_accuracy=4e-7)


def fourier(points: int, steps: int) -> dict[str, np.ndarray]:
    """t (21,), x (65,), u and v (21, 65, 65) from `points`^2, a multiple of 64 squared, and `steps` from one t to the next."""
    t, x, half = np.linspace(0, 2, 21), np.linspace(-1, 1, 65), points // 2
    k = pi * fftfreq(points, 1 / points)
    squares = k[:, None] ** 2 + k[: half + 1] ** 2

    def bump(x, center):
        return np.exp(-10 * (x - center) ** 2)

    def modes(center):  # of the periodic Gaussian, which jumps at the ends: from a grid so fine that it does not alias
        found = fft(bump(np.linspace(-1, 1, 64 * points, endpoint=False), center)) / 64
        return np.concatenate([found[:half], found[-half:]])

    def reaction(c):
        w, v = irfft2(c, s=(points, points))  # w = u - 1, which has no constant term
        eaten = rfft2(1000 * (1 + w) * v**2)
        return np.stack([-eaten, eaten])

    w, v = (sign * np.outer(modes(sign * 0.05), modes(sign * 0.02)[: half + 1]) for sign in (-1, 1))
    symbol = np.stack([-0.2 * squares - 40, -0.1 * squares - 100])
    c = etdrk4(symbol, reaction, np.stack([w, v]), t, steps)
    every = points // 64
    values = irfft2(c, s=(points, points))[..., ::every, ::every]
    values = np.pad(values, ((0, 0), (0, 0), (0, 1), (0, 1)), "wrap")
    values[0] = [-np.outer(bump(x, -0.05), bump(x, -0.02)), np.outer(bump(x, 0.05), bump(x, 0.02))]
    return {"t": t, "x": x, "u": 1 + values[:, 0], "v": values[:, 1]}
