"""Multiscale Laplacian: -(u_xx + u_yy) = f on [0, 1]^2, u = 0 on the boundary, f from u = mean of sin(k pi x) sin(k pi y).

With k = 4, 8, 12, 16, a benchmark of DSGNAR (Webb, Jerad & Cartis 2026): `base` times 1, 2, 3 and 4. Waves of one size in u, of
which the shortest is 16 times as large as the longest in f.
"""

from math import pi

from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(base: int = 4) -> Problem:
    if base == 0 or base % 1 != 0:
        raise ValueError(f"base={base}: a whole number other than 0, or u is not 0 on the boundary")
    domain = Box(x=(0, 1), y=(0, 1))
    numbers = [base * k for k in (1, 2, 3, 4)]

    def exact(x, y):
        return sum(sin(k * pi * x) * sin(k * pi * y) for k in numbers) / 4

    @residual(domain)
    def poisson(lap_u, x, y):
        return -lap_u - sum((k * pi) ** 2 * sin(k * pi * x) * sin(k * pi * y) for k in numbers) / 2

    @boundary(domain.boundary())
    def walls(u):
        return u

    return Problem(domain, [poisson, walls], exact=exact)
