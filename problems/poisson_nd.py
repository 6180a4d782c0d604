"""Poisson equation in d dimensions: lap u = -pi^2 sum_i cos(pi x_i) on [0, 1]^d, u given on the boundary.

The high-dimensional benchmark of Mueller & Zeinhofer 2023 (d = 5). Exact solution: u = sum_i cos(pi x_i).
"""

from math import pi

from torch import cos

from pinntk import Box, Problem, boundary, residual


def problem(d: int = 5) -> Problem:
    domain = Box.cube(d)

    def exact(points):
        return cos(pi * points).sum(-1)

    @residual(domain)
    def poisson(lap_u, points):
        return lap_u + pi**2 * exact(points)

    @boundary(domain.boundary())
    def walls(u, points):
        return u - exact(points)

    return Problem(domain, [poisson, walls], exact=exact)
