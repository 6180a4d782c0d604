"""Darcy flow: -div(a grad u) = 1 on [0, 1]^2, u = 0 on the boundary, a = exp(contrast sin(2 pi x) cos(3 pi y)).

The pressure u of a flow through a porous medium: the elliptic equation of operator learning (Li et al. 2021), with a
permeability a that can be written down, from exp(-contrast) to exp(contrast). Its gradients, of the size of 3 pi contrast a,
outweigh the Laplacian. No formula is known; the reference is a Galerkin solution in 40^2 Legendre polynomials, computed in a
fraction of a second and kept in the user's cache folder. For contrast = 2 it agrees with 48^2 to 7e-8.
"""

from math import pi

import numpy as np
from numpy.polynomial import legendre
from torch import cos, exp, sin

from pinntk import Box, GridSolution, Problem, boundary, cached, residual


def problem(contrast: float = 2.0) -> Problem:
    if not abs(contrast) <= 2:
        raise ValueError(f"contrast={contrast}: from -2 to 2, for which the reference is right to 1e-7")
    domain = Box(x=(0, 1), y=(0, 1))

    @residual(domain)
    def darcy(u_x, u_y, lap_u, x, y):
        a = exp(contrast * sin(2 * pi * x) * cos(3 * pi * y))
        a_x = a * contrast * 2 * pi * cos(2 * pi * x) * cos(3 * pi * y)
        a_y = -a * contrast * 3 * pi * sin(2 * pi * x) * sin(3 * pi * y)
        return a * lap_u + a_x * u_x + a_y * u_y + 1

    @boundary(domain.boundary())
    def walls(u):
        return u

    def reference():
        arrays = cached(f"darcy-v1-contrast{contrast:.17g}", lambda: galerkin(contrast))
        return GridSolution((arrays["x"], arrays["y"]), arrays["u"])

    return Problem(domain, [darcy, walls], reference=reference, solution_accuracy=1e-7)


def galerkin(contrast: float, size: int = 40) -> dict[str, np.ndarray]:
    """x (101,), y (101,) and u (101, 101) = sum_jk A_jk f_j(x) f_k(y) with (a grad u, grad f) = (1, f), f_k = P_k - P_k+2."""
    clamped = np.eye(size + 2, size) - np.eye(size + 2, size, -2)
    s, weights = legendre.leggauss(2 * size)
    x = (1 + s) / 2
    f, slope = legendre.legval(s, clamped), 2 * legendre.legval(s, legendre.legder(clamped))
    a = np.exp(contrast * np.sin(2 * pi * x)[:, None] * np.cos(3 * pi * x)) * np.outer(weights, weights) / 4
    stiffness = np.zeros((size**2, size**2))
    for in_x, in_y in ((slope, f), (f, slope)):
        across = np.einsum("xy,ky,my->xkm", a, in_y, in_y, optimize=True).reshape(len(x), -1)
        along = np.einsum("jx,lx->jlx", in_x, in_x).reshape(-1, len(x))
        stiffness += (along @ across).reshape(*4 * [size]).transpose(0, 2, 1, 3).reshape(size**2, size**2)
    load = np.outer(f @ weights, f @ weights) / 4
    A = np.linalg.solve(stiffness, load.ravel()).reshape(size, size)
    table = np.linspace(0, 1, 101)
    at = legendre.legval(2 * table - 1, clamped)
    return {"x": table, "y": table, "u": at.T @ A @ at}
