"""Complex Ginzburg-Landau equation: A_t = 0.004 lap A + 10 (A - (1 + 3/2 i) |A|^2 A) on [0, 1] x [-1, 1]^2, periodic.

Fields u and v with A = u + i v; A(0, x, y) = 10 (y + i x) exp(-25 (x^2 + y^2)). The setting of jaxpi (PirateNets: Wang, Li,
Chen & Perdikaris 2024). A vortex, which stays at the center, winds a spiral that spreads over A = 0: |A| is near 1 behind its
front and turns there by 15 radians; before it, nothing is to be seen of a state that is unstable. The reference is a Fourier
solution (160^2 modes, exponential Runge-Kutta, below) on 21 times and 81^2 points, made once in 2 s; its relative L2 error by
more modes and steps is 1e-7.
"""

from math import pi

import numpy as np
from scipy.fft import fft2, fftfreq, ifft2
from torch import exp

from pinntk import Box, GridSolution, Problem, cached, initial, periodic_fields, residual
from pinntk.problem import etdrk4


def problem() -> Problem:
    domain = Box(t=(0, 1), x=(-1, 1), y=(-1, 1))

    @residual(domain)
    def real(u, v, u_t, lap_u):
        return u_t - 0.004 * lap_u - 10 * (u - (u**2 + v**2) * (u - 1.5 * v))

    @residual(domain)
    def imaginary(u, v, v_t, lap_v):
        return v_t - 0.004 * lap_v - 10 * (v - (u**2 + v**2) * (v + 1.5 * u))

    @initial(domain.at(t=0))
    def start_u(u, x, y):
        return u - 10 * y * exp(-25 * (x**2 + y**2))

    @initial(domain.at(t=0))
    def start_v(v, x, y):
        return v - 10 * x * exp(-25 * (x**2 + y**2))

    def reference():
        arrays = cached("ginzburg_landau-v1", lambda: fourier(160, 40))
        return GridSolution((arrays["t"], arrays["x"], arrays["x"]), np.stack([arrays["u"], arrays["v"]], -1))

    fields = ("u", "v")
    wraps = [wrap for x in ("x", "y") for wrap in periodic_fields(domain.ends(x), 1, fields)]
    conditions = [real, imaginary, start_u, start_v, *wraps]
    return Problem(domain, conditions, fields, reference=reference, solution_accuracy=1.2e-7)


def fourier(points: int, steps: int) -> dict[str, np.ndarray]:
    """t (21,), x (81,), u and v (21, 81, 81) from `points`^2, a multiple of 80 squared, and `steps` from one t to the next."""
    t, x = np.linspace(0, 1, 21), np.linspace(-1, 1, points + 1)
    k = pi * fftfreq(points, 1 / points)
    squares = k[:, None] ** 2 + k**2
    along, up = np.meshgrid(x[:-1], x[:-1], indexing="ij")

    def saturation(c):
        A = ifft2(c)
        return fft2((-10 - 15j) * (A.real**2 + A.imag**2) * A)

    start = 10 * (up + 1j * along) * np.exp(-25 * (along**2 + up**2))
    every = points // 80
    A = ifft2(etdrk4(10 - 0.004 * squares, saturation, fft2(start), t, steps))[:, ::every, ::every]
    A = np.pad(A, ((0, 0), (0, 1), (0, 1)), "wrap")
    return {"t": t, "x": x[::every], "u": A.real, "v": A.imag}
