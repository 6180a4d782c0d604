"""Reaction-diffusion: u_t = nu u_xx + rho u (1 - u) on [0, 1] x [0, 2 pi], u(0, x) = exp(-8 (x / pi - 1)^2), periodic in x.

The failure mode of Krishnapriyan et al. 2021 with rho = 5 and nu from 2 to 6: a Gaussian of mean pi and deviation pi / 4. No
formula is known; the reference is a spectral Galerkin solution (cosines about x = pi, Dormand-Prince of order 8, 1e-11),
computed once, in seconds, and kept in the user's cache folder.
"""

from math import ceil, log2, pi, sqrt

import numpy as np
from scipy.fft import dct
from scipy.integrate import solve_ivp
from torch import exp

from pinntk import Box, GridSolution, Problem, cached, initial, periodic_fields, residual


def problem(nu: float = 3.0, rho: float = 5.0) -> Problem:
    if not nu > 0:
        raise ValueError(f"nu={nu}: a positive number; without diffusion, the problem is `reaction`")
    domain = Box(t=(0, 1), x=(0, 2 * pi))

    @residual(domain)
    def reaction_diffusion(u, u_t, u_xx):
        return u_t - nu * u_xx - rho * u * (1 - u)

    @initial(domain.at(t=0))
    def start(u, x):
        return u - exp(-8 * (x / pi - 1) ** 2)

    def reference():
        # The highest cosine has died out by the second row of the table, nu modes^2 0.01 > 40, and fronts of width
        # sqrt(nu / rho) are resolved.
        modes = max(64, 2 ** ceil(log2(max(64, 24 * sqrt(abs(rho))) / sqrt(nu))))
        arrays = cached(f"reaction_diffusion-v1-nu{nu:.17g}-rho{rho:.17g}", lambda: galerkin(nu, rho, modes))
        return GridSolution((arrays["t"], arrays["x"]), arrays["u"])

    return Problem(domain, [reaction_diffusion, start, *periodic_fields(domain.ends("x"), order=1)], reference=reference)


def galerkin(nu: float, rho: float, modes: int, times: int = 101, tolerance: float = 1e-12) -> dict[str, np.ndarray]:
    """t (times,), x (257,) and u (times, 257) from u(t, x) = sum_k c_k(t) cos(k (x - pi)), k < modes, a power of 2 from 64.

    u stays even about pi and periodic, so that cosines suffice.
    """
    k, intervals = np.arange(modes), 2 * modes  # of [pi, 2 pi]: squares of `modes` cosines do not alias
    half = np.where(k == 0, 1, 0.5)
    symbol = -nu * k**2

    def on_grid(c):
        return dct(half * c, 1, intervals + 1)

    def coefficients(u):
        return dct(u, 1)[:modes] / (2 * half * (len(u) - 1))

    def slope(_, c):
        u = on_grid(c)
        return symbol * c + coefficients(rho * u * (1 - u))

    # The periodic start has a small kink at the ends: its c_k fall off as 1 / k^2, and a coarse grid would alias them.
    c = coefficients(gaussian(pi + np.linspace(0, pi, 2**18 + 1)))
    t = np.linspace(0, 1, times)
    # Well inside the region of stability, or the high modes leave a noise.
    found = solve_ivp(slope, (0, 1), c, "DOP853", t, rtol=tolerance, atol=tolerance, max_step=4 / -symbol[-1])
    right = np.stack([on_grid(c)[:: intervals // 128] for c in found.y.T])
    x = np.linspace(0, 2 * pi, 257)
    u = np.concatenate([right[:, :0:-1], right], 1)
    u[0] = gaussian(x)
    return {"t": t, "x": x, "u": u}


def gaussian(x: np.ndarray) -> np.ndarray:
    return np.exp(-8 * (x / pi - 1) ** 2)
