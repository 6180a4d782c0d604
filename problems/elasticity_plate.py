"""Elastic plate: div s + f = 0 on [0, 1]^2, s = lam tr(e) I + 2 mu e, displacements and tractions given on the edges.

Haghighat et al. 2021 (CMAME 379:113741) with lam = 1, mu = 0.5 and load = 4; DeepXDE's elasticity_plate. Fields u, v
(displacements in plane strain) and sxx, syy, sxy (stresses), of the first order throughout: five equations, three of which are
Hooke's law, and eight conditions on edges. Exact solution: u = cos(2 pi x) sin(pi y), v = load sin(pi x) y^4 / 4.
"""

from math import pi

from torch import cos, sin

from pinntk import Box, Problem, boundary, residual


def problem(lam: float = 1.0, mu: float = 0.5, load: float = 4.0) -> Problem:
    if not (mu > 0 and lam + mu > 0):
        raise ValueError(f"lam={lam}, mu={mu}: a stable material has mu > 0 and lam + mu > 0")
    domain = Box(x=(0, 1), y=(0, 1))

    def hooke(u_x, v_y, shear):
        return (lam + 2 * mu) * u_x + lam * v_y, (lam + 2 * mu) * v_y + lam * u_x, mu * shear

    def exact(x, y):
        u, v = cos(2 * pi * x) * sin(pi * y), load / 4 * sin(pi * x) * y**4
        u_x, v_y = -2 * pi * sin(2 * pi * x) * sin(pi * y), load * sin(pi * x) * y**3
        shear = pi * cos(2 * pi * x) * cos(pi * y) + load / 4 * pi * cos(pi * x) * y**4
        return u, v, *hooke(u_x, v_y, shear)

    @residual(domain)
    def balance_x(sxx_x, sxy_y, x, y):
        u, *_ = exact(x, y)
        return sxx_x + sxy_y + (4 * lam + 9 * mu) * pi**2 * u - (lam + mu) * load * pi * cos(pi * x) * y**3

    @residual(domain)
    def balance_y(sxy_x, syy_y, x, y):
        _, v, *_ = exact(x, y)
        mixed = (lam + mu) * 2 * pi**2 * sin(2 * pi * x) * cos(pi * y)
        return sxy_x + syy_y + mu * pi**2 * v + mixed - 3 * (lam + 2 * mu) * load * sin(pi * x) * y**2

    @residual(domain)
    def hooke_xx(sxx, u_x, v_y):
        return sxx - hooke(u_x, v_y, 0)[0]

    @residual(domain)
    def hooke_yy(syy, u_x, v_y):
        return syy - hooke(u_x, v_y, 0)[1]

    @residual(domain)
    def hooke_xy(sxy, u_y, v_x):
        return sxy - hooke(0, 0, u_y + v_x)[2]

    @boundary(domain.ends("y"))
    def held_u(u):
        return u

    @boundary(domain.ends("x") | domain.at(y=0))
    def held_v(v):
        return v

    @boundary(domain.ends("x"))
    def free_xx(sxx):
        return sxx

    @boundary(domain.at(y=1))
    def loaded_yy(syy, x):
        return syy - (lam + 2 * mu) * load * sin(pi * x)

    conditions = [balance_x, balance_y, hooke_xx, hooke_yy, hooke_xy, held_u, held_v, free_xx, loaded_yy]
    return Problem(domain, conditions, fields=("u", "v", "sxx", "syy", "sxy"), exact=exact)
