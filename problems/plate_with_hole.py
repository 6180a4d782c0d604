"""Kirsch's plate with a hole under tension along x, a quarter of it: [0, 1]^2 less a disk around the origin.

Displacements u and v of linear elasticity in plane stress (Young's modulus 1, Poisson's ratio nu): no forces inside; the
hole is free; on the lines of symmetry x = 0 and y = 0 the plate slides; on x = 1 and y = 1 the tractions are those of the
infinite plate that far away is pulled by a stress of 1. The stress at the hole is three times that. Exact solution: Kirsch
1898.
"""

from torch import atan2, cos, hypot, sin

from pinntk import Box, Problem, boundary, residual
from pinntk.geometry import Disk


def problem(radius: float = 0.25, nu: float = 0.3) -> Problem:
    if not 0 < radius < 1:
        raise ValueError(f"radius={radius}: between 0 and 1, the side of the plate")
    if not -1 < nu < 0.5:
        raise ValueError(f"nu={nu}: Poisson's ratio lies between -1 and 0.5")
    domain = Box(x=(0, 1), y=(0, 1)) - Disk(x=0, y=0, radius=radius, name="hole")
    lam, mu = nu / (1 - nu**2), 1 / (2 + 2 * nu)

    def exact(x, y):
        k = (3 - nu) / (1 + nu)
        r, angle = hypot(x, y) / radius, atan2(y, x)
        u = (r * (k + 1) + 2 * (1 + k) / r) * cos(angle) + 2 * (1 / r - 1 / r**3) * cos(3 * angle)
        v = (r * (k - 3) + 2 * (1 - k) / r) * sin(angle) + 2 * (1 / r - 1 / r**3) * sin(3 * angle)
        return radius / (8 * mu) * u, radius / (8 * mu) * v

    def tractions(x, y, n_x, n_y):
        r, angle = hypot(x, y) / radius, atan2(y, x)
        s_xx = 1 - (1.5 * cos(2 * angle) + cos(4 * angle)) / r**2 + 1.5 * cos(4 * angle) / r**4
        s_yy = -(0.5 * cos(2 * angle) - cos(4 * angle)) / r**2 - 1.5 * cos(4 * angle) / r**4
        s_xy = -(0.5 * sin(2 * angle) + sin(4 * angle)) / r**2 + 1.5 * sin(4 * angle) / r**4
        return s_xx * n_x + s_xy * n_y, s_xy * n_x + s_yy * n_y

    def stresses(u_x, u_y, v_x, v_y):
        return lam * (u_x + v_y) + 2 * mu * u_x, mu * (u_y + v_x), lam * (u_x + v_y) + 2 * mu * v_y

    @residual(domain)
    def balance_x(u_xx, u_yy, v_xy):
        return (lam + 2 * mu) * u_xx + mu * u_yy + (lam + mu) * v_xy

    @residual(domain)
    def balance_y(v_xx, v_yy, u_xy):
        return (lam + 2 * mu) * v_yy + mu * v_xx + (lam + mu) * u_xy

    @boundary(domain.boundary("x=0"))
    def symmetric_u(u):
        return u

    @boundary(domain.boundary("y=0"))
    def symmetric_v(v):
        return v

    @boundary(domain.boundary("x=0", "y=0"))
    def sliding(u_y, v_x):
        return u_y + v_x

    @boundary(domain.boundary("hole"))
    def free_x(u_x, u_y, v_x, v_y, n_x, n_y):
        s_xx, s_xy, _ = stresses(u_x, u_y, v_x, v_y)
        return s_xx * n_x + s_xy * n_y

    @boundary(domain.boundary("hole"))
    def free_y(u_x, u_y, v_x, v_y, n_x, n_y):
        _, s_xy, s_yy = stresses(u_x, u_y, v_x, v_y)
        return s_xy * n_x + s_yy * n_y

    @boundary(domain.boundary("x=1", "y=1"))
    def pulled_x(u_x, u_y, v_x, v_y, n_x, n_y, x, y):
        s_xx, s_xy, _ = stresses(u_x, u_y, v_x, v_y)
        return s_xx * n_x + s_xy * n_y - tractions(x, y, n_x, n_y)[0]

    @boundary(domain.boundary("x=1", "y=1"))
    def pulled_y(u_x, u_y, v_x, v_y, n_x, n_y, x, y):
        _, s_xy, s_yy = stresses(u_x, u_y, v_x, v_y)
        return s_xy * n_x + s_yy * n_y - tractions(x, y, n_x, n_y)[1]

    conditions = [balance_x, balance_y, symmetric_u, symmetric_v, sliding, free_x, free_y, pulled_x, pulled_y]
    return Problem(domain, conditions, fields=("u", "v"), exact=exact)
