"""A simply supported plate under the load x y: u_xxxx + 2 u_xxyy + u_yyyy = x y on [0, 1]^2.

u = 0 and no moments on all sides. Exact: sum over m, n of 4 (-1)^(m + n) / (m n pi^6 (m^2 + n^2)^2) sin(m pi x) sin(n
pi y), 60 x 60 terms; it is 1e-3 at most.
Reported: how is this solved, after a script that did not do it. Setting there: sigmoid, 2 layers of 16, a grid of
0.05, 1,000 steps of BFGS; Adam, and a grid of 0.1 here.
True cause: sizes. A deflection of 1e-3 next to fourth derivatives of 0.1: walls that are wrong by as much as the
whole solution cost 1e-6.
Known by: a training here, which ends with walls wrong by 0.07, 70 deflections; the report itself got no diagnosis.
Public report: https://github.com/SciML/NeuralPDE.jl/issues/218
"""

from math import pi

import torch
from torch import sin

from pinntk import Box, Problem, boundary, residual


def problem(terms: int = 60) -> Problem:
    domain = Box(x=(0, 1), y=(0, 1))

    def exact(x, y):
        m = torch.arange(1, terms + 1).to(x)
        sign = (-1) ** m
        amplitude = 4 * torch.outer(sign / m, sign / m) / (pi**6 * (m[:, None] ** 2 + m**2) ** 2)
        return ((sin(pi * x[:, None] * m) @ amplitude) * sin(pi * y[:, None] * m)).sum(1)

    @residual(domain)
    def plate(u_xxxx, u_xxyy, u_yyyy, x, y):
        return u_xxxx + 2 * u_xxyy + u_yyyy - x * y

    @boundary(domain.boundary())
    def supports(u):
        return u

    @boundary(domain.ends("x"))
    def moments_x(u_xx):
        return u_xx

    @boundary(domain.ends("y"))
    def moments_y(u_yy):
        return u_yy

    return Problem(domain, [plate, supports, moments_x, moments_y], exact=exact)
