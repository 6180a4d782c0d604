"""Scattering of a plane wave by a sound-hard disk: lap u + k^2 u = 0 in the ring between the disk and a circle of three radii.

u = p + i q is the scattered wave. On the disk (radius 1) its slope cancels that of the incident wave exp(i k x); on the outer
circle u_n - i k u is given as the unbounded plane has it, so that no wave comes back. Exact solution: the series of Hankel
functions (Bowman, Senior & Uslenghi 1969), whose values are tabled to rounding.
"""

from math import ceil

import numpy as np
from scipy.special import h1vp, hankel1, jvp
from torch import Tensor, as_tensor, atan2, complex, cos, exp

from pinntk import GridSolution, Problem, boundary, complex_parts, residual
from pinntk.geometry import Disk

OUTER = 3.0


def problem(k: float = 4.0) -> Problem:
    if not 0 < k <= 30:
        raise ValueError(f"k={k}: a positive wave number of at most 30, where the ring is ten waves wide")
    domain = Disk(x=0, y=0, radius=OUTER, name="outer") - Disk(x=0, y=0, radius=1, name="scatterer")
    n = np.arange(ceil(3 * k) + 30)
    incident = np.where(n == 0, 1, 2) * 1j**n  # exp(i k x) is the sum of these times J_n(k r) cos(n angle)
    c = -incident * jvp(n, k) / h1vp(n, k)
    given = k * c * (h1vp(n, k * OUTER) - 1j * hankel1(n, k * OUTER))

    def along(coefficients: np.ndarray, x: Tensor, y: Tensor) -> Tensor:
        cosines = cos(as_tensor(n).to(x) * atan2(y, x)[:, None])
        return complex(*(cosines @ as_tensor(part).to(x) for part in (coefficients.real, coefficients.imag)))

    @complex_parts(residual(domain), u=("p", "q"))
    def helmholtz(u, lap_u):
        return lap_u + k**2 * u

    @complex_parts(boundary(domain.boundary("scatterer")), u=("p", "q"))
    def hard(u_n, x, n_x):
        return u_n + 1j * k * n_x * exp(1j * k * x)

    @complex_parts(boundary(domain.boundary("outer")), u=("p", "q"))
    def outgoing(u_n, u, x, y):
        return u_n - 1j * k * u - along(given, x, y)

    def reference():
        grid = domain.grid((121, 121))
        points = grid[domain.contains(grid)]
        r, angle = np.hypot(*points.T), np.arctan2(points[:, 1], points[:, 0])
        u = sum(c[m] * hankel1(m, k * r) * np.cos(m * angle) for m in n)
        return GridSolution((points,), np.stack([u.real, u.imag], 1))

    return Problem(domain, [*helmholtz, *hard, *outgoing], ("p", "q"), reference=reference)
