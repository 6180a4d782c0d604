"""Allen-Cahn equation: u_t = d u_xx + 5 (u - u^3) on [0, 1] x [-1, 1], u(0, x) = x^2 cos(pi x), periodic in x.

Raissi, Perdikaris & Karniadakis 2019 with d = 1e-4. No formula is known; the reference is a spectral Galerkin solution (2048
cosines, Dormand-Prince of order 8, 1e-11), computed once, in seconds, and kept in the user's cache folder.
"""

from math import ceil, log2, pi, sqrt

import numpy as np
from scipy.fft import dct
from scipy.integrate import solve_ivp
from torch import cos

from pinntk import Box, GridSolution, Problem, cached, initial, periodic_fields, residual


def problem(d: float = 1e-4) -> Problem:
    if not d > 0:
        raise ValueError(f"d={d}: a positive number, or the solution keeps the kink of u(0, x) at the ends")
    domain = Box(t=(0, 1), x=(-1, 1))

    @residual(domain)
    def allen_cahn(u, u_t, u_xx):
        return u_t - d * u_xx - 5 * (u - u**3)

    @initial(domain.at(t=0))
    def start(u, x):
        return u - x**2 * cos(pi * x)

    def reference():
        # The highest cosine has died out by the second row of the table: d (pi modes)^2 0.01 > 40.
        modes = max(128, 2 ** ceil(log2(20 / sqrt(d))))
        arrays = cached(f"allen_cahn-v2-d{d:.17g}", lambda: galerkin(d, modes))
        return GridSolution((arrays["t"], arrays["x"]), arrays["u"])

    return Problem(domain, [allen_cahn, start, *periodic_fields(domain.ends("x"), order=1)], reference=reference)


def galerkin(d: float, modes: int, times: int = 101, tolerance: float = 1e-12) -> dict[str, np.ndarray]:
    """t (times,), x (513,) and u (times, 513) from u(t, x) = sum_k c_k(t) cos(k pi x), k < modes, a multiple of 128.

    u stays even and periodic, so that cosines suffice. The periodic u(0, x) has a kink at the ends, and c_k falls off as
    1 / k^2 only: interpolating it on a grid, or letting its cubes alias, errs by 1e-4.
    """
    k, intervals = np.arange(modes), 2 * modes  # of [0, 1]: cubes of `modes` cosines do not alias
    half = np.where(k == 0, 1, 0.5)
    symbol = -d * (pi * k) ** 2

    def on_grid(c):
        return dct(half * c, 1, intervals + 1)

    def slope(_, c):
        u = on_grid(c)
        return symbol * c + dct(5 * (u - u**3), 1)[:modes] / (2 * half * intervals)

    m = np.arange(1, modes + 1)
    moments = np.append(2 / 3, 4 * (-1.0) ** m / (pi * m) ** 2)  # of x^2 with cos(m pi x) over [-1, 1]
    c = (moments[k + 1] + moments[abs(k - 1)]) / np.where(k == 0, 4, 2)
    t = np.linspace(0, 1, times)
    # Well inside the region of stability: at its edge, the high modes leave a noise of 1e-9.
    found = solve_ivp(slope, (0, 1), c, "DOP853", t, rtol=tolerance, atol=tolerance, max_step=4 / -symbol[-1])
    right = np.stack([on_grid(c)[:: intervals // 256] for c in found.y.T])
    x = np.linspace(-1, 1, 513)
    u = np.concatenate([right[:, :0:-1], right], 1)
    u[0] = x**2 * np.cos(pi * x)
    return {"t": t, "x": x, "u": u}
