"""Wave in a layered medium: u_tt = c(x)^2 (u_xx + u_yy) on [0, 1] x [-1, 1]^2, a Gaussian pulse at t = 0, u = 0 on the walls.

The seismologist's setting (Moseley, Markham & Nissen-Meyer 2020) and PINNacle's Wave2d-CG, with a speed that can be written
down: c = 1.5 + 0.5 tanh(5x), 1 on the left and 2 on the right, and u(0) = exp(-((x + 0.3)^2 + y^2) / (2 width^2)), at rest. The
pulse spreads as a thin ring, which is bent and partly thrown back where c changes. No formula is known; the reference has 48
cosines in y and 96 Legendre polynomials in x, whose modes are exact in time. It agrees with 64 and 128 to 1e-8.
"""

from math import pi

import numpy as np
from numpy.polynomial import legendre
from scipy.linalg import eigh
from torch import exp, tanh

from pinntk import Box, GridSolution, Problem, boundary, cached, initial, residual


def problem(width: float = 0.08) -> Problem:
    if not 0.06 <= width <= 0.1:
        raise ValueError(
            f"width={width}: from 0.06, which the reference resolves, to 0.1, where the pulse is not yet at the walls"
        )
    domain = Box(t=(0, 1), x=(-1, 1), y=(-1, 1))

    @residual(domain)
    def wave(u_tt, lap_u, x):
        return u_tt - (1.5 + 0.5 * tanh(5 * x)) ** 2 * lap_u

    @initial(domain.at(t=0))
    def start(u, x, y):
        return u - exp(-((x + 0.3) ** 2 + y**2) / (2 * width**2))

    @initial(domain.at(t=0))
    def start_velocity(u_t):
        return u_t

    @boundary(domain.boundary())
    def walls(u):
        return u

    def reference():
        arrays = cached(f"wave2d_heterogeneous-v1-width{width:.17g}", lambda: modes(width))
        return GridSolution((arrays["t"], arrays["x"], arrays["y"]), arrays["u"])

    return Problem(domain, [wave, start, start_velocity, walls], reference=reference, solution_accuracy=1e-8)


def modes(width: float, in_x: int = 96, in_y: int = 48) -> dict[str, np.ndarray]:
    """t (41,), x (41,), y (41,) and u (41, 41, 41) = sum_jk a_jk cos(omega_jk t) X_jk(x) cos((j + 1/2) pi y).

    omega^2 M X = (S + (j + 1/2)^2 pi^2 I) X with M = (f, f / c^2), S = (f', f') and I = (f, f) of f_k = P_k - P_k+2.
    """
    clamped = np.eye(in_x + 2, in_x) - np.eye(in_x + 2, in_x, -2)
    s, weights = legendre.leggauss(2 * in_x)
    f, slope = (legendre.legval(s, c).T for c in (clamped, legendre.legder(clamped)))
    speed = 1.5 + 0.5 * np.tanh(5 * s)
    M, S, identity = (a.T @ (weights[:, None] * a) for a in (f / speed[:, None], slope, f))
    t, x, y = np.linspace(0, 1, 41), np.linspace(-1, 1, 41), np.linspace(-1, 1, 41)
    at_x = legendre.legval(x, clamped).T
    pulse = f.T @ (weights / speed**2 * np.exp(-((s + 0.3) ** 2) / (2 * width**2)))
    u = np.zeros((41, 41, 41))
    for wave in pi * (np.arange(in_y) + 0.5):
        squares, X = eigh(S + wave**2 * identity, M)
        in_cosines = np.exp(-(s**2) / (2 * width**2)) @ (weights * np.cos(wave * s))
        u += np.einsum(
            "tk,xk,y->txy", np.cos(np.sqrt(squares) * t[:, None]) * (X.T @ pulse), at_x @ X, in_cosines * np.cos(wave * y)
        )
    return {"t": t, "x": x, "y": y, "u": u}
