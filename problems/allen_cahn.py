"""Allen-Cahn equation: u_t = d u_xx + 5 (u - u^3) on [0, 1] x [-1, 1], u(0, x) = x^2 cos(pi x), periodic in x.

Raissi, Perdikaris & Karniadakis 2019 with d = 1e-4. No formula is known; the reference is a Fourier pseudo-spectral
solution (1024 modes, Dormand-Prince of order 8 to a relative 1e-10), computed once and kept in the user's cache folder.
"""

from math import pi

import numpy as np
from scipy.integrate import solve_ivp
from torch import cos

from pinntk import Box, GridSolution, Problem, cached, initial, periodic, residual


def problem(d: float = 1e-4) -> Problem:
    domain = Box(t=(0, 1), x=(-1, 1))

    @residual(domain)
    def allen_cahn(u, u_t, u_xx):
        return u_t - d * u_xx - 5 * (u - u**3)

    @initial(domain.at(t=0))
    def start(u, x):
        return u - x**2 * cos(pi * x)

    @periodic(domain.ends("x"))
    def wrap(u):
        return u

    @periodic(domain.ends("x"))
    def wrap_slope(u_x):
        return u_x

    def reference():
        arrays = cached(f"allen_cahn-v1-d{d:.17g}", lambda: spectral(d))
        return GridSolution((arrays["t"], arrays["x"]), arrays["u"])

    return Problem(domain, [allen_cahn, start, wrap, wrap_slope], reference=reference)


def spectral(d: float, modes: int = 1024, times: int = 101, tolerance: float = 1e-10) -> dict[str, np.ndarray]:
    """t (times,), x (513,) and u (times, 513): every second grid point, and x = 1 repeated from x = -1."""
    x = np.linspace(-1, 1, modes, endpoint=False)
    symbol = -d * (pi * np.fft.rfftfreq(modes, 1 / modes)) ** 2

    def slope(_, u):
        return np.fft.irfft(symbol * np.fft.rfft(u), modes) + 5 * (u - u**3)

    t = np.linspace(0, 1, times)
    with np.errstate(over="ignore", invalid="ignore"):  # trial steps that are rejected may overflow
        found = solve_ivp(slope, (0, 1), x**2 * np.cos(pi * x), "DOP853", t, rtol=tolerance, atol=tolerance)
    step = modes // 512
    u = found.y.T[:, ::step]
    return {"t": t, "x": np.append(x[::step], 1.0), "u": np.column_stack([u, u[:, 0]])}
